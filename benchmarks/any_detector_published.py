"""The models of `any_detector.py`, and where vendors of NPU toolchains end these networks.

The names of nodes are facts, each cited by repository, commit and file. A place is the name of
a node or of its output as the vendor writes it (`/model.22/cv2.0/cv2.0.2/Conv`), or the module
whose output it is (`cv2.0`), where the vendor replaces the module's `forward` or has other names.
"""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """A repository on GitHub at a commit."""

    repository: str
    commit: str


class Published(NamedTuple):
    """The end nodes that a vendor publishes in `file`.

    `differs` says in words what that vendor does otherwise than ending at operators with weights.
    """

    source: Source
    file: str
    places: tuple[str, ...] = ()
    differs: str = ""


class Candidate(NamedTuple):
    """A model: its project, its name there, and the end nodes that vendors publish for it."""

    library: str
    name: str
    published: tuple[Published, ...] = ()


HAILO = Source("hailo-ai/hailo_model_zoo", "c83fc030e862de8daf05b783f503712d168ef620")
DEEPX = Source("DEEPX-AI/dx-compiler", "4c6f72049db76468fe009091d342ee0eade8e156")
RENESAS = Source("renesas-rz/rzv_drp-ai_tvm", "a5575524857f5a27764e9f4ed076af3e544aa782")
D_ROBOTICS = Source("D-Robotics/rdk_model_zoo", "be4f89bd178ffe9b668bd3d431e0499df6b37fb1")
ROCKCHIP = Source("airockchip/rknn_model_zoo", "bad6c7334531becaf90a561988519b7bec34d0ab")
ROCKCHIP_YOLOV8 = Source(
    "airockchip/ultralytics_yolov8", "4674fe6e003dfbc5f2250d3b39dd31faaf7a9877"
)
SIPEED = Source("sipeed/MaixPy", "7337fc84f1487d807fc41a63e5bf9ee84b4d9b6e")
TEXAS = Source("TexasInstruments/edgeai-tensorlab", "f272548ef0fe96046f1bf2c3833e040a1ecf8e44")

_ZOO = "hailo_model_zoo/cfg/networks"
_PASSES = "source/docs/02_09_Pre_Optimize_API.md"
_HOW_TO = "docs/model_list/how_to_convert/How_to_convert"
_PATCH = "samples/vision/ultralytics_yolo/x86/export_monkey_patch.py"
_YOLO26 = "samples/vision/ultralytics_yolo26/conversion/onnx_export/export_yolo26"
_TI = "edgeai-benchmark/configs/detection_v2.py"

_SIGMOID = "with the sigmoid of the scores"


def _nodes(head: int, *branches: str, prefix: str = "") -> tuple[str, ...]:
    names = [prefix + branch for branch in branches]
    return tuple(f"/model.{head}/{b}.{s}/{b}.{s}.2/Conv" for s in range(3) for b in names)


def _modules(*branches: str, scales: int = 3) -> tuple[str, ...]:
    return tuple(f"{branch}.{scale}" for scale in range(scales) for branch in branches)


def _hailo(name: str, *places: str, differs: str = "") -> Published:
    return Published(HAILO, f"{_ZOO}/{name}.yaml", places, differs)


def _deepx(*places: str) -> Published:
    return Published(DEEPX, _PASSES, places)


def _renesas(name: str, *places: str, differs: str = "") -> Published:
    return Published(RENESAS, f"{_HOW_TO}_{name}_V2H.md", places, differs)


_SIPEED = Published(
    SIPEED,
    "docs/doc/en/vision/customize_model_yolo.md",
    differs="behind the concatenation of the boxes and scores of a scale, or behind the DFL",
)
_ROCKCHIP = Published(
    ROCKCHIP_YOLOV8, "ultralytics/nn/modules/head.py", differs=f"{_SIGMOID}, and with their sum"
)


def _patched(*branches: str, more: tuple[str, ...] = ()) -> Published:
    """Return what D-Robotics' replaced `forward` of a head returns: each branch of each scale."""
    return Published(D_ROBOTICS, _PATCH, (*_modules(*branches), *more))


