"""Recipe files to recipes: values, defaults, inheritance, policies, places and identity."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partition_core.base.errors import Place, RecipeError
from partition_core.recipe.from_plain import DEFAULT_DTYPE
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.partition_checks import KNOWN_MARK_NAMES
from partition_core.recipe.policies import KNOWN_MARKS, STRUCTURAL
from partition_core.recipe.reader import (
    MAX_EXTENDS,
    POLICIES,
    RecipeFile,
    read_recipe,
    read_recipes,
)
from partition_core.recipe.schema import (
    POLICY_SCHEMA,
    RECIPE_SCHEMA,
    SCHEMAS,
    schema_problems,
)
from partition_core.recipe.values import (
    DEFAULT_OPSET,
    DEFAULT_TOLERANCE,
    HALF_TOLERANCES,
    Checkpoint,
    DynamicAxis,
    FileInput,
    Mark,
    MmdetModel,
    OnnxModel,
    OwnWeights,
    Proof,
    Recipe,
    Seed,
    Segment,
    TensorSpec,
    TorchModel,
    canonical_json,
)
from partition_core.recipe.yaml_text import read_yaml
from partition_core.recipe.yaml_tree import EVERY

YOLO = """\
model:
  source: mmdet
  config: yolo/x.py
  weights: {seed: 0}
export:
  inputs: {input: {shape: [1, 3, 608, 608]}}
marks:
  - {name: detector_forward, on: detector, inputs: [input], outputs: [dets, labels]}
  - {name: head, on: mmdet.models.Head.predict, inputs: [pred_maps]}
partition:
  type: yolov3_partition
  segments:
    - {save_file: a.onnx, start: ['detector_forward:input'], end: ['head:input']}
    - {save_file: b.onnx, start: ['head[0]:input'], end: ['detector_forward:output.dets']}
"""
POLICY_RECIPE = YOLO[: YOLO.index("marks:")] + "partition: {type: single_stage}\n"


def written(root: Path, text: str, name: str = "x") -> Path:
    path = root / "recipes" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(root: Path, text: str, name: str = "x") -> RecipeFile:
    return read_recipe(written(root, text, name), root)


def told(root: Path, text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read(root, text)
    return str(caught.value).splitlines()


def test_a_recipe_of_an_mmdet_model_has_the_values_that_were_written(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.jpg").touch()
    recipe = read(tmp_path, f"{YOLO}proof: {{images: [pictures/a.jpg]}}\n").recipe
    assert recipe.name == "x"
    assert recipe.proof.images == ("pictures/a.jpg",)
    assert recipe.model == MmdetModel("yolo/x.py", (), Seed(0))
    assert recipe.export.inputs == (TensorSpec("input", (1, 3, 608, 608), "float32"),)
    assert recipe.marks[0] == Mark(
        "detector_forward", "detector", None, ("input",), ("dets", "labels")
    )
    assert recipe.marks[1] == Mark("head", "mmdet.models.Head.predict", None, ("pred_maps",), None)
    assert recipe.partition.type == "yolov3_partition"
    assert recipe.partition.segments[1] == Segment(
        "b.onnx",
        (MarkReference("head", "input"),),
        (MarkReference("detector_forward", "output", path=("dets",)),),
    )


def test_a_recipe_of_a_torch_model_has_the_values_that_were_written(tmp_path: Path) -> None:
    text = """
model: {source: torch, factory: 'zoo.small:Net.make', args: {width: 8, act: {type: relu}}}
export:
  inputs:
    size: {shape: [], dtype: int64, range: [1, 7]}
    image: {shape: [1, 3, 8, 8]}
    rate: {shape: [], dtype: int32, value: 16000}
  output_names: [b, a]
  dynamic_axes: {image: {3: w, 2: h}}
  opset: 18
marks:
  - {name: neck, module: body.0.neck, outputs: []}
  - {name: tail, decorator: true}
partition:
  type: halves
  segments:
    - save_file: first.onnx
      start: ['neck:input']
      end: ['tail[1]:output.0']
      input_names: [q]
      output_names: [p]
      dynamic_axes: {q: {0: batch}}
