"""Every model of onnx's own backend tests that has an interior tensor, cut at several of them."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import onnx
import onnx.checker
import pytest

from partition_core.base.errors import CutError
from tests.cutting.chains import Cut, Values, cut_in_two, cuts, equal, evaluate, run

from .backend_models import SHARES, Case

pytestmark = pytest.mark.usefixtures("native_code_here")

CUTS_OF_A_MODEL = 4
UNKNOWN_RANK = "a boundary needs a dtype and a rank"


def verdict(model: Path, halves: tuple[Path, Path], cut: Cut, feeds: Values) -> str:
    """Return how the chain of the halves compares to the whole: in onnxruntime, or else in
    onnx's evaluator."""
    proto = onnx.load(model)
    if any(node.op_type.startswith("Random") for node in proto.graph.node):
        return "random"
    half_precision = any(
        item.type.tensor_type.elem_type in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
        for item in (*proto.graph.input, *onnx.shape_inference.infer_shapes(proto).graph.value_info)
    )
    # onnxruntime keeps float32 between the nodes of a float16 model and rounds at its boundary.
    for engine in (evaluate,) if half_precision else (run, evaluate):
        try:
            whole = engine(model, feeds)
            middle = engine(halves[0], feeds)
            made = engine(halves[1], {**feeds, **middle})
        except Exception:  # noqa: S112  # engines raise what they like for what they lack
            continue
        same = all(equal(whole[name], made[name]) for name in cut.outputs)
        return "equal" if same else "different"
    return "no engine runs it"


@pytest.mark.parametrize(("source", "share", "shares"), SHARES)
def test_models_of_the_onnx_package_are_cut_into_valid_parts_that_chain(
    source: Callable[[], Iterable[Case]],
    share: int,
    shares: int,
    tmp_path: Path,
    record_property: Any,
) -> None:
    told: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    for name, model, values in itertools.islice(source(), share, None, shares):
        found = cuts(model.graph, CUTS_OF_A_MODEL)
        told["models"] += 1
        told["models with an interior tensor"] += bool(found)
        file = tmp_path / "whole.onnx"
        file.write_bytes(model.SerializeToString())
        weights = {item.name for item in model.graph.initializer}
        inputs = [item.name for item in model.graph.input if item.name not in weights]
        for cut in found:
            told["cuts"] += 1
            try:
                halves = cut_in_two(file, cut, tmp_path)
            except CutError as error:
                told["refused: rank not known"] += UNKNOWN_RANK in str(error)
                if UNKNOWN_RANK not in str(error):
                    wrong.append(f"{name} at {cut.position}: {error}")
                continue
            if len(values) != len(inputs):
                told["valid, no inputs to run it on"] += 1
                continue
            found_to_be = verdict(file, halves, cut, dict(zip(inputs, values, strict=True)))
            told[f"valid, {found_to_be}"] += 1
            if found_to_be == "different":
                wrong.append(f"{name} at {cut.position}: the chain is not the whole")
    print(dict(told))
    record_property("told", dict(told))
    assert not wrong
    assert told["valid, equal"] > told["cuts"] * 0.3
