"""Reads a recipe file, with all it inherits; knows no torch, no doit and no build."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from partition_core.base.build_name import BuildName, unknown_build
from partition_core.base.errors import Place, Problem, RecipeError, one_of, quoted, suggestion
from partition_core.recipe.completed import Completed
from partition_core.recipe.draft import Draft
from partition_core.recipe.expansion import expanded, with_variants
from partition_core.recipe.file import VARIANTS, RecipeFile, with_siblings
from partition_core.recipe.from_plain import recipe_value
from partition_core.recipe.input_checks import INPUT_CHECKS
from partition_core.recipe.model_checks import MODEL_CHECKS
from partition_core.recipe.model_source import sourced
from partition_core.recipe.names import is_reserved_on_windows, recipe_names
from partition_core.recipe.partition_checks import PARTITION_CHECKS
from partition_core.recipe.places import OF_THE_PARTITION, OF_THE_PROOF, is_beside_the_model
from partition_core.recipe.policies import POLICIES, completed
from partition_core.recipe.schema import RECIPE_SCHEMA, schema_problems
from partition_core.recipe.target_checks import TARGET_CHECKS
from partition_core.recipe.yaml_text import YamlText, read_yaml
from partition_core.recipe.yaml_tree import Node, Steps, merge, path_text

__all__ = [
    "MAX_EXTENDS",
    "POLICIES",
    "RecipeFile",
    "read_model_alone",
    "read_recipe",
    "recipe_names",
]

MAX_EXTENDS = 8
_FREE = (("model", "overrides"), ("model", "args"), ("export", "args"))
_BOOLEANS = ("answer", "decorator", "required", "value")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


def read_recipe(path: Path, root: Path, variant: str = "") -> RecipeFile:
    """Read the recipe at `path`, or its `variant`, in the project whose folder is `root`.

    Raises a RecipeError with all its problems, in the order written; also for a variant that the
    recipe does not have, and without one for a recipe that has some.
    """
    files, name = read_recipes(path, root), BuildName(path.stem, variant)
    if str(name) not in files:
        raise RecipeError(unknown_build(Place(_shown(str(path), str(root))), name, files))
    return files[str(name)]


def read_recipes(path: Path, root: Path) -> Mapping[str, RecipeFile]:
    """Return what the recipe at `path` stands for, by name: itself, or each of its variants.

    Raises a RecipeError as `read_recipe` does.
    """
    chain = _read_chain(path, root)
    if chain.tree is None:
        raise RecipeError(*chain.problems)
    variants = expanded(chain.tree)
    problems = [*chain.problems, *variants.problems]
    reported = _places(problems)
    read = {
        str(BuildName(path.stem, variant)): _checked(tree, root, reported)
        for variant, tree in variants.trees.items()
    }
    problems += _of_variants({name: each.problems for name, each in read.items()})
    if problems:
        trees = [*(each.tree for each in read.values()), chain.tree]
        raise RecipeError(*_in_file_order(problems, trees, chain.files))
    return with_siblings({name: _recipe_file(name, each, chain) for name, each in read.items()})


def build_names(path: Path, root: Path) -> tuple[str, ...]:
    """Return the sorted names of what the recipe at `path` stands for, whatever else is wrong.

    Raises a RecipeError for text that is no recipe.
    """
    chain = _read_chain(path, root)
    if chain.tree is None:
        raise RecipeError(*chain.problems)
    variants = expanded(chain.tree).trees
    return tuple(sorted(str(BuildName(path.stem, variant)) for variant in variants))


def read_model_alone(path: Path, root: Path, variant: str = "") -> RecipeFile:
    """Read the recipe at `path` as `read_recipe` does, without its marks and its partition.

    Raises a RecipeError with the problems of the rest. A wrong `proof` is left out too.
    """
    chain = _read_chain(path, root)
    variants = None if chain.tree is None else expanded(chain.tree)
    if variants is None:
        raise RecipeError(*chain.problems)
    source = sourced(variants.trees[variant])
    problems = [*chain.problems, *variants.problems, *source.problems]
    if source.tree is None:
        raise RecipeError(*problems)
    written = source.tree
    kind = written.get("partition", "type")  # it decides which inputs may have a free batch
    partition = Node(Place(chain.files[0], 0, "partition"), {} if kind is None else {"type": kind})
    rest = {key: node for key, node in written.entries.items() if key not in OF_THE_PARTITION}
    tree = Node(written.place, {**rest, "partition": partition})
    problems += _found(tree, root, _places(problems))
    of_model = [each for each in problems if not is_beside_the_model(each)]
    if of_model:
        raise RecipeError(*_in_file_order(of_model, [tree], chain.files))
    if any(each.place.path.startswith(OF_THE_PROOF) for each in problems):
        rest.pop(OF_THE_PROOF)
    nothing = Node(partition.place, {"type": Node(partition.place, "")})
    alone = Completed(Node(tree.place, {**rest, "partition": nothing}))
    return _recipe_file(str(BuildName(path.stem, variant)), alone, chain)


def _checked(written: Node, root: Path, reported: Collection[Place]) -> Completed:
    """Return a recipe with its policy, and all problems at places not yet `reported`."""
    source = sourced(written)
    if source.tree is None:
        return Completed(written, (), source.problems)
    with_policy = completed(source.tree, root)
    problems = [*source.problems, *with_policy.problems]
    problems += _found(with_policy.tree, root, {*reported, *_places(problems)})
    return Completed(with_policy.tree, with_policy.files, tuple(problems))


def _found(tree: Node, root: Path, reported: Collection[Place]) -> list[Problem]:
    """Return what the schema and the checks find in a recipe, at places not yet `reported`."""
    draft, problems = Draft(tree, root), list[Problem]()
    checks = PARTITION_CHECKS + TARGET_CHECKS + MODEL_CHECKS + INPUT_CHECKS
    checked = [problem for check in checks for problem in check(draft)]
    # A check of a value that the schema has already refused would report the same problem twice.
    for more in (schema_problems(tree, RECIPE_SCHEMA), checked):
        known = {*reported, *_places(problems)}
        problems += [problem for problem in more if problem.place not in known]
    return problems


def _of_variants(problems: Mapping[str, Sequence[Problem]]) -> Iterator[Problem]:
    """Yield the problems of variants, by name; what is wrong in one alone names it.

    Unless its place does.
    """
    for name, own in problems.items():
        for problem in own:
            in_all = all(problem in others for others in problems.values())
            if in_all or problem.place.path.startswith(VARIANTS):
                yield problem
            else:
                yield replace(
                    problem, what=f"in variant '{BuildName.of(name).variant}': {problem.what}"
                )


def _places(problems: Iterable[Problem]) -> set[Place]:
    return {problem.place for problem in problems}


def _recipe_file(name: str, read: Completed, chain: _Chain) -> RecipeFile:
    values = read.tree.plain()
    return RecipeFile(
        recipe_value(name, values),
        chain.files[0],
        values,
        MappingProxyType({path_text(steps): node.place for steps, node in read.tree.walk()}),
        (*chain.sources, *read.files),
    )


@dataclass(frozen=True)
class _Chain:
    """A recipe file and those it extends, nearest first; `tree` is None if one is unusable."""

    tree: Node | None
    files: tuple[str, ...]
    sources: tuple[Path, ...]
    problems: tuple[Problem, ...]


def _read_chain(path: Path, root: Path) -> _Chain:
    folder = os.path.abspath(root)
    sources = [os.path.abspath(path)]
    problems = _name_problems(sources[0], folder)
    tops: list[Node] = []
    while len(tops) < len(sources):
        text = _read_text(sources[-1], folder)
        problems += text.problems
        if text.root is None:
            break
        extends = text.root.get("extends")
        if extends is not None:
            problem = _extends_problem(extends, sources, folder)
            if problem is not None:
                problems.append(problem)
                break
            sources.append(_target(extends, sources[-1]))
        tops.append(text.root)
    return _Chain(
        tree=_merged(tops) if len(tops) == len(sources) else None,
        files=tuple(_shown(source, folder) for source in sources),
        sources=tuple(Path(source) for source in sources),
        problems=tuple(problems),
    )


def _name_problems(source: str, folder: str) -> list[Problem]:
    place = Place(_shown(source, folder))
    problems = []
    if not _is_inside(source, folder):
        problems.append(Problem(place, "is not inside the project", f"expected it in {folder}"))
    if not _NAME.fullmatch(Path(source).stem):
        what = f"{quoted(Path(source).stem)} cannot be the name of a recipe"
        expected = "expected letters, digits, '.', '_' and '-', starting with a letter or a digit"
        problems.append(Problem(place, what, expected, "rename the file"))
    elif is_reserved_on_windows(Path(source).stem):
        what = f"{quoted(Path(source).stem)} cannot be the name of a recipe"
        expected = "Windows does not allow a file or folder of that name"
        problems.append(Problem(place, what, expected, "rename the file"))
    return problems


def _read_text(source: str, folder: str) -> YamlText:
    path, file = Path(source), _shown(source, folder)
    if os.path.isfile(path):
        return read_yaml(path, file, _can_be_true_or_false)
    if os.path.lexists(path):
        link = os.path.islink(path) and not os.path.exists(path)
        what = "is a link to a file that does not exist" if link else "is not a file"
        return YamlText(None, (Problem(Place(file), what, "expected a recipe"),))
    known = recipe_names(path.parent)
    near = suggestion(path.stem, known)
    missing = Problem(Place(file), "there is no such file", one_of(known), near)
    return YamlText(None, (missing,))


def _can_be_true_or_false(steps: Steps) -> bool:
    """Return whether a recipe may have a boolean at these steps."""
    return steps[:2] in _FREE or _is_argument_of_variant(steps) or steps[-1] in _BOOLEANS


def _is_argument_of_variant(steps: Steps) -> bool:
    return steps[:1] == (VARIANTS,) and steps[2:3] == ("args",)


def _extends_problem(extends: Node, sources: list[str], folder: str) -> Problem | None:
    if extends.text is None:
        return Problem(extends.place, "is not the name of a file", "expected text")
    name, target = quoted(extends.text), _target(extends, sources[-1])
    if os.path.isabs(extends.text) or not _is_inside(target, folder):
        expected = "expected a path relative to this file"
        return Problem(extends.place, f"{name} is not inside the project", expected)
    if not target.endswith(".yaml"):
        return Problem(extends.place, f"{name} is not a recipe", "expected a '.yaml' file")
    if target in sources:
        steps = [*sources[sources.index(target) :], target]
        cycle = " → ".join(_shown(step, folder) for step in steps)
        return Problem(extends.place, f"the recipe extends itself: {cycle}")
    if len(sources) > MAX_EXTENDS:
        what = "the chain of 'extends' is too long"
        return Problem(extends.place, what, f"expected at most {MAX_EXTENDS} recipes")
    if not os.path.isfile(target):
        known = [f"{stem}.yaml" for stem in recipe_names(Path(target).parent)]
        what, near = f"there is no file {name}", suggestion(Path(target).name, known)
        return Problem(extends.place, what, "expected a path relative to this file", near)
    return None


def _target(extends: Node, source: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(source), extends.text or ""))


def _merged(tops: Iterable[Node]) -> Node | None:
    merged: Node | None = None
    for top in reversed(list(tops)):
        own = {key: value for key, value in top.entries.items() if key != "extends"}
        patch = Node(top.place, own)
        # Only a recipe that extends another one has something for null to remove.
        merged = patch if merged is None else with_variants(merge(merged, patch), merged, patch)
    return merged


def _in_file_order(
    problems: Iterable[Problem], trees: Iterable[Node], files: Iterable[str]
) -> list[Problem]:
    rank = {file: index for index, file in enumerate(files)}
    places = dict.fromkeys(node.place for tree in trees for _, node in tree.walk())
    order = {place: index for index, place in enumerate(places)}

    def position(problem: Problem) -> tuple[int, int, int]:
        place = problem.place
        return rank.get(place.file, len(rank)), place.line, order.get(place, len(order))

    return sorted(problems, key=position)


def _is_inside(source: str, folder: str) -> bool:
    return Path(source).is_relative_to(folder)


def _shown(source: str, folder: str) -> str:
    return Path(source).relative_to(folder).as_posix() if _is_inside(source, folder) else source
