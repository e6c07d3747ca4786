"""Shared policies that have no place for a detector's masks: refused before anything is traced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from partition_core.base.errors import ExportError
from partition_core.recipe.policy_fits import check_masks, check_outputs
from partition_core.recipe.values import MasksForm, MmdetModel, Partition, Recipe, Seed
from partition_core.sources.mmdet.detector import quiet_mmdet
from partition_core.sources.traced import export_recipe
from partition_core.trace import exporter
from tests.export.support import quietly

from .detectors import recipe

RTMDET_INS = "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py"


def of_policy(policy: str, masks: MasksForm = "probabilities") -> Recipe:
    given = recipe()
    export = replace(given.export, masks=masks)
    return replace(given, export=export, partition=Partition(policy, ()), marks=())


def test_pasted_masks_are_refused_where_the_policy_has_none() -> None:
    check_masks(of_policy("two_stage_masks"))
    with pytest.raises(ExportError, match=r"'export.masks' is 'pasted'; write 'type: back"):
        check_masks(of_policy("two_stage_masks", "pasted"))


@pytest.mark.parametrize(
    ("policy", "masks", "fitting"),
    [
        ("single_stage", "probabilities", "backbone_head"),
        ("two_stage", "probabilities", "two_stage_masks"),
        ("two_stage", "pasted", "backbone_head"),
        ("two_stage_masks", "probabilities", ""),
        ("backbone_head", "pasted", ""),
    ],
)
def test_a_model_with_masks_needs_a_policy_that_gives_them(
    policy: str, masks: MasksForm, fitting: str
) -> None:
    given = of_policy(policy, masks)
    check_outputs(given, ("dets", "labels"))
    if not fitting:
        check_outputs(given, ("dets", "labels", "masks"))
        return
    with pytest.raises(ExportError) as error:
        check_outputs(given, ("dets", "labels", "masks"))
    assert str(error.value) == (
        f"partition.type: policy '{policy}' is for detectors without masks, and the model outputs "
        f"masks; write 'type: {fitting}', or segments of your own (docs/policies.md)"
    )


def test_nothing_is_traced_for_a_policy_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "trace", lambda *_: pytest.fail("it was traced"))
    given = of_policy("single_stage")
    spec = replace(given.export.inputs[0], shape=(1, 3, 96, 96))
    given = replace(
        given,
        model=MmdetModel(RTMDET_INS, (("model.test_cfg.max_per_img", "5"),), Seed(0)),
        export=replace(given.export, inputs=(spec,)),
    )
    with quiet_mmdet(), pytest.raises(ExportError, match="is for detectors without masks"):
        export_recipe(given, tmp_path, None, quietly)
