"""Builds models of other projects on random weights and exports each by its project's own way.

    python benchmarks/any_detector_models.py LIBRARY NAME TARGET

A child process of `any_detector.py`, which has these projects on its path.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

SIDE = {"ultralytics": 160, "transformers": 64, "timm": 64, "segmentation_models_pytorch": 64}
_OPSET = 17
_BY_GRAPH = {
    # The exporter by tracing writes float64 grids here, and a MaxPool without its batch.
    "Deformable DETR", "Deformable DETR, two-stage", "Mask2Former", "SuperPoint",
}  # fmt: skip
"""The models that PyTorch's newer exporter exports, which `torch.onnx` has by `dynamo`."""
_SIDES = {"UPerNet": 192, "BEiT": 192, "PSPNet": 192}
"""Sides whose maps the pooling to 1, 2, 3 and 6 cells divides."""


class _Outputs(torch.nn.Module):
    """A model of transformers as a module that returns some of its outputs."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the named outputs."""
        outputs = self.model(pixel_values=pixel_values)
        return tuple(outputs[name] for name in self.names)


def ultralytics(name: str) -> torch.nn.Module:
    """Return the model `name` as Ultralytics' exporter prepares it: `<config>:<class of tasks>`."""
    tasks: Any = importlib.import_module("ultralytics.nn.tasks")
    config, kind = name.split(":")
    model = getattr(tasks, f"{kind}Model")(f"{config}.yaml", verbose=False)
    ends = [m for m in model.modules() if getattr(m, "one2one_cv2", None) is not None]
    if ends or kind in ("Classification", "SemanticSegmentation"):
        _normalize(model, SIDE["ultralytics"])
    model.eval()
    model.requires_grad_(requires_grad=False)
    for module in ends:
        module.end2end = True  # the head without suppression, as vendors take it
    model = model.fuse(verbose=False)
    for module in model.modules():
        if hasattr(module, "export"):
            module.export, module.format, module.dynamic = True, "onnx", False
    return model  # type: ignore[no-any-return]  # reason: a library without types


