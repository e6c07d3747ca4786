"""What a diagnosis says: lines for a terminal, and the same as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx

from partition_core.base.wording import columns, counted, first_of
from partition_core.graph.file.graph import Node
from partition_core.proof.comparison import is_rounded
from partition_core.proof.diagnosis.culprit import CULPRIT, MOST_NODES, Culprit, Diagnosis, Probe
from partition_core.proof.diagnosis.replaced import Replacement
from partition_core.proof.diagnosis.trial import Figures

_MOST_LISTED = 4
_MOST_VALUES = 12
_FIGURES = ("relative L2", "largest difference", "largest value")


def headline(diagnosis: Diagnosis, target: str) -> str:
    """Return what was found in one line, which names the tensor, its node and its operator."""
    whole, culprit = diagnosis.whole, diagnosis.culprit
    if not diagnosis.is_wrong:
        return f"all outputs agree with onnxruntime's in {target}: {_worst(whole.figures)}"
    if culprit is None:
        if whole.failure:
            return f"{target} takes no segment with these outputs together: {whole.failure}"
        names = ", ".join(f"'{name}'" for name in whole.differing)
        return f"{names} differ in {target} only where all outputs are computed together"
    node = _node_text(culprit.node.op_type, culprit.node.name)
    if whole.failure:
        what = "cannot be run" if whole.is_converted else "cannot be converted"
        return f"'{culprit.tensor}' is the first tensor that {what}: {node} in {target}"
    figures = _figures(diagnosis, culprit)
    return f"'{culprit.tensor}' is the first tensor that differs: {node} in {target}, {figures}"


def explanation(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what is known besides the headline."""
    culprit = diagnosis.culprit
    tried = f"{counted(len(diagnosis.probes), 'conversion')} of parts up to a tensor"
    if culprit is None:
        if diagnosis.is_wrong:
            yield f"no part up to one output shows it, {tried}"
        return
    if diagnosis.whole.failure:
        yield f"the reason: {diagnosis.whole.failure}"
    yield f"{tried}, of {counted(diagnosis.tensors, 'tensor')}; {_certainty(diagnosis, culprit)}"
    yield _least(culprit)
    if diagnosis.unexplained:
        names = first_of([f"'{name}'" for name in diagnosis.unexplained], _MOST_LISTED)
        yield f"not computed from it, and wrong too: {names}; diagnose again once it is mended"


def table(probes: Sequence[Probe]) -> Iterator[str]:
    """Yield the figures of the tensors that were compared, in the order of the graph."""
    return _lines([_row(probe) for probe in probes], "operator")


def figure_lines(
    rows: Sequence[tuple[str, str, Figures]], second: str = "operator"
) -> Iterator[str]:
    """Yield the figures of tensors, each with a text for the column `second`."""
    return _lines([_cells(*row) for row in rows], second)


def _lines(rows: Sequence[tuple[str, ...]], second: str) -> Iterator[str]:
    if rows:
        yield from columns([("tensor", second, *_FIGURES), *rows], frozenset((2, 3, 4)))


def nodes_text(file: Path) -> Iterator[str]:
    """Yield the nodes of a small ONNX file, with their attributes and what they read."""
    graph = onnx.load(file).graph
    weights = {each.name: list(each.dims) for each in graph.initializer}
    for node in graph.node:
        inputs = (f"{name} {weights[name]}" if name in weights else name for name in node.input)
        attributes = ", ".join(
            f"{each.name}={_shown(onnx.helper.get_attribute_value(each))}"
            for each in node.attribute
        )
        outputs = ", ".join(node.output)
        yield f"{outputs} = {node.op_type}({', '.join(inputs)}) {{{attributes}}}  # {node.name}"


def replacement_lines(replacement: Replacement, segment: str, other: str) -> Iterator[str]:
    """Yield what differs between a segment and the file `other`, the first tensor first."""
    first = replacement.first
    if first is None:
        yield f"all outputs of '{other}' agree with those of '{segment}': " + "; ".join(
            f"'{row.tensor}' {row.figures}" for row in replacement.outputs
        )
        return
    node = _node_text(first.operator, first.node)
    yield f"'{first.tensor}' is the first tensor that differs: {node} of {segment}, {first.figures}"
    yield (
        f"of {counted(replacement.shared, 'inner tensor')} of the same name "
        f"{len(replacement.inner)} were compared, in the order of the graph"
    )
    rows = (*replacement.inner, *replacement.outputs)
    yield from figure_lines([(row.tensor, row.operator, row.figures) for row in rows])


