"""Converts an MMDeploy deploy config to a recipe; reads no file and imports no library.

The keys are those of MMDeploy's own configs (MMDeploy documentation, "How to write config").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from partition_core.base.errors import ExportError, problem
from partition_core.chain.picture import PICTURE_CHANNELS
from partition_core.recipe.mark_reference import parse_reference
from partition_core.recipe.policy_fits import Parts, check_policy
from partition_core.recipe.values import DEFAULT_OPSET

_CODEBASE = "mmdet"
_POST_PROCESSING = ("codebase_config", "post_processing")
_TEST_VALUES = {
    "score_threshold": ("score_thr",),
    "confidence_threshold": ("conf_thr",),
    "iou_threshold": ("nms", "iou_threshold"),
    "keep_top_k": ("max_per_img",),
}
_SILENT: dict[str, tuple[object, ...]] = {
    "onnx_config.type": ("onnx",),
    "ir_config.type": ("onnx",),
    "onnx_config.export_params": (True,),
    "onnx_config.keep_initializers_as_inputs": (False,),
    "onnx_config.save_file": ("end2end.onnx",),
    "onnx_config.input_names": (["input"],),
    "onnx_config.output_names": (["dets", "labels"], ["dets", "labels", "masks"]),
    "codebase_config.type": ("mmdet",),
    "codebase_config.task": ("ObjectDetection",),
    "codebase_config.model_type": ("end2end",),
    "codebase_config.post_processing.background_label_id": (-1,),
    "backend_config.type": ("onnxruntime",),
    "partition_config.apply_marks": (True,),
}
"""Keys with the values that every recipe implies."""
_WITH_MASKS = {"two_stage": "two_stage_masks"}
"""The policies with another variant for a model with masks."""
_FIXED_AXES = {
    0: "mmdet takes the pictures of a batch one by one, so that their number is fixed",
    1: "the number of channels is fixed",
}
_INPUT_AXES = "the axes of outputs follow from those of the inputs"
_SEGMENT_KEYS = ("save_file", "start", "end", "input_names", "output_names")


@dataclass
class Imported:
    """A recipe as text, and the dotted paths of the deploy config left out of it, with reasons."""

    text: str = ""
    left_out: list[tuple[str, str]] = field(default_factory=list)


def imported(
    deploy: Mapping[str, Any],
    model: Mapping[str, Any],
    names: tuple[str, str],
    policies: frozenset[str],
    marks: frozenset[str],
    schema: str,
) -> Imported:
    """Return the recipe for a deploy config and an mmdet config, both as plain values.

    `names` are the names of the two configs in the recipe, `policies` the shared policies, and
    `marks` those that a recipe may use without defining them. `schema` is the path of the recipe
    schema, for editors. Raises ExportError for a config that is not of a detector, and for a policy
    that does not fit the detector.
    """
    _check_kind(deploy, model, names)
    result = Imported()
    used = _Used(deploy, result)
    export = list(_export(used, model))
    partition = list(_partition(used, model, policies, marks))
    _post_processing(used, model)
    used.report_rest()
    result.text = "\n".join(
        [
            f"# yaml-language-server: $schema={schema}",
            f"# Imported from the MMDeploy config {names[0]}.",
            *(f"# Left out: {path}: {reason}" for path, reason in result.left_out),
            "model:",
            "  source: mmdet",
            f"  config: {_text(names[1])}",
            "  # MMDeploy takes the checkpoint on its command line; here it is part of the recipe:",
            "  # weights: {checkpoint: path or URL, sha256: its digest}",
            "  weights: {seed: 0}",
            *export,
            *partition,
            "",
        ]
    )
    return result


class _Used:
    """A deploy config, and which of its keys were used."""

    def __init__(self, config: Mapping[str, Any], result: Imported) -> None:
        self._leaves = dict(_leaves(config, ()))
        self._config = config
        self._result = result
        self._done: set[str] = set()

    def take(self, *steps: str) -> Any:
        """Return the value at a path, None if there is none; it counts as used."""
        value: Any = self._config
        for step in steps:
            if not isinstance(value, Mapping) or step not in value:
                return None
            value = value[step]
        self._done.add(".".join(steps))
        return value

    def leave_out(self, path: str, reason: str) -> None:
        """Record that the value at a path is not in the recipe."""
        self._result.left_out.append((" ".join(path.split()), reason))

    def report_rest(self) -> None:
        """Record every value that was not used and that a recipe does not imply."""
        for path, value in self._leaves.items():
            is_used = any(
                path == done or path.startswith((f"{done}.", f"{done}[")) for done in self._done
            )
            if not is_used and value not in _SILENT.get(path, ()):
                self.leave_out(path, f"a recipe has no counterpart for {_text(value)}")


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    else:
        yield ".".join(path), list(value) if isinstance(value, tuple) else value


def _export(used: _Used, model: Mapping[str, Any]) -> Iterator[str]:
    channels = _channels(model)
    size = used.take("onnx_config", "input_shape")
    dynamic = _input_axes(used)
    yield "export:"
    if isinstance(size, list | tuple) and len(size) == 2:
        yield "  # MMDeploy's input_shape is (width, height); a shape here is NCHW."
        yield f"  inputs: {{input: {{shape: [1, {channels}, {size[1]}, {size[0]}]}}}}"
    else:
        yield "  # The deploy config leaves the size open; the model is traced at this one."
        yield f"  inputs: {{input: {{shape: [1, {channels}, 800, 1344]}}}}"
    if dynamic:
        axes = ", ".join(f"{axis}: {_text(symbol)}" for axis, symbol in dynamic.items())
        yield f"  dynamic_axes: {{input: {{{axes}}}}}"
    if _has_masks(model) and used.take(*_POST_PROCESSING, "export_postprocess_mask"):
        yield "  masks: pasted"
    opset = used.take("onnx_config", "opset_version")
    if isinstance(opset, int) and 18 <= opset <= 25:
        yield f"  opset: {opset}"
    elif opset is not None:
        used.leave_out(
            "onnx_config.opset_version",
            f"not every model can be written in opset {opset}; the recipe's is {DEFAULT_OPSET}",
        )


def _input_axes(used: _Used) -> dict[int, str]:
    axes = used.take("onnx_config", "dynamic_axes")
    if not isinstance(axes, Mapping):
        return {}
    for tensor in axes:
        if tensor != "input":
            used.leave_out(f"onnx_config.dynamic_axes.{tensor}", _INPUT_AXES)
    listed = axes.get("input", {})
    pairs = listed.items() if isinstance(listed, Mapping) else ((n, f"input_{n}") for n in listed)
    symbols = {int(axis): str(symbol) for axis, symbol in pairs}
    for axis in sorted(_FIXED_AXES.keys() & symbols.keys()):
        used.leave_out(f"onnx_config.dynamic_axes.input.{axis}", _FIXED_AXES[axis])
        del symbols[axis]
    return symbols


def _partition(
    used: _Used, model: Mapping[str, Any], policies: frozenset[str], marks: frozenset[str]
) -> Iterator[str]:
    kind = used.take("partition_config", "type")
    segments = used.take("partition_config", "partition_cfg")
    if kind is None:
        yield "# The deploy config has no partition_config: the whole is one segment."
        yield from ("partition:", "  type: whole", "  segments:")
        yield "    - save_file: whole.onnx"
        yield "      start: ['detector_forward:input']"
        yield "      end: ['detector_forward:output']"
    elif not segments:
        policy = _WITH_MASKS.get(kind, kind) if _has_masks(model) else kind
        if policy not in policies:
            used.leave_out("partition_config.type", f"no shared policy is called '{kind}'")
        detector = str(model["model"].get("type", "model"))
        check_policy(policy, detector, _parts(model), "partition_config.type")
        yield f"# MMDeploy's '{kind}' by name: marks and segments are those of the shared policy."
        yield f"partition: {{type: {_text(policy)}}}"
    else:
        yield from _segments(used, kind, segments, marks)


def _check_kind(
    deploy: Mapping[str, Any], model: Mapping[str, Any], names: tuple[str, str]
) -> None:
    codebase = deploy.get("codebase_config") or {}
    codebases = [
        (f"{names[0]}: codebase_config.type", codebase.get("type")),
        (f"{names[1]}: default_scope", model.get("default_scope")),
    ]
    problems = [
        problem(at, f"is '{text}'", "expected 'mmdet': only detectors can be imported")
        for at, text in codebases
        if text not in (None, _CODEBASE)
    ]
    if not problems and not isinstance(model.get("model"), Mapping):
        what = "it has no 'model', so it is not a detector config"
        problems.append(problem(names[1], what, "", "check that model_cfg is the model's config"))
    ExportError.refuse(problems)


def _channels(model: Mapping[str, Any]) -> int:
    """Return the number of channels of a detector's pictures: 1 if they are gray, else 3."""
    parts = model["model"]
    mean = (parts.get("data_preprocessor") or {}).get("mean")
    first = (parts.get("backbone") or {}).get("in_channels")
    is_gray = first == 1 or (first is None and isinstance(mean, list | tuple) and len(mean) == 1)
    return min(PICTURE_CHANNELS) if is_gray else max(PICTURE_CHANNELS)


