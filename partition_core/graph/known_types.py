"""Completes the types of boundary tensors that onnx does not infer; must not run anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from partition_core.base.errors import CutError, Problem, one_of, problem, suggestion
from partition_core.graph.boundary import first_known, known_type
from partition_core.graph.file import graph_reader as at
from partition_core.graph.file.graph import Model
from partition_core.graph.file.value_type import DTYPES, Dim, ValueType, tensor_info
from partition_core.graph.file.wire import named, sized
from partition_core.graph.inference import inferred_info, order_problem
from partition_core.graph.marks import MarkedTensor, MarkTable
from partition_core.graph.skeleton import skeleton_bytes
from partition_core.recipe.input_forms import TensorType
from partition_core.recipe.values import BoundaryType, Segment
from partition_core.recipe.yaml_tree import path_text

Ask = Callable[[bytes], Mapping[str, tuple[str, tuple[Dim, ...]]]]
"""Returns the dtypes and dims of a file's outputs as a runtime infers them, none if it cannot load
the file. Dims may be empty for an unknown rank."""

_NUMBERS = {name: number for number, name in DTYPES.items()}
_OF_INFERENCE = "unk__"
"""The prefix of the symbols that onnx's inference makes up for dims it does not know."""
_OUTPUT_NAME = 1  # the field of ValueInfoProto


def boundary_tensors(table: MarkTable, segments: Sequence[Segment]) -> list[MarkedTensor]:
    """Return the tensors that the references of `segments` select, each value once."""
    selected = [
        table.select(reference, "")
        for segment in segments
        for reference in (*segment.start, *segment.end, *segment.sizes_from)
    ]
    tensors = [t for each in selected if not isinstance(each, Problem) for t in each]
    return list({tensor.value: tensor for tensor in tensors}.values())


def complete_types(
    model: Model, tensors: Sequence[MarkedTensor], given: Sequence[BoundaryType], ask: Ask
) -> None:
    """Write the types of `tensors` into `model` where onnx does not infer a dtype and a rank.

    They come from `ask`, and from what a recipe has `given`. Raises CutError, at YAML paths below
    `types`, for a type of another tensor, and for one that contradicts what is known.
    """
    by_name = {tensor.value.name: tensor for tensor in tensors}
    known, asked = _known(model, by_name, ask)
    CutError.refuse(
        each for item in given for each in _mistakes(item, known.get(item.tensor), by_name)
    )
    if given:
        for item in given:
            _write(by_name[item.tensor], ValueType("", _NUMBERS[item.dtype], item.dims))
        model.inferred = None  # what is computed from these can be inferred now
        _, asked = _known(model, by_name, ask)
    for name, kind in asked.items():
        if kind.dtype and kind.dims is not None:
            _write(by_name[name], kind)


def misfits(
    given: Sequence[BoundaryType],
    declared: Mapping[str, ValueType],
    seen: Mapping[str, TensorType],
) -> list[Problem]:
    """Return a problem for each `given` type that a tensor does not have in a run.

    `seen` has the types in that run, and `declared` those of boundary tensors and inputs, by name.
    A symbol is one size wherever it stands.
    """
    expected = {item.tensor: TensorType(item.dtype, item.dims) for item in given}
    problems = [
        problem(_at(name), f"'{name}' is {seen[name]} where the model runs", f"expected {kind}")
        for name, kind in expected.items()
        if name in seen and not _fits(seen[name], kind)
    ]
    return problems or list(_torn_symbols(given, declared, seen))


def _torn_symbols(
    given: Sequence[BoundaryType],
    declared: Mapping[str, ValueType],
    seen: Mapping[str, TensorType],
) -> Iterator[Problem]:
    owners = {dim: item.tensor for item in reversed(given) for dim in item.dims}
    sizes: dict[Dim, tuple[Dim, str]] = {}
    for name in filter(seen.__contains__, declared):
        for dim, size in zip(declared[name].dims or (), seen[name].dims or (), strict=False):
            if not isinstance(dim, str) or dim not in owners:
                continue
            other, by = sizes.setdefault(dim, (size, name))
            if other != size:
                what = f"'{dim}' is {other} in '{by}' and {size} in '{name}' where the model runs"
                at_owner = _at(owners.pop(dim))
                yield problem(at_owner, what, "a symbol stands for one size", "use another one")


