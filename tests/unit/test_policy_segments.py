"""Shared policies for several pictures and free sizes: what their segments refer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from partition_core.base.errors import CutError, ProofError, problem
from partition_core.recipe.places import in_recipe
from partition_core.recipe.reader import RecipeFile, read_recipe
from partition_core.recipe.values import Segment

POLICIES = ("single_stage", "two_stage", "two_stage_masks", "backbone_head", "no_postprocess")


def recipe(policy: str, pictures: int, root: Path) -> RecipeFile:
    file = root / "x.yaml"
    file.write_text(
        "model: {source: mmdet, config: x.py, weights: {seed: 0}}\n"
        f"export: {{inputs: {{input: {{shape: [{pictures}, 3, 96, 96]}}}}}}\n"
        f"partition: {{type: {policy}}}\n"
    )
    return read_recipe(file, root)


def segments(policy: str, pictures: int, root: Path) -> dict[str, Segment]:
    found = recipe(policy, pictures, root).recipe.partition.segments
    return {segment.save_file: segment for segment in found}


def texts(references: tuple[object, ...]) -> list[str]:
    return [str(one) for one in references]


def test_a_call_for_each_picture_is_referred_to(tmp_path: Path) -> None:
    single = segments("single_stage", 3, tmp_path)
    calls = ["multiclass_nms:input", "multiclass_nms[1]:input", "multiclass_nms[2]:input"]
    assert texts(single["partition0.onnx"].end) == calls
    assert texts(single["partition1.onnx"].start) == calls
    assert texts(single["partition1.onnx"].end) == ["detector_forward:output"]


def test_the_second_suppression_of_two_stages_comes_behind_the_first_of_all_pictures(
    tmp_path: Path,
) -> None:
    masks = segments("two_stage_masks", 2, tmp_path)["masks.onnx"]
    assert texts(masks.start) == [
        "mask_head_forward:output",
        *("multiclass_nms[2]:input.idxs", "multiclass_nms[3]:input.idxs"),
        *("multiclass_nms[2]:output.keep", "multiclass_nms[3]:output.keep"),
    ]
    assert masks.input_names == ("mask_preds", "idxs", "idxs_1", "kept", "kept_1")


@pytest.mark.parametrize("policy", POLICIES)
def test_one_picture_has_the_policy_as_it_is_written(policy: str, tmp_path: Path) -> None:
    one, two = segments(policy, 1, tmp_path), segments(policy, 2, tmp_path)
    assert one.keys() == two.keys()
    for file, segment in one.items():
        assert {r.call for r in (*segment.start, *segment.end)} <= {0, 1}
        extra = {r.call for r in (*two[file].start, *two[file].end)} - {0}
        assert bool(extra) == any(
            r.mark == "multiclass_nms" for r in (*segment.start, *segment.end)
        )


@pytest.mark.parametrize("policy", POLICIES)
def test_sizes_come_from_the_picture_and_never_for_the_first_segment(
    policy: str, tmp_path: Path
) -> None:
    first, *others = segments(policy, 1, tmp_path).values()
    assert first.sizes_from == ()
    found = {text for segment in others for text in texts(segment.sizes_from)}
    assert found == ({"detector_forward:input"} if others else set())


@pytest.mark.parametrize("policy", ["two_stage", "backbone_head"])
def test_a_cut_that_fails_is_told_at_the_recipe_and_not_in_a_file_of_the_package(
    policy: str, tmp_path: Path
) -> None:
    file = recipe(policy, 1, tmp_path)
    wrong = problem("partition.segments[1].start", "it needs 'y'", "expected z", "add 'z' to start")
    with pytest.raises(CutError) as error, in_recipe(file):
        raise CutError(wrong)
    other = "" if policy == "backbone_head" else "write 'type: backbone_head', or "
    assert str(error.value) == (
        f"x.yaml:3: partition.type: policy '{policy}' does not fit the model: it needs 'y'; "
        f"expected z; {other}copy the policy's segments into the recipe (docs/policies.md) "
        "and add 'z' to start"
    )
    # What a segment computes is no matter of the policy.
    with pytest.raises(ProofError) as unproven, in_recipe(file):
        raise ProofError(wrong)
    assert str(unproven.value).startswith(f"partition_core/policies/{policy}.yaml:")
