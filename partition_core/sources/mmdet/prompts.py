"""Detectors that look for what a text names, such as GLIP and Grounding DINO, for a fixed text.

What the language model makes of the text is computed before the trace: constants of the graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from partition_core.base.errors import ExportError
from partition_core.recipe.values import MmdetModel
from partition_core.sources.mmdet.preparation import class_names
from partition_core.trace.replaced import replaced

Text = tuple[str, ...]
"""The names of what a detector looks for, in the order of their labels; empty if it reads none."""

Prompt = tuple[dict[int, list[int]], dict[str, torch.Tensor]]
"""The tokens of each label, counted from 1, and what the language model returns for a caption."""


def text_of(config: Any, detector: nn.Module, model: MmdetModel) -> Text:
    """Return the text for a `detector`: the class names of the test data set of its config.

    It is the one that mmdet's own test gives. Raises ExportError if there are no names.
    """
    if not hasattr(detector, "language_model"):
        return ()
    names = class_names(config)
    if not names:
        raise ExportError.at(
            "model.config",
            f"the detector of config '{model.config}' looks for what a text names, but the "
            "config's test data set has no class names",
            "expected the names of the objects",
            "write them: 'overrides: {test_dataloader.dataset.metainfo: {classes: [cat, dog]}}'",
        )
    return tuple(names)


@contextlib.contextmanager
def fixed_text(detector: Any, text: Text) -> Iterator[None]:
    """Let `detector` predict with constants for `text` while a graph is traced.

    mmdet's own `predict` reads tokens as Python numbers, and names each detection in a loop.
    """
    if not text:
        yield
        return
    with torch.no_grad():
        labels, captions, *_ = detector.get_tokens_positive_and_prompts(text, True)
        pairs = zip(labels, captions, strict=True) if isinstance(captions, list) else None
        prompts = [
            (tokens, detector.language_model([caption]))
            for tokens, caption in pairs or [(labels, captions)]
        ]

    def predict(inputs: torch.Tensor, samples: list[Any], rescale: bool = True) -> list[Any]:
        features = detector.extract_feat(inputs)
        found = [_found(detector, features, prompt, samples, rescale) for prompt in prompts]
        for index, sample in enumerate(samples):
            sample.pred_instances = _joined([part[index] for part in found], prompts)
        return samples

    with replaced(detector, "predict", predict):
        yield


def _found(
    detector: Any, features: Any, prompt: Prompt, samples: list[Any], rescale: bool
) -> list[Any]:
    """Return the instances in each picture that belong to the labels of a prompt."""
    found: list[Any]
    tokens, values = prompt
    words = {name: value.expand(len(samples), *value.shape[1:]) for name, value in values.items()}
    for sample in samples:
        sample.token_positive_map = tokens
    if hasattr(detector, "text_feat_map"):
        words["embedded"] = detector.text_feat_map(words["embedded"])
        inputs = detector.forward_transformer(features, words, samples)
        found = detector.bbox_head.predict(**inputs, rescale=rescale, batch_data_samples=samples)
    else:
        found = detector.bbox_head.predict(features, words, samples, rescale=rescale)
    return found


def _joined(parts: list[Any], prompts: list[Prompt]) -> Any:
    """Return the instances of all prompts, whose labels go on where those before end."""
    first = 0
    for part, (tokens, _) in zip(parts, prompts, strict=True):
        if first:
            part.labels = part.labels + first
        first += len(tokens)
    return parts[0] if len(parts) == 1 else type(parts[0]).cat(parts)