proof: {tolerance: 1, inputs: [arrays/a.npz, ABSOLUTE]}
"""
    (tmp_path / "arrays").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"arrays/{name}.npz").touch()
    text = text.replace("ABSOLUTE", str(tmp_path / "arrays/b.npz"))
    recipe = read(tmp_path, text).recipe
    assert recipe.model == TorchModel(
        "zoo.small:Net.make", (("act", '{"type":"relu"}'), ("width", "8")), OwnWeights()
    )
    assert recipe.export.inputs == (
        TensorSpec("image", (1, 3, 8, 8), "float32"),
        TensorSpec("rate", (), "int32", value=16000),
        TensorSpec("size", (), "int64", range=(1, 7)),
    )
    assert recipe.export.output_names == ("b", "a")
    assert recipe.export.dynamic_axes == (
        DynamicAxis("image", 2, "h"),
        DynamicAxis("image", 3, "w"),
    )
    assert recipe.export.opset == 18
    assert recipe.marks[0] == Mark("neck", None, "body.0.neck", None, ())
    assert recipe.marks[1] == Mark("tail", None, None, None, None, decorator=True)
    assert recipe.partition.segments[0].dynamic_axes == (DynamicAxis("q", 0, "batch"),)
    assert recipe.proof == Proof(1.0, (), ("arrays/a.npz", str(tmp_path / "arrays/b.npz")))


def test_a_recipe_of_an_onnx_file_may_say_only_what_an_input_is_drawn_from(tmp_path: Path) -> None:
    text = """
model: {source: onnx, path: a.onnx}
export: {inputs: {ids: {range: [0, 499]}, rate: {value: 16000}, image: {shape: [1, 3, 8, 8]}}}
partition: {save_file: b.onnx, from: [ids], to: [scores]}
"""
    recipe = read(tmp_path, text).recipe
    assert isinstance(recipe.model, OnnxModel)
    assert recipe.model.inputs == (
        FileInput("ids", range=(0, 499)),
        FileInput("image", (1, 3, 8, 8)),
        FileInput("rate", value=16000),
    )
    assert recipe.export.inputs == ()


def test_pictures_have_absolute_paths_as_models_have(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    text = f"{YOLO}proof: {{images: ['{tmp_path / 'a.jpg'}']}}\n"
    assert read(tmp_path, text).recipe.proof.images == (str(tmp_path / "a.jpg"),)


def test_a_default_that_is_written_out_is_the_same_recipe(tmp_path: Path) -> None:
    explicit = YOLO.replace("608, 608]", "608, 608], dtype: float32").replace(
        "marks:", f"  opset: {DEFAULT_OPSET}\n  dynamic_axes: {{}}\nmarks:", 1
    )
    explicit += "proof: {images: []}\n"
    explicit = explicit.replace("weights:", "overrides: {}\n  weights:")
    assert canonical_json(read(tmp_path, explicit).recipe) == canonical_json(
        read(tmp_path, YOLO).recipe
    )


def test_the_digits_of_a_digest_have_no_case(tmp_path: Path) -> None:
    text = YOLO.replace("seed: 0", "checkpoint: 'https://host/a.pth', sha256: ABCDEF012")
    weights = read(tmp_path, text).recipe.model.weights
    assert weights == Checkpoint("https://host/a.pth", "abcdef012")


def test_the_name_of_a_recipe_is_part_of_its_identity(tmp_path: Path) -> None:
    one, other = read(tmp_path, YOLO, "one").recipe, read(tmp_path, YOLO, "other").recipe
    assert canonical_json(one) != canonical_json(other)


def test_an_absolute_path_is_allowed_for_config_and_checkpoint(tmp_path: Path) -> None:
    text = YOLO.replace("yolo/x.py", "/models/x.py")
    text = text.replace("seed: 0", "checkpoint: /models/a.pth, sha256: abcdef01")
    assert read(tmp_path, text)


# inheritance


def test_an_inheriting_recipe_equals_the_one_that_is_written_out(tmp_path: Path) -> None:
    written(tmp_path, YOLO, "base")
    text = (
        "extends: base.yaml\n"
        "model: {weights: {seed: null, checkpoint: a.pth, sha256: abcdef01}}\n"
        "export: {opset: 19}\n"
    )
    whole = YOLO.replace("seed: 0", "sha256: abcdef01, checkpoint: a.pth")
    whole = whole.replace("export:", "export:\n  opset: 19")
    inherited = read(tmp_path, text).recipe
    assert canonical_json(inherited) == canonical_json(read(tmp_path, whole).recipe)


def test_a_list_replaces_the_inherited_one(tmp_path: Path) -> None:
    written(tmp_path, YOLO, "base")
    segment = "{save_file: c.onnx, start: ['head:input'], end: ['detector_forward:output']}"
    recipe = read(tmp_path, f"extends: base.yaml\npartition: {{segments: [{segment}]}}").recipe
    assert [part.save_file for part in recipe.partition.segments] == ["c.onnx"]
    assert recipe.partition.type == "yolov3_partition"


def test_null_is_a_value_where_nothing_is_inherited(tmp_path: Path) -> None:
    text = YOLO.replace("weights:", "overrides: {model.neck: null}\n  weights:")
    recipe = read(tmp_path, text).recipe
    assert recipe.model == MmdetModel("yolo/x.py", (("model.neck", "null"),), Seed(0))


def test_an_inherited_value_has_the_place_where_it_was_written(tmp_path: Path) -> None:
    written(tmp_path, YOLO, "base/yolo")
    found = read(tmp_path, "extends: base/yolo.yaml\n\nexport: {opset: 19}\n")
    assert found.place("export.opset") == Place("recipes/x.yaml", 3, "export.opset")
    assert found.place("model.config") == Place("recipes/base/yolo.yaml", 3, "model.config")
    assert found.sources == (tmp_path / "recipes/x.yaml", tmp_path / "recipes/base/yolo.yaml")
    assert found.file == "recipes/x.yaml"


def test_a_place_that_is_not_written_falls_back_to_the_nearest_around_it(tmp_path: Path) -> None:
    found = read(tmp_path, YOLO)
    assert found.place("export.inputs.input.dtype").path == "export.inputs.input"
    assert found.place("partition.segments[1].end[7].x").path == "partition.segments[1].end"
    assert found.place("partition.segments[9]").line == 11 + 1
    assert found.place("proof.tolerance") == Place("recipes/x.yaml", 1)


def test_extending_is_possible_up_to_its_limit_and_not_beyond(tmp_path: Path) -> None:
    written(tmp_path, YOLO, "r0")
    for number in range(1, MAX_EXTENDS + 2):
        written(tmp_path, f"extends: r{number - 1}.yaml\n", f"r{number}")
    assert read_recipe(tmp_path / f"recipes/r{MAX_EXTENDS}.yaml", tmp_path)
    with pytest.raises(RecipeError, match="the chain of 'extends' is too long"):
        read_recipe(tmp_path / f"recipes/r{MAX_EXTENDS + 1}.yaml", tmp_path)


# variants

LLM = """\
model: {source: torch, factory: 'lms:Llama'}
export:
  inputs: {ids: {dtype: int64, range: [0, 9]}, past: {shape: [1, 4]}, mask: {shape: [1, 4]}}
  args: {deep: false, wide: true}