def _known(
    model: Model, tensors: Mapping[str, MarkedTensor], ask: Ask
) -> tuple[dict[str, ValueType], dict[str, ValueType]]:
    """Return what is known of tensors, and of those among them that `ask` was asked about."""

    def inferred(name: str) -> bytes:
        return inferred_info(model, name)

    known = {name: known_type(tensor, inferred) for name, tensor in tensors.items()}
    types = {name: kind for name, (kind, other) in known.items() if not other}
    open_types = [name for name, kind in types.items() if not kind.dtype or kind.dims is None]
    if not open_types or order_problem(model.graph):
        return (
            types,
            {},
        )  # onnxruntime sorts nodes that are not in order, which is refused elsewhere
    answers = ask(_question(model, open_types))
    for name in open_types:
        if name in answers:
            dtype, dims = answers[name]
            _, (rank,) = answers[_rank_of(name)]
            asked = ValueType("", _NUMBERS.get(dtype, 0), None if rank is None else dims)
            types[name] = first_known([types[name], asked])
    return types, {name: types[name] for name in open_types}


def _question(model: Model, names: Sequence[str]) -> bytes:
    """Return `model` without its weights, with tensors and the Shape of each as outputs.

    The dims of that Shape are the rank. It is the only way to tell a scalar from an unknown rank in
    onnxruntime, which has the same dims for both.
    """
    own = {value.name for value in model.graph.outputs}
    content = b""
    for name in names:
        node = named(at.NODE_INPUT, name) + named(at.NODE_OUTPUT, _rank_of(name))
        content += sized(at.NODES, node + named(at.OP_TYPE, "Shape"))
        for output in (name, _rank_of(name)):
            if output not in own:
                content += sized(at.OUTPUTS, named(_OUTPUT_NAME, output))
    return skeleton_bytes(model, for_onnx=False) + sized(at.GRAPH, content)


def _rank_of(name: str) -> str:
    return f"rank of {name}"


def _mistakes(
    item: BoundaryType, kind: ValueType | None, known: Mapping[str, object]
) -> Iterator[Problem]:
    if item.tensor not in known:
        what = f"no segment starts or ends at a tensor '{item.tensor}'"
        yield problem(_at(item.tensor), what, one_of(known), suggestion(item.tensor, known))
        return
    given = TensorType(item.dtype, item.dims)
    if kind is None:
        yield problem(_at(item.tensor), f"'{item.tensor}' is not a tensor", "", "remove it")
    elif not _agrees(kind, given):
        inferred = TensorType(DTYPES.get(kind.dtype, "of an unknown dtype"), kind.dims)
        what = f"{given} contradicts the model, which makes '{item.tensor}' {inferred}"
        yield problem(_at(item.tensor), what, "expected what is not known of it", "remove it")


def _agrees(kind: ValueType, given: TensorType) -> bool:
    if kind.dtype and DTYPES[kind.dtype] != given.dtype:
        return False
    pairs = zip(kind.dims or (), given.dims or (), strict=False)
    return kind.dims is None or (
        len(kind.dims) == len(given.dims or ())
        and all(
            dim is None or dim == other or (isinstance(dim, str) and dim.startswith(_OF_INFERENCE))
            for dim, other in pairs
        )
    )


def _fits(seen: TensorType, expected: TensorType) -> bool:
    sizes, dims = seen.dims or (), expected.dims or ()
    return (
        seen.dtype == expected.dtype
        and len(sizes) == len(dims)
        and all(isinstance(d, str) or d == size for d, size in zip(dims, sizes, strict=True))
    )


def _write(tensor: MarkedTensor, kind: ValueType) -> None:
    value = tensor.value
    value.info = tensor_info(value.name, kind.dtype, kind.dims or (), value.info)


def _at(name: str) -> str:
    return path_text(("types", name))
