"""A table of native functions that read files without an audit event. Pure.

A file that another function reads can be declared in the recipe, `model.depends_on`.
"""

from __future__ import annotations

from typing import NamedTuple


class Reader(NamedTuple):
    """A function by its path in its module, and the position and name of its path argument."""

    function: str
    position: int
    name: str


READERS: dict[str, tuple[Reader, ...]] = {
    "cv2": (
        Reader("imread", 0, "filename"),
        Reader("imreadmulti", 0, "filename"),
        Reader("FileStorage", 0, "filename"),
    ),
    "h5py.h5f": (Reader("open", 0, "name"),),
    "onnxruntime.capi.onnxruntime_inference_collection": (
        Reader("InferenceSession.__init__", 1, "path_or_bytes"),
    ),
    "safetensors._safetensors_rust": (Reader("safe_open", 0, "filename"),),
    "tokenizers": (Reader("Tokenizer.from_file", 0, "path"),),
    "torch": (Reader("from_file", 0, "filename"),),
    "torch._C": (
        Reader("PyTorchFileReader.__init__", 1, "file_name"),
        Reader("import_ir_module", 1, "filename"),
    ),
    "torchvision.io.image": (Reader("read_file", 0, "path"), Reader("read_image", 0, "path")),
}
