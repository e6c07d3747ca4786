"""Modules that call functions of mmdet with rows, masks and limits that their inputs decide."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmcv.ops import SimpleRoIAlign
from mmdet.models.backbones.resnet import Bottleneck
from mmdet.models.dense_heads import atss_vlfusion_head
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import nn

from partition_core.sources.mmdet.configs import shipped_configs
from partition_core.sources.mmdet.masks import traceable_pasting, unpasted_masks
from partition_core.trace.replaced import replaced

SIDE = 64
META = {
    "img_shape": (SIDE, SIDE),
    "ori_shape": (SIDE, SIDE),
    "batch_input_shape": (SIDE, SIDE),
    "scale_factor": (1.0, 1.0),
}
NMS = {"type": "nms", "iou_threshold": 0.5}
RCNN = ConfigDict(score_thr=0.05, nms=NMS, max_per_img=5, mask_thr_binary=0.5)
Named = dict[str, torch.Tensor]


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=numbers(seed))


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=numbers(seed))


def boxes(count: int, seed: int) -> torch.Tensor:
    """Return boxes (count, 4) of all sizes inside a picture."""
    low = uniform(count, 2, seed=seed) * SIDE * 0.6
    found = torch.cat([low, low + 4 + uniform(count, 2, seed=seed + 1) * SIDE * 0.3], dim=1)
    found[2] = torch.tensor([2.0, 3.0, SIDE - 4.0, SIDE - 3.0])
    return found


def sides(**tensors: torch.Tensor) -> list[Named]:
    """Return the tensors beside a `keep` that chooses some of their rows, none, one and all."""
    count = len(next(iter(tensors.values())))
    places = torch.arange(count)
    chosen = (places % 3 != 1, places < 0, places == 2, places >= 0)
    return [{"keep": one.float() * 2 - 1, **tensors} for one in chosen]


def shipped(path: str, **sizes: Any) -> Any:
    """Return the model of a config of mmdet with few channels, classes and layers.

    `sizes` are further values by their keys, wherever they stand.
    """
    folder = shipped_configs()
    assert folder is not None
    return _small(Config.fromfile(str(folder / path)).model.to_dict(), SMALL | sizes)


def _small(value: Any, sizes: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_small(one, sizes) for one in value]
    if not isinstance(value, dict):
        return value
    return ConfigDict({key: sizes.get(key, _small(one, sizes)) for key, one in value.items()})


SMALL: dict[str, Any] = {
    **dict.fromkeys(("in_channels", "out_channels", "conv_out_channels", "feat_channels"), 4),
    **dict.fromkeys(("num_convs", "num_fcs", "stacked_convs", "num_stacked_convs"), 1),
    "fc_out_channels": 8,
    "fc_channels": 4,
    "num_classes": 3,
    "num_groups": 2,
    "featmap_strides": [4],
    "train_cfg": None,
}
ANCHORS = {
    "type": "AnchorGenerator",
    "octave_base_scale": 4,
    "scales_per_octave": 1,
    "ratios": [1.0],
    "strides": [8],
}


def made(config: Any) -> Any:
    """Build a module of mmdet, with weights that all differ."""
    module: nn.Module = MODELS.build(config)
    generator = numbers(7)
    with torch.no_grad():
        for one in module.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) * 0.3)
    return module.eval()


def fields(found: Any, *names: str) -> Named:
    return {name: getattr(found, name) for name in names}


class OnRows(nn.Module):
    """Calls a function with modules and the chosen rows of tensors; its results have names."""

    def __init__(self, call: Callable[..., Any], *parts: nn.Module, names: str = "") -> None:
        super().__init__()
        self.call, self.parts, self.names = call, nn.ModuleList(parts), names.split()

    def forward(self, keep: torch.Tensor, *tensors: torch.Tensor) -> Named:
        mask = keep > 0
        found = self.call(*self.parts, *(one[mask] for one in tensors))
        if isinstance(found, torch.Tensor):
            found = [found]
        return found if isinstance(found, dict) else dict(zip(self.names, found, strict=True))


class PairsOfRows(nn.Module):
    """Calls a function with rows that one input chooses and rows that another one does."""

    def __init__(self, call: Callable[..., Named]) -> None:
        super().__init__()
        self.call = call

    def forward(
        self, keep: torch.Tensor, mine: torch.Tensor, other: torch.Tensor, theirs: torch.Tensor
    ) -> Named:
        return self.call(mine[keep > 0], theirs[other > 0])


def norms() -> nn.Module:
    """Return norms of rows: BatchNorm and GroupNorm by themselves and in a block of ResNet."""
    group = {"type": "GN", "num_groups": 2}
    down = nn.Sequential(nn.Conv2d(2, 8, 1), nn.BatchNorm2d(8))
    parts = (
        ConvModule(2, 4, 1, norm_cfg={"type": "BN"}),
        ConvModule(2, 4, 1, norm_cfg=group),
        Bottleneck(2, 2, downsample=down),
    )
    names = "batch group block"
    return OnRows(lambda *all_of: [one(all_of[-1]) for one in all_of[:-1]], *parts, names=names)


def dense_post_process(kind: str) -> nn.Module:
    """Return the suppression of a dense head, behind its filter of small boxes."""
    config = {"type": kind, "in_channels": 4, "feat_channels": 4}
    if kind == "YOLOXHead":
        config |= {"num_classes": 3, "stacked_convs": 1, "strides": [8]}
    else:
        config |= {"anchor_generator": ANCHORS}
        config |= {} if kind == "RPNHead" else {"num_classes": 3, "stacked_convs": 1}
    settings = ConfigDict(min_bbox_size=3, nms=NMS, max_per_img=4, score_thr=0.05)

    def post_process(
        head: Any, bboxes: torch.Tensor, scores: torch.Tensor, kinds: torch.Tensor
    ) -> Named:
        found = InstanceData(bboxes=bboxes, scores=scores)
        found.set_field(kinds.long(), "level_ids" if kind == "RPNHead" else "labels")
        kept = head._bbox_post_process(found, settings, with_nms=True, img_meta=META)
        return fields(kept, "bboxes", "scores", "labels")

    return OnRows(post_process, made(config))


def corner_suppression() -> nn.Module:
    settings = ConfigDict(nms=NMS, max_per_img=4)
    head = made({"type": "CornerHead", "num_classes": 3, "in_channels": 4})
    return OnRows(
        lambda head, dets, labels: head._bboxes_nms(dets, labels, settings),
        head,
        names="dets labels",
    )


def paa_voting() -> nn.Module:
    norm = {"type": "GN", "num_groups": 2}
    config = {"type": "PAAHead", "num_classes": 3, "in_channels": 4, "feat_channels": 4}
    config |= {"stacked_convs": 1, "norm_cfg": norm, "anchor_generator": ANCHORS}
    settings = ConfigDict(nms=NMS, max_per_img=4, score_thr=0.05)

    def post_process(head: Any, bboxes: Any, scores: Any, factors: Any) -> Named:
        found = InstanceData(bboxes=bboxes, scores=scores, score_factors=factors)
        kept = head._bbox_post_process(found, settings, img_meta=META)
        return fields(kept, "bboxes", "scores", "labels")

    return OnRows(post_process, made(config))


def trident_merge() -> nn.Module:
    head = shipped("tridentnet/tridentnet_r50-caffe_1x_coco.py").roi_head

    def merge(head: Any, bboxes: Any, scores: Any, labels: Any) -> Named:
        branches = [(bboxes, scores), (bboxes + 1, scores * 0.9)]
        found = [InstanceData(bboxes=b, scores=s, labels=labels.long()) for b, s in branches]
        return fields(head.merge_trident_bboxes(found), "bboxes", "scores", "labels")

    return OnRows(merge, made(head | {"test_cfg": RCNN | {"max_per_img": 3}}))


class GuidedAnchors(nn.Module):
    """Two levels of guided anchors, of which masks let some through, and a limit of four."""

    settings = ConfigDict(nms_pre=4, score_thr=0.05, nms=NMS, max_per_img=5)

    def __init__(self) -> None:
        super().__init__()
        config = shipped("guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco.py").bbox_head
        self.head = made(config)

    def forward(
        self,
        keep: torch.Tensor,
        second: torch.Tensor,
        scores: torch.Tensor,
        deltas: torch.Tensor,
        anchors: torch.Tensor,
    ) -> Named:
        masks = [keep > 0, second > 0]
        found = self.head._predict_by_feat_single(
            [scores, scores[:, :1, :2]],
            [deltas, deltas[:, :1, :2]],
            [anchors[masks[0]], anchors[:2][masks[1]]],
            masks,
            META,
            self.settings,
        )
        return fields(found, "bboxes", "scores", "labels")


class Grounded(nn.Module):
    """The post-processing of GLIP, for two labels in five tokens of a text, of chosen anchors."""

    settings = ConfigDict(nms_pre=6, score_thr=0.05, nms=NMS, max_per_img=5)

    def __init__(self) -> None:
        super().__init__()
        config = shipped("glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py").bbox_head
        sizes = {"in_channels": 16, "feat_channels": 16, "num_dyhead_blocks": 1}
        language = SimpleNamespace(from_pretrained=lambda _: SimpleNamespace(hidden_size=4))
        with replaced(atss_vlfusion_head, "BertConfig", language):
            self.head = made(config | sizes)

    def forward(
        self,
        keep: torch.Tensor,
        logits: torch.Tensor,
        deltas: torch.Tensor,
        factors: torch.Tensor,
        anchors: torch.Tensor,
    ) -> Named:
        chosen = torch.where(keep[:, None] > 0, logits, -20.0)
        found = self.head._predict_by_feat_single(
            [deltas], [factors], [chosen], [anchors], {1: [1], 2: [2, 3]}, META, self.settings
        )
        return fields(found, "bboxes", "scores", "labels")


class CondInst(nn.Module):
    """The masks of CondInst, from their parameters to the picture, as its `predict` gives them."""

    def __init__(self) -> None:
        super().__init__()
        path = "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py"
        self.head = made(
            shipped(path, end_level=1).mask_head | {"test_cfg": ConfigDict(mask_thr=0.5)}
        )
        self.params = sum(self.head.weight_nums) + sum(self.head.bias_nums)

    def forward(
        self,
        keep: torch.Tensor,
        bboxes: torch.Tensor,
        params: torch.Tensor,
        points: torch.Tensor,
        strides: torch.Tensor,
        *levels: torch.Tensor,
    ) -> Named:
        from mmdet.structures import DetDataSample

        mask = keep > 0
        found = InstanceData(bboxes=bboxes[mask], param_preds=params[mask])
        found.set_field(points[mask], "points")
        found.set_field(strides[mask], "strides")
        samples = [DetDataSample(metainfo=META)]
        (one,) = self.head.predict(levels, samples, rescale=False, results_list=[found])
        return fields(one, "masks", "bboxes")


class RtmdetMasks(nn.Module):
    """The detections of RTMDet-Ins with their masks, or the logits of masks alone."""

    settings = ConfigDict(min_bbox_size=3, nms=NMS, max_per_img=4, mask_thr_binary=0.5)

    def __init__(self, alone: bool) -> None:
        super().__init__()
        config = shipped("rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py").bbox_head
        self.head, self.alone = made(config | {"norm_cfg": {"type": "BN"}}), alone

    def forward(
        self,
        keep: torch.Tensor,
        bboxes: torch.Tensor,
        scores: torch.Tensor,
        labels: torch.Tensor,
        kernels: torch.Tensor,
        priors: torch.Tensor,
        features: torch.Tensor,
    ) -> Named:
        mask = keep > 0
        if self.alone:
            given = (features, kernels[mask], priors[mask])
            return {"logits": self.head._mask_predict_by_feat_single(*given)}
        found = InstanceData(bboxes=bboxes[mask], scores=scores[mask], labels=labels.long()[mask])
        found.set_field(kernels[mask], "kernels")
        found.set_field(priors[mask], "priors")
        kept = self.head._bbox_mask_post_process(found, features, self.settings, img_meta=META)
        return fields(kept, "bboxes", "scores", "labels", "masks")


class Solo(nn.Module):
    """The post-processing of SOLO: candidates by score, by area and by matrix suppression."""

    settings = ConfigDict(score_thr=0.1, mask_thr=0.5, filter_thr=0.3, nms_pre=4, max_per_img=3)
    two_levels: dict[str, Any] = {  # noqa: RUF012 - reason: read only
        "num_grids": [2, 1],
        "strides": [8, 16],
        "scale_ranges": ((1, 96), (48, 192)),
        "norm_cfg": {"type": "GN", "num_groups": 2},
    }

    def __init__(self, path: str) -> None:
        super().__init__()
        self.head = made(shipped(path).mask_head | self.two_levels)

    def forward(self, *maps: torch.Tensor) -> Named:
        settings = self.settings | {"kernel": "gaussian", "sigma": 2.0}
        found = self.head._predict_by_feat_single(*maps, META, settings)
        return fields(found, "masks", "labels", "scores", "bboxes")


class Yolact(nn.Module):
    """The masks of YOLACT: prototypes times coefficients, cropped."""

    def __init__(self) -> None:
        super().__init__()
        path = "yolact/yolact_r50_1xb8-55e_coco.py"
        config = shipped(path, num_protos=4, with_seg_branch=False).mask_head
        self.head = made(config | {"test_cfg": ConfigDict(mask_thr=0.5, mask_thr_binary=0.5)})

    def forward(
        self, keep: torch.Tensor, bboxes: torch.Tensor, weights: torch.Tensor, protos: torch.Tensor
    ) -> Named:
        mask = keep > 0
        found = InstanceData(bboxes=bboxes[mask])
        masks = (protos @ weights[mask].t()).sigmoid()
        (one,) = self.head.predict_by_feat([masks], None, [found], [META], rescale=False)
        return fields(one, "masks", "bboxes")


CROWDDET = "crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py"
MASK_RCNN = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"


def roi_head(path: str, **changes: Any) -> Any:
    """Return the head for regions of a config of mmdet, its regions cut to a few cells."""
    config = shipped(path, **changes).roi_head
    _cut_regions(config)
    return made(config | {"test_cfg": RCNN})


WITHOUT_SEMANTICS = {"semantic_head": None, "semantic_roi_extractor": None}


def _cut_regions(config: Any) -> None:
    """Give regions two cells where mmdet's have seven, and RoIAlign two samples in each."""
    for value in config if isinstance(config, list) else [config]:
        if not isinstance(value, dict):
            continue
        for key in ("output_size", "roi_feat_size", "input_feat_shape"):
            if key in value:
                value[key] = value[key] // 7 * 2
        if "sampling_ratio" in value:
            value["sampling_ratio"] = 2
        for inner in value.values():
            _cut_regions(inner)


