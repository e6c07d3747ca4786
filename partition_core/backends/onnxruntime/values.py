"""Passes arrays of every ONNX dtype to a session of onnxruntime and back."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.rare_dtypes import RARE, RareDtype, packed, rare_dtype, unpacked

_TENSOR = re.compile(r"tensor\((\w+)\)")


def run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return all outputs of an `onnxruntime.InferenceSession` by name.

    Tensors are arrays; dtypes that numpy lacks are those of ml_dtypes, where onnxruntime itself
    fails or returns integers with their bits. A sequence is a list of arrays.
    """
    outputs = [value.name for value in session.get_outputs()]
    if not any(map(_is_rare, (*session.get_inputs(), *session.get_outputs()))):
        return dict(zip(outputs, session.run(None, dict(inputs)), strict=True))
    # An OrtValue uses the memory of its array, which must live as long.
    bits = {name: _bits_of(array) for name, array in inputs.items()}
    values = {name: _value(array, inputs[name]) for name, array in bits.items()}
    results = session.run_with_ort_values(None, values)
    return {name: _array(value) for name, value in zip(outputs, results, strict=True)}


def _is_rare(value: Any) -> bool:
    match = _TENSOR.fullmatch(value.type)
    return match is not None and match[1] in RARE


def _bits_of(array: Array) -> Array:
    rare = rare_dtype(array.dtype)
    if rare is None:
        return np.asarray(array, order="C")
    if rare.bits >= 8:
        return np.asarray(array, order="C").view(rare.raw)
    # As many elements as the tensor has; the first ones contain all bits.
    bits = np.frombuffer(packed(np.asarray(array, order="C"), rare.bits), np.uint8)
    return np.pad(bits, (0, array.size - len(bits))).reshape(array.shape)


def _value(bits: Array, array: Array) -> Any:
    import onnxruntime

    rare = rare_dtype(array.dtype)
    if rare is None:
        return onnxruntime.OrtValue.ortvalue_from_numpy(bits)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, rare.number)


def _array(value: Any) -> Any:
    match = _TENSOR.fullmatch(value.data_type())
    rare = RARE.get(match[1]) if match else None
    return value.numpy() if rare is None else _read(value, rare)


def _read(value: Any, rare: RareDtype) -> Array:
    size, shape = math.prod(value.shape()), value.shape()
    length = value.tensor_size_in_bytes()
    content = bytes((ctypes.c_ubyte * length).from_address(value.data_ptr())) if size else b""
    if rare.bits < 8:
        bits = unpacked(content, size, rare.bits)
        if rare.name.startswith("int"):  # the sign fills the byte
            bits = np.where(bits >> (rare.bits - 1), bits | 0xFF << rare.bits & 0xFF, bits)
    else:
        bits = np.frombuffer(content, rare.raw)
    return bits.reshape(shape).view(rare.numpy())
