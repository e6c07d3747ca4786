"""Names and types the tensors at the boundary of a segment; must not import the walk or the cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from partition_core.base.errors import Problem, one_of, problem, suggestion
from partition_core.graph.file.graph import Value
from partition_core.graph.file.value_type import (
    DTYPES,
    Dim,
    ValueType,
    symbols_in,
    tensor_info,
    type_of,
    with_name,
    with_symbols,
)
from partition_core.graph.marks import MarkedTensor
from partition_core.recipe.values import DynamicAxis, Segment

Inferred = Callable[[str], bytes]
"""Returns the ValueInfoProto that shape inference finds for a name, or empty bytes."""

UNTYPED = "a boundary needs a dtype and a rank"
"""The expectation in the message about a tensor of unknown type."""


@dataclass(frozen=True)
class Boundary:
    """A tensor that enters or leaves a segment, under its name there.

    `dims` are sizes or symbols. While a boundary is being built a dim may be None, unknown and
    without a symbol; `named` gives it one. A sequence, an optional or a map has no `dtype` (0)
    and no dims; `other` is its ValueInfoProto. `text` names the type.
    """

    tensor: MarkedTensor
    name: str
    text: str
    dtype: int
    dims: tuple[Dim, ...]
    other: bytes = b""

    @property
    def value(self) -> Value:
        """The unmarked value of the end2end model that this tensor is."""
        return self.tensor.value

    @property
    def symbols(self) -> list[str]:
        """The symbols of its dims, also of those inside a sequence."""
        return [dim for dim in self.dims if isinstance(dim, str)] + symbols_in(self.other)

    def named(self, symbols: Mapping[str, str]) -> Boundary:
        """Return this boundary after renaming `symbols`, each unknown dim with a symbol."""
        dims = tuple(
            f"{self.name}_d{axis}"
            if dim is None
            else dim
            if isinstance(dim, int)
            else renamed(dim, symbols)
            for axis, dim in enumerate(self.dims)
        )
        other = with_symbols(self.other, lambda symbol: renamed(symbol, symbols))
        return replace(self, dims=dims, other=other)

    def info(self, of: bytes) -> bytes:
        """Return its ValueInfoProto; other fields of `of`, that of its value, are kept."""
        if self.other:
            return with_name(self.other, self.name)
        return tensor_info(self.name, self.dtype, self.dims, of)


def renamed(dim: str, symbols: Mapping[str, str]) -> str:
    """Return `dim` after renaming symbols, also those inside an expression such as `2*s0 + 1`."""
    if dim in symbols:
        return symbols[dim]
    return re.sub(r"[^\W\d]\w*", lambda match: symbols.get(match[0], match[0]), dim)


def boundary(tensor: MarkedTensor, name: str, at: str, inferred: Inferred) -> Boundary | Problem:
    """Return the boundary for `tensor`, or the problem that its dtype or rank is unknown."""
    kind, other = known_type(tensor, inferred)
    if other:
        return Boundary(tensor, name, kind.text, 0, (), other)
    if not kind.dtype:
        return _unknown(tensor, kind, "dtype", at)
    if kind.dims is None:
        return _unknown(tensor, kind, "rank", at)
    return Boundary(tensor, name, DTYPES[kind.dtype], kind.dtype, kind.dims)


def known_type(tensor: MarkedTensor, inferred: Inferred) -> tuple[ValueType, bytes]:
    """Return what is known of the type of `tensor`, and its ValueInfoProto if it is composed.

    The unmarked value's own type wins, then that of the mark's output, then the attributes of the
    mark, then shape inference.
    """
    infos = [tensor.value.info, tensor.marked_value.info]
    known = [info for info in infos if type_of(info)] or infos
    own = [kind for kind in (tensor.value.type, tensor.marked_value.type) if kind is not None]
    if own and own[0].composed:
        return own[0], known[0]
    marked = ValueType("", tensor.dtype or 0, _marked_dims(tensor))
    first = first_known([*own, marked])
    if not first.dtype or first.dims is None:
        info = inferred(tensor.value.name)
        kind = type_of(info)
        if kind is not None and kind.composed:
            return kind, info
        first = first_known([first, *([kind] if kind else [])])
    return first, b""


def first_known(types: Sequence[ValueType]) -> ValueType:
    """Return the first dtype and the first shape that one of `types` knows."""
    dtypes = [kind.dtype for kind in types if kind.dtype in DTYPES]
    shapes = [kind.dims for kind in types if kind.dims is not None]
    return ValueType("", next(iter(dtypes), 0), next(iter(shapes), None))


def _marked_dims(tensor: MarkedTensor) -> tuple[Dim, ...] | None:
    if tensor.shape is None:
        return None
    return tuple(None if dim < 0 else dim for dim in tensor.shape)


def _unknown(tensor: MarkedTensor, kind: ValueType, what: str, at: str) -> Problem:
    name = tensor.value.name
    key = name if re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII) else f"'{name}'"
    dtype = DTYPES.get(kind.dtype, "float32")
    shape = "1, c, h, w" if kind.dims is None else ", ".join(map(str, kind.dims))
    return problem(
        at,
        f"the {what} of '{tensor}' is not known",
        UNTYPED,
        f"write `types: {{{key}: {{dtype: {dtype}, shape: [{shape}]}}}}` into the recipe, or the "
        "type into the model",
    )


def boundary_names(
    tensors: Sequence[MarkedTensor], names: Sequence[str], at: str
) -> tuple[str, ...] | Problem:
    """Return the name of each of `tensors`: those of the recipe, or else their own.

    `at` is the YAML path of `names`.
    """
    if not names:
        return tuple(tensor.name for tensor in tensors)
    if len(names) == len(tensors):
        return tuple(names)
    listed = ", ".join(f"'{tensor}'" for tensor in tensors)
    what = f"{len(names)} {'names' if len(names) != 1 else 'name'} for {len(tensors)} "
    what += "tensors" if len(tensors) != 1 else "tensor"
    return problem(at, what, f"expected one for each of {listed}")


def distinctly_named(
    inputs: Sequence[Boundary], outputs: Sequence[Boundary], segment: Segment
) -> tuple[list[Boundary], list[Boundary]]:
    """Return the boundaries, renamed where several have the same name.

    The first keeps its name, the others are prefixed by their mark, so that a further tensor
    changes no name before it. Names that `segment` gives stay. An output that is an input keeps
    the input's name.
    """
    reserved = {*segment.input_names, *segment.output_names}
    owners: dict[str, Boundary] = {}

    def free(name: str, item: Boundary) -> bool:
        owner = owners.get(name)
        return name not in reserved and (owner is None or _is_passed_on(owner, item, inputs))

    def named(item: Boundary) -> Boundary:
        name = next((name for name in (item.name, *_longer(item)) if free(name, item)), item.name)
        owners.setdefault(name, item)
        return replace(item, name=name)

    return (
        list(inputs) if segment.input_names else [named(item) for item in inputs],
        list(outputs) if segment.output_names else [named(item) for item in outputs],
    )


def _is_passed_on(owner: Boundary, item: Boundary, inputs: Sequence[Boundary]) -> bool:
    return owner.value is item.value and owner in inputs and item not in inputs


def _longer(item: Boundary) -> Iterator[str]:
    tensor = item.tensor
    mark = f"{tensor.mark}.{tensor.call}" if tensor.call else tensor.mark
    yield f"{mark}.{item.name}"
    yield f"{mark}.{tensor.side}.{item.name}"


def clashes(boundaries: Sequence[Boundary], at: str) -> list[Problem]:
    """Return a problem for every name that several of `boundaries` have."""
    groups: dict[str, list[str]] = {}
    for item in boundaries:
        groups.setdefault(item.name, []).append(f"'{item.tensor}'")
    return [
        problem(
            at,
            f"{len(group)} boundary tensors are named '{name}': {', '.join(group)}",
            "expected different names",
            "rename them with input_names or output_names",
        )
        for name, group in groups.items()
        if len(group) > 1
    ]


def symbol_renames(
    boundaries: Sequence[Boundary], axes: Sequence[DynamicAxis], used: frozenset[str], at: str
) -> tuple[dict[str, str], list[Boundary], list[Problem]]:
    """Return the renames of symbols that `axes` ask for, the boundaries, and all problems.

    `used` are the symbols of the segment; a dim without one gets its symbol here.
    """
    by_name = {item.name: item for item in boundaries}
    symbols: dict[str, str] = {}
    problems: list[Problem] = []
    origins: dict[str, str] = {}
    for axis in axes:
        where = _axis_place(at, axis)
        named_dim = _dim(by_name, axis, where)
        if isinstance(named_dim, Problem):
            problems.append(named_dim)
            continue
        item, dim = named_dim
        origin = f"{axis.tensor}.{axis.axis}" if dim is None else dim
        if origins.setdefault(axis.symbol, origin) != origin or (
            axis.symbol != dim and axis.symbol in used
        ):
            problems.append(_merged(axis, where))
        elif dim is None:
            dims = (*item.dims[: axis.axis], axis.symbol, *item.dims[axis.axis + 1 :])
            by_name[axis.tensor] = replace(item, dims=dims)
        elif symbols.setdefault(dim, axis.symbol) != axis.symbol:
            problems.append(_split(axis, dim, symbols[dim], where))
    items = [replace(item, dims=by_name[item.name].dims) for item in boundaries]
    return symbols, items, problems


def _axis_place(at: str, axis: DynamicAxis) -> str:
    # In the reader's form of a YAML path, so that the problem gets its line.
    plain = re.fullmatch(r"[\w-]+", axis.tensor, re.ASCII)
    return f"{at}.{axis.tensor}.{axis.axis}" if plain else f"{at}['{axis.tensor}'].{axis.axis}"


def _dim(
    by_name: Mapping[str, Boundary], axis: DynamicAxis, at: str
) -> tuple[Boundary, str | None] | Problem:
    item = by_name.get(axis.tensor)
    if item is None:
        what = f"the segment has no boundary tensor '{axis.tensor}'"
        return problem(at, what, one_of(by_name), suggestion(axis.tensor, by_name))
    if item.other:
        return problem(at, f"'{axis.tensor}' is {item.text}", "only a tensor has dims")
    if not 0 <= axis.axis < len(item.dims):
        what = f"'{axis.tensor}' has no axis {axis.axis}"
        rank = len(item.dims)
        return problem(at, what, f"expected 0 to {rank - 1}" if rank else "it is a scalar")
    dim = item.dims[axis.axis]
    if isinstance(dim, int):
        what = f"the exported model fixed dim {axis.axis} of '{axis.tensor}' at {dim}"
        remedy = "set it in export.dynamic_axes instead"
        return problem(at, what, "only a dim that is not fixed can be named", remedy)
    return item, dim


def _merged(axis: DynamicAxis, at: str) -> Problem:
    what = f"'{axis.symbol}' already names another dim of the segment"
    remedy = "use another name, or give both dims one name in export.dynamic_axes"
    return problem(at, what, "a name stands for one size", remedy)


def _split(axis: DynamicAxis, dim: str, first: str, at: str) -> Problem:
    what = f"dim {axis.axis} of '{axis.tensor}' is '{dim}', which is already renamed '{first}'"
    return problem(at, what, "equal dims have one name", f"call it '{first}' here too")
