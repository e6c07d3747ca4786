"""The functions of mmdet and mmcv whose branches were reviewed, with the right side of each.

A row holds for a function as it is in mmdet 3.3.0 and mmcv 2.1.0, by the digest of its source
(`asker.function_digest`). The reason of each kind of question is beside it in `questions`.
"""

from __future__ import annotations

from partition_core.trace.asker import Function
from partition_core.trace.conditions import argument_given, called_by, parts
from partition_core.trace.questions import (
    MORE_THAN_THE_LIMIT,
    NOT_ALL,
    NOT_EMPTY,
    PICTURES_OF_THE_BATCH,
    SOME_MATCH,
    Condition,
    Kind,
    KnownFunction,
    because,
)


def _known(
    module: str,
    function: str,
    digest: str,
    *lines: tuple[str, tuple[Kind, ...]],
    only: tuple[Condition, ...] = (),
) -> KnownFunction:
    return KnownFunction(module, function, digest, dict(lines), only)


_MASKS_OF_NONE = because(
    NOT_EMPTY,
    "without detections mmdet's masks have another size, which `predict_by_feat` ignores",
)
_LABELS_OF_NONE = because(
    NOT_EMPTY, "suppressing no boxes keeps none; mmdet's own empty labels are floats"
)
_SIZE_OF_NONE = because(
    NOT_EMPTY,
    "no boxes give no masks; mmdet's own empty masks have the size of the picture, while others "
    "are larger if it is not a multiple of the strides",
)
_TYPES = "no candidates give no detection; mmdet's own empty masks and labels are floats"
_TYPES_OF_NONE, _TYPES_OF_NO_MATCH = because(NOT_EMPTY, _TYPES), because(SOME_MATCH, _TYPES)
_RECENT_TORCH = because(NOT_EMPTY, "the condition also requires torch before 1.9, so it is false")
_NONE_LEFT_BEFORE = because(
    NOT_EMPTY, "the function has already returned if there are no regions; scaling none gives none"
)
_NONE_LEFT_IN_CALLER = because(
    NOT_EMPTY, "the caller has already returned if there are no regions, so None is never returned"
)
_ERROR_OF_NONE = because(
    NOT_EMPTY, "the other branch is an error in PyTorch; points of no regions have no features"
)
_UNUSED_LEVEL = because(
    NOT_EMPTY,
    "no regions write nothing; mmdet then adds 0 times the sum of the level's features, which is 0 "
    "unless that sum is infinite or not a number",
)
_FINDS_BOXES = ("_bbox_forward", "bbox_head", "bbox_roi_extractor", "shared_head")
_FINDS_MASKS = ("_mask_forward", "mask_head", "mask_roi_extractor", "shared_head")
_CONDINST_PREDICTS = called_by(
    Function("mmdet.models.utils.misc", "multi_apply", "2421ad9c777f8a98"),
    Function(
        "mmdet.models.dense_heads.condinst_head", "CondInstMaskHead.forward", "2ea63f5794a7c0f4"
    ),
    Function("mmdet.models.dense_heads.base_mask_head", "BaseMaskHead.predict", "0ec8c9d2fd905b12"),
)
_SCNET_PREDICTS = called_by(
    Function(
        "mmdet.models.roi_heads.scnet_roi_head", "SCNetRoIHead.predict_mask", "933153d61838bb73"
    )
)

