"""Models in memory as bytes and back."""

from __future__ import annotations

import onnx

from partition_core.graph.file.byte_range import content_of as bytes_of
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor_writers import Inline


def content_of(model: Model) -> bytes:
    """Return the ONNX file that `model` is written as."""
    return b"".join(map(bytes_of, write_model(model, Inline(model.folder))))


def model_of(text: str) -> Model:
    """Return the model in ONNX's text form."""
    return read_model(onnx.parser.parse_model(text).SerializeToString())