def _parts(model: Mapping[str, Any]) -> Parts:
    """Return the parts of a config's detector, as far as the config alone shows them."""
    parts = model["model"]
    roi_head = parts.get("roi_head")
    heads = roi_head if isinstance(roi_head, Mapping) else {}
    return Parts(
        regions=roi_head is not None,
        box_heads=_count(heads.get("bbox_head")),
        mask_heads=_count(heads.get("mask_head")),
        dense_head=parts.get("bbox_head") is not None,
        mask_branch=parts.get("mask_head") is not None,
        suppresses="decoder" not in parts,
        features=True,
    )


def _count(head: Any) -> int:
    return len(head) if isinstance(head, list | tuple) else int(head is not None)


def _has_masks(model: Mapping[str, Any]) -> bool:
    heads = model.get("model", {}).get("roi_head")
    return isinstance(heads, Mapping) and heads.get("mask_head") is not None


def _segments(used: _Used, kind: str, segments: Any, marks: frozenset[str]) -> Iterator[str]:
    lines: list[str] = []
    for index, segment in enumerate([segments] if isinstance(segments, Mapping) else segments):
        at = f"partition_config.partition_cfg[{index}]"
        missing = [key for key in _SEGMENT_KEYS[:3] if key not in segment]
        if missing:
            used.leave_out(at, f"it lacks {' and '.join(missing)}")
            continue
        for key, value in segment.items():
            if key not in _SEGMENT_KEYS:
                reason = f"a recipe has no counterpart for {_text(value)}"
                used.leave_out(f"{at}.{key}", _INPUT_AXES if key == "dynamic_axes" else reason)
        lines.append(f"    - save_file: {_text(segment['save_file'])}")
        for side in ("start", "end"):
            references = [segment[side]] if isinstance(segment[side], str) else segment[side]
            lines.append(f"      {side}: {_text(references)}")
            for text in references:
                reference = parse_reference(text)
                if reference is None or reference.mark not in marks:
                    used.leave_out(f"{at}.{side}", f"no mark of a recipe is known for '{text}'")
        for key in ("input_names", "output_names"):
            if segment.get(key):
                lines.append(f"      {key}: {_text(segment[key])}")
    yield from ("partition:", f"  type: {_text(kind)}", "  segments:", *lines)


def _post_processing(used: _Used, model: Mapping[str, Any]) -> None:
    """Record values that the model's own config overrides, as it does in MMDeploy."""
    own = model.get("model", {}).get("test_cfg") or {}
    own = own.get("rcnn", own)
    for key, steps in _TEST_VALUES.items():
        decided: Any = own
        for step in steps:
            decided = decided.get(step) if isinstance(decided, Mapping) else None
        if decided is None:
            continue
        value = used.take(*_POST_PROCESSING, key)
        if value is not None and value != decided:
            used.leave_out(
                ".".join((*_POST_PROCESSING, key)),
                f"the model's own test_cfg has {_text(decided)}, which overrides "
                f"{_text(value)} in MMDeploy too",
            )


def _text(value: Any) -> str:
    """Return a value as JSON on one line, which YAML reads the same way."""
    return json.dumps(value, default=str)
