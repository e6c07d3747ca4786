"""An mmdet detector as a plain module: a prepared picture in, `dets`, `labels`, `masks` out."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import warnings
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partition_core.base.errors import ExportError
from partition_core.base.wording import one_line
from partition_core.recipe.values import MasksForm, MmdetModel
from partition_core.sources.mmdet.config_form import check_form, check_preprocessor
from partition_core.sources.mmdet.config_reads import Part
from partition_core.sources.mmdet.configs import find_config, shipped_configs
from partition_core.sources.mmdet.exceptions import complete_mmdet
from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.overrides import override
from partition_core.sources.mmdet.parts import take_part
from partition_core.sources.mmdet.prompts import Text, text_of
from partition_core.trace.replaced import replaced
from partition_core.trace.structure import mappings_in
from partition_core.trace.symbolic_calls import best_first


class Detector(nn.Module):
    """mmdet's own `predict` of `detector`, in the coordinates of the input picture.

    input: (N, C, H, W), normalized as the model's data preprocessor does it. Returns `dets`
    (N, num_dets, 5), x1 y1 x2 y2 in pixels and the score, best first, `labels` (N, num_dets)
    int64, and `masks` (N, num_dets, h, w) if the detector predicts masks: for two-stage detectors
    the probabilities before pasting, unless `masks` is "pasted"; for others the output of
    `predict`. With N > 1 a picture with fewer detections than another is padded with rows of zeros
    and label -1.
    `panoptic` (N, H, W) int32 is the map of a panoptic detector, class + 1000 times instance.
    A detector that reads a `text` looks for its words.
    """

    def __init__(
        self, detector: nn.Module, masks: MasksForm = "probabilities", text: Text = ()
    ) -> None:
        super().__init__()
        self.detector = detector
        self.masks = masks
        self.text = text

    def forward(self, input: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return `dets`, `labels`, `masks` and `panoptic` of a batch, as far as they exist."""
        from partition_core.sources.mmdet.masks import traceable_pasting, unpasted_masks

        # The panoptic fusion head needs pasted masks.
        pasted = self.masks == "pasted" or hasattr(self.detector, "panoptic_fusion_head")
        count, _, height, width = input.shape
        samples = _samples(count, height, width, self.text)
        with traceable_pasting() if pasted else unpasted_masks(self.detector):
            results = self._predict(input, samples)
        outputs: dict[str, torch.Tensor] = {}
        if all("pred_instances" in result for result in results):
            outputs |= _detections([result.pred_instances for result in results])
        if all("pred_panoptic_seg" in result for result in results):
            outputs["panoptic"] = torch.cat(
                [result.pred_panoptic_seg.sem_seg for result in results]
            )
        return outputs

    def _predict(self, input: torch.Tensor, samples: list[Any]) -> Any:
        predict: Any = self.detector.predict
        # Detectors without this parameter always rescale: by the samples' factor, 1.
        can_skip = "rescale" in inspect.signature(predict).parameters
        # An unsorted top-k has a different order in each runtime.
        with replaced(torch.Tensor, "topk", best_first):
            return predict(input, samples, **({"rescale": False} if can_skip else {}))


class Network(Detector):
    """What `detector` computes for (N, C, H, W) in front of its post-processing.

    Returns what its `bbox_head` gives, as that does. N may be free: nothing here takes pictures
    one by one.
    """

    def forward(self, input: torch.Tensor) -> Any:
        """Return the outputs of the head, in mmdet's structure."""
        head: Any = self.detector.bbox_head
        height, width = input.shape[2:]

        def reached(*outputs: Any, **_: Any) -> None:
            raise _ReachedError(outputs)

        with replaced(head, "predict_by_feat", reached):
            try:
                self._predict(input, _samples(_count(input), height, width, self.text))
            except _ReachedError as end:
                return end.outputs
        raise ValueError("the head calls no 'predict_by_feat'")


class _ReachedError(Exception):
    """The post-processing would begin here, with `outputs` of the head."""

    def __init__(self, outputs: tuple[Any, ...]) -> None:
        super().__init__()
        self.outputs = outputs


def _count(input: torch.Tensor) -> int:
    """Return the number of pictures; while it is traced that of the sample, which fixes nothing."""
    count: Any = input.shape[0]
    return int(count.node.hint) if isinstance(count, torch.SymInt) else int(count)


def _samples(count: int, height: int, width: int, text: Text) -> list[Any]:
    from mmdet.structures import DetDataSample

    shape = (height, width)
    meta = {
        "img_shape": shape,
        "ori_shape": shape,
        "pad_shape": shape,
        "batch_input_shape": shape,
        "scale_factor": (1.0, 1.0),
        # Where the picture lies on the canvas of a config that enlarges it.
        "border": (0, height, 0, width),
        **({"text": text, "custom_entities": True} if text else {}),
    }
    return [DetDataSample(metainfo=meta) for _ in range(count)]


