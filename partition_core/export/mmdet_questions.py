"""The functions of mmdet and mmcv whose questions were read, each with the branches that are right.

A row holds for a function as it is in mmdet 3.3.0 and mmcv 2.1.0, by the digest of its source
(`asker.function_digest`). The reason of each kind of question is beside it in `questions`.
"""

from __future__ import annotations

from partition_core.export.questions import (
    MORE_THAN_THE_LIMIT,
    NOT_ALL,
    NOT_EMPTY,
    PICTURES_OF_THE_BATCH,
    SOME_MATCH,
    SPLIT_SUPPRESSION,
    Kind,
    KnownFunction,
)


def _known(
    module: str, function: str, digest: str, *lines: tuple[str, tuple[Kind, ...]]
) -> KnownFunction:
    return KnownFunction(module, function, digest, dict(lines))


KNOWN_FUNCTIONS = (
    _known(
        "mmcv.cnn.bricks.conv_module",
        "ConvModule.forward",
        "9aa6cb12c365383b",
        ("x = self.norm(x)", NOT_EMPTY),
    ),
    _known(
        "mmcv.ops.nms",
        "batched_nms",
        "775553cd2eed1b1b",
        ("if boxes_for_nms.shape[0] < split_thr:", SPLIT_SUPPRESSION),
    ),
    _known(
        "mmcv.ops.point_sample",
        "SimpleRoIAlign.forward",
        "69ffbd6e690291bf",
        ("if inds.any():", SOME_MATCH),
    ),
    _known(
        "mmdet.models.backbones.resnet",
        "Bottleneck.forward.<locals>._inner_forward",
        "c9c4223bd01a1d6e",
        ("out = self.norm1(out)", NOT_EMPTY),
        ("out = self.norm2(out)", NOT_EMPTY),
        ("out = self.norm3(out)", NOT_EMPTY),
        ("identity = self.downsample(x)", NOT_EMPTY),
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
        ("if num_inst == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.corner_head",
        "CornerHead._bboxes_nms",
        "a04ff82ffc22548a",
        ("if labels.numel() > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.guided_anchor_head",
        "GuidedAnchorHead._predict_by_feat_single",
        "10d63dcdbe0f377e",
        ("if mask.sum() == 0:", SOME_MATCH),
        ("if nms_pre > 0 and scores.shape[0] > nms_pre:", MORE_THAN_THE_LIMIT),
    ),
    _known(
        "mmdet.models.dense_heads.paa_head",
        "PAAHead._bbox_post_process",
        "be6287dc8bbea6e9",
        ("if self.with_score_voting and len(det_bboxes) > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.rpn_head",
        "RPNHead._bbox_post_process",
        "43dfad84efdc8deb",
        ("if not valid_mask.all():", NOT_ALL),
        ("if results.bboxes.numel() > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.rtmdet_ins_head",
        "RTMDetInsHead._bbox_mask_post_process",
        "10f26742b2332152",
        ("if not valid_mask.all():", NOT_ALL),
        ("if results.bboxes.numel() > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.rtmdet_ins_head",
        "RTMDetInsHead._mask_predict_by_feat_single",
        "8b2ceaa4f9a6dfbd",
        ("if num_inst < 1:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.solo_head",
        "SOLOHead._predict_by_feat_single",
        "957ecc543a84016f",
        ("if len(cls_scores) == 0:", NOT_EMPTY),
        ("if keep.sum() == 0:", SOME_MATCH),
        ("if len(keep_inds) == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.solov2_head",
        "SOLOV2Head._predict_by_feat_single",
        "c3540a29ad988ac9",
        ("if len(cls_scores) == 0:", NOT_EMPTY),
        ("if keep.sum() == 0:", SOME_MATCH),
        ("if len(keep_inds) == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.dense_heads.yolact_head",
        "YOLACTProtonet.predict_by_feat",
        "08cac57aeaeddbf3",
        ("if bboxes.shape[0] == 0 or mask_preds.shape[0] == 0:", NOT_EMPTY),
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
        ("if input.numel() == 0 and obsolete_torch_version(TORCH_VERSION, (1, 9)):", NOT_EMPTY),
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
        ("if rescale and bboxes.size(0) > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.bbox_heads.bbox_head",
        "BBoxHead.forward",
        "7e61338eaf4c2df2",
        ("if x.numel() > 0:", NOT_EMPTY),
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
    ),
    _known(
        "mmdet.models.roi_heads.cascade_roi_head",
        "CascadeRoIHead.predict_bbox",
        "0ce24dc4d87f6dfa",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.cascade_roi_head",
        "CascadeRoIHead.predict_mask",
        "4a536c7458a05116",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.grid_roi_head",
        "GridRoIHead.predict_bbox",
        "70b5630936203489",
        ("if grid_rois.shape[0] != 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.htc_roi_head",
        "HybridTaskCascadeRoIHead.predict_mask",
        "f02c50f9c14004b2",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.mask_heads.fcn_mask_head",
        "FCNMaskHead.predict_by_feat",
        "e23605a4be62142b",
        ("if bboxes.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.mask_heads.feature_relay_head",
        "FeatureRelayHead.forward",
        "0b52e9c2e5ac58c2",
        ("if N > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.mask_heads.grid_head",
        "GridHead.predict_by_feat",
        "b8d33f04ee53274b",
        ("if len(results) != 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.mask_scoring_roi_head",
        "MaskScoringRoIHead.predict_mask",
        "bc5ee4f66e1809cd",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.multi_instance_roi_head",
        "MultiInstanceRoIHead.predict_bbox",
        "e20eb2a19bf06d01",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.point_rend_roi_head",
        "PointRendRoIHead._get_fine_grained_point_feats",
        "1386dd0782b11936",
        ("assert rois.shape[0] > 0, 'RoI is a empty tensor.'", NOT_EMPTY),
        ("if inds.any():", SOME_MATCH),
    ),
    _known(
        "mmdet.models.roi_heads.point_rend_roi_head",
        "PointRendRoIHead.predict_mask",
        "57e243de4bfa7511",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.roi_extractors.generic_roi_extractor",
        "GenericRoIExtractor.forward",
        "c62284e6346cabf0",
        ("if roi_feats.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor",
        "SingleRoIExtractor.forward",
        "fd7fdf9f8729262f",
        ("if len(rois) == 0:", NOT_EMPTY),
        ("if inds.numel() > 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.scnet_roi_head",
        "SCNetRoIHead.predict_mask",
        "933153d61838bb73",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.sparse_roi_head",
        "SparseRoIHead.predict_mask",
        "e80e5ed5620fc93d",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.standard_roi_head",
        "StandardRoIHead.predict_bbox",
        "db64b9f7b1502c83",
        ("if rois.shape[0] == 0:", NOT_EMPTY),
    ),
    _known(
        "mmdet.models.roi_heads.standard_roi_head",
        "StandardRoIHead.predict_mask",
        "02800a53bf2ceebf",
        ("if mask_rois.shape[0] == 0:", NOT_EMPTY),
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
        "mmdet.structures.bbox.bbox_overlaps",
        "bbox_overlaps",
        "a95754177a7baa13",
        ("if rows * cols == 0:", NOT_EMPTY),
    ),
)
