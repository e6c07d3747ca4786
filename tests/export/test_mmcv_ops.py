"""Our stand-ins for mmcv's compiled operators, against a slow reference and a compiled mmcv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.ops.nms import nms
from tests.export.support import export_with_ops, run, saved, without_mmcvs_ops
from tests.export.support import torch_recipe as recipe

from .boxes import EDGES, Boxes, edge, random_boxes, slow_nms


def our_nms(boxes: Boxes, scores: Boxes, threshold: float, offset: int) -> list[int]:
    return nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold, offset).tolist()


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_our_nms_keeps_what_the_slow_reference_keeps(threshold: float, offset: int) -> None:
    removed = 0
    for seed in range(12):
        boxes, scores = random_boxes(seed, 40)
        kept = our_nms(boxes, scores, threshold, offset)
        assert kept == slow_nms(boxes, scores, threshold, offset)
        removed += 40 - len(kept)
    assert (removed > 0) == (threshold < 0.9)
    for name in EDGES:
        assert our_nms(*edge(name), threshold, offset) == slow_nms(*edge(name), threshold, offset)


@pytest.mark.parametrize("threshold", [0.3, 0.5])
@pytest.mark.parametrize("offset", [0, 1])
def test_the_onnx_translation_keeps_the_same_boxes_in_the_same_order(
    threshold: float, offset: int, tmp_path: Path
) -> None:
    path = saved(suppression(threshold, offset), tmp_path)
    cases = [random_boxes(seed, count) for seed in range(6) for count in (0, 1, 2, 30, 200)]
    cases += [edge(name) for name in EDGES]
    removed = 0
    for boxes, scores in cases:
        (found,) = run(path, {"boxes": boxes, "scores": scores}).values()
        assert found.dtype == np.int64
        assert found.tolist() == our_nms(boxes, scores, threshold, offset)
        removed += len(boxes) - len(found)
    assert removed > 100


def suppression(threshold: float, offset: int):  # type: ignore[no-untyped-def]
    from partition_core.recipe.values import DynamicAxis

    free = (DynamicAxis("boxes", 0, "n"), DynamicAxis("scores", 0, "n"))
    args = (("iou_threshold", str(threshold)), ("offset", str(offset)))
    shapes = {"boxes": (6, 4), "scores": (6,)}
    return export_with_ops(recipe("Suppressed", shapes, args=args, dynamic_axes=free)).model


def test_tied_scores_are_taken_in_the_order_of_the_boxes(tmp_path: Path) -> None:
    path = saved(suppression(0.5, 0), tmp_path)
    random = np.random.default_rng(5)
    boxes, _ = random_boxes(5, 60)
    scores = random.integers(0, 3, 60).astype(np.float32)
    (found,) = run(path, {"boxes": boxes, "scores": scores}).values()
    assert found.tolist() == slow_nms(boxes, scores, 0.5, 0)


def test_torch_finds_nothing_wrong_with_our_operator() -> None:
    boxes, scores = (torch.from_numpy(array) for array in random_boxes(1, 20))
    torch.library.opcheck(
        nms, (boxes, scores, 0.5, 0), test_utils=("test_schema", "test_faketensor")
    )


@pytest.mark.parametrize("ties", [False, True])
def test_mmcvs_batched_nms_keeps_boxes_of_other_classes(ties: bool, tmp_path: Path) -> None:
    provide_compiled_ops()
    inputs = {"boxes": (50, 4), "scores": (50,), "idxs": ((50,), "int64")}
    exported = export_with_ops(recipe("Classwise", inputs))
    path = saved(exported.model, tmp_path)
    assert [node.op_type for node in exported.model.graph].count("NonMaxSuppression") == 1
    random = np.random.default_rng(0)
    boxes, scores = random_boxes(3, 50)
    scores = scores.round(1) if ties else scores
    classes = random.integers(0, 3, 50)
    found = run(path, {"boxes": boxes, "scores": scores, "idxs": classes})
    by_class = [
        index
        for kind in range(3)
        for index in np.flatnonzero(classes == kind)[
            slow_nms(boxes[classes == kind], scores[classes == kind], 0.4, 0)
        ]
    ]
    expected = sorted(by_class, key=lambda index: (-scores[index], index))
    assert len(expected) < 50
    assert found["kept"].tolist() == expected
    np.testing.assert_array_equal(found["dets"][:, 4], scores[expected])


def test_a_missing_operator_is_an_error_only_when_it_is_called() -> None:
    said = without_mmcvs_ops("""
import torch
from partition_core.sources.mmdet.ops import TRANSLATIONS, provide_compiled_ops
provide_compiled_ops()
import sys, mmcv.ops
sys.modules["mmcv._ext"].nothing_of_the_kind
try:
    mmcv.ops.sigmoid_focal_loss(torch.ones(1, 2), torch.ones(1, dtype=torch.int64))
except NotImplementedError as error:
    print(error)
""")
    assert said == (
        "mmcv's compiled operator 'sigmoid_focal_loss_forward' is not available: this mmcv has "
        "no compiled operators, and partition-core has no stand-in for it\n"
    )


COMPILED = """
import sys, types, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
import mmcv

calls = []

class Extension(types.ModuleType):
    def nms(self, boxes, scores, iou_threshold, offset):
        calls.append(type(boxes).__name__)
        from tests.export.boxes import slow_nms
        kept = slow_nms(boxes.detach().numpy(), scores.numpy(), iou_threshold, offset)
        return torch.from_numpy(np.array(kept, dtype=np.int64))

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None

extension = Extension("mmcv._ext")
sys.modules["mmcv._ext"] = mmcv._ext = extension

from partition_core.sources.mmdet.ops import TRANSLATIONS, provide_compiled_ops
provide_compiled_ops()
assert sys.modules["mmcv._ext"] is extension
import mmcv.ops
from tests.export.support import *
from partition_core.sources.mmdet.replacements import mmdet_rules
import partition_core.sources.torch.source as source

shapes = {"boxes": (50, 4), "scores": (50,), "idxs": ((50,), "int64")}
real = source.load
def with_rules(*args):
    import dataclasses
    return dataclasses.replace(real(*args), while_traced=mmdet_rules, translations=TRANSLATIONS)
source.load = with_rules
exported = export(torch_recipe("Classwise", shapes))
kinds = [node.op_type for node in exported.model.graph]
assert sys.modules["mmcv.ops.nms"].ext_module is extension
import pathlib
path = saved(exported.model, pathlib.Path(sys.argv[1]))
from tests.export import models
from tests.export.boxes import random_boxes
boxes, scores = random_boxes(0, 50)
feeds = {"boxes": boxes, "scores": scores, "idxs": np.arange(50) % 3}
found = run(path, feeds)
expected = models.Classwise()(*map(torch.from_numpy, feeds.values()))
same = all((found[name] == tensor.numpy()).all() for name, tensor in expected.items())
print(calls, kinds.count("NonMaxSuppression"), same, len(found["kept"]) < 50)
"""


def test_a_compiled_mmcv_serves_pytorch_and_gives_way_while_tracing(tmp_path: Path) -> None:
    # PyTorch ran it to see what its inputs index, for each of the two samples, once more for the
    # first, and at the end; the trace called our operator.
    said = without_mmcvs_ops(COMPILED, str(tmp_path))
    assert said == f"{['Tensor'] * 5} 1 True True\n"
