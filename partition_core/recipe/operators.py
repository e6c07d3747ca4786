"""The lists of operators that runtimes support, put into a recipe that names one."""

from __future__ import annotations

from pathlib import Path

from partition_core.base.errors import Place, Problem, RecipeError, one_of, quoted, suggestion
from partition_core.base.missing import missing_file
from partition_core.recipe.completed import Completed
from partition_core.recipe.from_plain import operator_cut
from partition_core.recipe.names import recipe_names
from partition_core.recipe.parts import OF_OPERATORS
from partition_core.recipe.schema import OPERATOR_SCHEMA, schema_problems
from partition_core.recipe.values import SHOWN_POLICIES, OperatorCut
from partition_core.recipe.yaml_text import read_yaml
from partition_core.recipe.yaml_tree import Node

TOOLCHAINS = Path(__file__).parent.parent / "policies" / "toolchains"
"""The lists that ship with the package, one for each public toolchain."""
SHOWN_TOOLCHAINS = f"{SHOWN_POLICIES}/toolchains"


def with_operators(tree: Node, partition: Node, root: Path) -> Completed:
    """Return the recipe with the list that `partition.operators` names, as its key `cut`."""
    label, named = partition.get("type"), partition.entries["operators"]
    if label is not None and label.text != OF_OPERATORS:
        what = f"'operators' has no meaning for a partition of type {quoted(label.text or '')}"
        remedy = f"write 'type: {OF_OPERATORS}', or remove 'operators'"
        return Completed(tree, problems=(Problem(named.place, what, "", remedy),))
    problems = [
        Problem(
            partition.entries[key].place, "has no meaning beside 'operators'", _WHY, "remove it"
        )
        for key in ("cut", "segments")
        if key in partition.entries
    ]
    path, shown = _path(named, root)
    if path is None or problems:
        return Completed(tree, problems=(*problems, *_unknown_toolchain(named)))
    if not path.is_file():
        missing = Problem(named.entries["file"].place, *missing_file(root, shown))
        return Completed(tree, problems=(missing,))
    text = read_yaml(path, shown)
    problems += text.problems
    if text.root is not None and not problems:
        problems = schema_problems(text.root, OPERATOR_SCHEMA)
    if text.root is None or problems:
        return Completed(tree, (path,), tuple(problems))
    entries = {**partition.entries, "cut": text.root}
    top = {**tree.entries, "partition": Node(partition.place, entries)}
    return Completed(Node(tree.place, top), (path,))


def read_operators(name: str, root: Path, at: str) -> OperatorCut:
    """Return the list `name`: a toolchain that ships with the package, or a file.

    `at` is where it is named. Raises RecipeError for a list that is missing or wrong.
    """
    is_toolchain = name in recipe_names(TOOLCHAINS) and not (root / name).is_file()
    path = TOOLCHAINS / f"{name}.yaml" if is_toolchain else root / name
    shown = f"{SHOWN_TOOLCHAINS}/{name}.yaml" if is_toolchain else name
    if not path.is_file():
        raise RecipeError.at(Place(at), *missing_file(root, name))
    text = read_yaml(path, shown)
    RecipeError.refuse(text.problems)
    if text.root is not None:
        RecipeError.refuse(schema_problems(text.root, OPERATOR_SCHEMA))
    return operator_cut({} if text.root is None else text.root.plain())


_WHY = "the operators decide how many segments there are, and where they begin"


def _path(named: Node, root: Path) -> tuple[Path | None, str]:
    """Return the file of a list, and what messages call it; None where nothing names one."""
    file, toolchain = named.get("file"), named.get("toolchain")
    if file is not None and file.text and toolchain is None:
        return root / file.text, file.text
    if toolchain is not None and toolchain.text in recipe_names(TOOLCHAINS) and file is None:
        return TOOLCHAINS / f"{toolchain.text}.yaml", f"{SHOWN_TOOLCHAINS}/{toolchain.text}.yaml"
    return None, ""


def _unknown_toolchain(named: Node) -> list[Problem]:
    known = recipe_names(TOOLCHAINS)
    toolchain = named.get("toolchain")
    if toolchain is None or toolchain.text is None or toolchain.text in known:
        return []  # the schema reports what else is wrong
    what = f"there is no list for {quoted(toolchain.text)}"
    remedy = suggestion(toolchain.text, known) or "write a list, and {file: …}"
    return [Problem(toolchain.place, what, one_of(known), remedy)]
