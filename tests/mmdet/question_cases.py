"""For each line of the table of questions a case that reaches its other side, or why none can."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.layers.brick_wrappers import adaptive_avg_pool2d
from mmdet.models.layers.matrix_nms import mask_matrix_nms
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import (
    delta2bbox,
    delta2bbox_glip,
)
from mmdet.structures.bbox import bbox_overlaps

from . import asking
from .asking import NMS, SIDE, Named, OnRows, boxes, normal, of_pictures, regions, sides, uniform
from .other_side import Case, Line

ROWS = 6
CANDIDATES = 8


def lines(function: str, *codes: str) -> tuple[Line, ...]:
    return tuple((function, code) for code in codes)


def _matrix(masks: torch.Tensor, labels: torch.Tensor, scores: torch.Tensor) -> Named:
    found = mask_matrix_nms(masks > 0.5, labels.long(), scores, 0.3, 4, 3)
    return dict(zip(("scores", "labels", "masks", "places"), found, strict=True))


def _overlaps(mine: torch.Tensor, theirs: torch.Tensor) -> Named:
    aligned = bbox_overlaps(mine, mine + 1, is_aligned=True)
    return {"giou": bbox_overlaps(mine, theirs, "giou"), "aligned": aligned}


def _pairs() -> list[Named]:
    mine, theirs = sides(mine=boxes(ROWS, 5)), sides(theirs=boxes(ROWS, 9))
    return [
        {**one, "other": another["keep"], "theirs": another["theirs"]}
        for one, another in product(mine, theirs)
    ]


def _candidates() -> list[Named]:
    """Return boxes of which one is too small, others without it, and small ones alone."""
    found = boxes(CANDIDATES, 3)
    found[4, 2] = found[4, 0] + 1
    told = {"scores": uniform(CANDIDATES, seed=3), "labels": torch.arange(CANDIDATES) % 3 * 1.0}
    whole = sides(boxes=found, **told)
    large = [{**one, "keep": one["keep"].clone().index_fill(0, FOURTH, -1)} for one in whole]
    small = {**whole[0], "boxes": torch.cat([found[:, :2], found[:, :2] + 1], dim=1)}
    return [*whole, *large, small]


FOURTH = torch.tensor([4])


def _corners() -> list[Named]:
    found = torch.cat([boxes(CANDIDATES, 3), uniform(CANDIDATES, 1, seed=3)], dim=1)
    return sides(dets=found, labels=torch.arange(CANDIDATES) % 3 * 1.0)


def _grounded() -> list[Named]:
    told = {
        "logits": normal(CANDIDATES, 5, seed=1),
        "deltas": normal(4, 2, 4, seed=2) * 0.2,
        "factors": normal(1, 2, 4, seed=3),
        "anchors": boxes(CANDIDATES, 3),
    }
    return sides(**told)


def _voters() -> list[Named]:
    told = {"scores": uniform(CANDIDATES, 3, seed=4), "factors": uniform(CANDIDATES, seed=5)}
    voters = sides(boxes=boxes(CANDIDATES, 3), **told)
    return [*voters, {**voters[0], "scores": told["scores"] * 0}]


def _suppressed() -> list[Named]:
    told = {"labels": torch.arange(ROWS) % 2 * 1.0, "scores": 0.4 + uniform(ROWS, seed=3) * 0.6}
    masks = sides(masks=uniform(ROWS, 5, 6, seed=2), **told)
    return [*masks, {**masks[3], "scores": told["scores"] * 0.1}]


def _guided() -> list[Named]:
    told = {
        "scores": normal(3, 2, 4, seed=1),
        "deltas": normal(4, 2, 4, seed=2) * 0.2,
        "anchors": boxes(CANDIDATES, 3),
    }
    chosen = sides(x=torch.zeros(CANDIDATES))
    second = [torch.tensor(one) for one in ([1.0, -1.0], [-1.0, -1.0])]
    both = product(reversed(chosen), second)
    return [{"keep": one["keep"], "second": two, **told} for one, two in both]


def _passes(inputs: Named) -> bool:
    return bool((inputs["keep"] > 0).any() or (inputs["second"] > 0).any())


def _condinst() -> list[Named]:
    params = asking.CondInst().params
    told = {"params": normal(ROWS, params, seed=1), "points": uniform(ROWS, 2, seed=3) * SIDE}
    found = sides(boxes=boxes(ROWS, 3), **told, strides=torch.full((ROWS,), 8.0))
    maps = {"fine": normal(1, 4, 8, 8, seed=2), "coarse": normal(1, 4, 4, 4, seed=4)}
    return [{**one, **maps} for one in found]


def _rtmdet() -> list[Named]:
    count = asking.RtmdetMasks(alone=True).head.num_gen_params
    centres = torch.cat(
        [uniform(CANDIDATES, 2, seed=5) * SIDE, torch.full((CANDIDATES, 2), 8.0)], 1
    )
    told = {"kernels": normal(CANDIDATES, count, seed=1), "priors": centres}
    return [{**one, **told, "features": normal(1, 8, 8, 8, seed=2)} for one in _candidates()]


def _solo() -> list[Named]:
    scores, masks = uniform(5, 3, seed=1), uniform(5, 16, 16, seed=2)
    best = torch.where(scores == scores.max(), scores, 0.0)
    weak = {"scores": torch.where(scores > 0.5, 0.11, 0.0), "masks": masks * 0 + 0.51}
    return [
        {"scores": scores, "masks": masks},
        {"scores": scores * 0, "masks": masks},
        {"scores": scores, "masks": masks * 0.4},
        {"scores": best, "masks": masks},
        weak,
    ]


def _solov2() -> list[Named]:
    plain = {
        "kernels": normal(5, 4, seed=3),
        "scores": uniform(5, 3, seed=1),
        "features": uniform(1, 4, 16, 16, seed=2),
    }
    scores, kernels = plain["scores"], plain["kernels"]
    return [
        plain,
        {**plain, "scores": scores * 0},
        {**plain, "kernels": kernels.abs(), "features": plain["features"] * 0 - 1},
        {**plain, "scores": torch.where(scores == scores.max(), scores, 0.0)},
        {**plain, "scores": torch.where(scores > 0.5, 0.11, 0.0)},
    ]


def _yolact() -> list[Named]:
    found = sides(boxes=boxes(ROWS, 3), weights=normal(ROWS, 4, seed=5))
    return [{**one, "protos": normal(16, 16, 4, seed=4)} for one in found]


def _proposals() -> list[Named]:
    return of_pictures(sides(proposals=boxes(ROWS, 3)))


def _detections() -> list[Named]:
    told = {"scores": uniform(ROWS, seed=3), "labels": torch.arange(ROWS) % 3 * 1.0}
    return of_pictures(sides(boxes=boxes(ROWS, 3), **told))


def _of_two_pictures() -> list[Named]:
    first, second = sides(first=boxes(ROWS, 3)), sides(second=boxes(ROWS, 9))
    chosen = ((0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (3, 3))
    both = [
        {**first[one], "other": second[two]["keep"], "second": second[two]["second"]}
        for one, two in chosen
    ]
    return of_pictures(both, 2)


IN_TWO = torch.arange(ROWS) % 3 // 2
"""The pictures of regions: the first, the first, the second, and again."""


def _points() -> list[Named]:
    named = {"rois": regions(boxes(ROWS, 3), IN_TWO), "points": uniform(ROWS, 5, 2, seed=4)}
    return of_pictures(sides(**named), 2)


def _refined(pictures: torch.Tensor) -> Named:
    told = {"scores": normal(ROWS, 4, seed=1), "deltas": normal(ROWS, 12, seed=2) * 0.2}
    return {"rois": regions(boxes(ROWS, 3), pictures), **told}


def _extracting(config: dict[str, object], count: int, code: str) -> Case:
    return Case(
        partial(asking.Extracts, config, count),
        of_pictures(sides(rois=regions(boxes(ROWS, 3)))),
        lines(f"{config['type']}.forward", code),
    )


NO_BOXES = "if results.bboxes.numel() > 0:"
ALL_VALID = "if not valid_mask.all():"
NO_ROIS = "if rois.shape[0] == 0:"
NO_MASK_ROIS = "if mask_rois.shape[0] == 0:"
ANY = "if inds.any():"
SOLO_LINES = ("if len(cls_scores) == 0:", "if keep.sum() == 0:", "if len(keep_inds) == 0:")
GENERIC = "if roi_feats.shape[0] == 0:"
POINTS_OF_NONE = "assert rois.shape[0] > 0, 'RoI is a empty tensor.'"
IN_BATCH = "assert img_ids.numel() <= len(batch_img_metas)"
CONV = {"type": "ConvModule", "in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1}
ATTENTION = {"type": "GeneralizedAttention", "in_channels": 4, "spatial_range": -1, "num_heads": 2}
ATTENTION |= {"attention_type": "0100", "kv_stride": 1}

GROUPS: dict[str, dict[str, Case]] = {
    "layers": {
        "overlaps": Case(
            lambda: asking.PairsOfRows(_overlaps),
            _pairs(),
            lines("bbox_overlaps", "if rows * cols == 0:"),
        ),
        "boxes of deltas": Case(
            lambda: OnRows(partial(delta2bbox, max_shape=(SIDE, SIDE)), names="boxes"),
            sides(rois=boxes(ROWS, 3), deltas=normal(ROWS, 8, seed=2) * 0.3),
            lines("delta2bbox", "if num_bboxes == 0:"),
        ),
        "boxes of GLIP": Case(
            lambda: OnRows(partial(delta2bbox_glip, max_shape=(SIDE, SIDE)), names="boxes"),
            sides(rois=boxes(ROWS, 3), deltas=normal(ROWS, 8, seed=2) * 0.3),
            lines("delta2bbox_glip", "if num_bboxes == 0:"),
        ),
        "average pooling": Case(
            lambda: OnRows(partial(adaptive_avg_pool2d, output_size=2), names="pooled"),
            sides(maps=uniform(ROWS, 2, 6, 4, seed=1)),
        ),
        "pooled regions": Case(
            lambda: OnRows(
                lambda head, maps: head(maps),
                asking.pooled_head(),
                names="scores deltas",
            ),
            sides(maps=uniform(ROWS, 4, 2, 2, seed=3)),
            lines("BBoxHead.forward", "if x.numel() > 0:"),
        ),
    },
    "suppression": {
        "suppression of classes": Case(
            lambda: OnRows(
                partial(multiclass_nms, score_thr=0.1, nms_cfg=NMS, max_num=5, return_inds=True),
                names="dets labels inds",
            ),
            sides(boxes=boxes(ROWS, 3), scores=uniform(ROWS, 4, seed=3)),
            lines("multiclass_nms", "if bboxes.numel() == 0:"),
        ),
        "matrix suppression": Case(
            lambda: OnRows(_matrix),
            _suppressed(),
            lines(
                "mask_matrix_nms",
                "if len(labels) == 0:",
                "if nms_pre > 0 and len(sort_inds) > nms_pre:",
                "if not keep.any():",
                "if max_num > 0 and len(sort_inds) > max_num:",
            ),
        ),
        "norms": Case(asking.norms, sides(maps=uniform(ROWS, 2, 5, 6, seed=1))),
        "refined boxes": Case(
            asking.RefinesBoxes,
            [_refined(IN_TWO), _refined(IN_TWO * 0)],
            lines("BBoxHead.refine_bboxes", IN_BATCH),
            refused=[_refined(torch.arange(ROWS) % 3)],
        ),
    },
    "dense heads": {
        "dense head": Case(
            partial(asking.dense_post_process, "RetinaHead"),
            _candidates(),
            lines(
                "BaseDenseHead._bbox_post_process",
                ALL_VALID,
                "if with_nms and results.bboxes.numel() > 0:",
            ),
        ),
        "region proposals": Case(
            partial(asking.dense_post_process, "RPNHead"),
            _candidates(),
            lines("RPNHead._bbox_post_process", ALL_VALID, NO_BOXES),
            emptied=("labels",),
        ),
        "YOLOX": Case(
            partial(asking.dense_post_process, "YOLOXHead"),
            _candidates(),
            lines("YOLOXHead._bbox_post_process", "if with_nms and results.bboxes.numel() > 0:"),
        ),
        "corners": Case(
            asking.corner_suppression,
            _corners(),
            lines("CornerHead._bboxes_nms", "if labels.numel() > 0:"),
        ),
        "score voting": Case(
            asking.paa_voting,
            _voters(),
            lines(
                "PAAHead._bbox_post_process",
                "if self.with_score_voting and len(det_bboxes) > 0:",
            ),
        ),
        "branches of a trident": Case(
            asking.trident_merge,
            sides(
                boxes=boxes(CANDIDATES, 3),
                scores=uniform(CANDIDATES, seed=3),
                labels=torch.arange(CANDIDATES) % 3 * 1.0,
            ),
            lines("TridentRoIHead.merge_trident_bboxes", "if bboxes.numel() == 0:"),
        ),
        "guided anchors": Case(
            asking.GuidedAnchors,
            [one for one in _guided() if _passes(one)],
            refused=[one for one in _guided() if not _passes(one)],
        ),
        "GLIP": Case(
            asking.Grounded,
            _grounded(),
            lines("ATSSVLFusionHead._predict_by_feat_single", "if len(predictions) > 0:"),
        ),
    },
    "masks": {
        "CondInst": Case(
            asking.CondInst,
            _condinst(),
            (
                *lines("CondInstMaskHead.forward_single", "if num_inst == 0:"),
                *lines(
                    "CondInstMaskHead.predict_by_feat",
                    "if bboxes.shape[0] == 0 or mask_pred.shape[0] == 0:",
                ),
            ),
        ),
        "RTMDet-Ins": Case(
            partial(asking.RtmdetMasks, alone=False),
            _rtmdet(),
            lines("RTMDetInsHead._bbox_mask_post_process", ALL_VALID, NO_BOXES),
        ),
        "masks of RTMDet-Ins": Case(
            partial(asking.RtmdetMasks, alone=True),
            _rtmdet(),
            lines("RTMDetInsHead._mask_predict_by_feat_single", "if num_inst < 1:"),
        ),
        "YOLACT": Case(
            asking.Yolact,
            _yolact(),
            lines(
                "YOLACTProtonet.predict_by_feat",
                "if bboxes.shape[0] == 0 or mask_preds.shape[0] == 0:",
            ),
        ),
    },
    "SOLO": {
        "SOLO": Case(
            partial(asking.Solo, "solo/solo_r50_fpn_1x_coco.py"),
            _solo(),
            lines("SOLOHead._predict_by_feat_single", *SOLO_LINES),
            emptied=("masks", "labels"),
        ),
        "SOLOv2": Case(
            partial(asking.Solo, "solov2/solov2-light_r18_fpn_ms-3x_coco.py"),
            _solov2(),
            lines("SOLOV2Head._predict_by_feat_single", *SOLO_LINES),
            emptied=("masks", "labels"),
        ),
    },
    "extractors": {
        "one level": _extracting({"type": "SingleRoIExtractor"}, 1, "if len(rois) == 0:"),
        "summed levels": _extracting(
            {
                "type": "GenericRoIExtractor",
                "pre_cfg": CONV | {"inplace": False},
                "post_cfg": ATTENTION,
            },
            2,
            GENERIC,
        ),
        "joined levels": _extracting(
            {"type": "GenericRoIExtractor", "aggregation": "concat", "out_channels": 8}, 2, GENERIC
        ),
        "one generic level": _extracting({"type": "GenericRoIExtractor"}, 1, GENERIC),
        "simple RoIAlign": Case(
            asking.SimpleAlign,
            [one for one in _points() if (one["keep"] > 0).any()],
            lines("SimpleRoIAlign.forward", ANY),
            refused=[one for one in _points() if not (one["keep"] > 0).any()],
        ),
        "points of PointRend": Case(
            asking.PointsOfRegions,
            [_points()[0], *_points()[2:]],
            lines("PointRendRoIHead._get_fine_grained_point_feats", ANY, POINTS_OF_NONE),
            refused=[_points()[1]],
        ),
    },
    "heads for regions": {
        "Mask R-CNN, pasted": Case(
            lambda: asking.Regions(
                asking.roi_head(asking.MASK_RCNN, **asking.TWO_LEVELS), "pasted"
            ),
            _proposals(),
            (
                *lines("StandardRoIHead.predict_bbox", NO_ROIS),
                *lines("StandardRoIHead.predict_mask", NO_MASK_ROIS),
                *lines("SingleRoIExtractor.forward", "if inds.numel() > 0:"),
            ),
        ),
        "CrowdDet": Case(
            lambda: asking.Regions(
                asking.roi_head(asking.CROWDDET, num_classes=1, use_torchvision=False)
            ),
            _proposals(),
            lines("MultiInstanceRoIHead.predict_bbox", NO_ROIS),
            emptied=("bboxes", "labels"),
        ),
        "Cascade R-CNN": Case(
            lambda: asking.Regions(asking.cascade()),
            _proposals(),
            (
                *lines("CascadeRoIHead.predict_bbox", NO_ROIS),
                *lines("CascadeRoIHead.predict_mask", NO_MASK_ROIS),
            ),
        ),
    },
    "grids in regions": {
        "Grid R-CNN": Case(
            lambda: asking.Regions(asking.grid_rcnn()),
            _proposals(),
            lines("GridRoIHead.predict_bbox", "if grid_rois.shape[0] != 0:"),
        ),
        "points of a grid": Case(
            asking.grid_points,
            sides(points=normal(ROWS, 4, 8, 8, seed=1), boxes=boxes(ROWS, 3)),
            lines("GridHead.predict_by_feat", "if len(results) != 0:"),
        ),
    },
    "masks of regions": {
        "HTC": Case(
            lambda: asking.Masks(
                asking.roi_head("htc/htc_r50_fpn_1x_coco.py", **asking.WITHOUT_SEMANTICS),
                "semantic_heat",
            ),
            _detections(),
            lines("HybridTaskCascadeRoIHead.predict_mask", NO_MASK_ROIS),
        ),
        "SCNet": Case(
            lambda: asking.Masks(asking.scnet(), "semantic_heat", "glbctx_feat"),
            _detections(),
            lines("SCNetRoIHead.predict_mask", NO_MASK_ROIS),
        ),
        "Mask Scoring R-CNN": Case(
            lambda: asking.Masks(asking.roi_head("ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco.py")),
            _detections(),
            lines("MaskScoringRoIHead.predict_mask", NO_MASK_ROIS),
        ),
        "PointRend": Case(
            lambda: asking.Masks(asking.point_rend()),
            _detections(),
            lines("PointRendRoIHead.predict_mask", NO_MASK_ROIS),
        ),
        "QueryInst": Case(
            asking.QueryMasks,
            of_pictures(sides(proposals=boxes(ROWS, 3), queries=normal(ROWS, 4, seed=3))),
            lines("SparseRoIHead.predict_mask", NO_ROIS),
        ),
    },
    "two pictures": {
        "Mask R-CNN, two pictures": Case(
            lambda: asking.TwoPictures(asking.roi_head(asking.MASK_RCNN), rescale=True),
            _of_two_pictures(),
            (
                *lines("BBoxHead._predict_by_feat_single", "if roi.shape[0] == 0:"),
                *lines("FCNMaskHead.predict_by_feat", "if bboxes.shape[0] == 0:"),
            ),
        ),
        "regions of a cascade": Case(
            asking.RefinesRegions,
            [
                one
                for one in _of_two_pictures()
                if (one["keep"] > 0).any() or (one["other"] > 0).any()
            ],
            lines("CascadeRoIHead._refine_roi", "if rois[i].shape[0] > 0:"),
            refused=[_of_two_pictures()[3]],
        ),
    },
}
"""Cases by the group that is exported together.

Two are of lines that once asked: "norms", and "guided anchors", which is replaced while traced.
"""

CASES = {name: case for group in GROUPS.values() for name, case in group.items()}

UNREACHABLE: dict[Line, tuple[str, str]] = {
    (
        "adaptive_avg_pool2d",
        "if input.numel() == 0 and obsolete_torch_version(TORCH_VERSION, (1, 9)):",
    ): ("average pooling", "torch is at least 2.9, so that the condition is always false"),
    ("BBoxHead._predict_by_feat_single", "if rescale and bboxes.size(0) > 0:"): (
        "Mask R-CNN, two pictures",
        "`if roi.shape[0] == 0:` returned before, and each region has a box",
    ),
    ("FeatureRelayHead.forward", "if N > 0:"): (
        "SCNet",
        "the only caller for which the answer holds returned before",
    ),
}
"""Lines whose other side no input reaches: a case that has such inputs all the same, and why."""
