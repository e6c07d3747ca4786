"""mmcv's compiled operators as torch custom ops: implementation, fake kernel, ONNX translation.

One module for each family of operators; `table` joins them, `stand_in` puts them in mmcv's place.
"""

from partition_core.sources.mmdet.ops.stand_in import provide_compiled_ops, traceable_ops
from partition_core.sources.mmdet.ops.table import TRANSLATIONS

__all__ = ["TRANSLATIONS", "provide_compiled_ops", "traceable_ops"]