KNOWN_FUNCTIONS = (
    _known(
        "mmcv.ops.point_sample",
        "SimpleRoIAlign.forward",
        "69ffbd6e690291bf",
        ("if inds.any():", SOME_MATCH),
    ),
    _known(
        "mmdet.models.dense_heads.atss_vlfusion_head",
        "ATSSVLFusionHead._predict_by_feat_single",
        "1d8d3bc4f23efa1f",
        ("if len(predictions) > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.base_dense_head",
        "BaseDenseHead._bbox_post_process",
        "a38741ea62e7627c",
        ("if not valid_mask.all():", NOT_ALL),
        ("if with_nms and results.bboxes.numel() > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.condinst_head",
        "CondInstMaskHead.forward_single",
        "8229e71b761cafee",
        ("if num_inst == 0:", _MASKS_OF_NONE),
        only=(_CONDINST_PREDICTS, parts("predict_by_feat", "dynamic_conv_forward")),
    ),
    _known(
        "mmdet.models.dense_heads.condinst_head",
        "CondInstMaskHead.predict_by_feat",
        "9a8aa6a7a5becdbc",
        ("if bboxes.shape[0] == 0 or mask_pred.shape[0] == 0:", NOT_EMPTY),
        only=(parts("_predict_by_feat_single"),),
    ),
    _known(
        "mmdet.models.dense_heads.corner_head",
        "CornerHead._bboxes_nms",
        "a04ff82ffc22548a",
        ("if labels.numel() > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.paa_head",
        "PAAHead._bbox_post_process",
        "be6287dc8bbea6e9",
        ("if self.with_score_voting and len(det_bboxes) > 0:", NOT_EMPTY),
        only=(parts("score_voting"),),
    ),
    _known(
        "mmdet.models.dense_heads.rpn_head",
        "RPNHead._bbox_post_process",
        "43dfad84efdc8deb",
        ("if not valid_mask.all():", NOT_ALL),
        ("if results.bboxes.numel() > 0:", _LABELS_OF_NONE),
    ),
    _known(
        "mmdet.models.dense_heads.rtmdet_ins_head",
        "RTMDetInsHead._bbox_mask_post_process",
        "10f26742b2332152",
        ("if not valid_mask.all():", NOT_ALL),
        ("if results.bboxes.numel() > 0:", _SIZE_OF_NONE),
        only=(parts("_mask_predict_by_feat_single"),),
    ),
    _known(
        "mmdet.models.dense_heads.rtmdet_ins_head",
        "RTMDetInsHead._mask_predict_by_feat_single",
        "8b2ceaa4f9a6dfbd",
        ("if num_inst < 1:", NOT_EMPTY),
        only=(parts("prior_generator", "parse_dynamic_params"),),
    ),
    _known(
        "mmdet.models.dense_heads.solo_head",
        "SOLOHead._predict_by_feat_single",
        "957ecc543a84016f",
        ("if len(cls_scores) == 0:", _TYPES_OF_NONE),
        ("if keep.sum() == 0:", _TYPES_OF_NO_MATCH),
        ("if len(keep_inds) == 0:", _TYPES_OF_NONE),
    ),
    _known(
        "mmdet.models.dense_heads.solov2_head",
        "SOLOV2Head._predict_by_feat_single",
        "c3540a29ad988ac9",
        ("if len(cls_scores) == 0:", _TYPES_OF_NONE),
        ("if keep.sum() == 0:", _TYPES_OF_NO_MATCH),
        ("if len(keep_inds) == 0:", _TYPES_OF_NONE),
    ),
    _known(
        "mmdet.models.dense_heads.yolact_head",
        "YOLACTProtonet.predict_by_feat",
        "08cac57aeaeddbf3",
        ("if bboxes.shape[0] == 0 or mask_preds.shape[0] == 0:", NOT_EMPTY),
        only=(parts("_predict_by_feat_single"),),
    ),
    _known(
        "mmdet.models.dense_heads.yolox_head",
        "YOLOXHead._bbox_post_process",
        "0e5cbc57dfe83616",
        ("if with_nms and results.bboxes.numel() > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.layers.bbox_nms",
        "multiclass_nms",
        "b7f081356640a04a",
        ("if bboxes.numel() == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.layers.brick_wrappers",
        "adaptive_avg_pool2d",
        "7a86bacba41c9e36",
        ("if input.numel() == 0 and obsolete_torch_version(TORCH_VERSION, (1, 9)):", _RECENT_TORCH),
    ),
    _known(
        "mmdet.models.layers.matrix_nms",
        "mask_matrix_nms",
        "f63624f7626df449",
        ("if len(labels) == 0:", NOT_EMPTY),
        ("if nms_pre > 0 and len(sort_inds) > nms_pre:", MORE_THAN_THE_LIMIT),
        ("if not keep.any():", SOME_MATCH),
        ("if max_num > 0 and len(sort_inds) > max_num:", MORE_THAN_THE_LIMIT),
    ),
    _known(
        "mmdet.models.roi_heads.bbox_heads.bbox_head",
        "BBoxHead._predict_by_feat_single",
        "2d35a07497d34cc6",
        ("if roi.shape[0] == 0:", NOT_EMPTY),
        ("if rescale and bboxes.size(0) > 0:", _NONE_LEFT_BEFORE),
        only=(argument_given("rcnn_test_cfg"), parts("bbox_coder", "loss_cls")),
    ),
    _known(
        "mmdet.models.roi_heads.bbox_heads.bbox_head",
        "BBoxHead.forward",
        "7e61338eaf4c2df2",
        ("if x.numel() > 0:", NOT_EMPTY),
        only=(parts("avg_pool"),),
    ),
    _known(
        "mmdet.models.roi_heads.bbox_heads.bbox_head",
        "BBoxHead.refine_bboxes",
        "efa71ec1016fc771",
        ("assert img_ids.numel() <= len(batch_img_metas)", PICTURES_OF_THE_BATCH),
    ),
    _known(
        "mmdet.models.roi_heads.cascade_roi_head",
        "CascadeRoIHead._refine_roi",
        "b9e4abc9fc490bca",
        ("if rois[i].shape[0] > 0:", NOT_EMPTY),
        only=(parts("bbox_head"),),
    ),
    _known(
        "mmdet.models.roi_heads.cascade_roi_head",
        "CascadeRoIHead.predict_bbox",
        "0ce24dc4d87f6dfa",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
        only=(argument_given("rcnn_test_cfg"), parts("_refine_roi", *_FINDS_BOXES)),
    ),
    _known(
        "mmdet.models.roi_heads.cascade_roi_head",
        "CascadeRoIHead.predict_mask",
        "4a536c7458a05116",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
        only=(parts(*_FINDS_MASKS),),
    ),
    _known(
        "mmdet.models.roi_heads.grid_roi_head",
        "GridRoIHead.predict_bbox",
        "70b5630936203489",
        ("if grid_rois.shape[0] != 0:", NOT_EMPTY),
        only=(parts("grid_roi_extractor", "grid_head", "shared_head"),),
    ),
    _known(
        "mmdet.models.roi_heads.htc_roi_head",
        "HybridTaskCascadeRoIHead.predict_mask",
        "f02c50f9c14004b2",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
        only=(parts(*_FINDS_MASKS),),
    ),
    _known(
        "mmdet.models.roi_heads.mask_heads.fcn_mask_head",
        "FCNMaskHead.predict_by_feat",
        "e23605a4be62142b",
        ("if bboxes.shape[0] == 0:", NOT_EMPTY),
        only=(parts("_predict_by_feat_single"),),
    ),
    _known(
        "mmdet.models.roi_heads.mask_heads.feature_relay_head",
        "FeatureRelayHead.forward",
        "0b52e9c2e5ac58c2",
        ("if N > 0:", _NONE_LEFT_IN_CALLER),
        only=(_SCNET_PREDICTS, parts("fc", "upsample")),
    ),
    _known(
        "mmdet.models.roi_heads.mask_heads.grid_head",
        "GridHead.predict_by_feat",
        "b8d33f04ee53274b",
        ("if len(results) != 0:", NOT_EMPTY),
        only=(parts("_predict_by_feat_single"),),
    ),
    _known(
        "mmdet.models.roi_heads.mask_scoring_roi_head",
        "MaskScoringRoIHead.predict_mask",
        "bc5ee4f66e1809cd",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
        only=(parts(*_FINDS_MASKS, "mask_iou_head"),),
    ),
    _known(
        "mmdet.models.roi_heads.multi_instance_roi_head",
        "MultiInstanceRoIHead.predict_bbox",
        "e20eb2a19bf06d01",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
        only=(argument_given("rcnn_test_cfg"), parts(*_FINDS_BOXES)),
    ),
    _known(
        "mmdet.models.roi_heads.point_rend_roi_head",
        "PointRendRoIHead._get_fine_grained_point_feats",
        "1386dd0782b11936",
        ("assert rois.shape[0] > 0, 'RoI is a empty tensor.'", _ERROR_OF_NONE),
        ("if inds.any():", SOME_MATCH),
    ),
    _known(
        "mmdet.models.roi_heads.point_rend_roi_head",
        "PointRendRoIHead.predict_mask",
        "57e243de4bfa7511",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
        only=(parts(*_FINDS_MASKS, "point_head", "_mask_point_forward_test"),),
    ),
    _known(
        "mmdet.models.roi_heads.roi_extractors.generic_roi_extractor",
        "GenericRoIExtractor.forward",
        "c62284e6346cabf0",
        ("if roi_feats.shape[0] == 0:", NOT_EMPTY),
        only=(parts("roi_layers", "roi_rescale", "pre_module", "post_module"),),
    ),
    _known(
        "mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor",
        "SingleRoIExtractor.forward",
        "fd7fdf9f8729262f",
        ("if len(rois) == 0:", NOT_EMPTY),
        ("if inds.numel() > 0:", _UNUSED_LEVEL),
        only=(parts("roi_layers", "roi_rescale"),),
    ),
    _known(
        "mmdet.models.roi_heads.scnet_roi_head",
        "SCNetRoIHead.predict_mask",
        "933153d61838bb73",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
        only=(parts(*dict.fromkeys((*_FINDS_BOXES, *_FINDS_MASKS, "feat_relay_head"))),),
    ),
    _known(
        "mmdet.models.roi_heads.sparse_roi_head",
        "SparseRoIHead.predict_mask",
        "e80e5ed5620fc93d",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
        only=(parts(*_FINDS_MASKS),),
    ),
    _known(
        "mmdet.models.roi_heads.standard_roi_head",
        "StandardRoIHead.predict_bbox",
        "db64b9f7b1502c83",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
        only=(argument_given("rcnn_test_cfg"), parts(*_FINDS_BOXES)),
    ),
    _known(
        "mmdet.models.roi_heads.standard_roi_head",
        "StandardRoIHead.predict_mask",
        "02800a53bf2ceebf",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
        only=(parts(*_FINDS_MASKS),),
    ),
    _known(
        "mmdet.models.roi_heads.trident_roi_head",
        "TridentRoIHead.merge_trident_bboxes",
        "a897e261611cb3c5",
        ("if bboxes.numel() == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.task_modules.coders.delta_xywh_bbox_coder",
        "delta2bbox",
        "4d0e5ce43bedfbe6",
        ("if num_bboxes == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.task_modules.coders.delta_xywh_bbox_coder",
        "delta2bbox_glip",
        "3579a5b7342ceef0",
        ("if num_bboxes == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.structures.bbox.bbox_overlaps",
        "bbox_overlaps",
        "a95754177a7baa13",
        ("if rows * cols == 0:", NOT_EMPTY),
    ),
)
