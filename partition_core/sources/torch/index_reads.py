"""Finds the tables that the inputs of a torch model index, in one run.

Only operators that keep the elements of an input or shift them by a constant are followed; other
values that depend on an input reveal nothing, and are not constants either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from partition_core.base.index_ranges import (
    UNFOLLOWED,
    IndexReads,
    Origin,
    Origins,
    Ranges,
    joined,
    moved,
    scaled,
)
from partition_core.trace.structure import tensors

Tensor = torch.Tensor
Arguments = tuple[Any, ...]

_KEEPING = frozenset(
    (
        "_to_copy", "_unsafe_view", "abs", "alias", "as_strided", "clamp", "clamp_max",
        "clamp_min", "clone", "constant_pad_nd", "detach", "diagonal", "expand", "fill", "flip",
        "fmod", "gather", "index", "index_select", "lift_fresh", "masked_fill", "masked_select",
        "permute", "remainder", "repeat", "repeat_interleave", "_reshape_alias", "roll", "round",
        "select", "slice", "split", "split_with_sizes", "squeeze", "t", "take", "transpose",
        "tril", "triu", "trunc", "unbind", "unfold", "unsqueeze", "view",
    )
)  # fmt: skip
"""Operators whose results have elements of their first argument.

Some also have elements that come from no input. A clamp or remainder of an index lies between
indexes that are in the table.
"""
_CHOOSING = frozenset(
    ("amax", "amin", "cummax", "cummin", "max", "min", "sort", "topk", "kthvalue", "mode")
)
"""Operators of which only the first result has elements of the first argument."""
_JOINING: dict[str, Callable[[Arguments], Any]] = {
    "cat": lambda a: a[0],
    "copy": lambda a: a[1:2],
    "_index_put_impl": lambda a: a[0:3:2],
    "index_put": lambda a: a[0:3:2],
    "masked_scatter": lambda a: a[0:3:2],
    "maximum": lambda a: a[:2],
    "minimum": lambda a: a[:2],
    "scatter": lambda a: a[0:4:3],
    "select_scatter": lambda a: a[:2],
    "slice_scatter": lambda a: a[:2],
    "stack": lambda a: a[0],
    "where": lambda a: a[1:3],
}
"""Operators whose result has elements of several arguments, and which arguments those are."""

_ROWS = {
    "embedding": (0, 1), "embedding_renorm": (0, 1), "_embedding_bag": (0, 1),
    "_embedding_bag_forward_only": (0, 1),
}  # fmt: skip
"""Operators that read rows of a table: the positions of the table and the index."""
_ALONG_DIM = frozenset(
    (
        "gather", "index_add", "index_copy", "index_fill", "index_reduce", "index_select",
        "scatter", "scatter_add", "scatter_reduce",
    )
)  # fmt: skip
"""Operators with the arguments table, dim and index in this dim."""
_BY_LIST = frozenset(
    ("_index_put_impl", "_unsafe_index", "_unsafe_index_put", "index", "index_put")
)
"""Operators with the arguments table and a list with an index or None for each dim."""
_FLAT = frozenset(("put", "take"))
_CLASSES = frozenset(("nll_loss_forward", "nll_loss2d_forward"))


class _Follower(TorchDispatchMode):  # type: ignore[no-untyped-call]  # reason: torch ships no annotations for it
    """Records what the inputs of a model index while it runs.

    The origins belong to the storages that depend on an input, so that all views share them; a
    storage is kept alive, so that no other tensor reuses its address. Empty origins mean that a
    value depends on an input in a way that is not followed. Only floats that contain an input's
    elements have origins; what is computed from other floats counts as such a dependent.
    """

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # reason: as above
        self.reads = IndexReads()
        self._known: dict[int, tuple[Tensor, Origins]] = {}
        for name, tensor in inputs.items():
            if not tensor.is_floating_point():
                self._know(tensor, frozenset([Origin(name)]))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Arguments = (), kwargs: Any = None
    ) -> Any:
        name = str(func.overloadpacket).removeprefix("aten.")
        base = name.rstrip("_")
        # Before the call: one that raises for an index out of range has revealed the size.
        for origins, size in self._reads_of(base, args):
            self.reads.note(origins, size)
        origins = self._origins(base, args, kwargs or {})
        depends = self._depends((args, kwargs))
        result = func(*args, **(kwargs or {}))
        for number, (_, tensor) in enumerate(_tensors(result)):
            own = UNFOLLOWED if number and base in _CHOOSING else origins
            is_written = name != base
            if own and tensor.dtype != torch.bool:
                self._know(tensor, own, is_written)
            elif depends and not tensor.is_floating_point():
                self._know(tensor, UNFOLLOWED, is_written)
        return result

    def _know(self, tensor: Tensor, origins: Origins, is_written: bool = False) -> None:
        storage = tensor.untyped_storage()
        if not storage.nbytes():
            return
        known = self._known.get(storage.data_ptr())
        # A write to a part of a storage, or a view of it, leaves the rest.
        if known is not None and not (is_written and tensor.nbytes == storage.nbytes()):
            origins = joined((origins, known[1])) if origins and known[1] else known[1] or origins
        self._known[storage.data_ptr()] = tensor, origins

    def _of(self, value: Any) -> Origins | None:
        """Return the origins of a tensor, None if it depends on no input."""
        if not isinstance(value, Tensor):
            return None
        known = self._known.get(value.untyped_storage().data_ptr())
        return None if known is None else known[1]

    def _depends(self, arguments: Any) -> bool:
        return any(
            tensor.is_floating_point() or self._of(tensor) is not None
            for _, tensor in _tensors(arguments)
        )

    def _origins(self, base: str, args: Arguments, kwargs: Mapping[str, Any]) -> Origins:
        if base in _JOINING:
            return joined(self._of(value) or UNFOLLOWED for value in _JOINING[base](args))
        if base in _KEEPING or base in _CHOOSING:
            return self._of(args[0]) or UNFOLLOWED
        if base == "neg":
            return scaled(self._of(args[0]) or UNFOLLOWED, -1)
        if base in ("add", "sub", "rsub", "mul"):
            return self._arithmetic(base, args, kwargs.get("alpha", 1))
        return UNFOLLOWED

    def _arithmetic(self, base: str, args: Arguments, alpha: Any) -> Origins:
        first, second = self._of(args[0]), self._of(args[1])
        if first and second is None:
            bounds, followed, is_second = _bounds(args[1]), first, False
        elif second and first is None:
            bounds, followed, is_second = _bounds(args[0]), second, True
        else:
            return UNFOLLOWED
        if bounds is None or alpha != 1:
            return UNFOLLOWED
        low, high = bounds
        if base == "mul":
            return scaled(followed, low) if low == high else UNFOLLOWED
        if base == "add":
            return moved(followed, low, high)
        if is_second == (base == "sub"):
            return moved(scaled(followed, -1), low, high)
        return moved(followed, -high, -low)

    def _reads_of(self, base: str, args: Arguments) -> Iterator[tuple[Origins, int]]:
        """Yield the origins of each index that an operator reads, and the rows of its table."""
        for table, index, size in _indexed(base, args):
            origins = self._of(index)
            if origins and isinstance(table, Tensor):
                yield origins, size


def _indexed(base: str, args: Arguments) -> Iterator[tuple[Any, Any, int]]:
    """Yield each index that an operator reads, with its table and the number of its rows."""
    if base in _ROWS:
        table, index = (args[position] for position in _ROWS[base])
        yield table, index, len(table)
    elif base in _ALONG_DIM:
        table, dim, index = args[:3]
        yield table, index, table.shape[dim] if table.dim() else 1
    elif base in _BY_LIST:
        table, dim = args[0], 0
        for index in args[1]:
            is_mask = index is not None and index.dtype in (torch.bool, torch.uint8)
            if index is not None and not is_mask:
                yield table, index, table.shape[dim]
            dim += index.dim() if is_mask else 1
    elif base in _FLAT:
        yield args[0], args[1], args[0].numel()
    elif base in _CLASSES:
        yield args[0], args[1], args[0].shape[1 if args[0].dim() > 1 else 0]


def index_ranges(module: Callable[..., Any], inputs: Mapping[str, Tensor]) -> tuple[Ranges, bool]:
    """Return the ranges of those `inputs` that index tables, and whether the run succeeded.

    `module` is run once on `inputs`, in this order; if it fails, what happened before counts.
    """
    follower = _Follower(inputs)
    try:
        with follower, torch.no_grad():
            module(*inputs.values())
    except Exception:  # a user's model may raise anything
        return follower.reads.ranges(), False
    return follower.reads.ranges(), True


def _tensors(value: Any) -> Iterator[tuple[Any, Tensor]]:
    yield from tensors(value, lambda item: isinstance(item, Tensor))


def _bounds(value: Any) -> tuple[int, int] | None:
    """Return the least and the greatest element of a number or tensor of whole numbers."""
    if isinstance(value, Tensor):
        if value.numel() == 0 or value.is_floating_point() or value.is_complex():
            return None
        return int(value.min()), int(value.max())
    return (int(value), int(value)) if isinstance(value, int | float) and value % 1 == 0 else None