def _detections(instances: list[Any]) -> dict[str, torch.Tensor]:
    # CrowdDet gives boxes as float64 and labels as floats.
    boxes = [_as(each.bboxes, each.scores.dtype) for each in instances]
    dets = [
        torch.cat([box, each.scores[:, None]], dim=1)
        for box, each in zip(boxes, instances, strict=True)
    ]
    labels = [_as(each.labels, torch.int64) for each in instances]
    outputs = {"dets": _stacked(dets, 0), "labels": _stacked(labels, -1)}
    if all(isinstance(each.get("masks"), torch.Tensor) for each in instances):
        outputs["masks"] = _stacked([each.masks for each in instances], 0)
    return outputs


def _as(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _stacked(rows: list[torch.Tensor], filler: int) -> torch.Tensor:
    """Return (N, max K, …) from N tensors (K, …), padded with `filler` at the end."""
    if len(rows) == 1:
        return rows[0][None]
    longest = reduce(torch.sym_max, (row.shape[0] for row in rows))
    widths = [(*[0, 0] * (row.dim() - 1), 0, longest - row.shape[0]) for row in rows]
    padded = [
        nn.functional.pad(row, width, value=filler) for row, width in zip(rows, widths, strict=True)
    ]
    return torch.stack(padded)


def build_detector(
    model: MmdetModel, root: Path, place: str, masks: MasksForm = "probabilities"
) -> tuple[Detector, Any]:
    """Return the detector of an mmdet config, in eval mode, its weights as built, and the config.

    Raises ExportError if the config cannot be found, read, overridden or built.
    """
    path = find_config(model.config, root, place)
    with quiet_mmdet():
        provide_compiled_ops()
        from mmdet.registry import MODELS
        from mmengine.config import Config
        from mmengine.registry import init_default_scope

        with _errors_as(place, f"config '{model.config}' cannot be read"):
            config = Config.fromfile(str(path))
        override(config, model, place)
        check_form(config, model, place)
        take_part(config, model)
        with _errors_as(place, f"config '{model.config}' cannot be built"):
            complete_mmdet()
            init_default_scope(config.get("default_scope", "mmdet"))
            _drop_pretrained(config.model)
            if "pretrained" not in Part(config.model).accepted():
                config.model.pop("pretrained", None)  # of detectors of mmdet 2
            _use_plain_parts(config.model)
            # A copy, since building changes it, such as lists to tensors.
            detector = MODELS.build(_with_shipped_files(copy.deepcopy(config.model)))
    check_preprocessor(detector, model, place)
    _check_has_rpn(detector, model, place)
    return Detector(detector, masks, text_of(config, detector, model)).eval(), config


def _check_has_rpn(detector: Any, model: MmdetModel, place: str) -> None:
    if getattr(detector, "with_rpn", True) is False:
        raise ExportError.at(
            place,
            f"config '{model.config}' is of a detector whose input includes region proposals, "
            "but a recipe has only a picture",
            "expected a detector that computes its own region proposals",
            "name a config with a region proposal network, such as one of Faster R-CNN",
        )


@contextlib.contextmanager
def quiet_mmdet() -> Iterator[None]:
    """Suppress the output of mmdet and its dependencies; errors still pass."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _errors_as(place: str, what: str) -> Iterator[None]:
    try:
        yield
    except ExportError:
        raise
    except Exception as error:  # a config is Python: building it may raise anything
        reason = one_line(error)
        raise ExportError.at(place, what, f"{type(error).__name__}: {reason}") from error


def _drop_pretrained(config: Any) -> None:
    """Remove the backbones' own checkpoints: a recipe's `weights` are the only weights."""
    part: Any
    for part in mappings_in(config):
        init = part.get("init_cfg")
        if isinstance(init, dict) and (init.get("type") == "Pretrained" or init.get("checkpoint")):
            part["init_cfg"] = None
        for key in ("pretrained", "teacher_ckpt"):
            if part.get(key):
                part[key] = None


def _use_plain_parts(config: Any) -> None:
    """Use mmcv's own code where a config names another package's for the same numbers."""
    part: Any
    for part in mappings_in(config):
        # Synchronized BatchNorm cannot be built without a distributed process group.
        if part.get("type") == "MMSyncBN":
            part["type"] = "BN"
        # How many layers fairscale lets keep fewer activations in training.
        if part.get("num_cp"):
            part["num_cp"] = 0
        if part.get("use_torchvision"):
            part["use_torchvision"] = False


def _with_shipped_files(config: Any) -> Any:
    """Return `config` with full paths of configs that mmdet ships, such as a teacher's."""
    if isinstance(config, dict):
        for key, value in config.items():
            config[key] = _with_shipped_files(value)
    elif isinstance(config, list):
        return [_with_shipped_files(value) for value in config]
    elif isinstance(config, str) and config.startswith("configs/") and config.endswith(".py"):
        shipped = shipped_configs()
        if shipped is not None and (shipped.parent / config).is_file():
            return str(shipped.parent / config)
    return config
