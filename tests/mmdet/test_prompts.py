"""Detectors that look for what a text names: the text is the config's, fixed in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import MmdetModel, Seed, canonical_json
from partition_core.sources.mmdet.detector import build_detector, quiet_mmdet
from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.prompts import fixed_text

from .families import LIMIT, compare, family

with quiet_mmdet():
    # Before mmdet is imported, which asks for the compiled operators.
    provide_compiled_ops()
    from . import words

GROUNDING_DINO = "grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py"
NAMES = ["cat", "traffic light", "big_dog"]
CLASSES = "test_dataloader.dataset.metainfo"
SMALL: dict[str, Any] = {
    "model.backbone.depth": 18,
    "model.neck.in_channels": [128, 256, 512],
    "model.num_queries": 30,
    "model.encoder.num_layers": 1,
    "model.decoder.num_layers": 2,
    "model.test_cfg.max_per_img": LIMIT,
    "model.language_model": {"_delete_": True, "type": words.WordModel.__name__},
}

pytestmark = pytest.mark.filterwarnings("ignore")


def built(root: Path, config: str = GROUNDING_DINO, **more: Any) -> Any:
    values = {key: canonical_json(value) for key, value in (SMALL | more).items()}
    return build_detector(MmdetModel(config, tuple(sorted(values.items())), Seed(0)), root, "x")


@pytest.mark.thorough
@pytest.mark.parametrize("chunk", [-1, 2])
def test_the_names_of_the_config_are_found_as_mmdet_finds_them(chunk: int, tmp_path: Path) -> None:
    several = {CLASSES: {"classes": NAMES}, "model.test_cfg": {"chunked_size": chunk}}
    subject = family(tmp_path, GROUNDING_DINO, SMALL | several)
    labels = set()
    for picture in subject.pictures:
        found = subject.exported(picture)
        assert compare(found, subject.predicted(picture), 2 * LIMIT) >= LIMIT
        labels |= set(found["labels"].flatten().tolist())
    assert {1, 2} <= labels  # the last of them is the first of the second chunk
    assert subject.subject.notes["classes"] == NAMES


def test_the_text_is_read_once_and_not_in_the_graph(tmp_path: Path) -> None:
    detector, _ = built(tmp_path, **{CLASSES: {"classes": NAMES}})
    other, _ = built(tmp_path, **{CLASSES: {"classes": ["bird", *NAMES[1:]]}})
    generator = torch.Generator().manual_seed(0)
    for weight in detector.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.1, generator)
    other.load_state_dict(detector.state_dict())
    picture = torch.randn(1, 3, 64, 64, generator=generator)
    with torch.no_grad():
        plain = detector(picture)
        assert not torch.equal(other(picture)["dets"], plain["dets"])
        own = detector.detector
        with fixed_text(own, detector.text):
            own.language_model = None  # what it gives for the text is known
            fixed = detector(picture)
    assert "predict" not in vars(own)
    for name, tensor in plain.items():
        torch.testing.assert_close(fixed[name], tensor)


def test_a_config_without_names_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "unnamed.py"
    config.write_text(
        f"_base_ = ['mmdet::{GROUNDING_DINO}']\n"
        "test_dataloader = dict(dataset=dict(type='BaseDetDataset'))\n"
    )
    with pytest.raises(ExportError) as error:
        built(tmp_path, config.name)
    (told,) = error.value.problems
    assert str(told) == (
        "model.config: the detector of config 'unnamed.py' looks for what a text names, but the "
        "config's test data set has no class names; expected the names of the objects; write "
        "them: 'overrides: {test_dataloader.dataset.metainfo: {classes: [cat, dog]}}'"
    )