def _yolo26(task: str, *branches: str, more: tuple[str, ...] = ()) -> Published:
    return Published(D_ROBOTICS, f"{_YOLO26}_{task}_bpu.py", (*_modules(*branches), *more))


_TWO, _THREE = ("cv2", "cv3"), ("cv2", "cv3", "cv4")
_ONE = "one2one_"
_DETECT = _patched(*_TWO)
_SEGMENT = _patched(*_THREE, more=("proto",))
_CLASSIFY = Published(D_ROBOTICS, _PATCH, ("linear",))
_PROTO8, _PROTO11 = "/model.22/proto/cv3/act/Mul", "/model.23/proto/cv3/act/Mul"
_ONE_TWO, _ONE_THREE = tuple(_ONE + b for b in _TWO), tuple(_ONE + b for b in _THREE)

_ULTRALYTICS: dict[str, tuple[Published, ...]] = {
    "yolov3:Detection": (_DETECT,),
    "yolov3-tiny:Detection": (),
    "yolov5n:Detection": (_DETECT,),
    "yolov6n:Detection": (_DETECT,),
    "yolov8n:Detection": (
        _renesas("yolov8_onnx_models", *_nodes(22, *_TWO)),
        _deepx(*_nodes(22, *_TWO)),
        _DETECT,
        _ROCKCHIP,
        _SIPEED,
    ),
    "yolov8n-p2:Detection": (Published(D_ROBOTICS, _PATCH, _modules(*_TWO, scales=4)),),
    "yolov8n-ghost:Detection": (_DETECT,),
    "yolov8n-seg:Segmentation": (
        _hailo("yolov8s_seg", *_nodes(22, *_THREE), _PROTO8),
        _SEGMENT,
        _ROCKCHIP,
        _SIPEED,
    ),
    "yolov8n-pose:Pose": (
        _hailo("yolov8s_pose", *_nodes(22, *_THREE)),
        _deepx(*_nodes(22, *_THREE)),
        _renesas("yolov8pose_onnx_models", *_nodes(22, *_THREE)),
        _SIPEED,
    ),
    "yolov8n-obb:OBB": (_patched(*_THREE), _SIPEED),
    "yolov8n-cls:Classification": (_CLASSIFY,),
    "yolov8n-worldv2:World": (),
    "yolov8n-rtdetr:RTDETRDetection": (),
    "yolov9t:Detection": (_renesas("yolov9_onnx_models", *_nodes(22, *_TWO)), _DETECT),
    "yolov9c-seg:Segmentation": (_SEGMENT,),
    "yolov10n:Detection": (
        _hailo("yolov10n", *_nodes(23, *_TWO, prefix=_ONE)),
        _renesas("yolov10_onnx_models", *_nodes(23, *_TWO, prefix=_ONE)),
        _patched(*_ONE_TWO),
    ),
    "yolo11n:Detection": (
        _hailo("yolov11n", *_nodes(23, *_TWO)),
        _renesas("yolov11_onnx_models", *_nodes(23, *_TWO)),
        _DETECT,
        _SIPEED,
    ),
    "yolo11n-seg:Segmentation": (_SEGMENT, _SIPEED),
    "yolo11n-pose:Pose": (
        _renesas("yolo11pose_onnx_models", *_nodes(23, *_THREE)),
        _patched(*_THREE),
        _SIPEED,
    ),
    "yolo11n-obb:OBB": (_patched(*_THREE), _SIPEED),
    "yolo11n-cls:Classification": (_CLASSIFY,),
    "yolo12n:Detection": (_DETECT,),
    "yolo12n-seg:Segmentation": (_SEGMENT,),
    "yolo26n:Detection": (
        _deepx(*_nodes(23, *_TWO, prefix=_ONE)),
        Published(
            SIPEED, "docs/doc/en/vision/customize_model_yolo.md", _nodes(23, *_TWO, prefix=_ONE)
        ),
        _yolo26("detect", *_ONE_TWO),
    ),
    "yolo26n-seg:Segmentation": (
        _deepx(*_nodes(23, *_THREE, prefix=_ONE), "proto"),
        _yolo26("seg", *_ONE_THREE, more=("proto",)),
    ),
    "yolo26n-pose:Pose": (
        _deepx(
            *_nodes(23, *_TWO, prefix=_ONE),
            *(f"/model.23/one2one_cv4_kpts.{scale}/Conv" for scale in range(3)),
        ),
        _yolo26("pose", *_ONE_TWO, "one2one_cv4_kpts"),
    ),
    "yolo26n-obb:OBB": (_yolo26("obb", *_ONE_THREE),),
    "yolo26n-cls:Classification": (Published(D_ROBOTICS, f"{_YOLO26}_cls_bpu.py", ("linear",)),),
    "yolo26n-sem:SemanticSegmentation": (),
    "rtdetr-l:RTDETRDetection": (),
}

