"""Code of users beside mmdet's, traced with what mmdet needs: it is what it is in PyTorch."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import BaseDataElement, InstanceData
from torch import nn
from torch.nn import functional

from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.replacements import mmdet_rules
from partition_core.trace.tracing import traceable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mmcv warns of its own imports
    provide_compiled_ops()
    from mmcv.ops import batched_nms

pytestmark = pytest.mark.filterwarnings("ignore")
SAMPLE = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
OTHER = torch.randn(6, 6, generator=torch.Generator().manual_seed(2))


class Calls(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # torch.export refuses to write into an input.
        return self.function(x + 0)


def written_through_detached(x: torch.Tensor) -> torch.Tensor:
    x.detach().add_(1)
    y = x.detach()
    y[0] = 0
    return x * 2 + y


def written_before_detaching(x: torch.Tensor) -> torch.Tensor:
    y = x.detach()
    x[:, 0] = 5
    return y - 1


def turned_detached(x: torch.Tensor) -> torch.Tensor:
    y = x.detach()
    y.t_()
    return x @ y


def mask_detached(x: torch.Tensor) -> torch.Tensor:
    mask = x > 0
    other = mask.detach()
    other[0] = False
    return torch.where(mask, x, 0.0)


def copied(x: torch.Tensor) -> torch.Tensor:
    twice = copy.deepcopy({"one": x, "same": [x]})
    twice["one"].add_(1)
    return x + twice["same"][0]


def range_with_a_named_bound(x: torch.Tensor) -> torch.Tensor:
    return x + torch.arange(start=0, end=12 / 2) / 4


def rounded_range(x: torch.Tensor) -> torch.Tensor:
    return x + torch.arange(0, 6) // 4


def pooled(x: torch.Tensor) -> torch.Tensor:
    return functional.adaptive_max_pool2d(x[None], (None, 4))


def convolved(x: torch.Tensor) -> torch.Tensor:
    maps = x.reshape(1, 2, 3, -1)
    return functional.conv2d(maps, maps.view(4, 1, 3, -1), padding="same", groups=2)


def last_instance(x: torch.Tensor) -> torch.Tensor:
    found = InstanceData(bboxes=x[:, :4], scores=x[:, 4])
    return found[-1].bboxes + found[2].scores + found[:-4].bboxes.sum()


def instances_by_mask(x: torch.Tensor) -> torch.Tensor:
    found = InstanceData(bboxes=x[:, :4], scores=x[:, 4])
    return found[found.scores > -9].bboxes + found[[1, 1, 0, 2, 3, 4]].scores[:, None]


def names_of_instances(x: torch.Tensor) -> torch.Tensor:
    sample = DetDataSample(metainfo={"scale": 3})
    sample.pred_instances = InstanceData(bboxes=x)
    assert "pred_instances" in sample.keys()  # noqa: SIM118 - reason: keys() is what is replaced
    return x * len(sample.keys())


def builtin_functions(x: torch.Tensor) -> torch.Tensor:
    return x * max(len(x), 3) + min([4, 2]) + sum(range(3))


def suppressed(x: torch.Tensor, batched: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> Any:
    kept = x[x[:, 0] > 0]
    boxes = torch.cat([kept[:, 1:3] - 1, kept[:, 1:3] + kept[:, 3:5].abs() + 1], dim=1)
    # As many boxes as the limit are suppressed class by class, whatever else is asked for.
    config = {"type": "nms", "iou_threshold": 0.1, "split_thr": 4}
    return batched(boxes, kept[:, 5], (kept[:, 4] > 0).long(), config, class_agnostic=True)[0]


def suppressed_by_another_name(x: torch.Tensor) -> torch.Tensor:
    return suppressed(x, ANOTHER_NAME)


def suppressed_inside_another_function(x: torch.Tensor) -> torch.Tensor:
    return suppressed(x, around)


ANOTHER_NAME = batched_nms


@functools.wraps(batched_nms)
def around(*args: Any, **options: Any) -> Any:
    return ANOTHER_NAME(*args, **options)


@pytest.mark.parametrize(
    "function",
    [
        suppressed_by_another_name,
        suppressed_inside_another_function,
        written_through_detached,
        written_before_detaching,
        turned_detached,
        mask_detached,
        copied,
        range_with_a_named_bound,
        rounded_range,
        pooled,
        convolved,
        last_instance,
        instances_by_mask,
        names_of_instances,
        builtin_functions,
    ],
    ids=lambda function: function.__name__,
)
def test_what_a_trace_of_mmdet_replaces_changes_no_result_of_other_code(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    module = Calls(function)
    with traceable(), mmdet_rules(), torch.no_grad():
        program = torch.export.export(module, (SAMPLE.clone(),), strict=False)
    for x in (SAMPLE, OTHER, SAMPLE + 9):
        found, expected = program.module()(x.clone()), module(x.clone())
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected)


def test_mmcvs_suppression_is_its_own_again_after_the_trace() -> None:
    code, names = batched_nms.__code__, set(batched_nms.__globals__)
    with mmdet_rules():
        assert batched_nms.__code__ is not code
    assert batched_nms.__code__ is code
    assert set(batched_nms.__globals__) == names


def test_fields_have_the_names_that_mmengine_gives_them_in_the_order_of_their_setting() -> None:
    elements: list[BaseDataElement] = [DetDataSample(metainfo={"scale": 3}), InstanceData()]
    for name in ("scores", "bboxes", "labels"):
        elements[1].set_field(torch.ones(2), name)
    elements[0].pred_instances = elements[1]  # type: ignore[attr-defined]
    elements[0].set_field(torch.ones(1), "extra")
    plain = [set(one.keys()) for one in elements]
    with mmdet_rules():
        ordered = [one.keys() for one in elements]
    assert [set(names) for names in ordered] == plain
    assert ordered == [["pred_instances", "extra"], ["scores", "bboxes", "labels"]]


def test_where_lengths_are_not_compared_pytorch_gives_nothing_to_be_equal_to() -> None:
    # While a model is traced fields may differ in length; where they do, mmengine raises.
    found: Any = InstanceData(bboxes=torch.ones(3, 4))
    with pytest.raises(AssertionError, match="not consistent"):
        found.scores = torch.ones(2)