variants:
  prefill: {inputs: {ids: {shape: [1, 16], range: null}, past: null}, args: {deep: true}}
  decode: {inputs: {ids: {shape: [1, 1]}}, proof: {tolerance: 0.1}}
marks: [{name: whole, on: model}]
partition:
  type: one
  segments: [{save_file: all.onnx, start: ['whole:input'], end: ['whole:output']}]
"""


def test_a_variant_is_the_recipe_with_what_differs(tmp_path: Path) -> None:
    path = written(tmp_path, LLM, "llm")
    files = read_recipes(path, tmp_path)
    prefill, decode = files["llm@prefill"].recipe, read_recipe(path, tmp_path, "decode").recipe
    assert {spec.name: (spec.shape, spec.range) for spec in prefill.export.inputs} == {
        "ids": ((1, 16), None),
        "mask": ((1, 4), None),
    }
    assert [spec.shape for spec in decode.export.inputs] == [(1, 1), (1, 4), (1, 4)]
    assert prefill.export.args == (("deep", "true"), ("wide", "true"))
    assert (decode.proof.tolerance, prefill.proof.tolerance) == (0.1, None)
    assert decode.partition == prefill.partition
    with pytest.raises(RecipeError, match=r"recipe 'llm' has variants; expected one of 'llm@dec"):
        read_recipe(path, tmp_path)


def test_what_a_variant_says_has_its_place_and_the_rest_that_of_the_recipe(tmp_path: Path) -> None:
    decode = read_recipe(written(tmp_path, LLM, "llm"), tmp_path, "decode")
    shape = decode.place("export.inputs.ids.shape")
    assert shape == Place("recipes/llm.yaml", 7, "variants.decode.inputs.ids.shape")
    span = decode.place("export.inputs.ids.range")
    assert span == Place("recipes/llm.yaml", 3, "export.inputs.ids.range")
    assert decode.place("export").line == 3 - 1


def test_variants_are_inherited_one_by_one(tmp_path: Path) -> None:
    written(tmp_path, LLM, "base")
    text = "extends: base.yaml\nvariants: {decode: null, prefill: {inputs: {mask: null}}, x: {}}\n"
    with pytest.raises(RecipeError, match=r"in variant 'x': the key 'shape' is missing"):
        read_recipes(written(tmp_path, text), tmp_path)
    files = read_recipes(written(tmp_path, text.replace(", x: {}", "")), tmp_path)
    (recipe,) = (file.recipe for file in files.values())
    assert recipe.name == "x@prefill"
    assert [spec.name for spec in recipe.export.inputs] == ["ids"]
    none = "extends: base.yaml\nvariants: {decode: null, prefill: null}\n"
    whole = f"{none}export: {{inputs: {{ids: {{shape: [1, 2]}}}}}}\n"
    assert [*read_recipes(written(tmp_path, whole), tmp_path)] == ["x"]


# policies


def test_a_policy_gives_its_marks_before_those_of_the_recipe(tmp_path: Path) -> None:
    found = read(tmp_path, POLICY_RECIPE + "marks:\n  - {name: neck, module: neck}\n")
    assert [m.name for m in found.recipe.marks] == ["detector_forward", "multiclass_nms", "neck"]
    assert [part.save_file for part in found.recipe.partition.segments] == [
        "partition0.onnx",
        "partition1.onnx",
    ]
    assert found.place("marks[2].name") == Place("recipes/x.yaml", 9, "marks[0].name")
    policy = found.place("marks[1].name")
    assert (policy.file, policy.path) == (
        "partition_core/policies/marks/mmdet.yaml",
        "marks[6].name",
    )
    assert found.sources == (
        tmp_path / "recipes/x.yaml",
        POLICIES / "single_stage.yaml",
        KNOWN_MARKS,
    )


def test_segments_may_refer_to_known_marks_that_the_recipe_does_not_name(tmp_path: Path) -> None:
    bare = (
        (YOLO[: YOLO.index("marks:")] + YOLO[YOLO.index("partition:") :])
        .replace("head:", "yolo_head:")
        .replace("head[0]:", "yolo_head:")
    )
    found = read(tmp_path, bare)
    assert [mark.name for mark in found.recipe.marks] == ["detector_forward", "yolo_head"]
    assert found.recipe.marks[1].on == "mmdet.models.dense_heads.YOLOV3Head.predict_by_feat"
    assert found.sources[1:] == (KNOWN_MARKS,)
    # A mark of the recipe goes before a known one of its name, which is then not placed.
    own = read(tmp_path, bare + "marks:\n  - {name: yolo_head, module: neck}\n")
    assert [(mark.name, mark.module) for mark in own.recipe.marks] == [
        ("detector_forward", None),
        ("yolo_head", "neck"),
    ]


def test_a_misspelt_known_mark_is_unknown(tmp_path: Path) -> None:
    bare = YOLO[: YOLO.index("marks:")] + YOLO[YOLO.index("partition:") :]
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, bare.replace("head:", "yolo_hed:"))
    assert "unknown mark 'yolo_hed'" in str(caught.value)
    assert "did you mean 'yolo_head'?" in str(caught.value)


def test_the_known_marks_are_valid_and_named_once() -> None:
    text = read_yaml(KNOWN_MARKS, "marks")
    assert text.root is not None and not schema_problems(text.root, "marks.schema.json")
    names = [name.text for name in text.root.select("marks", EVERY, "name")]
    assert tuple(names) == KNOWN_MARK_NAMES


@pytest.mark.parametrize(
    "policy",
    sorted(POLICIES.glob("*.yaml")) + sorted(STRUCTURAL.glob("raw_heads.yaml")),
    ids=lambda path: path.stem,
)
def test_each_shipped_policy_is_valid(policy: Path, tmp_path: Path) -> None:
    text = POLICY_RECIPE.replace("single_stage", policy.stem)
    assert read(tmp_path, text).recipe.partition.type == policy.stem


def test_the_schema_of_policies_refuses_other_keys() -> None:
    text = read_yaml(POLICIES / "single_stage.yaml", "policy")
    assert text.root is not None and not schema_problems(text.root, POLICY_SCHEMA)
    assert schema_problems(text.root, RECIPE_SCHEMA)


# files and messages


def test_a_recipe_that_is_not_there_is_told_with_the_names_that_are(tmp_path: Path) -> None:
    written(tmp_path, YOLO, "yolov3")
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "recipes/yolv3.yaml", tmp_path)
    assert str(caught.value) == (
        "recipes/yolv3.yaml: there is no such file; "
        "expected one of 'yolov3'; did you mean 'yolov3'?"
    )


def test_a_recipe_outside_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with pytest.raises(RecipeError, match="is not inside the project"):
        read_recipe(written(tmp_path, YOLO), tmp_path / "project")


def test_relative_paths_mean_the_same_as_absolute_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(tmp_path, YOLO)
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("recipes/../recipes/x.yaml"), Path(".")) == expected


@pytest.mark.parametrize("word", ["y", "N", "on", "OFF", "yes", "no"])
def test_words_that_some_readers_take_for_truths_are_text_where_no_truth_can_be(
    tmp_path: Path, word: str
) -> None:
    text = YOLO.replace("inputs: [pred_maps]", f"inputs: [{word}]")
    marks = {mark.name: mark.inputs for mark in read(tmp_path, text).recipe.marks}
    assert marks["head"] == (word,)
    free = YOLO.replace("weights:", f"overrides: {{a: {word}}}\n  weights:")
    (line,) = told(tmp_path, free)
    assert line.startswith("recipes/x.yaml:4: model.overrides.a: ")
    assert "is a boolean to some YAML parsers" in line


def test_problems_come_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = YOLO.replace("source: mmdet", "source: mmdet\n  extra: 1")
    text = text.replace("['head:input']", "['haed:input']").replace("[1, 3, 608", "[1, 3, 0")
    lines = told(tmp_path, text.replace("seed: 0", "seed: yes"))
    assert [line.split(": ")[:2] for line in lines] == [
        ["recipes/x.yaml:3", "model.extra"],
        ["recipes/x.yaml:5", "model.weights.seed"],
        ["recipes/x.yaml:7", "export.inputs.input.shape[2]"],
        ["recipes/x.yaml:14", "partition.segments[0].end[0]"],
    ]


def test_the_message_of_a_misspelt_mark_is_the_documented_one(tmp_path: Path) -> None:
    (line,) = told(tmp_path, YOLO.replace("end: ['head:input']", "end: ['haed:input']"))
    assert line == (
        "recipes/x.yaml:13: partition.segments[0].end[0]: unknown mark 'haed'; "
        "expected one of 'detector_forward', 'head'; did you mean 'head'?"
    )


# schema


def test_every_property_has_a_title_and_a_description() -> None:
    definitions = json.loads((SCHEMAS / RECIPE_SCHEMA).read_text("utf-8"))["$defs"]
    found = [
        (where, definitions[entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry)
        for name in (RECIPE_SCHEMA, POLICY_SCHEMA)
        for where, entry in _properties(json.loads((SCHEMAS / name).read_text("utf-8")), name)
    ]
    assert len(found) > 30
    assert [w for w, entry in found if not (entry.get("title") and entry.get("description"))] == []


def _properties(schema: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield every property that a schema declares; those of `if` and `then` only constrain."""
    items = enumerate(schema) if isinstance(schema, list) else ()
    for key, item in schema.items() if isinstance(schema, dict) else items:
        if key == "properties" and where.rpartition("/")[2] not in ("if", "then"):
            yield from ((f"{where}/{name}", entry) for name, entry in item.items())
        yield from _properties(item, f"{where}/{key}")


