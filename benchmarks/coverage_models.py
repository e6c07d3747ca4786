"""Which configs of mmdet stand for its families, and the few lines of recipe that build one."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from coverage_stand_ins import BERT

from partition_core.base.errors import suggestion
from partition_core.sources.mmdet.configs import shipped_configs

SIDE = 320

_BACKBONES = (
    r"mobilenet|nano|pvtv2-b0",
    r"tiny|pvt-t",
    r"r18|effb",
    r"r34|ssd300",
    r"w18|800MF|_s_|s50",
    r"r50|d53|swin-t|convnext-t|3\.2GF",
    r"",
)
"""What config names call their backbones, from small to large; one that no row knows is large."""

_INSTEAD = {
    "cascade_rpn": "cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py",
    "dcn": "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
    "dcnv2": "dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py",
    "guided_anchoring": "guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco.py",
    "hrnet": "hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py",
    "nas_fpn": "nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py",
}
"""Families whose config with the shortest name is large, or lacks what the family is about."""

_FURTHER = (
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
    "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py",
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
    "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
    "solo/solo_r50_fpn_1x_coco.py",
)
"""Models that users ask for by a name of their own, in a family that another config stands for."""


def part_of(model: Any) -> str:
    """Return the part of a config's `model` that is exported, "" for the whole.

    A tracker calls its detector for each picture of a video; the rest keeps a state in Python.
    """
    return "detector" if "detector" in model and model.get("tracker") else ""


_INSIDE = ("detector.", "teacher.")
"""Where a model that wraps a detector keeps the one that predicts."""


@dataclass(frozen=True)
class Candidate:
    """A config, relative to the folder of mmdet's configs, and the family that it is a row of."""

    family: str
    config: str


def candidates() -> list[Candidate]:
    """Return one config for each family of mmdet's `model-index.yml` and the further ones.

    Of a family it is the one with the smallest backbone, of these the one with the shortest name.
    What is likely to take little time comes first.
    """
    folder = shipped_configs()
    if folder is None:
        raise SystemExit("mmdet is not installed; it is with `pip install -e '.[mmdet]'`")
    index = yaml.safe_load((folder.parent / "model-index.yml").read_text(encoding="utf-8"))
    found = []
    for line in index["Import"]:
        metafile = folder.parent / line
        # Only one key of many lines: as text it is found a hundred times sooner.
        names = set(re.findall(r"^ +Config: configs/(\S+)", metafile.read_text("utf-8"), re.M))
        shipped = [name for name in names if (folder / name).is_file()]
        if shipped:
            family = metafile.parent.name
            found.append(Candidate(family, _INSTEAD.get(family) or min(shipped, key=_cost)))
    known = {candidate.config for candidate in found}
    found += [named(config) for config in _FURTHER if config not in known]
    return sorted(found, key=lambda candidate: _cost(candidate.config))


def named(config: str) -> Candidate:
    """Return the candidate for a config that a user names."""
    return Candidate(Path(config).parent.name, config)


def fitting(pattern: str) -> list[Candidate]:
    """Return the candidates whose config fits a pattern, or the config of that name.

    Exits for a pattern that fits none, with the nearest config.
    """
    shipped = shipped_configs()
    if Path(pattern).is_file() or (shipped is not None and (shipped / pattern).is_file()):
        return [named(pattern)]
    known = candidates()
    found = [one for one in known if fnmatch.fnmatch(one.config, pattern)]
    if not found:
        families = {f"{one.family}/*" for one in known}
        near = suggestion(pattern, families | {one.config for one in known})
        raise SystemExit(f"'{pattern}' fits no config of the table{near and f'; {near}'}")
    return found


def _cost(config: str) -> tuple[int, int, str]:
    name = Path(config).stem
    size = next(i for i, words in enumerate(_BACKBONES) if re.search(words, name))
    return size, len(name), config


@dataclass(frozen=True)
class Cut:
    """A way to cut a detector: what the table calls it, and the recipe's lines for it."""

    name: str
    lines: dict[str, Any]


def cuts(model: Any) -> list[Cut]:
    """Return the ways to cut the detector of a config's `model`, the first that may apply first.

    In front of its suppression if it has one stage, else behind its neck or backbone.
    """
    found = []
    if "nms" in (model.get("test_cfg") or {}):
        found.append(Cut("single_stage", {"partition": {"type": "single_stage"}}))
    inner = model.get("detector", model)
    for part in ("neck", "backbone"):
        if inner.get(part):
            places = [""] if inner is model else _INSIDE
            found += [Cut(part, _behind(f"{place}{part}")) for place in places]
    return found


