"""Faults that are injected into a converter are located in their node, or in the fused nodes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from partition_core.proof.diagnosis.culprit import Diagnosis, diagnosed

from .faults import Fault, faults_of, fusions_of
from .faulty import Faulty, Here
from .models import MODELS, sample

pytestmark = pytest.mark.usefixtures("native_code_here")

EVERY = [
    (name, fault)
    for name, make in MODELS.items()
    for fault in (*faults_of(make()), *fusions_of(make()))
]
# What a norm or a mean takes back: no output has it.
WITHOUT_EFFECT = {
    ("transformer", "swapped operator of add_8"),
    ("transformer", "scaled weight of add_8"),
    ("several_outputs", "flipped channels of conv_14"),
    ("several_outputs", "flipped channels of reducemean_15"),
}
SAMPLE = EVERY[8::14]


def diagnosis(name: str, fault: Fault, folder: Path) -> tuple[Diagnosis, Here]:
    model = MODELS[name]()
    onnx.save(model, folder / "segment.onnx")
    here = Here(Faulty(fault.apply))
    found = diagnosed(folder / "segment.onnx", here, [sample(model)], 1e-4, folder)
    return found, here


def check(name: str, fault: Fault, folder: Path) -> None:
    found, here = diagnosis(name, fault, folder)
    culprit = found.culprit
    if (name, str(fault)) in WITHOUT_EFFECT:
        assert not found.is_wrong
        return
    assert culprit is not None and culprit.shown is not None
    assert culprit.tensor == fault.output
    assert culprit.is_verified
    held = {value.name for node in culprit.nodes for value in node.outputs}
    assert held == {fault.output, *filter(None, [fault.with_output])}
    assert culprit.shown.differing == [fault.output]
    parts = here.conversions.count("prefix.onnx")
    assert parts <= 2 * found.tensors.bit_length() + 4  # a bisection, and what a Concat reads


def test_the_battery_has_more_than_two_hundred_faults_of_seven_kinds_in_six_models() -> None:
    assert len(EVERY) > 400
    assert len({fault.kind for _, fault in EVERY}) == 7
    assert {name for name, _ in SAMPLE} == set(MODELS)
    assert {fault.kind for _, fault in SAMPLE} == {fault.kind for _, fault in EVERY}


@pytest.mark.costly
@pytest.mark.parametrize(("name", "fault"), SAMPLE, ids=str)
def test_a_fault_is_located_in_its_node(name: str, fault: Fault, tmp_path: Path) -> None:
    check(name, fault, tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize("name", MODELS)
def test_every_fault_is_located_in_its_node(name: str, tmp_path: Path) -> None:
    for number, (_, fault) in enumerate(each for each in EVERY if each[0] == name):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(name, fault, folder)
