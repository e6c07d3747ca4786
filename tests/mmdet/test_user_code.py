"""Code of users inside an mmdet config: no answer for mmdet's own questions holds for it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from partition_core.base.errors import ExportError
from partition_core.recipe.values import (
    Answer,
    ExportOptions,
    MmdetModel,
    Partition,
    Proof,
    Recipe,
    Seed,
    TensorSpec,
)
from partition_core.sources.traced import export_recipe
from partition_core.trace.exporter import TracedExport
from tests.export.support import quietly

PARTS = """
import torch
from torch import nn
from mmdet.models.dense_heads import FCOSHead
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from mmdet.models.utils import filter_scores_and_topk
from mmdet.registry import MODELS, TASK_UTILS


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 8, 1)
        self.last = nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x):
        x = self.stem(x).relu()
        return x, self.last(x).relu()


@MODELS.register_module()
class PlainBackbone(Plain):
    pass


@MODELS.register_module()
class AskingBackbone(Plain):
    def forward(self, x):
        if (x.abs() < 9).all():
            x = x * 2
        return super().forward(x)


@TASK_UTILS.register_module()
class AskingCoder(DistancePointBBoxCoder):
    def decode(self, points, pred_bboxes, max_shape=None):
        if pred_bboxes.numel() > 0:  # the same words as mmdet's, in code that nobody has read
            pred_bboxes = pred_bboxes + 1
        return super().decode(points, pred_bboxes, max_shape)


@MODELS.register_module()
class AskingHead(FCOSHead):
    def _bbox_post_process(self, results, cfg, rescale=False, with_nms=True, img_meta=None):
        few = results.bboxes.shape[0] <= 3
        if few:
            results.scores = results.scores * 0.5
        return super()._bbox_post_process(results, cfg, rescale, with_nms, img_meta)
"""

CONFIG = """
custom_imports = dict(imports=['asking_parts'])
model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[120, 120, 120], std=[60, 60, 60], pad_size_divisor=16),
    backbone=dict(type='{backbone}'),
    neck=dict(type='ChannelMapper', in_channels=[8, 8], out_channels=8, kernel_size=1),
    bbox_head=dict(
        type='{head}', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
        strides=[8, 16], regress_ranges=((-1, 32), (32, 1e8)), norm_cfg=None,
        bbox_coder=dict(type='{coder}')),
    test_cfg=dict(
        nms_pre=50, min_bbox_size=0, score_thr=0.01, max_per_img=10,
        nms=dict(type='nms', iou_threshold=0.5)))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_shape', 'scale_factor', 'ori_shape')),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "asking_parts.py").write_text(PARTS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def exported(
    folder: Path,
    *answers: Answer,
    backbone: str = "PlainBackbone",
    head: str = "FCOSHead",
    coder: str = "DistancePointBBoxCoder",
) -> TracedExport:
    text = CONFIG.format(backbone=backbone, head=head, coder=coder)
    (folder / "config.py").write_text(text)
    recipe = Recipe(
        "asking",
        MmdetModel("config.py", (), Seed(0)),
        ExportOptions(
            (TensorSpec("input", (1, 3, 96, 96), "float32"),), (), (), 20, answers=answers
        ),
        (),
        Partition("none", ()),
        Proof(1e-4, ()),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export_recipe(recipe, folder, None, quietly)


def line(code: str) -> int:
    (number,) = [n for n, text in enumerate(PARTS.splitlines(), 1) if text.strip().startswith(code)]
    return number


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"backbone": "AskingBackbone"}, "if (x.abs() < 9).all():"),
        ({"coder": "AskingCoder"}, "if pred_bboxes.numel() > 0:"),
        ({"head": "AskingHead"}, "if few:"),
    ],
    ids=["backbone", "called back by mmdet", "around a function of mmdet"],
)
def test_a_question_of_a_users_part_stops_the_export_with_its_line(
    folder: Path, part: dict[str, str], code: str
) -> None:
    with pytest.raises(ExportError) as error:
        exported(folder, **part)
    assert str(error.value).startswith(f"model: asking_parts.py:{line(code)}: '{code}")
    assert "takes a branch that depends on the input" in str(error.value)


# That mmdet's answers hold beside a user's own the next one looks at.
@pytest.mark.thorough
def test_a_part_that_asks_nothing_leaves_mmdets_questions_to_mmdets_answers(folder: Path) -> None:
    decisions = exported(folder).notes["decisions"]
    assert {decision["source"].partition("/")[0] for decision in decisions} == {"mmdet"}
    assert not any(decision["assumed"] for decision in decisions)


def test_a_user_may_answer_for_their_own_part(folder: Path) -> None:
    at = f"asking_parts.py:{line('if few:')}"
    made = exported(folder, Answer(at, False, "scores are the same"), head="AskingHead")
    assumed = [decision for decision in made.notes["decisions"] if decision["assumed"]]
    assert [(each["source"], each["answer"]) for each in assumed] == [(at, False)]
    others = [each for each in made.notes["decisions"] if not each["assumed"]]
    assert {each["source"].partition("/")[0] for each in others} == {"mmdet"}
    assert sum(bool(one.kind) for one in made.recording.samples) == 8