TWO_LEVELS = {"featmap_strides": [4, 8]}


def cascade() -> Any:
    config = shipped("cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py").roi_head
    _cut_regions(config)
    heads = {"bbox_head": config.bbox_head[:2]}
    two = {"num_stages": 2, "stage_loss_weights": [1, 1]}
    return made(config | heads | two | {"test_cfg": RCNN})


class Regions(nn.Module):
    """A head for regions with the proposals that the inputs choose: boxes, and masks if it has any.

    `form` is that of the masks: pasted into the picture, or as the head gives them.
    """

    def __init__(self, roi_head: Any, form: str = "unpasted", rescale: bool = False) -> None:
        super().__init__()
        self.roi_head, self.form, self.rescale = roi_head, form, rescale

    def forward(self, keep: torch.Tensor, proposals: torch.Tensor, *levels: torch.Tensor) -> Named:
        (found,) = self.detections(levels, [proposals[keep > 0]])
        return found

    def detections(
        self, levels: tuple[torch.Tensor, ...], proposals: list[torch.Tensor]
    ) -> list[Named]:
        metas = [META] * len(proposals)
        given = [InstanceData(bboxes=one) for one in proposals]
        with self._mask_form():
            found = self.roi_head.predict_bbox(
                levels,
                batch_img_metas=metas,
                rpn_results_list=given,
                rcnn_test_cfg=self.roi_head.test_cfg,
                rescale=self.rescale,
            )
            names = ["bboxes", "scores", "labels"]
            if self.roi_head.with_mask:
                names.append("masks")
                found = self.roi_head.predict_mask(
                    levels, batch_img_metas=metas, results_list=found, rescale=False
                )
        return [fields(one, *names) for one in found]

    def _mask_form(self) -> contextlib.AbstractContextManager[None]:
        return traceable_pasting() if self.form == "pasted" else unpasted_masks(self)


