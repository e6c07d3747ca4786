"""Recipes that load a checkpoint."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch

from tests.projects import Scratch


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def load_from(project: Scratch, checkpoint: str | Path, digest: str, name: str = "tiny") -> None:
    """Let the recipe load a checkpoint in place of its seed."""
    recipe = project.folder / "recipes" / f"{name}.yaml"
    text = recipe.read_text().splitlines()
    index = next(i for i, line in enumerate(text) if line.startswith("  weights:"))
    text[index] = f"  weights: {{checkpoint: '{checkpoint}', sha256: '{digest}'}}"
    recipe.write_text("\n".join(text) + "\n")


def as_mmengine_saves(state: dict[str, torch.Tensor]) -> bytes:
    """Return a checkpoint as mmengine's runner writes it: weights, and what training left."""
    from mmengine.logging import HistoryBuffer

    history = HistoryBuffer()
    for step in range(3):
        history.update(1.0 / (step + 1))
    return saved(
        {
            "meta": {"epoch": 3, "dataset_meta": {"classes": ("a", "b")}, "cfg": "model = 1\n"},
            "state_dict": state,
            "message_hub": {"log_scalars": {"train/loss": history}, "runtime_info": {"epoch": 3}},
        }
    )


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
