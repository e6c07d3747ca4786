"""Recipes made from the configs of MMDeploy, by command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import partition_core
from partition_core.building.folders import RECIPES
from partition_core.disk import write_whole
from partition_core.errors import BuildError, Place, problem
from partition_core.mmdeploy import imported
from partition_core.mmdet_configs import INSTALLATION, find_config
from partition_core.reading.partition_checks import KNOWN_MARK_NAMES
from partition_core.wording import counted

POLICIES = Path(partition_core.__file__).parent / "policies"
_NAME = re.compile(r"\w[\w-]*", re.ASCII)
_NEEDED = ("deploy_cfg", "model_cfg")


def import_mmdeploy(root: Path, given: Mapping[str, str]) -> Iterator[str]:
    """Write the recipe that `deploy_cfg` and `model_cfg` say; yield in lines what it leaves out.

    It is named `recipe`, or like the model's config. No recipe is overwritten. Raises
    PartitionError.
    """
    missing = [name for name in _NEEDED if not given.get(name)]
    if missing:
        expected = "expected `deploy_cfg=<file> model_cfg=<file or name in mmdet>`"
        raise BuildError(
            *(problem("import_mmdeploy", f"there is no {name}", expected) for name in missing)
        )
    deploy = root / given["deploy_cfg"]
    if not deploy.is_file():
        what = "there is no such file"
        raise BuildError(problem(f"deploy_cfg={given['deploy_cfg']}", what, "expected a config"))
    model = find_config(given["model_cfg"], root, Place(path="model_cfg"))
    name = given.get("recipe") or model.stem.replace(".", "_")
    if not _NAME.fullmatch(name):
        what = f"'{name}' cannot be the name of a recipe"
        raise BuildError(problem("recipe", what, "expected letters, digits, '_', '-'"))
    target = root / RECIPES / f"{name}.yaml"
    if target.exists():
        remedy = "choose another name: `recipe=<name>`"
        raise BuildError(problem(f"{RECIPES}/{name}.yaml", "this recipe exists", "", remedy))
    try:
        from partition_core.export.plain_configs import plain_config

        configs = plain_config(deploy), plain_config(model)
    except ImportError as error:
        expected = f"it is installed with `{INSTALLATION}`"
        raise BuildError(problem("mmengine", f"cannot be imported: {error}", expected)) from error
    shared = frozenset(path.stem for path in POLICIES.glob("*.yaml"))
    names = (deploy.name, given["model_cfg"])
    found = imported(*configs, names, shared, frozenset(KNOWN_MARK_NAMES))
    target.parent.mkdir(exist_ok=True)
    write_whole(target, found.text.encode())
    for path, reason in found.left_out:
        yield f"left out: {path}: {reason}"
    yield f"{RECIPES}/{name}.yaml: written; {counted(len(found.left_out), 'key')} left out"
