"""A recipe's model in PyTorch, run on inputs of a caller, with what its marks see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partition_core.base.errors import PlaceOf
from partition_core.recipe.values import Recipe
from partition_core.sources.subject import load_subject, run_model
from partition_core.trace.arrays import as_array

Arrays = Mapping[str, np.ndarray[Any, Any]]


def marked_arrays(
    recipe: Recipe, root: Path, place_of: PlaceOf, checkpoint: Path | None
) -> Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]:
    """Return a function from the model's inputs, by name, to the arrays at its marks.

    Those are by mark reference. `checkpoint` is the verified file of a recipe whose weights are a
    checkpoint. Raises ExportError for a model that cannot be built; so does the function for one
    that does not run.
    """
    subject = load_subject(recipe, root, place_of, checkpoint)

    def run(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        # What is float16 in the exported model is float32 in PyTorch.
        sample = tuple(
            tensor.to(getattr(torch, spec.dtype))
            for spec in subject.inputs
            for tensor in (torch.from_numpy(inputs[spec.name]),)
        )
        with subject.placed(recipe.marks, place_of) as placement, torch.no_grad():
            run_model(subject, sample, place_of)
        return {str(name): as_array(tensor) for name, tensor in placement.tensors.items()}

    return run
