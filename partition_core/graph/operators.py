"""Tells apart the operators of ONNX and those that only onnxruntime has; must not read files.

onnxruntime has operators of its own in ONNX's domains, such as LayerNormalization before opset 17
or SimplifiedLayerNormalization, and its tools write files with them, which onnx.checker rejects.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from partition_core.base.errors import CutError, problem
from partition_core.graph.file.graph import Model, Node
from partition_core.graph.walk import all_nodes

LONG_NAME = "ai.onnx"
"""The other name of the default domain, which onnxruntime accepts and onnx does not."""
_ONNX = ("", "ai.onnx.ml", "ai.onnx.training")


def is_foreign(node: Node, imports: Mapping[str, int]) -> bool:
    """Return whether `node` is in an ONNX domain whose opset has no such operator."""
    domain = "" if node.domain == LONG_NAME else node.domain
    if domain not in _ONNX or domain not in imports:
        return False
    return not _has(node.op_type, imports[domain], domain)


def check_functions(model: Model) -> None:
    """Raise CutError for functions with operators that ONNX lacks: onnxruntime crashes there."""
    CutError.refuse(
        problem(
            f"function '{name}' of domain '{domain}'",
            f"it calls '{node.op_type}', which ONNX does not have in the opset of the function",
            "onnxruntime runs its own operators only outside functions",
            "inline the function: onnx.inliner.inline_local_functions",
        )
        for (domain, name, _), function in model.functions.items()
        for node in all_nodes(function.graph)
        if is_foreign(node, function.opset_imports)
    )


@cache
def _has(op_type: str, version: int, domain: str) -> bool:
    import onnx

    return bool(onnx.defs.has(op_type, version, domain))
