"""The command that creates recipes from MMDeploy configs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import partition_core
from partition_core.base.disk import write_whole
from partition_core.base.errors import BuildError, ExportError, problem
from partition_core.base.folders import RECIPES
from partition_core.base.missing import missing_file
from partition_core.base.wording import counted
from partition_core.recipe.partition_checks import KNOWN_MARK_NAMES
from partition_core.recipe.reader import read_recipe
from partition_core.recipe.schema import RECIPE_SCHEMA, SCHEMAS
from partition_core.sources.mmdet.configs import INSTALLATION, find_config, shipped_configs
from partition_core.sources.mmdet.mmdeploy import imported

POLICIES = Path(partition_core.__file__).parent / "policies"
_NAME = re.compile(r"\w[\w-]*", re.ASCII)
_CONFIGS = "configs"
_NEEDED = ("deploy_cfg", "model_cfg")


def import_mmdeploy(root: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Write the recipe for `deploy_cfg` and `model_cfg`; yield lines about what it leaves out.

    It is named `recipe`, or after the model's config. No recipe is overwritten. Raises
    PartitionError, also, once it is written, for everything that is wrong with the recipe.
    """
    expected = "expected `deploy_cfg=<file> model_cfg=<file or name in mmdet>`"
    missing = (name for name in _NEEDED if not variables.get(name))
    BuildError.refuse(
        problem("import_mmdeploy", f"{name} is missing", expected) for name in missing
    )
    deploy = root / variables["deploy_cfg"]
    if not deploy.is_file():
        raise BuildError.at("deploy_cfg", *missing_file(root, variables["deploy_cfg"]))
    config, remarks = _model_config(variables["model_cfg"], root)
    model = find_config(config, root, "model_cfg")
    name = variables.get("recipe") or model.stem.replace(".", "_")
    if not _NAME.fullmatch(name):
        what = f"'{name}' cannot be the name of a recipe"
        raise BuildError.at("recipe", what, "expected letters, digits, '_', '-'")
    target = root / RECIPES / f"{name}.yaml"
    if target.exists():
        remedy = "choose another name: `recipe=<name>`"
        raise BuildError.at(f"{RECIPES}/{name}.yaml", "this recipe exists already", "", remedy)
    try:
        configs = _plain_config(deploy), _plain_config(model)
    except ImportError as error:
        expected = f"install it with `{INSTALLATION}`"
        raise BuildError.at("mmengine", f"cannot be imported: {error}", expected) from error
    shared = frozenset(path.stem for path in POLICIES.glob("*.yaml"))
    names = (deploy.name, config)
    recipe = imported(*configs, names, shared, frozenset(KNOWN_MARK_NAMES), _schema(root))
    target.parent.mkdir(exist_ok=True)
    write_whole(target, recipe.text.encode())
    yield from remarks
    for path, reason in recipe.left_out:
        yield f"left out: {path}: {reason}"
    yield f"{RECIPES}/{name}.yaml: written; {counted(len(recipe.left_out), 'key')} left out"
    read_recipe(target, root)


def _model_config(name: str, root: Path) -> tuple[str, list[str]]:
    """Return the config's name in a recipe, and a line about it if that is another name.

    It may be outside of the project. MMDeploy's documents name mmdet's configs by their path in a
    clone: that means those that the installed mmdet ships.
    """
    path, shipped = Path(os.path.abspath(root / name)), shipped_configs()
    _, is_below, rest = name.rpartition(f"{_CONFIGS}/")
    known = shipped / rest if shipped is not None and is_below else None
    is_shipped = known is not None and known.is_file()
    if known and is_shipped and (not path.is_file() or known.read_bytes() == path.read_bytes()):
        return rest, [f"model_cfg={name}: taken as '{rest}', which the installed mmdet ships"]
    if path.is_file() and not path.is_relative_to(root):
        return str(path), [f"model_cfg={name}: outside of the project, so named by its full path"]
    return name, []


def _schema(root: Path) -> str:
    """Return the path of the recipe schema, for editors, relative to the recipes' folder."""
    schema = next(
        (path for path in (root / "schema" / RECIPE_SCHEMA,) if path.is_file()),
        SCHEMAS / RECIPE_SCHEMA,
    )
    inside = schema.is_relative_to(root)
    return os.path.relpath(schema, root / RECIPES) if inside else str(schema)


def _plain_config(path: Path) -> dict[str, Any]:
    """Return the config in a file, its `_base_` expanded; raises ExportError.

    mmengine's own loader runs the config, and nothing else of what it names.
    """
    from partition_core.sources.mmdet.detector import quiet_mmdet

    with quiet_mmdet():
        from mmengine.config import Config

        try:
            config: dict[str, Any] = Config.fromfile(
                str(path), import_custom_modules=False
            ).to_dict()
        except Exception as error:  # a config is Python: reading it may raise anything
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ExportError.at(path.name, "it cannot be read as a config", reason) from error
    return config