_TRANSFORMERS: dict[str, tuple[Published, ...]] = {
    "DETR": (
        _hailo(
            "detr_resnet_v1_18_bn",
            differs="with the sigmoid of the boxes; the scores end at the same layer",
        ),
    ),
    **dict.fromkeys(
        (
            "Conditional DETR", "DAB-DETR", "Deformable DETR", "Deformable DETR, two-stage",
            "Table Transformer", "RT-DETR", "RT-DETRv2", "D-FINE", "YOLOS",
            "OWL-ViT, fixed query", "OWLv2, fixed query", "MaskFormer", "Mask2Former", "DPT",
            "SegFormer", "UPerNet", "BEiT", "Depth Anything", "SuperPoint", "ViT",
        ),
        (),
    ),
}  # fmt: skip

_OTHERS: dict[str, dict[str, tuple[Published, ...]]] = {
    "rfdetr": {"RFDETRNano": (), "RFDETRSegNano": ()},
    "timm": {"resnet18, features": (), "mobilenetv3_small_100": ()},
    "segmentation_models_pytorch": {
        "Unet": (),
        "FPN": (),
        "DeepLabV3Plus": (
            Published(
                ROCKCHIP,
                "examples/deeplabv3/python/convert.py",
                ("segmentation_head.0",),  # `logits/semantic/BiasAdd` in TensorFlow
            ),
        ),
        "PSPNet": (),
    },
}

_RTMDET = _modules("rtm_cls", "rtm_reg")
_CENTERNET = tuple(f"{b}_head.2" for b in ("heatmap", "wh", "offset"))
_MMDET: dict[str, tuple[Published, ...]] = {
    "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py": (),
    "yolox/yolox_tiny_8xb8-300e_coco.py": (
        Published(
            TEXAS,
            "edgeai-modelmaker/data/descriptions/description_vision.yaml",
            _modules("multi_level_conv_cls", "multi_level_conv_reg", "multi_level_conv_obj"),
        ),
        _hailo("yolox_tiny", differs=f"{_SIGMOID} and of the objectness"),
        _renesas(
            "yolox_onnx_models",
            differs="behind the sigmoids and the concatenation of each scale",
        ),
    ),
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py": (_deepx(*_RTMDET),),
    "retinanet/retinanet_r18_fpn_1x_coco.py": (),
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py": (),
    "centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py": (
        Published(TEXAS, _TI, ("conv_cls", "conv_reg") * 5),
    ),
    "centernet/centernet_r18_8xb16-crop512-140e_coco.py": (Published(TEXAS, _TI, _CENTERNET),),
    "atss/atss_r50_fpn_1x_coco.py": (),
    "gfl/gfl_r50_fpn_1x_coco.py": (),
    "yolof/yolof_r50-c5_8xb8-1x_coco.py": (),
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py": (),
    "detr/detr_r18_8xb2-500e_coco.py": (
        _hailo(
            "detr_resnet_v1_18_bn",
            differs="with the sigmoid of the boxes; the scores end at the same layer",
        ),
    ),
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py": (),
}

CANDIDATES = [
    Candidate(library, name, published)
    for library, models in {
        "ultralytics": _ULTRALYTICS,
        "transformers": _TRANSFORMERS,
        **_OTHERS,
        "mmdet": _MMDET,
    }.items()
    for name, published in models.items()
]