def _normalize(model: torch.nn.Module, side: int) -> None:
    """Give the norms of random weights the statistics of pictures, or all have one result."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of what has come so far
    with torch.no_grad():
        model.train()(torch.rand(4, 3, side, side))


def transformers(name: str) -> torch.nn.Module:
    """Return the model `name` of transformers with a small configuration."""
    library: Any = importlib.import_module("transformers")
    make, names = _CONFIGURED[name]
    model = make(library).eval()
    return _Outputs(model, names) if names else model


_BOXES = ("logits", "pred_boxes")
_MASKS = ("class_queries_logits", "masks_queries_logits")
_SIZES: dict[str, Any] = {
    "d_model": 32,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_queries": 10,
}
_LAYERS: dict[str, Any] = {**_SIZES, "encoder_layers": 1, "decoder_layers": 2}
_STAGES: dict[str, Any] = {
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 48, 64],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_THREE = ["stage2", "stage3", "stage4"]


def _detr(prefix: str, stages: list[str], **sizes: Any) -> Callable[[Any], torch.nn.Module]:
    def make(library: Any) -> torch.nn.Module:
        backbone = library.ResNetConfig(**_STAGES, out_features=stages)
        options = {"use_timm_backbone": False, "backbone_config": backbone, **_LAYERS, **sizes}
        config = getattr(library, f"{prefix}Config")(**options)
        return getattr(library, f"{prefix}ForObjectDetection")(config)  # type: ignore[no-any-return]  # reason: a library without types

    return make


def _real_time_detr(prefix: str) -> Callable[[Any], torch.nn.Module]:
    def make(library: Any) -> torch.nn.Module:
        backbone = library.RTDetrResNetConfig(**_STAGES, out_features=_THREE)
        config = getattr(library, f"{prefix}Config")(
            backbone_config=backbone,
            encoder_hidden_dim=32,
            encoder_in_channels=[32, 48, 64],
            decoder_in_channels=[32, 32, 32],
            decoder_layers=2,
            **_SIZES,
        )
        return getattr(library, f"{prefix}ForObjectDetection")(config)  # type: ignore[no-any-return]  # reason: a library without types

    return make


class _FixedQuery(torch.nn.Module):
    """The detector of OWL-ViT, which looks for queries that are embedded beforehand."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("queries", torch.randn(1, 5, model.config.text_config.hidden_size))

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the scores of the queries, and the boxes."""
        feature_map = self.model.image_embedder(pixel_values)[0]
        features = feature_map.flatten(1, 2)
        logits, _ = self.model.class_predictor(features, self.queries)
        boxes = self.model.box_predictor(features, feature_map)
        return logits, boxes


def _owl(prefix: str) -> Callable[[Any], torch.nn.Module]:
    def make(library: Any) -> torch.nn.Module:
        sizes = {key: value for key, value in _VIT.items() if key != "num_hidden_layers"}
        vision = {**sizes, "num_hidden_layers": 2, "image_size": 64, "patch_size": 16}
        config = getattr(library, f"{prefix}Config")(
            vision_config=vision, text_config={**sizes, "num_hidden_layers": 1}, projection_dim=32
        )
        return _FixedQuery(getattr(library, f"{prefix}ForObjectDetection")(config))

    return make


def _swin(library: Any) -> Any:
    return library.SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=2,
        out_features=["stage1", *_THREE],
    )


def _maskformer(library: Any) -> torch.nn.Module:
    decoder = library.DetrConfig(
        use_timm_backbone=False,
        backbone_config=library.ResNetConfig(**_STAGES, out_features=["stage4"]),
        **_LAYERS,
    )
    config = library.MaskFormerConfig(
        fpn_feature_size=32,
        mask_feature_size=32,
        backbone_config=_swin(library),
        decoder_config=decoder,
    )
    return library.MaskFormerForInstanceSegmentation(config)  # type: ignore[no-any-return]  # reason: a library without types


def _mask2former(library: Any) -> torch.nn.Module:
    config = library.Mask2FormerConfig(
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        num_queries=10,
        backbone_config=_swin(library),
    )
    return library.Mask2FormerForUniversalSegmentation(config)  # type: ignore[no-any-return]  # reason: a library without types


def _over_swin(prefix: str, **options: Any) -> Callable[[Any], torch.nn.Module]:
    def make(library: Any) -> torch.nn.Module:
        config = getattr(library, f"{prefix}Config")(backbone_config=_swin(library), **options)
        return getattr(library, f"{prefix}ForSemanticSegmentation")(config)  # type: ignore[no-any-return]  # reason: a library without types

    return make


def _d_fine(library: Any) -> torch.nn.Module:
    backbone = library.HGNetV2Config(
        stage_in_channels=[16, 32, 32, 32],
        stage_mid_channels=[16, 16, 16, 16],
        stage_out_channels=[32, 32, 32, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        stem_channels=[3, 16, 16],
        embedding_size=16,
        hidden_sizes=[32, 32, 32, 32],
        depths=[1, 1, 1, 1],
        out_features=_THREE,
    )
    config = library.DFineConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[32, 32, 32],
        decoder_in_channels=[32, 32, 32],
        decoder_layers=2,
        **_SIZES,
    )
    return library.DFineForObjectDetection(config)  # type: ignore[no-any-return]  # reason: a library without types


def _depth_anything(library: Any) -> torch.nn.Module:
    backbone = library.Dinov2Config(
        **_VIT,
        image_size=64,
        patch_size=16,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = library.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=16,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    return library.DepthAnythingForDepthEstimation(config)  # type: ignore[no-any-return]  # reason: a library without types


def _of(prefix: str, task: str, **options: Any) -> Callable[[Any], torch.nn.Module]:
    def make(library: Any) -> torch.nn.Module:
        config = getattr(library, f"{prefix}Config")(**options)
        return getattr(library, f"{prefix}For{task}")(config)  # type: ignore[no-any-return]  # reason: a library without types

    return make


_CONFIGURED: dict[str, tuple[Callable[[Any], torch.nn.Module], tuple[str, ...]]] = {
    "DETR": (_detr("Detr", ["stage4"]), _BOXES),
    "Conditional DETR": (_detr("ConditionalDetr", ["stage4"]), _BOXES),
    "Deformable DETR": (_detr("DeformableDetr", _THREE, num_feature_levels=3), _BOXES),
    "Deformable DETR, two-stage": (
        _detr(
            "DeformableDetr",
            _THREE,
            num_feature_levels=3,
            with_box_refine=True,
            two_stage=True,
            two_stage_num_proposals=10,
        ),
        _BOXES,
    ),
    "DAB-DETR": (_detr("DabDetr", ["stage4"], hidden_size=32), _BOXES),
    "Table Transformer": (_detr("TableTransformer", ["stage4"]), _BOXES),
    "D-FINE": (_d_fine, _BOXES),
    "OWL-ViT, fixed query": (_owl("OwlViT"), ()),
    "OWLv2, fixed query": (_owl("Owlv2"), ()),
    "UPerNet": (
        _over_swin("UperNet", hidden_size=32, auxiliary_channels=16, auxiliary_in_channels=64),
        ("logits",),
    ),
    "BEiT": (
        _of(
            "Beit",
            "SemanticSegmentation",
            **_VIT,
            image_size=192,
            out_indices=[1, 2, 3, 4],
            auxiliary_channels=16,
        ),
        ("logits",),
    ),
    "Depth Anything": (_depth_anything, ("predicted_depth",)),
    "RT-DETR": (_real_time_detr("RTDetr"), _BOXES),
    "RT-DETRv2": (_real_time_detr("RTDetrV2"), _BOXES),
    "YOLOS": (
        _of("Yolos", "ObjectDetection", **_VIT, image_size=[64, 64], num_detection_tokens=10),
        _BOXES,
    ),
    "MaskFormer": (_maskformer, _MASKS),
    "Mask2Former": (_mask2former, _MASKS),
    "DPT": (
        _of(
            "DPT",
            "SemanticSegmentation",
            **_VIT,
            image_size=64,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[16, 16, 32, 32],
            fusion_hidden_size=16,
            is_hybrid=False,
        ),
        ("logits",),
    ),
    "SegFormer": (
        _of(
            "Segformer",
            "SemanticSegmentation",
            depths=[1, 1, 1, 1],
            hidden_sizes=[16, 32, 48, 64],
            decoder_hidden_size=32,
        ),
        ("logits",),
    ),
    "SuperPoint": (_of("SuperPoint", "KeypointDetection"), ("scores",)),
    "ViT": (_of("ViT", "ImageClassification", **_VIT, image_size=64), ("logits",)),
}


def rfdetr(name: str) -> torch.nn.Module:
    """Return the model `name` of RF-DETR as its exporter prepares it."""
    library: Any = importlib.import_module("rfdetr")
    detector = getattr(library, name)(pretrain_weights=None, device="cpu")
    SIDE["rfdetr"] = detector.model_config.resolution
    model = detector.model.model.eval()
    model.export()
    return model  # type: ignore[no-any-return]  # reason: a library without types


def timm(name: str) -> torch.nn.Module:
    """Return the model `name` of timm; with `, features` its maps instead of its classes."""
    library: Any = importlib.import_module("timm")
    name, _, features = name.partition(", ")
    model = library.create_model(name, features_only=bool(features))
    return model.eval()  # type: ignore[no-any-return]  # reason: a library without types


def segmentation_models_pytorch(name: str) -> torch.nn.Module:
    """Return the segmentor `name` on a ResNet-18, with probabilities as its output."""
    library: Any = importlib.import_module("segmentation_models_pytorch")
    model = getattr(library, name)("resnet18", encoder_weights=None, activation="sigmoid")
    return model.eval()  # type: ignore[no-any-return]  # reason: a library without types


_LIBRARIES: dict[str, Callable[[str], torch.nn.Module]] = {
    "ultralytics": ultralytics,
    "transformers": transformers,
    "rfdetr": rfdetr,
    "timm": timm,
    "segmentation_models_pytorch": segmentation_models_pytorch,
}


def main() -> None:
    """Export the model that the command line names."""
    library, name, target = sys.argv[1:]
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    model = _LIBRARIES[library](name)
    side = _SIDES.get(name, SIDE[library])
    picture = torch.rand(1, 3, side, side)
    with torch.no_grad():
        model(picture)
        torch.onnx.export(
            model,
            (picture,),
            Path(target),
            opset_version=_OPSET + 1 if name in _BY_GRAPH else _OPSET,
            dynamo=name in _BY_GRAPH,
            external_data=False,
            input_names=["images"],
        )
    try:
        onnx.checker.check_model(target)
    except onnx.checker.ValidationError:
        raise SystemExit("PyTorch's exporter writes a file that is not valid ONNX") from None


if __name__ == "__main__":
    main()