class Masks(nn.Module):
    """The masks of a head for the detections that the inputs choose.

    `context` names what the head is given beside the features of the picture.
    """

    def __init__(self, roi_head: Any, *context: str) -> None:
        super().__init__()
        self.roi_head, self.context = roi_head, context

    def forward(
        self,
        keep: torch.Tensor,
        bboxes: torch.Tensor,
        scores: torch.Tensor,
        labels: torch.Tensor,
        *maps: torch.Tensor,
    ) -> Named:
        mask = keep > 0
        found = InstanceData(bboxes=bboxes[mask], scores=scores[mask], labels=labels.long()[mask])
        given: dict[str, Any] = dict.fromkeys(self.context)
        if "glbctx_feat" in given:
            given["glbctx_feat"] = self.roi_head.glbctx_head(maps)[1]
        with unpasted_masks(self):
            (one,) = self.roi_head.predict_mask(
                maps, batch_img_metas=[META], results_list=[found], rescale=False, **given
            )
        return fields(one, "bboxes", "scores", "labels", "masks")


class TwoPictures(Regions):
    """The same for two pictures, each with proposals of its own."""

    def forward(  # type: ignore[override]
        self,
        keep: torch.Tensor,
        first: torch.Tensor,
        other: torch.Tensor,
        second: torch.Tensor,
        *levels: torch.Tensor,
    ) -> Named:
        found = self.detections(levels, [first[keep > 0], second[other > 0]])
        return {f"{name}{k}": one for k, named in enumerate(found) for name, one in named.items()}


