"""Segments converted by OpenVINO and by pnnx: each kind runs there or is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from partition_core.backends.backend import BACKENDS, Backend, Conversion, backend
from partition_core.backends.ncnn.backend import Ncnn
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.errors import ConversionError, RunError

from .small_nets import FREE, MAPS, ODD_NAMES, TWO, net

CONVERTERS = [
    pytest.param(name, marks=pytest.mark.skipif(bool(lacking), reason=lacking or "it is installed"))
    for name in BACKENDS
    for lacking in [backend(name).missing()]
    if name != "onnxruntime"
]
both = pytest.mark.parametrize("name", CONVERTERS)
NCNN = [each for each in CONVERTERS if each.values == ("ncnn",)]
OPENVINO = [each for each in CONVERTERS if each.values == ("openvino",)]
ncnn = pytest.mark.parametrize("name", NCNN)
openvino = pytest.mark.parametrize("name", OPENVINO)

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Converted:
    """A model, its conversion, and the backend."""

    model: Path
    conversion: Conversion
    backend: Backend

    def differences(self, inputs: Arrays) -> dict[str, float]:
        """Return the relative L2 of each output; dtypes and shapes must be equal."""
        ours, theirs = self.run(inputs), Plain("model").load(self.model)(inputs)
        assert list(ours) == list(theirs)
        for name, array in theirs.items():
            assert (ours[name].dtype, ours[name].shape) == (array.dtype, array.shape)
        return {name: relative_l2(ours[name], array) for name, array in theirs.items()}

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        return self.backend.load(*self.conversion.files)(inputs)


def relative_l2(ours: np.ndarray, theirs: np.ndarray) -> float:
    difference = np.linalg.norm(ours.astype(np.float64).ravel() - theirs.ravel())
    return float(difference / np.linalg.norm(theirs.astype(np.float64).ravel()))


def drawn(*shapes: tuple[int, ...], names: tuple[str, ...] = ("x",)) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1).normal
    return {
        name: draw(size=shape).astype(np.float32) for name, shape in zip(names, shapes, strict=True)
    }


def converted(model: Path, name: str, precision: str = "float32") -> Converted:
    folder = model.parent / f"{name}-{precision}"
    folder.mkdir()
    made = backend(name, precision)
    return Converted(model, made.convert(model, folder), made)


def refusal(model: Path, name: str) -> str:
    """Return why a model is not converted; nothing is left of the attempt."""
    folder = model.parent / name
    folder.mkdir()
    with pytest.raises(ConversionError) as caught:
        backend(name).convert(model, folder)
    assert list(folder.iterdir()) == []
    return str(caught.value)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Converted]:
    """Return the conversion of `MAPS` by a backend at a precision, made once."""
    made: dict[tuple[str, str], Converted] = {}
    model = net(MAPS, tmp_path_factory.mktemp("maps") / "maps.onnx")

    def of(name: str, precision: str = "float32") -> Converted:
        if (name, precision) not in made:
            made[name, precision] = converted(model, name, precision)
        return made[name, precision]

    return of


TABLE = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
PICTURE = drawn((1, 3, 16, 24))
FILES = {
    "openvino": ["maps.xml", "maps.bin"],
    "ncnn": ["maps.ncnn.param", "maps.ncnn.bin", "maps.ncnn.json"],
}


@both
def test_maps_a_resize_and_a_concat_run_as_in_onnxruntime(
    maps: Callable[..., Converted], name: str
) -> None:
    whole = maps(name)
    assert [file.name for file in whole.conversion.files] == FILES[name]
    assert sorted(os.listdir(whole.conversion.files[0].parent)) == sorted(FILES[name])
    assert max(whole.differences(PICTURE).values()) < 1e-6


@both
def test_names_are_those_of_the_tensors_and_not_of_places(
    maps: Callable[..., Converted], name: str
) -> None:
    # The first two outputs have one shape: swapped, nothing but their values would tell.
    outputs = maps(name).run(PICTURE)
    expected = Plain("model").load(maps(name).model)(PICTURE)
    assert relative_l2(outputs["a"], expected["b"]) > 0.1
    assert relative_l2(outputs["b"], expected["a"]) > 0.1


@both
def test_weights_in_float16_take_half_the_bytes_and_round(
    maps: Callable[..., Converted], name: str
) -> None:
    half = maps(name, "float16")
    differences = half.differences(PICTURE)
    assert all(1e-5 < difference < 1e-3 for difference in differences.values())
    sizes = [made.conversion.files[1].stat().st_size for made in (maps(name), half)]
    assert sizes[1] < 0.7 * sizes[0]


@both
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_second_conversion_gives_the_same_bytes(
    maps: Callable[..., Converted], name: str, precision: str, tmp_path: Path
) -> None:
    first = maps(name, precision)
    again = first.backend.convert(first.model, tmp_path)
    assert again.printed == first.conversion.printed
    for one, other in zip(first.conversion.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes()


@both
def test_what_a_converter_prints_names_no_folder_and_no_time(
    maps: Callable[..., Converted], name: str
) -> None:
    printed = maps(name).conversion.printed
    assert bool(printed) == (name == "ncnn")
    for text in (str(maps(name).model.parent), "ms\n", "2026-"):
        assert text not in printed


@both
def test_a_second_run_gives_the_same_bits_and_nothing_is_printed(
    maps: Callable[..., Converted], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run = maps(name).backend.load(*maps(name).conversion.files)
    first, again = run(PICTURE), run(PICTURE)
    assert all(first[output].tobytes() == again[output].tobytes() for output in first)
    assert capfd.readouterr() == ("", "")


@both
def test_the_number_of_threads_does_not_change_a_bit(
    maps: Callable[..., Converted], name: str
) -> None:
    made = maps(name)
    single, several = (
        replace(made.backend, threads=count).load(*made.conversion.files)(PICTURE)
        for count in (1, 2)
    )
    assert all(single[output].tobytes() == several[output].tobytes() for output in single)


@both
def test_an_input_is_not_written_to(maps: Callable[..., Converted], name: str) -> None:
    given = {"x": PICTURE["x"].copy()}
    given["x"].flags.writeable = False
    maps(name).run(given)
    assert given["x"].tobytes() == PICTURE["x"].tobytes()


@both
@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "input 'x': is missing"),
        (
            {"x": PICTURE["x"].astype(np.float64)},
            "it is float64[1, 3, 16, 24]; expected float32",
        ),
        ({"x": PICTURE["x"][..., :8]}, "it is float32[1, 3, 16, 8]; expected float32[1,"),
        ({"x": PICTURE["x"][0]}, "it is float32[3, 16, 24]; expected float32[1,"),
    ],
)
def test_a_wrong_input_is_refused(
    maps: Callable[..., Converted], name: str, inputs: Arrays, words: str
) -> None:
    with pytest.raises(RunError) as caught:
        maps(name).run(inputs)
    assert words in str(caught.value)


@both
def test_odd_names_are_kept(name: str, tmp_path: Path) -> None:
    odd = converted(net(ODD_NAMES, tmp_path / "odd.onnx"), name)
    inputs = drawn((1, 3, 8, 8), (1, 3, 8, 8), names=("in put/0", "1"))
    inputs["1"] *= 3
    assert max(odd.differences(inputs).values()) < 1e-6
    if name == "ncnn":
        words = odd.conversion.files[0].read_text().split()
        assert "maps.0" in words
        assert "a/b:" not in words


@both
def test_free_sizes_and_a_free_batch_run_at_other_sizes(name: str, tmp_path: Path) -> None:
    free = converted(net(FREE, tmp_path / "free.onnx"), name)
    for shape in ((1, 3, 8, 8), (3, 3, 40, 24)):
        assert max(free.differences(drawn(shape)).values()) < 1e-6


@both
def test_a_batch_of_two_runs(name: str, tmp_path: Path) -> None:
    two = converted(net(TWO, tmp_path / "two.onnx"), name)
    assert max(two.differences(drawn((2, 3, 8, 8))).values()) < 1e-6


@both
@pytest.mark.parametrize("size", [None, 0])
def test_weights_in_a_file_of_any_name_are_read(
    name: str, size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size is not None and name == "ncnn":
        # Of a large model the copy for pnnx has its weights beside it, too.
        monkeypatch.setattr("partition_core.backends.ncnn.plain_copy._LARGE", size)
    wide = "net (float[1, 3, 8, 8] x) => (float[1, 64, 6, 6] y) { y = Conv (x, u) }"
    weights = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype(np.float32)
    model = onnx.load(net(wide, tmp_path / "wide.onnx", {"u": weights}))
    onnx.save(model, tmp_path / "wide.onnx", save_as_external_data=True, location="w e.bin")
    assert (tmp_path / "w e.bin").stat().st_size == weights.nbytes
    outside = converted(tmp_path / "wide.onnx", name)
    assert max(outside.differences(drawn((1, 3, 8, 8))).values()) < 1e-6


@both
def test_a_mark_that_was_left_in_is_refused(name: str, tmp_path: Path) -> None:
    text = """
    net (float[1, 3, 8, 8] x) => (float[1, 4, 6, 6] y) {
        k = Conv (x, w)
        y = partition.Mark <name = "k"> (k)
    }
    """
    assert refusal(net(text, tmp_path / "marked.onnx"), name) == (
        "segment 'marked.onnx': it holds 1 Mark node, the first with the output 'y'; expected a "
        "segment, which has none; cut it out of its model"
    )


@both
def test_what_is_no_tensor_and_what_has_no_rank_is_refused(name: str, tmp_path: Path) -> None:
    text = "net (float[2] x) => (seq(float[2]) s, float y) { s = SequenceConstruct (x) y = F(x) }"
    model = onnx.load(net(text, tmp_path / "odd.onnx"))
    model.graph.output[1].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "odd.onnx")
    first, second = refusal(tmp_path / "odd.onnx", name).splitlines()
    assert first == "segment 'odd.onnx': its output 's' is a seq(float32); expected a tensor"
    assert second.startswith("segment 'odd.onnx': its output 'y' has no rank; ")


@both
def test_what_is_no_onnx_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    assert refusal(tmp_path / "text.onnx", name).startswith("text.onnx: it is not an ONNX file")


@both
def test_files_that_do_not_load_are_refused(
    maps: Callable[..., Converted], name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / file.name for file in maps(name).conversion.files]
    for file in files:
        file.write_text("no model")
    with pytest.raises(RunError, match="cannot"):
        maps(name).backend.load(*files)
    capfd.readouterr()


@ncnn
def test_an_onnx_file_is_no_file_of_ncnn(name: str, maps: Callable[..., Converted]) -> None:
    with pytest.raises(RunError) as caught:
        backend(name).load(maps(name).model)
    assert str(caught.value) == (
        "ncnn: it cannot load maps.onnx; expected the files of a conversion: '.param', '.bin' and "
        "'.json'"
    )


POLICY = (
    "expected a segment that ncnn runs as a whole; `partition: {type: no_postprocess}`, or "
    "`backbone_head` of two stages, cuts in front of them"
)


@ncnn
@pytest.mark.parametrize(
    ("operators", "text", "constants"),
    [
        (
            "NonMaxSuppression (1)",
            "net (float[1, 9, 4] b, float[1, 2, 9] s) => (float[1, 9, 4] c, int64[n, 3] k) "
            "{ k = NonMaxSuppression (b, s, most) c = Exp (b) }",
            {"most": np.array([5])},
        ),
        (
            "GatherND (2)",
            "net (float[1, 9, 4] b) => (float[1, 3, 4] k, float[1, 3, 4] m) "
            "{ k = GatherND <batch_dims = 1> (b, i) c = Exp (b) "
            "m = GatherND <batch_dims = 1> (c, i) }",
            {"i": np.array([[[0], [1], [2]]])},
        ),
        (
            "NonZero (1), Tensor.to (1)",
            "net (float[1, 9] b) => (float[2, n] f) { k = NonZero (b) f = Cast <to = 1> (k) }",
            {},
        ),
    ],
)
def test_what_pnnx_leaves_out_is_refused_with_the_policy_to_take(
    name: str, operators: str, text: str, constants: Arrays, tmp_path: Path
) -> None:
    assert refusal(net(text, tmp_path / "whole.onnx", constants), name) == (
        f"segment 'whole.onnx': pnnx leaves out {operators}, which it cannot convert; {POLICY}"
    )


@ncnn
def test_slices_with_a_stride_run_though_ncnn_has_none(name: str, tmp_path: Path) -> None:
    text = """
    net (float[1, 3, 9, 8] x) => (float[1, 6, 4, 3] y) <float[1, 3, 4, 8] a, float[1, 3, 4, 3] b,
        float[1, 3, 9, 3] c, float[1, 3, 4, 3] d> {
        a = Slice (x, one, most, rows, two)
        b = Slice (a, zero, most, columns, three)
        c = Slice (x, zero, most, columns, three)
        d = Slice (c, zero, eight, rows, two)
        y = Concat <axis = 1> (b, d)
    }
    """
    numbers = {"zero": 0, "one": 1, "two": 2, "three": 3, "eight": 8, "rows": -2, "columns": 3}
    constants = {each: np.array([number]) for each, number in numbers.items()}
    constants["most"] = np.array([2**63 - 1])
    focus = converted(net(text, tmp_path / "focus.onnx", constants), name)
    assert focus.differences(drawn((1, 3, 9, 8))) == {"y": 0}


@ncnn
def test_a_group_norm_of_older_opsets_runs_in_ncnn(name: str, tmp_path: Path) -> None:
    text = """
    net (float[2, 8, 4, 6] x) => (float[2, 8, 4, 6] y) {
        groups = Reshape (x, three)
        normed = InstanceNormalization <epsilon = 0.00001> (groups, ones, zeros)
        whole = Reshape (normed, four)
        scaled = Mul (whole, scale)
        y = Add (scaled, shift)
    }
    """
    draw = np.random.default_rng(0).normal
    constants = {
        "three": np.array([0, 2, 96]),
        "four": np.array([2, 8, 4, 6]),
        "ones": np.ones(2, np.float32),
        "zeros": np.zeros(2, np.float32),
        "scale": draw(size=(8, 1, 1)).astype(np.float32),
        "shift": draw(size=(8, 1, 1)).astype(np.float32),
    }
    norm = converted(net(text, tmp_path / "norm.onnx", constants), name)
    assert max(norm.differences(drawn((2, 8, 4, 6))).values()) < 1e-6
    assert "GroupNorm" in norm.conversion.files[0].read_text().split()


@ncnn
def test_ends_that_ncnn_lacks_are_refused_by_name(name: str, tmp_path: Path) -> None:
    text = """
    net (float[2, 3] x, float s, int64[2] i, bool[2] q, float16[2] h) => (float[2, 3] y,
        float[2, 3] x, float[2, 3] same, float[2, 3] z) {
        y = Identity (x)
        z = Exp (x)
        same = Identity (z)
    }
    """
    lines = refusal(net(text, tmp_path / "ends.onnx"), name).splitlines()
    assert [line.removeprefix("segment 'ends.onnx': ") for line in lines] == [
        "its input 's' is a scalar, which ncnn lacks",
        "its input 'q' is bool[2]; expected float32 or int32 or int64 for ncnn",
        "its input 'h' is float16[2]; expected float32 or int32 or int64 for ncnn",
        "its output 'y' is an input as well, which pnnx cannot convert; leave it out of the "
        "segment's ends",
        "its output 'x' is an input as well, which pnnx cannot convert; leave it out of the "
        "segment's ends",
        "its output 'z' is another output as well, which pnnx cannot convert; leave it out of the "
        "segment's ends",
    ]


@ncnn
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "net (int64[1, 3] i) => (float[1, 3, 4] y) { k = Add (i, i) y = Gather (table, k) }",
            "its input 'i' has integers, and a layer BinaryOp reads their bits as a float's",
        ),
        (
            "net (float[2, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = ReduceMean (x, axis) }",
            "output 'y': it is float32[2, 3, 8, 8]; expected float32[1, 3, 8, 8]",
        ),
        (
            "net (float[1, 2, 3, 4, 5] x) => (float[1, 4, 2, 3, 5] y) "
            "{ y = Transpose <perm = [0, 3, 1, 2, 4]> (x) }",
            "pnnx cannot convert it and says: permute 5-rank tensor is not supported yet!",
        ),
    ],
)
def test_what_would_be_silently_wrong_in_ncnn_is_refused(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    model = net(text, tmp_path / "wrong.onnx", {"axis": np.array([0]), "table": TABLE})
    assert words in refusal(model, name)


@ncnn
def test_integers_are_indexes(name: str, tmp_path: Path) -> None:
    text = "net (int64[1, 3] i) => (float[1, 3, 4] y) { y = Gather (table, i) }"
    rows = converted(net(text, tmp_path / "rows.onnx", {"table": TABLE}), name)
    assert max(rows.differences({"i": np.array([[7, 0, 19]])}).values()) == 0


def fake(folder: Path, script: str) -> Ncnn:
    """Return ncnn with another program in pnnx's place."""
    program = folder / "pnnx"
    program.write_text(f"#!{sys.executable}\nimport os, pathlib, sys\n{script}\n")
    program.chmod(0o755)
    return Ncnn(program=program)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("os.kill(os.getpid(), 9)", "pnnx was killed by SIGKILL; it printed nothing"),
        (
            "print('\\x1b[31mout of memory\\x1b[m'); sys.exit(7)",
            "pnnx failed with exit status 7; it printed: out of memory",
        ),
        (
            "print('done')",
            "pnnx ended without an error and did not write model.ncnn.param and model.ncnn.bin and "
            "model_ncnn.py",
        ),
    ],
)
def test_a_converter_that_fails_leaves_nothing_not_even_of_an_earlier_run(
    script: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    for end in ("param", "bin", "json"):
        (tmp_path / "made" / f"maps.ncnn.{end}").write_text("of an earlier run")
    with pytest.raises(ConversionError) as caught:
        fake(tmp_path, script).convert(net(MAPS, tmp_path / "maps.onnx"), tmp_path / "made")
    assert str(caught.value) == f"segment 'maps.onnx': {words}"
    assert list((tmp_path / "made").iterdir()) == []


@ncnn
def test_outputs_that_a_converter_swaps_differ_by_name(name: str, tmp_path: Path) -> None:
    program = Ncnn().converter()
    script = (
        f"import subprocess; subprocess.run([{str(program)!r}, *sys.argv[1:]], check=True)\n"
        "param = pathlib.Path('model.ncnn.param'); text = param.read_text()\n"
        "text = text.replace(' out0 ', ' swap ').replace(' out1 ', ' out0 ')\n"
        "param.write_text(text.replace(' swap ', ' out1 '))"
    )
    made = fake(tmp_path, script)
    model = net(MAPS, tmp_path / "maps.onnx")
    swapped = Converted(model, made.convert(model, tmp_path), made).differences(PICTURE)
    assert swapped["a"] > 0.1
    assert swapped["b"] > 0.1
    assert swapped["c"] < 1e-6


@openvino
def test_scalars_booleans_integers_and_tensors_that_pass_through_run(
    name: str, tmp_path: Path
) -> None:
    text = """
    net (float[1, 4] x, float[1, 4] z, int64[2] k, float s, bool[3] q, float16[2] h)
        => (float[1, 4] y, float[1, 4] x, float[1, 4] "a, b", int64[2] sum, float t, bool[3] r,
            float[1, 4] same, float16[2] g) {
        y = Identity (x)
        "a, b" = Relu (z)
        same = Identity ("a, b")
        sum = Add (k, k)
        t = Exp (s)
        r = Not (q)
        g = Neg (h)
    }
    """
    kinds = converted(net(text, tmp_path / "kinds.onnx"), name)
    inputs = {
        **drawn((1, 4), (1, 4), (), names=("x", "z", "s")),
        "s": np.array(0.5, np.float32),
        "k": np.array([7, -9]),
        "q": np.array([True, False, True]),
        "h": np.array([1, 2], np.float16),
    }
    assert max(kinds.differences(inputs).values()) < 1e-6
    with pytest.raises(RunError) as caught:
        kinds.run({**inputs, "k": np.array([1 << 31, 0])})
    assert str(caught.value) == (
        "input 'k': it has values from 0 to 2147483648; OpenVINO computes with int32 on CPUs"
    )


@openvino
@pytest.mark.parametrize("inputs", ["o", "o, bias", "o, , m", "o, bias, m"])
def test_a_deformable_convolution_runs_in_openvino(name: str, inputs: str, tmp_path: Path) -> None:
    text = f"""
    net (float[2, 4, 9, 8] x, float[2, 36, 5, 4] o, float[2, 18, 5, 4] m)
        => (float[2, 6, 5, 4] y, float[2, 18, 5, 4] n) {{
        y = DeformConv <pads = [1, 1, 1, 1], strides = [2, 2], offset_group = 2>
            (x, filters, {inputs})
        n = Neg (m)
    }}
    """
    draw = np.random.default_rng(0).normal
    constants = {
        "filters": draw(size=(6, 4, 3, 3)).astype(np.float32),
        "bias": draw(size=6).astype(np.float32),
    }
    deformed = converted(net(text, tmp_path / "deformed.onnx", constants), name)
    shapes = ((2, 4, 9, 8), (2, 36, 5, 4), (2, 18, 5, 4))
    assert max(deformed.differences(drawn(*shapes, names=("x", "o", "m"))).values()) < 1e-6


@openvino
def test_an_operator_that_openvino_lacks_is_refused_by_name(name: str, tmp_path: Path) -> None:
    text = "net (float[1, 4] x) => (float[1, 4] y) { y = vendor.Magic (x) }"
    assert refusal(net(text, tmp_path / "magic.onnx"), name) == (
        "segment 'magic.onnx': OpenVINO cannot convert vendor.Magic; expected a segment that it "
        "runs as a whole; cut in front of it"
    )


@openvino
def test_a_segment_that_openvino_cannot_read_is_refused_with_its_reason(
    name: str, tmp_path: Path
) -> None:
    text = "net (float[1, 4] x) => (float[1, 4] y) { y = MatMul (x, m) }"
    model = net(text, tmp_path / "wrong.onnx", {"m": np.ones((3, 4), np.float32)})
    why = refusal(model, name)
    assert why.startswith("segment 'wrong.onnx': OpenVINO cannot read it; ")
    assert "Incompatible MatMul matrix dimension" in why
    assert ".cpp" not in why


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -9 $$", "OpenVINO was killed by SIGKILL"),
        ("exit 0", "OpenVINO ended without an error and did not write maps.xml and maps.bin"),
    ],
)
def test_openvino_that_dies_leaves_nothing_not_even_of_an_earlier_run(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("partition_core.backends.converter.sys.executable", tmp_path / "python")
    model = net(MAPS, tmp_path / "maps.onnx")
    (tmp_path / "openvino").mkdir()
    for file in FILES["openvino"]:
        (tmp_path / "openvino" / file).write_text("of an earlier run")
    with pytest.raises(ConversionError) as caught:
        backend("openvino").convert(model, tmp_path / "openvino")
    assert str(caught.value) == f"segment 'maps.onnx': {words}"
    assert list((tmp_path / "openvino").iterdir()) == []


@openvino
def test_openvino_is_imported_without_its_telemetry(name: str, tmp_path: Path) -> None:
    (tmp_path / "openvino_telemetry.py").write_text("raise SystemExit('it was imported')")
    program = "from partition_core.backends.openvino import deform_conv, session\n"
    program += "deform_conv.reader()\n"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": path})


def test_what_is_not_installed_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ncnn", "openvino"):
        monkeypatch.setattr(f"partition_core.backends.{name}.backend.find_spec", lambda _: None)
    assert backend("openvino").missing() == (
        "openvino is not installed: run `pip install 'partition-core[openvino]'`"
    )
    assert backend("ncnn").missing() == (
        "ncnn is not installed: run `pip install 'partition-core[ncnn]'`; pnnx is not installed: "
        "run `pip install --no-deps pnnx` (its dependencies, torch for CUDA, are not needed)"
    )
    assert backend("ncnn").missing(converting=False) == (
        "ncnn is not installed: run `pip install 'partition-core[ncnn]'`"
    )
    assert backend("onnxruntime").missing() == ""


def test_the_precision_is_an_entry_and_decides_the_agreement() -> None:
    for name in ("ncnn", "openvino"):
        single, half = (backend(name, precision) for precision in backend(name).precisions)
        assert set(half.entries()) - set(single.entries()) == {("precision", "float16")}
        assert single.agreement().relative_l2 < half.agreement().relative_l2
        assert single.agreement().kept > half.agreement().kept
