"""Segments of generated models compose to the whole, are valid, and leave the model alone."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.numpy_helper
import onnx.parser
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partition_core.graph.boundaries import coverage, edges
from partition_core.graph.cut import cut
from partition_core.graph.file.graph import Model
from partition_core.graph.files import DataPlacement, cut_file
from partition_core.recipe.mark_reference import parse_reference
from partition_core.recipe.values import Segment
from tests.cutting.support import content_of, model_of

pytestmark = pytest.mark.usefixtures("native_code_here")

Arrays = dict[str, np.ndarray]
FUNCTION = """
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name, id, dtype, shape> (x) => (y) { y = Identity(x) }
<domain: "own", opset_import: ["": 20, "own": 1]>
outer (x, y) => (z) { a = own.inner (x)  z = Sub (a, y) }
<domain: "own", opset_import: ["": 20]>
inner (x) => (y) { y = Tanh (x) }
<domain: "own", opset_import: ["": 20]>
idle (x) => (y) { y = Abs (x) }
"""
CONDITION = -1


@dataclass(frozen=True)
class Step:
    """One operation: the numbered values it reads, and those it makes."""

    kind: str
    reads: tuple[int, ...]
    makes: tuple[int, ...]


@dataclass
class Text:
    """The lines of a graph; a value can be read through any alias that a mark has given it."""

    rng: random.Random
    aliases: dict[int, list[str]]
    lines: list[str]

    def read(self, value: int) -> str:
        """Return any name under which `value` can be read."""
        return self.rng.choice(self.aliases[value])

    def mark(self, value: int, func: str, side: str, name: str, *, order: int) -> str:
        """Add a Mark node for `value` and return the name it gives it."""
        output = f"mark_{len(self.lines)}"
        dtype = "dtype=9" if value == CONDITION else "dtype=1, shape=[3]"
        self.lines.append(
            f'{output} = partition.Mark <func="{func}", func_id=0, type="{side}", name="{name}", '
            f"id={order}, {dtype}> ({self.read(value)})"
        )
        self.aliases[value].append(output)
        return output

    def step(self, step: Step) -> None:
        """Add the nodes of `step`."""
        first, (one, *rest) = step.makes[0], [self.read(value) for value in step.reads]
        if step.kind == "If":
            # The inner name is the one that the value read has at the second boundary.
            inner = f"v{step.reads[1] + 1000}"
            self.lines.append(
                f"v{first} = If ({one}) <then_branch = t{first} () => (float[3] t{first}_o) "
                f"{{ {inner} = Tanh ({rest[0]}) t{first}_o = Sub ({inner}, {rest[1]}) }}, "
                f"else_branch = e{first} () => (float[3] e{first}_o) "
                f'{{ m{first} = partition.Mark <func="in", type="input", name="m"> ({rest[1]}) '
                f"e{first}_o = Add (m{first}, w0) }}>"
            )
        elif step.kind == "Loop":
            inner = f"v{step.reads[1] + 1000}"
            self.lines.append(
                f"v{first} = Loop (two, yes, {rest[0]}) <body = l{first} (int64 i{first}, bool "
                f"d{first}, float[3] s{first}) => (bool q{first}, float[3] o{first}) {{ "
                f"{inner} = Add (s{first}, {one}) q{first} = Identity (d{first}) "
                f"o{first} = Mul ({inner}, w1) }}>"
            )
        elif step.kind == "Call":
            self.lines.append(f"v{first} = own.outer ({one}, {rest[0]})")
        elif step.kind == "Split":
            self.lines.append(f"c{first} = Concat <axis=0> ({one}, {rest[0]})")
            self.lines.append(f"v{first}, v{first + 1} = Split <axis=0, num_outputs=2> (c{first})")
        elif step.kind == "Mul":
            self.lines.append(f"v{first} = Mul ({one}, w{self.rng.randrange(3)})")
        else:
            self.lines.append(f"v{first} = {step.kind} ({', '.join((one, *rest))})")
        self.aliases.update((value, [f"v{value}"]) for value in step.makes)


def draw_steps(rng: random.Random, size: int) -> list[Step]:
    known, steps = [0, 1, 2], []
    for _ in range(size):
        kind = rng.choice(["Tanh", "Neg", "Add", "Sub", "Mul", "Split", "If", "Loop", "Call"])
        one, two, following = rng.choice(known), rng.choice(known), known[-1] + 1
        reads = {"Tanh": (one,), "Neg": (one,), "Mul": (one,), "If": (CONDITION, one, two)}
        makes = (following, following + 1) if kind == "Split" else (following,)
        steps.append(Step(kind, reads.get(kind, (one, two)), makes))
        known += makes
    return steps


def crossing(steps: list[Step], sinks: list[int], position: int) -> list[int]:
    """Return the values that exist after `position` steps and are still read later."""
    later = {value for step in steps[position:] for value in step.reads} | set(sinks)
    made = [0, 1, 2, CONDITION, *(value for step in steps[:position] for value in step.makes)]
    return [value for value in made if value in later]


def draw_model(rng: random.Random) -> tuple[str, list[Segment]]:
    """Return a model in text and three segments that cover it.

    Boundary names are on purpose those of other values: value 3 is `v4` at the first boundary.
    """
    steps = draw_steps(rng, rng.randint(4, 14))
    read = {value for step in steps for value in step.reads}
    sinks = [2, *(v for step in steps for v in step.makes if v not in read)]
    positions = sorted(rng.randint(1, len(steps)) for _ in range(2))
    text = Text(rng, {0: ["x0"], 1: ["x1"], 2: ["v2"], CONDITION: ["c"]}, [])
    for value in (0, 1):
        text.mark(value, "net", "input", f"x{value}", order=value)
    text.lines.append("v2 = Sub (x0, x1) r = ReduceSum <keepdims=0> (v2)")
    text.lines.append("zero = Constant <value_float=0.0> () c = Greater (r, zero)")
    for index, step in enumerate(steps, start=1):
        text.step(step)
        for number, position in enumerate(positions):
            for order, value in enumerate(crossing(steps, sinks, position)):
                if position == index:
                    name = f"v{value + (1, 1000)[number]}"
                    text.mark(value, f"cut{number}", "input", name, order=order)
    results = [text.mark(v, "net", "output", f"y{v}", order=i) for i, v in enumerate(sinks)]
    weights = ", ".join(f"float[3] w{i} = {{{i}.5, -1.25, {i}.75}}" for i in range(3))
    graph = (
        '<ir_version: 10, opset_import: ["": 20, "partition": 1, "own": 1]>\n'
        f"g (float[3] x0, float[3] x1) => ({', '.join(f'float[3] {name}' for name in results)}) "
        f"<{weights}, int64 two = {{2}}, bool yes = {{1}}, bool c> {{\n"
        + "\n".join(text.lines)
        + f"\n}}{FUNCTION}"
    )
    points = [("net", "input"), ("cut0", "input"), ("cut1", "input"), ("net", "output")]
    references = [parse_reference(f"{mark}:{side}") for mark, side in points]
    found = [(item,) for item in references if item is not None]
    return graph, [Segment(f"part{i}.onnx", found[i], found[i + 1]) for i in range(len(found) - 1)]


def run(model: Model, feeds: Arrays) -> Arrays:
    content = content_of(model)
    onnx.checker.check_model(content, full_check=True)
    return run_file(content, feeds)


def run_file(model: Path | bytes, feeds: Arrays) -> Arrays:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    file = model if isinstance(model, bytes) else str(model)
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feeds = {item.name: feeds[item.name] for item in session.get_inputs()}
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def image_of(seed: int) -> Arrays:
    values = np.random.default_rng(seed).standard_normal((2, 3)).astype(np.float32)
    return {"x0": values[0], "x1": values[1]}


def run_chain(parts: list[Model], feeds: Arrays) -> Arrays:
    known = dict(feeds)
    for part in parts:
        known |= run(part, {v.name: known[v.name] for v in part.graph.inputs})
    return {v.name: known[v.name] for v in parts[-1].graph.outputs}


def same_bits(whole: Arrays, chained: Arrays) -> bool:
    pairs = zip(whole.values(), chained.values(), strict=True)
    return all(one.tobytes() == two.tobytes() for one, two in pairs)


randoms = st.randoms(use_true_random=False, note_method_calls=False)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@quick
@given(randoms, st.integers(0, 99))
def test_chained_segments_equal_the_whole_bit_for_bit(rng: random.Random, image: int) -> None:
    text, segments = draw_model(rng)
    model = model_of(text)
    parts = [cut(model, item, f"segments[{i}]") for i, item in enumerate(segments)]
    assert same_bits(run(model, image_of(image)), run_chain(parts, image_of(image)))


@quick
@given(randoms, st.integers(0, 99))
def test_segments_of_a_file_with_its_weights_elsewhere_chain_in_every_form(
    rng: random.Random, image: int
) -> None:
    text, segments = draw_model(rng)
    form: DataPlacement = rng.choice(["inline", "external", "referred"])
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "whole.onnx"
        model = onnx.parser.parse_model(text)
        scatter(model, Path(name), rng)
        source.write_bytes(model.SerializeToString())
        known, made = image_of(image), {}
        for part in segments:
            target = Path(name) / part.save_file
            cut_file(source, part, target, weights=form)
            onnx.checker.check_model(str(target), full_check=True)
            made = run_file(target, known)
            known |= made
        assert same_bits(run_file(source, image_of(image)), made)


def scatter(model: onnx.ModelProto, folder: Path, rng: random.Random) -> None:
    """Move some weights of `model` into a few files of `folder`, at any offset."""
    for tensor in model.graph.initializer:
        if tensor.name in ("two", "yes") or rng.random() < 0.3:
            continue
        location = rng.choice(["a.bin", "b.bin", "sub/a.bin"])
        file = folder / location
        file.parent.mkdir(exist_ok=True)
        before = (file.read_bytes() if file.exists() else b"") + bytes(rng.randrange(9))
        content = onnx.numpy_helper.to_array(tensor).tobytes()
        file.write_bytes(before + content)
        entries = {"location": location, "offset": len(before), "length": len(content)}
        tensor.ClearField("float_data")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))


@quick
@given(randoms)
def test_a_cut_is_pure_and_repeatable_and_leaves_no_mark(rng: random.Random) -> None:
    text, segments = draw_model(rng)
    model, twin = model_of(text), model_of(text)
    before = content_of(model)
    for item in segments:
        made = content_of(cut(model, item, "at"))
        assert made == content_of(cut(model, item, "at"))
        assert made == content_of(cut(twin, item, "at"))
        assert b"Mark" not in made
    assert content_of(model) == before


@quick
@given(randoms)
def test_chained_segments_leave_no_gap_and_run_every_node_once(rng: random.Random) -> None:
    text, segments = draw_model(rng)
    model = model_of(text)
    told = coverage(model, segments)
    # What decides for every If is needed by no one when no If is drawn.
    assert told.uncovered in ((), ("r", "c"))
    assert not told.shared
    assert all(edge.producer for edge in edges(model, segments))
    assert sum(count for _, count in told.counts) == told.nodes - len(told.uncovered)


def test_the_comparison_detects_a_wrong_cut() -> None:
    rounds = 12
    detected = {"input": 0, "node": 0}
    for seed in range(rounds):
        text, segments = draw_model(random.Random(seed))
        model = model_of(text)
        parts = [cut(model, item, "at") for item in segments]
        whole = run(model, image_of(seed))
        assert same_bits(whole, run_chain(parts, image_of(seed)))
        assert not same_bits(whole, run_chain(parts, image_of(seed + 1)))

        # A start that carries another value, and a node that reads the wrong one.
        wrong = image_of(seed)
        wrong["x0"] = np.roll(wrong["x0"], 1)
        detected["input"] += not same_bits(whole, run_chain(parts, wrong))
        first = parts[0].graph.nodes[0]
        first.inputs[0] = first.inputs[1]
        detected["node"] += not same_bits(whole, run_chain(parts, image_of(seed)))
    assert detected == {"input": rounds, "node": rounds}