def test_the_defaults_that_the_schema_tells_are_those_that_are_applied() -> None:
    definitions = json.loads((SCHEMAS / RECIPE_SCHEMA).read_text("utf-8"))["$defs"]
    told = [
        definitions[owner]["properties"][key]["default"]
        for owner, key in (("export", "opset"), ("input", "dtype"))
    ]
    assert told == [DEFAULT_OPSET, DEFAULT_DTYPE]
    defaults = {"": DEFAULT_TOLERANCE, **HALF_TOLERANCES}
    for owner in ("proof", "onnx_proof"):
        told = definitions[owner]["properties"]["tolerance"]["description"]
        assert all(
            f"{dtype} {tolerance:g}".strip() in told for dtype, tolerance in defaults.items()
        )
    assert {dtype: Proof(None, ()).tolerance_for(dtype) for dtype in defaults} == defaults
    assert Proof(1e-3, ()).tolerance_for("float16") == 1e-3


def test_an_editor_accepts_a_recipe_that_only_says_what_differs(tmp_path: Path) -> None:
    path = written(tmp_path, "extends: base.yaml\nmodel: {weights: {seed: null}}\n")
    root = read_yaml(path, "x").root
    assert root is not None and not schema_problems(root, RECIPE_SCHEMA)


def test_importing_the_reader_imports_no_jsonschema_and_the_names_no_yaml() -> None:
    code = (
        "import sys; import partition_core.recipe.names; assert 'yaml' not in sys.modules;"
        "import partition_core.recipe.reader; assert 'jsonschema' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# properties

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(max_size=6)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=3,
)
WEIGHTS = st.fixed_dictionaries({"seed": st.integers(0, 2**63 - 1)}) | st.fixed_dictionaries(
    {
        "checkpoint": st.sampled_from(["a.pth", "https://host/a.pth", "/a/b c.pth"]),
        "sha256": st.from_regex("[0-9a-f]{8,64}", fullmatch=True),
    }
)
AXES = st.dictionaries(NAMES, st.dictionaries(st.integers(0, 9), NAMES, min_size=1, max_size=2))
UNIQUE_NAMES = st.lists(NAMES, unique=True, min_size=1, max_size=3)
DEPENDS_ON = st.fixed_dictionaries(
    {"files": st.sampled_from([["recipes/x.yaml"], ["recipes/*.yaml", "/dev/../etc/passwd"]])},
    optional={"packages": st.just(["numpy"])},
)
MMDET = st.fixed_dictionaries(
    {"source": st.just("mmdet"), "config": st.sampled_from(["a.py", "/b.py"]), "weights": WEIGHTS},
    optional={
        "overrides": st.dictionaries(NAMES, JSON, max_size=2),
        "depends_on": DEPENDS_ON,
    },
)
TORCH = st.fixed_dictionaries(
    {"source": st.just("torch"), "factory": st.sampled_from(["a:b", "a.b:C.d"])},
    optional={
        "args": st.dictionaries(NAMES, JSON, max_size=2),
        "weights": WEIGHTS,
        "depends_on": DEPENDS_ON,
    },
)
BOUNDARIES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={"input_names": UNIQUE_NAMES, "output_names": UNIQUE_NAMES, "dynamic_axes": AXES},
)
PLACES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"on": "a.b"}, {"on": "a.b.c"}, {"module": "neck"}, {"module": "neck.0"}, {"decorator": True}]
)
ELEMENTS: list[dict[str, Any]] = [
    {"dtype": "int64"},
    {"dtype": "bool"},
    {"dtype": "bool", "value": False},
    {"dtype": "uint8", "range": [0, 255]},
    {"range": [-0.5, 2]},
    {"value": 0},
]


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the data of a valid recipe."""
    model = draw(MMDET | TORCH)
    inputs = {"input": {"shape": draw(st.lists(st.integers(1, 999), min_size=4, max_size=4))}}
    if model["source"] == "mmdet":
        inputs["input"]["shape"][1] = draw(st.sampled_from([1, 3]))
    if model["source"] == "torch" and draw(st.booleans()):
        inputs["other"] = {"shape": [2], **draw(st.sampled_from(ELEMENTS))}
    export: dict[str, Any] = {"inputs": inputs}
    if draw(st.booleans()):
        # The pictures of a detector and their channels cannot be dynamic.
        axes = st.integers(2 if model["source"] == "mmdet" else 0, 3)
        symbols = draw(st.dictionaries(axes, NAMES, min_size=1, max_size=2))
        export["dynamic_axes"] = {"input": symbols}
        export["opset"] = draw(st.integers(11, 25))
    if model["source"] == "mmdet" and draw(st.booleans()):
        export["masks"] = draw(st.sampled_from(["probabilities", "pasted"]))
    names = draw(UNIQUE_NAMES)
    marks: list[dict[str, Any]] = []
    for name in names:
        sides = draw(st.fixed_dictionaries({}, optional={"inputs": UNIQUE_NAMES}))
        marks.append({"name": name, **draw(PLACES), **sides})
    segments = []
    for index in range(draw(st.integers(1, 2))):
        start, end = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        call = draw(st.sampled_from(["", "[1]"]))
        segment: dict[str, Any] = {"save_file": f"s{index}.onnx", "start": [f"{start}{call}:input"]}
        if draw(st.booleans()):
            other = {"backend": "ncnn", "precision": "float16", "required": False, "kept": 0.5}
            segment["targets"] = ["openvino", other][: draw(st.integers(1, 2))]
        segment["end"] = [f"{end}:output.0"]
        segments.append({**segment, **draw(BOUNDARIES)})
    proof = st.fixed_dictionaries({}, optional={"tolerance": st.sampled_from([1, 1e-3, 0.5])})
    partition = {"type": draw(NAMES.filter("single_stage".__ne__)), "segments": segments}
    return {"model": model, "export": export, "marks": marks, "partition": partition} | draw(
        st.fixed_dictionaries({}, optional={"proof": proof})
    )


def as_data(recipe: Recipe) -> dict[str, Any]:
    """Return data that spells a recipe, read back from its canonical JSON."""
    plain = json.loads(canonical_json(recipe))
    model, export = plain["model"], plain["export"]
    for key in ("overrides", "args"):
        if key in model:
            model[key] = {name: json.loads(value) for name, value in model[key]}
    model["depends_on"] = {k: v for k, v in (model["depends_on"] or {}).items() if v}
    for key in [key for key in ("weights", "depends_on", "part") if not model.get(key, True)]:
        del model[key]
    if model["source"] == "torch":
        del export["masks"]
    export["inputs"] = {
        tensor.pop("name"): {key: value for key, value in tensor.items() if value is not None}
        for tensor in export["inputs"]
    }
    plain["proof"] = {k: v for k, v in plain["proof"].items() if v not in ([], None)}
    plain["partition"] = {k: v for k, v in plain["partition"].items() if v is not None}
    plain["partition"] |= targets_by_file(plain["partition"].pop("targets"))
    for owner in (export, *plain["partition"]["segments"]):
        axes: dict[str, dict[int, str]] = {}
        for axis in owner["dynamic_axes"]:
            axes.setdefault(axis["tensor"], {})[axis["axis"]] = axis["symbol"]
        owner["dynamic_axes"] = axes
    for owner in (*plain["marks"], export, *plain["partition"]["segments"]):
        for key in [k for k, v in owner.items() if v in (None, False) or v == []]:
            is_kept = key in ("inputs", "outputs") and "save_file" not in owner
            if not is_kept or owner[key] is None:
                del owner[key]
    return {key: value for key, value in plain.items() if key != "name"}


def targets_by_file(targets: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the key with the targets of segments, nothing if there are none."""
    files: dict[str, list[dict[str, Any]]] = {}
    for target in targets:
        own = {key: value for key, value in target.items() if value is not None}
        files.setdefault(own.pop("segment"), []).append(own)
    return {"targets": files} if files else {}


