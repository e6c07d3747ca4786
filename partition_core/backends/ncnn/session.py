"""Loads ncnn's files of a segment as a callable, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ncnn
import numpy as np

from partition_core.backends.ncnn.layout import End, read_layout
from partition_core.base.arrays import Array
from partition_core.base.errors import Place, RunError, one_of, problem

_INTEGER = np.iinfo(np.int32)


class Session:
    """A segment in ncnn, called with its inputs by name."""

    def __init__(self, *files: Path, threads: int = 0) -> None:
        param, weights, layout = files
        ends = read_layout(layout)
        self._inputs, self._outputs = ends.inputs, ends.outputs
        self._net = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        for name in ("packed", "storage", "arithmetic"):  # some processors would compute in them
            setattr(self._net.opt, f"use_fp16_{name}", False)
        self._net.opt.use_bf16_storage = False
        if threads:
            self._net.opt.num_threads = threads
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise RunError.at(Place(str(param)), "ncnn cannot load it")

    def __call__(self, inputs: Mapping[str, Array], /) -> dict[str, Array]:
        """Return all outputs by name; raises RunError."""
        RunError.refuse(
            problem(f"input '{end.name}'", "is missing", one_of(each.name for each in self._inputs))
            for end in self._inputs
            if end.name not in inputs
        )
        with self._net.create_extractor() as extractor:
            for end in self._inputs:
                if extractor.input(end.blob, _blob(end, inputs[end.name])):
                    raise RunError.at(f"input '{end.name}'", "ncnn does not take it")
            return {end.name: _output(extractor, end) for end in self._outputs}


def _blob(end: End, array: Array) -> ncnn.Mat:
    if array.dtype != end.dtype or not end.takes(array.shape):
        what = f"it is {array.dtype}[{', '.join(map(str, array.shape))}]"
        dims = ", ".join("?" if dim is None else str(dim) for dim in end.dims)
        raise RunError.at(f"input '{end.name}'", what, f"expected {end.dtype}[{dims}]")
    if array.dtype.kind == "i" and not _INTEGER.min <= array.min() <= array.max() <= _INTEGER.max:
        what = f"it has values from {array.min()} to {array.max()}"
        raise RunError.at(f"input '{end.name}'", what, "ncnn computes with int32")
    computed = np.int32 if array.dtype.kind == "i" else np.float32
    # A layer may work in place: ncnn gets a copy.
    return ncnn.Mat(np.asarray(array, computed, order="C"), batch_index=end.batch_index).clone()


def _output(extractor: ncnn.Extractor, end: End) -> Array:
    status, blob = extractor.extract(end.blob)
    if status:
        raise RunError.at(f"output '{end.name}'", f"ncnn cannot compute it (status {status})")
    array = np.array(blob.numpy(batch_index=end.batch_index), end.dtype)
    if array.ndim != len(end.dims):
        what = f"ncnn gives it {array.ndim} dims, {list(array.shape)}"
        raise RunError.at(f"output '{end.name}'", what, f"expected {len(end.dims)}")
    return array
