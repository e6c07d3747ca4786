"""The models of onnx's own backend tests, with inputs for them.

Most of those that onnx makes have the operators of another one, and other shapes or attributes: by
default the tests take one of each set of operators; those that are thorough take the others.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


Case = tuple[str, onnx.ModelProto, list[Any]]
"""The name of a model, the model, and what it is run on."""


LARGE = ("light_inception_v2", "light_vgg19", "light_zfnet512")
"""Networks that take seconds to run, and have the operators of others that are stored."""


def stored_models() -> Iterator[Case]:
    return _read(file for file in DATA.rglob("*.onnx") if file.stem not in LARGE)


def large_models() -> Iterator[Case]:
    return _read(file for file in DATA.rglob("*.onnx") if file.stem in LARGE)


def _read(files: Iterable[Path]) -> Iterator[Case]:
    for file in sorted(files):
        model = onnx.load(file)
        weights = {item.name for item in model.graph.initializer}
        inputs = [item for item in model.graph.input if item.name not in weights]
        feeds = []
        for number, item in enumerate(inputs):
            content = file.parent / "test_data_set_0" / f"input_{number}.pb"
            dims = [dim.dim_value for dim in item.type.tensor_type.shape.dim]
            if content.exists():
                feeds.append(value_of(item, content.read_bytes()))
            elif item.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and all(dims):
                feeds.append(np.random.default_rng(number).random(dims, np.float32))
        yield str(file.relative_to(DATA)), model, feeds


def value_of(item: onnx.ValueInfoProto, content: bytes) -> Any:
    kind = item.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))


@functools.cache
def made_models() -> tuple[Case, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return tuple(
        (case.name, case.model, list(case.data_sets[0][0]))
        for case in cases
        if case.model is not None and case.data_sets
    )


@functools.cache
def _samples() -> dict[frozenset[str], Case]:
    """Return the first model of each set of operators, of those with an interior tensor."""
    found: dict[frozenset[str], Case] = {}
    for case in made_models():
        nodes = case[1].graph.node
        if len(nodes) > 1:
            found.setdefault(frozenset(node.op_type for node in nodes), case)
    return found


def sampled_models() -> Iterable[Case]:
    return _samples().values()


def other_models() -> Iterable[Case]:
    sampled = {name for name, *_ in _samples().values()}
    return (case for case in made_models() if case[0] not in sampled)


SHARES = (
    *((stored_models, number, 3) for number in range(3)),
    (sampled_models, 0, 1),
    *(
        pytest.param(*share, marks=pytest.mark.thorough)
        for share in ((large_models, 0, 1), *((other_models, number, 3) for number in range(3)))
    ),
)
"""Which models, the number of a test and how many there are, which several processes can run.

To have those that onnx makes takes each process longer than to cut the samples.
"""