def levels(pictures: int = 1) -> Named:
    return {
        "fine": uniform(pictures, 4, 16, 16, seed=1),
        "coarse": uniform(pictures, 4, 8, 8, seed=2),
    }


def of_pictures(inputs: Iterable[Named], pictures: int = 1) -> list[Named]:
    return [{**one, **levels(pictures)} for one in inputs]


def regions(bboxes: torch.Tensor, pictures: torch.Tensor | None = None) -> torch.Tensor:
    """Return regions (N, 5) of boxes: in the pictures that are named, else all in the first."""
    named = torch.zeros(len(bboxes)) if pictures is None else pictures
    return torch.cat([named.float()[:, None], bboxes], dim=1)


class Extracts(nn.Module):
    """Reads the features of regions from so many levels."""

    def __init__(self, config: dict[str, Any], count: int) -> None:
        super().__init__()
        layer = {"type": "RoIAlign", "output_size": 4, "sampling_ratio": 2}
        plain = {"roi_layer": layer, "out_channels": 4, "featmap_strides": [4, 8][:count]}
        self.extract, self.count = made(plain | config), count

    def forward(self, keep: torch.Tensor, rois: torch.Tensor, *maps: torch.Tensor) -> Named:
        return {"features": self.extract(maps[: self.count], rois[keep > 0])}


