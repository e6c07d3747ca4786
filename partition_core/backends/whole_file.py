"""A segment as one file, with its weights inside."""

from __future__ import annotations

from partition_core.backends.segment_file import SegmentFile
from partition_core.base.errors import ConversionError, CutError
from partition_core.base.wording import size_text
from partition_core.graph.file.byte_range import Piece
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor_writers import Inline

_LARGEST = (1 << 31) - 1
"""Bytes of the largest message that protobuf reads."""


def whole_pieces(segment: SegmentFile) -> list[Piece]:
    """Return the bytes of the segment's model with all weights inside; nothing is copied.

    Raises ConversionError for more than 2 GB, and for invalid external data.
    """
    try:
        pieces = write_model(segment.model, Inline(segment.model.folder))
    except CutError as error:
        raise ConversionError(*error.problems) from error
    if (size := sum(map(len, pieces))) > _LARGEST:
        what = f"with its weights inside it has {size_text(size)}"
        raise ConversionError(
            segment.problem(what, "expected up to 2 GB", "cut it into smaller segments")
        )
    return pieces
