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

import torch

SIDE = {"ultralytics": 160, "transformers": 64}
_OPSET = 17


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
    model = getattr(tasks, f"{kind}Model")(f"{config}.yaml", verbose=False).eval()
    model.requires_grad_(requires_grad=False)
    model = model.fuse(verbose=False)
    for module in model.modules():
        if hasattr(module, "export"):
            module.export, module.format, module.dynamic = True, "onnx", False
    return model  # type: ignore[no-any-return]  # reason: a library without types


def transformers(name: str) -> torch.nn.Module:
    """Return the model `name` of transformers with a small configuration."""
    library: Any = importlib.import_module("transformers")
    make, names = _CONFIGURED[name]
    return _Outputs(make(library).eval(), names)


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


def main() -> None:
    """Export the model that the command line names."""
    library, name, target = sys.argv[1:]
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    model = {"ultralytics": ultralytics, "transformers": transformers}[library](name)
    side = SIDE[library]
    picture = torch.rand(1, 3, side, side)
    with torch.no_grad():
        model(picture)
        torch.onnx.export(
            model,
            (picture,),
            Path(target),
            opset_version=_OPSET,
            dynamo=False,
            input_names=["images"],
        )


if __name__ == "__main__":
    main()