class SimpleAlign(nn.Module):
    """mmcv's RoIAlign by points, of two pictures; the points are not asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.align = SimpleRoIAlign(4, 0.25)

    def forward(
        self, keep: torch.Tensor, rois: torch.Tensor, points: torch.Tensor, *maps: torch.Tensor
    ) -> Named:
        return {"features": self.align(maps[0], rois[keep > 0])}


def grid_points() -> nn.Module:
    """Return the boxes that Grid R-CNN reads off its maps of points."""

    def read(head: Any, points: torch.Tensor, bboxes: torch.Tensor) -> torch.Tensor:
        found = [InstanceData(bboxes=bboxes)]
        (one,) = head.predict_by_feat({"fused": points}, found, [META], rescale=True)
        bboxes_read: torch.Tensor = one.bboxes
        return bboxes_read

    return OnRows(read, grid_rcnn().grid_head, names="bboxes")


def pooled_head() -> Any:
    coder = shipped(MASK_RCNN).roi_head.bbox_head.bbox_coder
    config = {"type": "BBoxHead", "with_avg_pool": True, "roi_feat_size": 2, "in_channels": 4}
    return made(config | {"num_classes": 3, "bbox_coder": coder})


class PointsOfRegions(nn.Module):
    """Reads the features of points in regions of two pictures, as PointRend refines its masks."""

    def __init__(self) -> None:
        super().__init__()
        self.roi_head = point_rend()

    def forward(
        self, keep: torch.Tensor, rois: torch.Tensor, points: torch.Tensor, *maps: torch.Tensor
    ) -> Named:
        mask = keep > 0
        given = (maps, rois[mask], points[mask])
        return {"features": self.roi_head._get_fine_grained_point_feats(*given)}


def point_rend() -> Any:
    refining = {"subdivision_steps": 2, "subdivision_num_points": 5, "scale_factor": 2}
    config = shipped("point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py").roi_head
    _cut_regions(config)
    config.mask_head.roi_feat_size = 4
    return made(config | {"test_cfg": RCNN | refining})


def grid_rcnn() -> Any:
    config = shipped("grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco.py", num_groups=4).roi_head
    _cut_regions(config)
    return made(config | {"grid_head": config.grid_head | GRID, "test_cfg": RCNN})


GRID = {"roi_feat_size": 4, "point_feat_channels": 4, "grid_points": 4}


def scnet() -> Any:
    config = shipped(
        "scnet/scnet_r50_fpn_1x_coco.py", **WITHOUT_SEMANTICS, out_conv_channels=4
    ).roi_head
    _cut_regions(config)
    config.feat_relay_head.in_channels = 8
    return made(config | {"test_cfg": RCNN})


class RefinesRegions(nn.Module):
    """Refines regions of two pictures by the stages of a cascade, some without a region."""

    def __init__(self) -> None:
        super().__init__()
        self.roi_head = cascade()

    def forward(
        self,
        keep: torch.Tensor,
        first: torch.Tensor,
        other: torch.Tensor,
        second: torch.Tensor,
        *maps: torch.Tensor,
    ) -> Named:
        both = [first[keep > 0], second[other > 0]]
        rois = torch.cat([one.new_full((one.shape[0], 1), k) for k, one in enumerate(both)])
        rois = torch.cat([rois, torch.cat(both)], dim=1)
        counts = tuple(one.shape[0] for one in both)
        refined, scores, deltas = self.roi_head._refine_roi(maps, rois, [META, META], counts)
        parts = {"rois": refined, "scores": scores, "deltas": deltas}
        return {
            f"{name}{number}": tensor
            for name, tensors in parts.items()
            for number, tensor in enumerate(tensors)
        }


class RefinesBoxes(nn.Module):
    """Refines regions picture by picture; the inputs decide which pictures they name."""

    def __init__(self) -> None:
        super().__init__()
        self.head = roi_head(MASK_RCNN).bbox_head

    def forward(self, rois: torch.Tensor, scores: torch.Tensor, deltas: torch.Tensor) -> Named:
        labels = rois.new_zeros(len(rois), dtype=torch.long)
        told = {"rois": rois, "cls_score": scores, "bbox_pred": deltas}
        told["bbox_targets"] = (labels, None)  # type: ignore[assignment]
        none = [InstanceData(pos_is_gt=rois.new_zeros(0)) for _ in range(2)]
        found = self.head.refine_bboxes(none, told, [META, META])
        return {f"boxes{number}": one.bboxes for number, one in enumerate(found)}


class QueryMasks(nn.Module):
    """The masks of QueryInst for the proposals that the inputs choose."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"num_stages": 2, "stage_loss_weights": [1, 1], "proposal_feature_channel": 4}
        path = "queryinst/queryinst_r50_fpn_1x_coco.py"
        config = shipped(path, feedforward_channels=8, num_heads=2).roi_head | sizes
        _cut_regions(config)
        heads = {key: config[key][:2] for key in ("bbox_head", "mask_head")}
        self.roi_head = made(config | heads | {"test_cfg": RCNN})

    def forward(
        self,
        keep: torch.Tensor,
        proposals: torch.Tensor,
        queries: torch.Tensor,
        *maps: torch.Tensor,
    ) -> Named:
        mask = keep > 0
        chosen, attended = proposals[mask], queries[mask]
        first = (attended[:, 0] * 0).long()
        found = InstanceData(bboxes=chosen, scores=attended[:, 0], labels=first)
        for name, value in (("proposals", chosen), ("topk_inds", first), ("attn_feats", attended)):
            found.set_field(value, name)
        with unpasted_masks(self):
            (one,) = self.roi_head.predict_mask(maps, [META], [found], rescale=False)
        return fields(one, "masks", "bboxes")
