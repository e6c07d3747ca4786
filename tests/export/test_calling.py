"""Inputs and constants are bound to the parameters of a model as Python binds them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import DynamicAxis, Mark, OwnWeights, Recipe, canonical_json
from tests.export import called_models
from tests.export.support import export, mark, run, sample, saved
from tests.export.support import torch_recipe as recipe

MODELS = "tests.export.called_models"
ROW = (2, 4)


def called(name: str, inputs: Any, *marks: Mark, axes: Any = (), **args: Any) -> Recipe:
    given = recipe(
        f"{MODELS}:{name}", inputs, *marks, weights=OwnWeights(), dynamic_axes=tuple(axes)
    )
    constants = tuple((key, canonical_json(value)) for key, value in sorted(args.items()))
    return dataclasses.replace(given, export=dataclasses.replace(given.export, args=constants))


CACHE = {"factory": f"{MODELS}:Cache"}
CALLS: dict[str, tuple[Recipe, Any]] = {
    "a parameter between is left out": (
        called("Optional", {"x": ROW, "scale": ROW}),
        lambda model, t: model(t["x"], scale=t["scale"]),
    ),
    "a constant": (
        called("Optional", {"x": ROW}, doubled=True, scale=0.5),
        lambda model, t: model(t["x"], doubled=True, scale=0.5),
    ),
    "by name and by position alone": (
        called("KeywordOnly", {"x": ROW, "shift": ROW}),
        lambda model, t: model(t["x"], shift=t["shift"]),
    ),
    "any number": (
        called("Variable", {"x": ROW, "more.0": ROW, "more.1": ROW, "shift": ROW}),
        lambda model, t: model(t["x"], t["more.0"], t["more.1"], shift=t["shift"]),
    ),
    "names in the dict of keywords": (
        called("Variable", {"x": ROW, "named.shift": ROW, "named.scale": ROW}),
        lambda model, t: model(t["x"], shift=t["named.shift"], scale=t["named.scale"]),
    ),
    "nested": (
        called(
            "Nested",
            {f"past.{n}.{key}": ROW for n in (0, 1) for key in ("key", "value")}
            | {"x": ROW, "how.scale": (1,)},
            how={"mode": "less"},
        ),
        lambda model, t: model(
            t["x"],
            [{key: t[f"past.{n}.{key}"] for key in ("key", "value")} for n in (0, 1)],
            {"mode": "less", "scale": t["how.scale"]},
        ),
    ),
    "an object of a class": (
        called("Cached", {"x": ROW, "cache.0.0": ROW, "cache.0.1": ROW}, cache=CACHE),
        lambda model, t: model(t["x"], called_models.Cache([(t["cache.0.0"], t["cache.0.1"])])),
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_the_exported_model_computes_what_the_call_does(case: str, tmp_path: Path) -> None:
    given, call = CALLS[case]
    exported = export(given)
    feeds = sample(exported, 0).inputs
    assert set(feeds) == {spec.name for spec in given.export.inputs}
    found = run(saved(exported.model, tmp_path), feeds)
    model = getattr(called_models, given.model.factory.partition(":")[2])()  # type: ignore[union-attr]
    weights = {
        str(value.name): torch.from_numpy(value.const_value.numpy().copy())
        for value in exported.model.graph.initializers.values()
        if str(value.name) in model.state_dict() and value.const_value is not None
    }
    # Weights keep their names, though the model is wrapped.
    assert set(weights) == {"linear.weight", "linear.bias"}
    model.load_state_dict(weights)
    expected = call(model, {name: torch.from_numpy(array) for name, array in feeds.items()})
    first = expected["y"] if isinstance(expected, dict) else expected
    np.testing.assert_allclose(next(iter(found.values())), first.detach(), atol=1e-5)
    modules = {node.metadata_props.get("module", "") for node in exported.model.graph}
    assert "linear" in modules
    assert not any(path.startswith("model") for path in modules)


def test_inputs_in_an_argument_may_have_free_sizes(tmp_path: Path) -> None:
    names = ("x", "cache.0.0", "cache.0.1")
    axes = [DynamicAxis(name, 0, "rows") for name in names]
    exported = export(called("Cached", dict.fromkeys(names, ROW), axes=axes, cache=CACHE))
    model = saved(exported.model, tmp_path)
    small, large = (
        {name: np.full((rows, 4), 0.5, np.float32) for name in names} for rows in (1, 9)
    )
    assert [next(iter(run(model, feeds).values())).shape for feeds in (small, large)] == [
        (1, 4),
        (9, 4),
    ]


WRONG = {
    "a name that forward has not": (
        called("Optional", {"x": ROW, "scal": ROW}),
        "export.inputs.scal: the model's forward has no parameter 'scal'; it takes x, "
        "mask, doubled, scale; did you mean 'scale'?",
    ),
    "a constant that forward has not": (
        called("KeywordOnly", {"x": ROW, "shift": ROW}, flag=1),
        "export.args.flag: the model's forward has no parameter 'flag'",
    ),
    "a parameter is missing": (
        called("KeywordOnly", {"x": ROW}),
        "export.inputs: the model's forward needs 'shift', which is not given",
    ),
    "a list with a hole": (
        called("Nested", {"x": ROW, "how.scale": ROW, "past.0.key": ROW, "past.2.key": ROW}),
        "export.inputs.past: input 'past' is a list without 'past.1'",
    ),
    "a whole and a part of it": (
        called("Nested", {"x": ROW, "how": ROW, "how.scale": ROW, "past.0.key": ROW}),
        "input 'how.scale' lies in 'how', which is given as a whole",
    ),
    "an input that is a constant": (
        called("Optional", {"x": ROW, "scale": ROW}, scale=2),
        "input 'scale' is given twice",
    ),
    "any number as one": (
        called("Variable", {"x": ROW, "more": ROW, "shift": ROW}),
        "input 'more' is '*more' of the model's forward; write 'more.0'",
    ),
    "no such factory": (
        called("Cached", {"x": ROW, "cache.0": ROW}, cache={"factory": f"{MODELS}:Cash"}),
        "export.args.cache: module 'tests.export.called_models' has no function 'Cash'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_python_could_not_bind_is_told(case: str) -> None:
    given, told = WRONG[case]
    with pytest.raises(ExportError) as error:
        export(given)
    assert told in str(error.value)
    assert len(error.value.problems) == 1


def test_a_mark_hands_on_what_is_given_by_name(tmp_path: Path) -> None:
    given = called("Outer", {"x": ROW}, Mark("inner", None, "inner", None, None))
    exported = export(given)
    marks = list(sample(exported).marks)
    assert marks == ["inner:input.x", "inner:input.mask", "inner:output.output"]


def test_a_mark_may_be_on_the_whole_model() -> None:
    for whole in (Mark("m", "model", None, None, None), Mark("m", None, "", None, None)):
        exported = export(
            called("Cached", {"x": ROW, "cache.0.0": ROW, "cache.0.1": ROW}, whole, cache=CACHE)
        )
        marks = {name.removeprefix("m:") for name in sample(exported).marks}
        assert marks == {"input.x", "input.cache.0.0", "input.cache.0.1", "output.output"}


def test_names_of_a_mark_are_parameters_where_the_function_has_them() -> None:
    body = f"{MODELS}.Optional.forward"
    inputs = {"x": ROW, "mask": ROW, "scale": ROW}
    for names, expected in (
        (("scale", "mask"), {"scale": "scale", "mask": "mask"}),
        (("first", "second"), {"first": "x", "second": "mask"}),
        (("picture", "mask"), {"picture": "x", "mask": "mask"}),
    ):
        exported = export(called("Optional", inputs, mark("m", body, inputs=names)))
        for name, parameter in expected.items():
            seen = exported.recording.samples[0].marks[f"m:input.{name}"]
            np.testing.assert_array_equal(seen, exported.recording.samples[0].inputs[parameter])
    with pytest.raises(ExportError, match="names parameter 'x' twice, as 'picture', 'x'"):
        export(called("Optional", inputs, mark("m", body, inputs=("picture", "x"))))