def _behind(module: str) -> dict[str, Any]:
    return {
        "marks": [
            {"name": "detector_forward", "on": "detector", "inputs": ["input"]},
            {"name": "features", "module": module},
        ],
        "partition": {
            "type": "features",
            "segments": [
                {
                    "save_file": "features.onnx",
                    "start": ["detector_forward:input"],
                    "end": ["features:output"],
                },
                {
                    "save_file": "head.onnx",
                    "start": ["features:output"],
                    "end": ["detector_forward:output"],
                },
            ],
        },
    }


_RANKS = 100
"""The most queries of a DETR that takes them by rank from its encoder.

Two places that rounding ranks the other way get each other's content; seeded weights rank 2,000.
"""

_MASKS = 20
"""The most queries that have a mask each: one looks where its mask of the layer before is positive.

In nine layers a hundred seeded masks are near zero at some place that rounding takes or leaves.
"""

_SURVIVORS = 0.05
"""The least score where a config keeps nearly everything that its many classes give.

All of it goes through one suppression, and 1,203 classes of 1,000 regions take minutes there.
"""

_SHARED = 0.002
"""The same for classes that share what an objectness leaves them: none gets much (Seesaw loss)."""

_CORNERS = {"model.test_cfg.corner_topk": 400}
"""How many corners are paired: of seeded ones a hundredth fit each other, so that 100 give two."""

_CENTRIPETAL = {"model.test_cfg.corner_topk": 1000, "model.bbox_head.num_classes": 2}
"""The same where both corners of a pair must also have the class and the centre of the box.

Of 80 classes a thousand seeded corners have one such pair or none, of 2 about 20.
"""

_OVERRIDES = {
    "object_mask_thr": ("model.test_cfg.object_mask_thr", 0.02),
    "iou_thr": ("model.test_cfg.iou_thr", 0.1),
}
"""Keys of `test_cfg` that ask more of masks than seeded weights give: they lie on each other."""


def overrides(model: Any) -> dict[str, Any]:
    """Return what a recipe changes in a config so that something survives on seeded weights.

    And so that its language model is the one here, which needs no download.
    """
    tests = model.get("test_cfg") or {}
    found: dict[str, Any] = {}
    if model.get("language_model"):
        found["model.language_model.name"] = BERT
        if "lang_model_name" in model.bbox_head:
            found["model.bbox_head.lang_model_name"] = BERT
    if model.get("as_two_stage") and model.get("num_queries", 0) > _RANKS:
        found["model.num_queries"] = _RANKS
    panoptic = model.get("panoptic_head") or {}
    if "num_transformer_feat_level" in panoptic and panoptic.get("num_queries", 0) > _MASKS:
        found["model.panoptic_head.num_queries"] = _MASKS
    if (tests.get("rcnn") or {}).get("score_thr", 1) < _SURVIVORS / 10:
        shares = "SeesawLoss" in str(model.get("roi_head"))
        found["model.test_cfg.rcnn.score_thr"] = _SHARED if shares else _SURVIVORS
    if "corner_topk" in tests:
        pairs = _CENTRIPETAL if "loss_centripetal_shift" in model.bbox_head else _CORNERS
        found |= pairs
    if tests.get("panoptic_on"):
        found |= dict(value for key, value in _OVERRIDES.items() if key in tests)
    return found


_COARSE = 5e-4
_ROUNDED_COARSELY = ("convnext", "gn", "scratch")
"""Families where rounding alone leaves more than the default tolerance of a proof, and theirs.

With every layer normalized by groups, features of onnxruntime are 5.9e-6 away from those in
float64, of PyTorch 1.4e-6: `InstanceNormalization` adds up a group in one go. The graph is right,
and scores differ by 3.6e-5 where 2.5e-5 are allowed. ConvNeXt is 3.1e-6 away in onnxruntime and
3.6e-6 in PyTorch: with seed 0 all detections are equal, and of 100 masks in a picture one is not.
"""


def tolerance_of(family: str) -> float | None:
    """Return the tolerance that the recipe of a family sets, None for the default."""
    return _COARSE if family in _ROUNDED_COARSELY else None


def recipe_text(
    candidate: Candidate,
    cut: Cut,
    side: int,
    changed: dict[str, Any],
    seed: int = 0,
    part: str = "",
) -> str:
    """Return a recipe for a config at `side` x `side` pixels; JSON, which is YAML as well."""
    config, tolerance = candidate.config, tolerance_of(candidate.family)
    source: dict[str, Any] = {"source": "mmdet", "config": config, "weights": {"seed": seed}}
    given = {"part": part, "overrides": changed}
    values = {
        "model": source | {key: value for key, value in given.items() if value},
        "export": {"inputs": {"input": {"shape": [1, 3, side, side]}}},
        **({"proof": {"tolerance": tolerance}} if tolerance else {}),
        **cut.lines,
    }
    return json.dumps(values, indent=1)
