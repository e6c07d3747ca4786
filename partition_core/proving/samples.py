"""The inputs that an ONNX file is run on: from files, or random numbers; imports only numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partition_core.cutting.model_inputs import check_sizes, inputs_of
from partition_core.cutting.onnx_file.graph import Model
from partition_core.errors import Problem, ProofError, one_of, problem, suggestion
from partition_core.recipe import TensorSpec

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
_SAMPLES = (1, 2)


def random_samples(specs: Sequence[TensorSpec]) -> list[Arrays]:
    """Return two sets of inputs: floats normally distributed, integers and booleans 0 or 1.

    The same in every run: Philox with the keys 1 and 2. Raises ProofError for a dtype that has
    no such numbers.
    """
    problems = [
        problem(
            "model",
            f"input '{spec.name}' is {spec.dtype}, of which no random numbers are made",
            "expected an integer, a float or a boolean",
            "name '.npz' files in 'proof.inputs'",
        )
        for spec in specs
        if _numpy_type(spec.dtype) is None
    ]
    if problems:
        raise ProofError(*problems)
    generators = [np.random.Generator(np.random.Philox(key=key)) for key in _SAMPLES]
    return [{spec.name: _drawn(spec, one) for spec in specs} for one in generators]


def given_samples(
    model: Model, files: Sequence[Path], asked: Sequence[TensorSpec] = ()
) -> list[Arrays]:
    """Return the inputs of `model` in each of `files`; raises ProofError for what does not fit.

    `asked` are the shapes that a recipe gives as well.
    """
    samples: list[Arrays] = []
    problems: list[Problem] = []
    for index, file in enumerate(files):
        where = f"proof.inputs[{index}]"
        try:
            with np.load(file, allow_pickle=False) as found:
                sample = {name: found[name] for name in found.files}
        except (OSError, ValueError, EOFError, AttributeError) as error:
            what = f"'{file.name}' is not an '.npz' file of plain arrays"
            problems.append(problem(where, what, " ".join(str(error).split())))
            continue
        problems += _misfits(model, sample, where)
        problems += _other_shapes(sample, asked, where)
        samples.append(sample)
    if problems:
        raise ProofError(*problems)
    return samples


def _misfits(model: Model, sample: Arrays, where: str) -> list[Problem]:
    inputs = inputs_of(model)
    found = [
        problem(where, f"unknown input '{name}'", one_of(inputs), suggestion(name, inputs))
        for name in sample
        if name not in inputs
    ]
    for name, value in inputs.items():
        if name not in sample:
            found.append(problem(where, f"holds no array '{name}'", "expected one for each input"))
            continue
        array, kind = sample[name], value.type
        wrong = check_sizes(name, value, array.shape)
        if wrong:
            found.append(problem(where, f"{wrong}, and {list(array.shape)} here"))
        wanted = _numpy_type(kind.text) if kind is not None else None
        if wanted is not None and array.dtype != wanted:
            what = f"input '{name}' is {kind.text if kind else ''} in the file"
            found.append(problem(where, f"{what}, and {array.dtype} here"))
    return found


def _other_shapes(sample: Arrays, asked: Sequence[TensorSpec], where: str) -> Iterator[Problem]:
    for spec in asked:
        if spec.name in sample and sample[spec.name].shape != spec.shape:
            yield problem(
                where,
                f"input '{spec.name}' is {list(sample[spec.name].shape)} here",
                f"expected {list(spec.shape)}, as 'export.inputs' says",
                f"give arrays of that shape, or leave '{spec.name}' out there",
            )


def _numpy_type(dtype: str) -> np.dtype[np.generic] | None:
    # Of the names of ONNX's types, those that numpy has too.
    try:
        found = np.dtype(dtype)
    except TypeError:
        return None
    return found if found.kind in "fiub" else None


def _drawn(spec: TensorSpec, generator: np.random.Generator) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return generator.standard_normal(spec.shape, dtype=np.float32).astype(dtype)
    return generator.integers(0, 2, spec.shape).astype(dtype)
