"""Says an MMDeploy deploy config as a recipe; reads no file and imports no library.

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
"""What is so in every recipe, with the values that say so."""
_WITH_MASKS = {"two_stage": "two_stage_masks"}
"""The policies whose last part is another one for a model with masks."""
_FIXED_AXES = {
    0: "mmdet takes the pictures of a batch one by one, so that their number is fixed",
    1: "the number of channels is fixed",
}
_INPUT_AXES = "the axes of outputs follow from those of the inputs"
_SEGMENT_KEYS = ("save_file", "start", "end", "input_names", "output_names")


@dataclass
class Imported:
    """A recipe as text, and what of the deploy config is not in it: dotted paths with reasons."""

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
    """Return the recipe that a deploy config and an mmdet config say, both as plain values.

    `names` are what the recipe calls the two configs, `policies` the shared ones there are, and
    `marks` those that a recipe may refer to without naming them. `schema` is where the schema of
    recipes is, for editors. Raises ExportError for configs of something else than a detector, and
    for a policy that is for other detectors.
    """
    _check_kind(deploy, model, names)
    found = Imported()
    used = _Used(deploy, found)
    export = list(_export(used, model))
    partition = list(_partition(used, model, policies, marks))
    _post_processing(used, model)
    used.report_rest()
    found.text = "\n".join(
        [
            f"# yaml-language-server: $schema={schema}",
            f"# Imported from the MMDeploy config {names[0]}.",
            *(f"# Left out: {path}: {reason}" for path, reason in found.left_out),
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
    return found


class _Used:
    """A deploy config, and which of its keys were understood."""

    def __init__(self, config: Mapping[str, Any], found: Imported) -> None:
        self._leaves = dict(_leaves(config, ()))
        self._config = config
        self._found = found
        self._done: set[str] = set()

    def take(self, *steps: str) -> Any:
        """Return the value at a path, None if there is none; it counts as understood."""
        here: Any = self._config
        for step in steps:
            if not isinstance(here, Mapping) or step not in here:
                return None
            here = here[step]
        self._done.add(".".join(steps))
        return here

    def leave_out(self, path: str, reason: str) -> None:
        """Note that the value at a path is not in the recipe."""
        self._found.left_out.append((" ".join(path.split()), reason))

    def report_rest(self) -> None:
        """Note every value that no one took and that does not say what is so anyway."""
        for path, value in self._leaves.items():
            taken = any(
                path == one or path.startswith((f"{one}.", f"{one}[")) for one in self._done
            )
            if not taken and value not in _SILENT.get(path, ()):
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
    if isinstance(opset, int) and 18 <= opset <= 21:
        yield f"  opset: {opset}"
    elif opset is not None:
        used.leave_out(
            "onnx_config.opset_version",
            f"{opset} is none of the opsets from 18 to 21; the recipe's is {DEFAULT_OPSET}",
        )


def _input_axes(used: _Used) -> dict[int, str]:
    axes = used.take("onnx_config", "dynamic_axes")
    if not isinstance(axes, Mapping):
        return {}
    for tensor in axes:
        if tensor != "input":
            used.leave_out(f"onnx_config.dynamic_axes.{tensor}", _INPUT_AXES)
    given = axes.get("input", {})
    pairs = given.items() if isinstance(given, Mapping) else ((n, f"input_{n}") for n in given)
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
    found = [
        (f"{names[0]}: codebase_config.type", codebase.get("type")),
        (f"{names[1]}: default_scope", model.get("default_scope")),
    ]
    wrong = [
        problem(at, f"is '{text}'", "expected 'mmdet': only detectors become recipes")
        for at, text in found
        if text not in (None, _CODEBASE)
    ]
    if not wrong and not isinstance(model.get("model"), Mapping):
        what = "it has no 'model', so it is no config of a detector"
        wrong.append(problem(names[1], what, "", "check that model_cfg is the model's config"))
    if wrong:
        raise ExportError(*wrong)


def _channels(model: Mapping[str, Any]) -> int:
    """Return how many channels a detector's pictures have: 1 if they are gray, else 3."""
    parts = model["model"]
    mean = (parts.get("data_preprocessor") or {}).get("mean")
    first = (parts.get("backbone") or {}).get("in_channels")
    is_gray = first == 1 or (first is None and isinstance(mean, list | tuple) and len(mean) == 1)
    return min(PICTURE_CHANNELS) if is_gray else max(PICTURE_CHANNELS)


def _parts(model: Mapping[str, Any]) -> Parts:
    """Return what the detector of a config is made of, as far as the config alone tells."""
    parts = model["model"]
    regions = parts.get("roi_head")
    heads = regions if isinstance(regions, Mapping) else {}
    return Parts(
        regions=regions is not None,
        box_heads=_count(heads.get("bbox_head")),
        mask_heads=_count(heads.get("mask_head")),
        dense_head=parts.get("bbox_head") is not None,
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
            used.leave_out(at, f"it does not say {' and '.join(missing)}")
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
    """Note what the model's own config decides, in MMDeploy too: there its values come first."""
    own = model.get("model", {}).get("test_cfg") or {}
    own = own.get("rcnn", own)
    for key, steps in _TEST_VALUES.items():
        here: Any = own
        for step in steps:
            here = here.get(step) if isinstance(here, Mapping) else None
        if here is None:
            continue
        value = used.take(*_POST_PROCESSING, key)
        if value is not None and value != here:
            used.leave_out(
                ".".join((*_POST_PROCESSING, key)),
                f"the model's own test_cfg says {_text(here)}, which comes before "
                f"{_text(value)} in MMDeploy too",
            )


def _text(value: Any) -> str:
    """Return a value as JSON, which YAML reads the same way, on one line."""
    return json.dumps(value, default=str)
