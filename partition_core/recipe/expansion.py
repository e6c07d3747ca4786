"""The recipes that a recipe file stands for: itself, or each of its variants; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from partition_core.base.build_name import VARIANT
from partition_core.base.errors import Problem, one_of, quoted, suggestion
from partition_core.recipe.file import VARIANTS
from partition_core.recipe.names import is_reserved_on_windows
from partition_core.recipe.schema import RECIPE_SCHEMA, schema_problems
from partition_core.recipe.yaml_tree import Node, merge

OVERRIDES: Mapping[str, tuple[str, ...]] = {
    "inputs": ("export", "inputs"),
    "dynamic_axes": ("export", "dynamic_axes"),
    "args": ("export", "args"),
    "output_names": ("export", "output_names"),
    "proof": ("proof",),
}
"""The keys of a variant, and what each is merged into."""


@dataclass(frozen=True)
class Expanded:
    """The trees of the recipes that a recipe file stands for, by variant, in the order written.

    A recipe without variants is the only one, with an empty name.
    """

    trees: Mapping[str, Node]
    problems: tuple[Problem, ...] = ()


def expanded(tree: Node) -> Expanded:
    """Return the recipes that a recipe, after inheriting, stands for."""
    variants = tree.get(VARIANTS)
    if variants is None:
        return Expanded({"": tree})
    entries = {key: node for key, node in tree.entries.items() if key != VARIANTS}
    base = Node(tree.place, entries)
    trees = {name: _applied(base, variant) for name, variant in variants.entries.items()}
    problems = schema_problems(Node(tree.place, {VARIANTS: variants}), RECIPE_SCHEMA)
    problems += [*_name_problems(variants), *_unknown_inputs(base, variants)]
    # What is refused in a variant is in no tree, and would be no difference.
    problems += () if problems else _repetitions(variants, trees)
    return Expanded(trees or {"": base}, tuple(problems))


def with_variants(merged: Node, base: Node, patch: Node) -> Node:
    """Return what `base` and `patch` were `merged` into, with the variants of both.

    Null removes an inherited variant; in a variant it removes what the recipe has.
    """
    inherited, own = base.get(VARIANTS), patch.get(VARIANTS)
    if own is None or not own.entries:
        return merged
    variants = dict(inherited.entries) if inherited is not None else {}
    for name, variant in own.entries.items():
        former = variants.pop(name, None)
        if variant.value is not None:
            variants[name] = merge(former, variant, removes=False)
    rest = {key: node for key, node in merged.entries.items() if key != VARIANTS}
    return Node(merged.place, rest | ({VARIANTS: Node(own.place, variants)} if variants else {}))


def _applied(base: Node, variant: Node) -> Node:
    """Return a recipe with what a variant overrides."""
    for key, steps in OVERRIDES.items():
        own = variant.get(key)
        if own is not None and own.value is not None and _takes_keys(base, steps[:-1]):
            base = merge(base, _nested(base, steps, own))
    return base


def _takes_keys(base: Node, steps: tuple[str, ...]) -> bool:
    """Return whether all values around a key are mappings; what is none is an error of its own."""
    around = (base.get(*steps[: count + 1]) for count in range(len(steps)))
    return all(node is None or isinstance(node.value, Mapping) for node in around)


def _nested(base: Node, steps: tuple[str, ...], value: Node) -> Node:
    """Return a patch with `value` at `steps`; what is around it keeps its place in `base`."""
    patch = value
    for count in range(len(steps), 0, -1):
        around = base.get(*steps[: count - 1]) or value
        patch = Node(around.place, {steps[count - 1]: patch})
    return patch


def _name_problems(variants: Node) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, variant in variants.entries.items():
        other = first.setdefault(name.lower(), name)
        if other != name:
            what = f"differs from '{other}' in its case only"
            yield Problem(variant.place, what, "not every disk tells them apart", "rename it")
        elif VARIANT.fullmatch(name) and is_reserved_on_windows(name):
            what = f"{quoted(name)} cannot be the name of a variant"
            expected = "Windows does not allow a file or folder of that name"
            yield Problem(variant.place, what, expected, "rename it")


def _unknown_inputs(base: Node, variants: Node) -> Iterator[Problem]:
    known = base.get("export", "inputs")
    if known is None or not known.entries:
        return
    for variant in variants.entries.values():
        inputs = variant.get("inputs")
        for name, node in inputs.entries.items() if inputs is not None else ():
            if name not in known.entries:
                what = f"'export.inputs' has no input {quoted(name)}"
                near = suggestion(name, known.entries)
                yield Problem(node.place, what, one_of(known.entries), near)


def _repetitions(variants: Node, trees: Mapping[str, Node]) -> Iterator[Problem]:
    first: list[tuple[str, object]] = []
    for name, tree in trees.items():
        plain = tree.plain()
        other = next((known for known, values in first if values == plain), None)
        if other is not None:
            what, expected = f"is the same as variant '{other}'", "expected a difference"
            yield Problem(variants.entries[name].place, what, expected, "remove one of them")
        first.append((name, plain))
