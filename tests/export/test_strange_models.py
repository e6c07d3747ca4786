"""Models of modules, dtypes and results that few have: exported rightly, or refused by name."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from partition_core.base.errors import ExportError
from partition_core.recipe.values import OwnWeights, Recipe
from tests.export.support import export, run, sample, saved
from tests.export.support import torch_recipe as recipe

MODELS = "tests.export.strange_models"


def strange(name: str) -> Recipe:
    given = "input" if name in ("plain", "traced", "inner_trace", "scripted") else "x"
    given = "input" if name in ("inner_script", "quantized") else given
    return recipe(f"{MODELS}:{name}", {given: (2, 4)}, weights=OwnWeights())


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", ["Mixed", "Noting", "traced", "inner_trace"])
def test_what_torch_export_takes_in_another_form_computes_the_same(
    name: str, tmp_path: Path
) -> None:
    exported = export(strange(name))
    found = run(saved(exported.model, tmp_path), sample(exported, 1).inputs)
    expected = sample(exported, 1).outputs
    assert found.keys() == expected.keys()
    for output, array in expected.items():
        np.testing.assert_allclose(found[output], array, atol=1e-6)


@pytest.mark.parametrize("name", ["Halves", "BrainWeights"])
def test_a_bfloat16_is_exported(name: str) -> None:
    exported = export(strange(name))
    output = exported.recording.samples[0].outputs["output"]
    assert output.dtype == (ml_dtypes.bfloat16 if name == "Halves" else np.float32)


JIT = (
    "is compiled by torch.jit.script; expected modules of Python, which torch.export can follow; "
    "give the module that it was compiled from, or one made by torch.jit.trace"
)
REFUSED = {
    "scripted": f"model: the model {JIT}",
    "inner_script": f"model: module '1' {JIT}",
    "quantized": "model: module '0' is quantized by PyTorch (Linear); expected modules of Python, "
    "which torch.export can follow; give the model before quantization, and quantize the ONNX file "
    "(docs/quantize.md)",
    "Number": "model: the model returns no tensor, but a int; expected a tensor, or a list, tuple "
    "or dict of tensors",
    "Counting": "model: two runs of the model in PyTorch on the same inputs give different tensors "
    "(output 'output'); each run writes state that the next one reads: buffer 'count'; expected "
    "the same tensors in each run, as nothing else can be proven; take the state as an input, and "
    "return the new state as an output",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_exported_is_told_by_name(name: str) -> None:
    with pytest.raises(ExportError) as error:
        export(strange(name))
    assert str(error.value) == REFUSED[name]


def test_the_cause_of_a_failed_translation_is_told() -> None:
    with pytest.raises(ExportError) as error:
        export(strange("Spectrum"))
    told = str(error.value)
    assert told.startswith("model: torch.onnx cannot translate the model; DispatchError: ")
    assert "linalg_svd" in told
