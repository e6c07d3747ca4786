"""ONNX dtypes that numpy lacks, as those of ml_dtypes, which is imported only if needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from partition_core.base.arrays import Array


@dataclass(frozen=True)
class RareDtype:
    """A dtype: its name in ml_dtypes, the bits of an element, and its number in ONNX
    (`TensorProto.DataType`).

    Elements of less than 8 bits are packed two or four to a byte, the first in the lowest bits
    (ONNX, `TensorProto.raw_data`); in numpy each has a byte.
    """

    name: str
    bits: int
    number: int

    def numpy(self) -> np.dtype[Any]:
        """Return the dtype in numpy."""
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, self.name))
        return dtype

    @property
    def raw(self) -> np.dtype[Any]:
        """The unsigned integer dtype with the bits of an element in numpy."""
        return np.dtype(np.uint16 if self.bits > 8 else np.uint8)


RARE = {
    "bfloat16": RareDtype("bfloat16", 16, 16),
    "float8e4m3fn": RareDtype("float8_e4m3fn", 8, 17),
    "float8e4m3fnuz": RareDtype("float8_e4m3fnuz", 8, 18),
    "float8e5m2": RareDtype("float8_e5m2", 8, 19),
    "float8e5m2fnuz": RareDtype("float8_e5m2fnuz", 8, 20),
    "float8e8m0": RareDtype("float8_e8m0fnu", 8, 24),
    "float4e2m1": RareDtype("float4_e2m1fn", 4, 23),
    "int4": RareDtype("int4", 4, 22),
    "uint4": RareDtype("uint4", 4, 21),
    "int2": RareDtype("int2", 2, 26),
    "uint2": RareDtype("uint2", 2, 25),
}
"""The dtypes that numpy lacks, by ONNX's name in lower case."""
_BY_NAME = {rare.name: rare for rare in RARE.values()}
RARE_NAMES = frozenset(_BY_NAME)
"""Their names in ml_dtypes and torch."""


def rare_dtype(dtype: np.dtype[Any]) -> RareDtype | None:
    """Return the rare dtype, or None for one of numpy's own."""
    return _BY_NAME.get(dtype.name)


def named_dtype(name: str) -> RareDtype:
    """Return the dtype that ml_dtypes calls `name`; raises KeyError."""
    return _BY_NAME[name]


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether elements of `dtype` are rounded."""
    return dtype.kind == "f" or (dtype.name in _BY_NAME and "float" in dtype.name)


def is_number(dtype: np.dtype[Any]) -> bool:
    """Return whether elements of `dtype` are numbers or booleans, which can be compared."""
    return dtype.kind in "fiub" or dtype.name in _BY_NAME


def packed(array: Array, bits: int) -> bytes:
    """Return the elements of an array, of less than 8 bits each, as ONNX packs them."""
    raw = array.reshape(-1).view(np.uint8) & ((1 << bits) - 1)
    count = 8 // bits
    padded = np.pad(raw, (0, -len(raw) % count)).reshape(-1, count)
    shifted = padded << (np.arange(count, dtype=np.uint8) * bits).astype(np.uint8)
    return bytes(np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8))


def unpacked(content: bytes, size: int, bits: int) -> Array:
    """Return `size` elements of `bits` each, from the bytes of `packed`, one byte for each."""
    raw = np.frombuffer(content, np.uint8)[:, None]
    shifts = (np.arange(8 // bits) * bits).astype(np.uint8)
    return ((raw >> shifts) & ((1 << bits) - 1)).astype(np.uint8).reshape(-1)[:size]
