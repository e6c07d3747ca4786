"""mmcv's compiled operators as torch custom ops: implementation, fake kernel, ONNX translation.

One module per family of operators; `table` combines them, `stand_in` patches them into mmcv.
"""

from partition_core.sources.mmdet.ops.stand_in import provide_compiled_ops, traceable_ops
from partition_core.sources.mmdet.ops.table import TRANSLATIONS

__all__ = ["TRANSLATIONS", "provide_compiled_ops", "traceable_ops"]