def shuffled(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """Return the same data with the keys of its mappings in another order."""
    if isinstance(value, dict):
        keys = draw(st.permutations(list(value)))
        return {key: shuffled(value[key], draw) for key in keys}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


class QuotingDumper(yaml.SafeDumper):
    """Puts all text in quotes, so that nothing in it has another meaning."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"')


QuotingDumper.add_representer(str, QuotingDumper.represent_text)


def as_yaml(data: Any, comments: bool = False) -> str:
    text: str = yaml.dump(data, Dumper=QuotingDumper, sort_keys=False, allow_unicode=True)
    return text if not comments else f"# first\n\n{text}\n# last\n"


FAST = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.costly
@FAST
@given(recipes())
def test_a_recipe_survives_being_written_and_read(tmp_path: Path, data: dict[str, Any]) -> None:
    recipe = read(tmp_path, as_yaml(data)).recipe
    again = read(tmp_path, as_yaml(as_data(recipe))).recipe
    assert again == recipe
    assert canonical_json(again) == canonical_json(recipe)


@pytest.mark.costly
@FAST
@given(recipes(), st.data())
def test_key_order_and_comments_never_change_the_identity(
    tmp_path: Path, data: dict[str, Any], drawn: st.DataObject
) -> None:
    other = shuffled(data, drawn.draw)
    assert canonical_json(read(tmp_path, as_yaml(data)).recipe) == canonical_json(
        read(tmp_path, as_yaml(other, comments=True)).recipe
    )


@pytest.mark.costly
@FAST
@given(recipes(), recipes())
def test_two_recipes_share_an_identity_only_if_they_are_equal(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    left, right = read(tmp_path, as_yaml(one)).recipe, read(tmp_path, as_yaml(other)).recipe
    assert (left == right) == (canonical_json(left) == canonical_json(right))


@pytest.mark.costly
@FAST
@given(recipes(), st.data())
def test_a_change_of_any_value_changes_the_identity(
    tmp_path: Path, data: dict[str, Any], drawn: st.DataObject
) -> None:
    recipe = read(tmp_path, as_yaml(data)).recipe
    changed = json.loads(json.dumps(data))
    CHANGES[drawn.draw(st.sampled_from(sorted(CHANGES)))](changed)
    other = read(tmp_path, as_yaml(changed)).recipe
    assert other != recipe
    assert canonical_json(other) != canonical_json(recipe)


SPOILED = st.sampled_from(
    [None, True, 1, -1, 2.5, 10**30, "", "x", "a:b", "a\x85b", "../x", "https://", "x" * 3000]
    + ["detector", "single_stage", [], {}, [1], {"a": 1}, [[]], [{}]]
)


def containers(value: Any) -> list[Any]:
    """Return each mapping and list that is not empty, from the outermost inwards."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not value:
        return []
    return [value, *(found for item in inner for found in containers(item))]


@pytest.mark.costly
@settings(FAST, max_examples=100)
@given(recipes(), st.data())
def test_a_recipe_with_any_value_spoiled_is_read_or_refused_line_by_line(
    tmp_path: Path, data: dict[str, Any], drawn: st.DataObject
) -> None:
    spoiled = json.loads(json.dumps(data))
    for _ in range(drawn.draw(st.integers(1, 3))):
        container = drawn.draw(st.sampled_from(containers(spoiled)))
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        container[drawn.draw(st.sampled_from(keys))] = copy.deepcopy(drawn.draw(SPOILED))
    try:
        read(tmp_path, as_yaml(spoiled))
    except RecipeError as error:
        assert error.problems
        assert all(line.startswith("recipes/x.yaml:") for line in str(error).splitlines())


def _grow(data: dict[str, Any]) -> None:
    data["export"]["inputs"]["input"]["shape"][0] += 1


def _rename(data: dict[str, Any]) -> None:
    data["partition"]["segments"][0]["save_file"] = "other.onnx"


def _add_mark(data: dict[str, Any]) -> None:
    data["marks"].append({"name": "m" * 9, "module": "neck"})


def _relabel(data: dict[str, Any]) -> None:
    data["partition"]["type"] += "_"


def _mark_less(data: dict[str, Any]) -> None:
    data["marks"][0]["outputs"] = ["0"] if data["marks"][0].get("outputs") else ["x"]
    for segment in data["partition"]["segments"]:
        segment["end"] = [end.replace(".0", "") for end in segment["end"]]


def _cut(data: dict[str, Any]) -> None:
    data["partition"]["cut"] = "raw_heads"


def _tolerate(data: dict[str, Any]) -> None:
    data["proof"] = {"tolerance": 0.25}


CHANGES = {
    "grow": _grow,
    "rename": _rename,
    "add": _add_mark,
    "relabel": _relabel,
    "cut": _cut,
    "mark less": _mark_less,
    "tolerate": _tolerate,
}


@pytest.mark.parametrize("name", ["nul", "Aux", "com1.x", "end."])
def test_a_recipe_whose_build_folder_windows_cannot_have_is_refused(
    tmp_path: Path, name: str
) -> None:
    # Not among the golden files: this repository has to be one that Windows can have.
    path = tmp_path / f"{name}.yaml"
    path.write_text("model: {source: onnx, path: x.onnx}\n")
    with pytest.raises(RecipeError) as error:
        read_recipe(path, tmp_path)
    assert (
        f"'{name}' cannot be the name of a recipe; Windows does not allow a file or folder of that "
        "name; rename the file"
    ) in str(error.value)
