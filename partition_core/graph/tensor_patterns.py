"""Names of tensors and nodes that are patterns of a shell, replaced by what fits them."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from partition_core.base.errors import Problem, problem, quoted
from partition_core.base.wording import first_of
from partition_core.graph.file.graph import Model, Node
from partition_core.graph.marks import live_nodes, readers_of
from partition_core.graph.model_inputs import inputs_of
from partition_core.recipe.values import TensorName

_WILD = re.compile(r"[*?\[]")
_MOST_LISTED = 4


def expanded(model: Model, name: TensorName, at: str) -> list[TensorName] | Problem:
    """Return `name`, or for a pattern a name for each tensor of the main graph that fits, in order.

    `*` stands for any characters. A pattern of nodes means what leaves them: the outputs that other
    nodes read or the model gives; with `output` that output of each. A name that exists is no
    pattern. Only tensors that depend on an input fit. `at` is the YAML path of `name`.
    """
    pattern = name.node if name.node is not None else name.tensor or ""
    if not _WILD.search(pattern):
        return [name]
    nodes = live_nodes(model.graph)
    known = list(_node_names(model) if name.node is not None else _tensors(model, nodes))
    if pattern in known:
        return [name]
    if name.node is not None:
        fitting = [node for node in nodes if node.name and fnmatch.fnmatchcase(node.name, pattern)]
        found = list(_leaving(model, fitting, name.output))
    else:
        found = [tensor for tensor in known if fnmatch.fnmatchcase(tensor, pattern)]
    if not found:
        kind = "node" if name.node is not None else "tensor"
        near = first_of([quoted(text) for text in _near(pattern, known)], _MOST_LISTED)
        return problem(at, f"no {kind} fits the pattern {quoted(pattern)}", f"near it are {near}")
    if name.alias and len(found) > 1:
        what = f"'as' names one tensor, and {len(found)} fit {quoted(pattern)}"
        listed = first_of([quoted(tensor) for tensor in found], _MOST_LISTED)
        return problem(at, what, f"they are {listed}", "leave out 'as', or name one of them")
    return [TensorName(tensor, alias=name.alias) for tensor in found]


def _node_names(model: Model) -> Iterator[str]:
    return (node.name for node in model.graph if node.name)


def _tensors(model: Model, nodes: Iterable[Node]) -> Iterator[str]:
    yield from inputs_of(model)
    yield from (value.name for node in nodes for value in node.outputs if value.name)


def _leaving(model: Model, nodes: Sequence[Node], output: int | None) -> Iterator[str]:
    inside, given, readers = set(nodes), set(model.graph.outputs), readers_of(model.graph)
    for node in nodes:
        for number, value in enumerate(node.outputs):
            leaves = value in given or not inside.issuperset(readers.get(value, ()))
            if value.name and (leaves if output is None else number == output):
                yield value.name


def _near(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names that have most of the beginning of `pattern`."""
    start = _WILD.split(pattern, maxsplit=1)[0]
    shared = {
        name: sum(1 for _ in itertools.takewhile(bool, map(str.__eq__, start, name)))
        for name in dict.fromkeys(names)
    }
    most = max(shared.values(), default=0)
    return [name for name, length in shared.items() if length == most]