def page(title: str, lines: Sequence[str], diagnosis: Diagnosis, folder: Path) -> str:
    """Return the report in Markdown on what is in `folder`."""
    parts = [f"# {title}\n", *(f"{line}\n" for line in lines)]
    if rows := list(table(diagnosis.probes)):
        parts += ["## Tensors that were compared\n", _block(rows)]
    if (folder / CULPRIT).is_file():
        parts += [f"## `{CULPRIT}`\n", _block(list(nodes_text(folder / CULPRIT)))]
    return "\n".join(parts)


def _block(lines: Sequence[str]) -> str:
    return "\n".join(["```text", *lines, "```", ""])


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto | onnx.GraphProto):
        return f"<{type(value).__name__}>"
    text = str(value)
    return text if not isinstance(value, list) or len(value) <= _MOST_VALUES else f"<{len(value)}>"


def _worst(figures: Mapping[str, Figures]) -> str:
    return "; ".join(f"'{name}' {each}" for name, each in figures.items())


def _figures(diagnosis: Diagnosis, culprit: Culprit) -> Figures:
    probe = next(each for each in diagnosis.probes if each.tensor == culprit.tensor)
    return probe.trial.figures[culprit.tensor]


def _certainty(diagnosis: Diagnosis, culprit: Culprit) -> str:
    if not culprit.is_verified:
        return "not all that its node reads was tried: errors are damped, and it took too many"
    agrees = "can be" if diagnosis.whole.failure else "agrees"
    return f"what its node reads was tried too, and {agrees}"


def _least(culprit: Culprit) -> str:
    if culprit.shown is None:
        return "no part of the segment shows it with the values that onnxruntime computes for it"
    nodes, count = _called(culprit.nodes), len(culprit.nodes)
    if count == 1:
        return f"the node alone shows it, fed with the true values: {nodes}"
    if count <= MOST_NODES:
        together = f"{count} nodes together show it, fed with the true values: {nodes}"
        if any(figure is not None for _, figure in culprit.agreeing):
            return f"{together}, and fewer agree ({_agreeing(culprit)}): they are fused wrongly"
        return f"{together}, and fewer are not taken" if culprit.agreeing else together
    if culprit.shown.failure:
        return f"no {MOST_NODES} nodes fail alone, but {count} do"
    grows = f"the difference grows from node to node ({_agreeing(culprit)})"
    if not is_rounded(culprit.shown.expected[culprit.tensor]):
        grows = "it decides by values that are rounded otherwise, and agree within that"
    return f"with the true values no {MOST_NODES} nodes show it, but {count} do: {grows}"


def _agreeing(culprit: Culprit) -> str:
    known = {count: figure for count, figure in culprit.agreeing if figure is not None}
    figures = [f"{counted(count, 'node')} {figure:.2g}" for count, figure in known.items()]
    return f"relative L2: {', '.join(figures)}" if figures else "fewer are not taken"


def _called(nodes: Sequence[Node]) -> str:
    return " → ".join(f"{node.op_type} '{node.name or node.outputs[0].name}'" for node in nodes)


def _node_text(operator: str, name: str) -> str:
    return f"{operator} node '{name}'" if name else f"an unnamed {operator} node"


def _row(probe: Probe) -> tuple[str, ...]:
    figures = probe.trial.figures.get(probe.tensor)
    if figures is None:
        outcome = "fails" if probe.trial.failure else "is converted"
        return (probe.tensor, probe.operator, outcome, "", "")
    return _cells(probe.tensor, probe.operator, figures)


def _cells(tensor: str, operator: str, figures: Figures) -> tuple[str, ...]:
    if figures.misfit:
        return (tensor, operator, f"{figures.misfit} *", "", "")
    numbers = (figures.relative_l2, figures.largest_difference, figures.largest_value)
    first, *rest = (f"{number:.3g}" for number in numbers)
    return (tensor, operator, first if figures.agrees else f"{first} *", *rest)
