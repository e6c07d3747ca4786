"""What a diagnosis says of other mistakes of a converter than a wrong node."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from partition_core.base.arrays import Arrays
from partition_core.base.errors import BuildError, ConversionError
from partition_core.proof.diagnosis.culprit import Culprit, Diagnosis, diagnosed
from partition_core.proof.diagnosis.reproduction import save_arrays, write_folder
from partition_core.proof.diagnosis.wording import explanation, headline

from .faults import Fault, faults_of, fusions_of
from .faulty import Apply, Faulty, Here, refusing
from .models import MODELS, sample

pytestmark = pytest.mark.usefixtures("native_code_here")


def found_in(
    name: str,
    apply: Apply,
    folder: Path,
    here: Callable[[Faulty], Here] = Here,
    samples: Sequence[Arrays] = (),
) -> Diagnosis:
    model = MODELS[name]()
    onnx.save(model, folder / "segment.onnx")
    runtime = here(Faulty(apply))
    return diagnosed(folder / "segment.onnx", runtime, samples or [sample(model)], 1e-4, folder)


def culprit_of(found: Diagnosis) -> Culprit:
    assert found.culprit is not None
    return found.culprit


def fault_of(name: str, output: str) -> Fault:
    return next(each for each in faults_of(MODELS[name]()) if each.output == output)


FUSION = next(each for each in fusions_of(MODELS["chain"]()) if each.output == "tanh_8")


def names(culprit: Culprit) -> list[str]:
    return [value.name for node in culprit.nodes for value in node.outputs]


def test_the_first_tensor_that_is_not_converted_is_that_of_the_operator(tmp_path: Path) -> None:
    found = found_in("residual", refusing("GlobalAveragePool"), tmp_path)
    assert names(culprit_of(found)) == ["globalaveragepool_23"]
    assert headline(found, "faulty") == (
        "'globalaveragepool_23' is the first tensor that cannot be converted: GlobalAveragePool "
        "node '/globalaveragepool_23' in faulty"
    )
    reason, tried, least = explanation(found)
    assert reason == "the reason: segment: no converter for operator GlobalAveragePool"
    assert tried.endswith("; what its node reads was tried too, and can be")
    assert least.startswith("the node alone shows it")


@dataclass
class _Crashing(Here):
    """Its runtime dies of an operator."""

    def run(self, files: Sequence[Path], samples: Sequence[Arrays]) -> list[Arrays]:
        if "Sigmoid" in {node.op_type for node in onnx.load(files[0]).graph.node}:
            raise BuildError.at("faulty", "it cannot be run in faulty: ended by SIGSEGV")
        return super().run(files, samples)


def test_a_runtime_that_crashes_names_the_node_that_it_dies_of(tmp_path: Path) -> None:
    found = found_in("residual", lambda _: None, tmp_path, _Crashing)
    assert names(culprit_of(found)) == ["sigmoid_25"]
    assert " cannot be run: Sigmoid node '/sigmoid_25' in faulty" in headline(found, "faulty")


@dataclass
class _NeverAlone(Here):
    """It takes no model of a single node."""

    def convert(self, model: Path, folder: Path) -> tuple[Path, ...]:
        if len(onnx.load(model).graph.node) == 1:
            raise ConversionError.at("faulty", "takes no single node")
        return super().convert(model, folder)


@pytest.mark.parametrize(
    ("fault", "here", "reason"),
    [
        (FUSION, Here, ", and fewer agree (relative L2: 1 node 0): they are fused wrongly"),
        (fault_of("chain", "tanh_8"), _NeverAlone, ", and fewer are not taken"),
    ],
    ids=["fused", "not taken"],
)
def test_only_nodes_that_agree_alone_are_called_fused(
    fault: Fault, here: Callable[[Faulty], Here], reason: str, tmp_path: Path
) -> None:
    found = found_in("chain", fault.apply, tmp_path, here)
    *_, least = explanation(found)
    assert names(culprit_of(found)) == ["conv_7", "tanh_8"]
    assert least == (
        "2 nodes together show it, fed with the true values: Conv '/conv_7' → Tanh '/tanh_8'"
        f"{reason}"
    )


@dataclass
class _OfRankFour(Here):
    """It gives images alone."""

    def can_give(self, dtype: str, rank: int) -> bool:
        return rank == 4


def test_what_cannot_be_compared_is_in_the_group_that_is_named(tmp_path: Path) -> None:
    fault = fault_of("transformer", "matmul_3")  # it has three dims, and what is read of it four
    found = found_in("transformer", fault.apply, tmp_path, _OfRankFour)
    culprit = culprit_of(found)
    assert culprit.tensor == "reshape_5"
    assert fault.output in names(culprit)
    assert culprit.is_verified


def test_an_error_that_needs_all_outputs_is_no_nodes(tmp_path: Path) -> None:
    def apply(model: onnx.ModelProto) -> None:
        if len(model.graph.output) > 1:
            fault_of("several_outputs", "sigmoid_13").apply(model)

    found = found_in("several_outputs", apply, tmp_path)
    assert found.is_wrong and found.culprit is None
    assert headline(found, "faulty") == (
        "'sigmoid_13' differ in faulty only where all outputs are computed together"
    )
    assert list(explanation(found)) == [
        "no part up to one output shows it, 1 conversion of parts up to a tensor"
    ]


def test_rounding_that_adds_up_is_called_that(tmp_path: Path) -> None:
    def apply(model: onnx.ModelProto) -> None:
        used = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
        for weight in (each for each in model.graph.initializer if each.name in used):
            array = np.asarray(numpy_helper.to_array(weight) * np.float32(1 + 4e-5))
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))

    found = found_in("residual", apply, tmp_path)
    culprit = culprit_of(found)
    assert len(culprit.nodes) > 5 and culprit.is_verified
    *_, least = explanation(found)
    assert "the difference grows from node to node (relative L2: 1 node " in least


def test_outputs_that_the_culprit_does_not_explain_are_named(tmp_path: Path) -> None:
    def apply(model: onnx.ModelProto) -> None:
        for output in ("sigmoid_13", "reducemean_15"):
            fault_of("several_outputs", output).apply(model)

    found = found_in("several_outputs", apply, tmp_path)
    assert (culprit_of(found).tensor, found.unexplained) == ("sigmoid_13", ("reducemean_15",))
    assert any("'reducemean_15'; diagnose again" in line for line in explanation(found))


def test_the_sample_that_differs_is_the_one_that_is_looked_at(tmp_path: Path) -> None:
    def apply(model: onnx.ModelProto) -> None:  # right for what is not negative
        for node in model.graph.node:
            if node.output[0] == "leakyrelu_1":
                node.op_type = "Relu"
                del node.attribute[:]

    model = copy.deepcopy(MODELS["residual"]())
    bright = {name: np.abs(array) for name, array in sample(model).items()}
    for weight in model.graph.initializer:
        array = np.abs(numpy_helper.to_array(weight))
        if weight.name in ("w0", "w1"):
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, tmp_path / "segment.onnx")
    here = Here(Faulty(apply))
    dark = {name: -array for name, array in bright.items()}
    only = diagnosed(tmp_path / "segment.onnx", here, [bright], 1e-4, tmp_path)
    both = diagnosed(tmp_path / "segment.onnx", here, [bright, dark], 1e-4, tmp_path)
    assert not only.is_wrong
    assert culprit_of(both).tensor == "leakyrelu_1"


def test_weights_beside_a_segment_are_beside_the_small_file(tmp_path: Path) -> None:
    fault = fault_of("several_outputs", "conv_5")
    file = tmp_path / "segment.onnx"
    onnx.save(
        copy.deepcopy(MODELS["several_outputs"]()),  # its weights are moved
        file,
        save_as_external_data=True,
        location="segment.onnx.data",
        size_threshold=0,
    )
    found = diagnosed(
        file, Here(Faulty(fault.apply)), [sample(MODELS["several_outputs"]())], 1e-4, tmp_path
    )
    culprit = culprit_of(found)
    assert names(culprit) == ["conv_5"]
    (tmp_path / "made").mkdir()
    assert write_folder(culprit, Faulty(fault.apply), 1e-4, tmp_path / "made") == ""
    alone = onnx.load(tmp_path / "made" / "culprit.onnx")  # which reads what lies beside it
    assert [list(each.dims) for each in alone.graph.initializer] == [[6, 12, 3, 3], [6]]


def test_arrays_keep_names_that_numpy_reserves(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "/a/b.0": np.float32(2)}
    save_arrays(arrays, tmp_path / "arrays.npz")
    with np.load(tmp_path / "arrays.npz") as saved:
        assert {name: saved[name].tolist() for name in saved.files} == {
            "file": [0, 1, 2],
            "/a/b.0": 2.0,
        }
