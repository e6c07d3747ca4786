"""Commands on the projects of a user who has ONNX files: output that nobody reads, mistakes."""

from __future__ import annotations

import subprocess

import onnx
import pytest

from partition_core.build.run import Run

from .projects import LINE, TWO, Project, with_two_recipes


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = with_two_recipes(tmp_path_factory.mktemp("commands"))
    project.built()
    return project


@pytest.mark.parametrize(
    "command",
    [
        "build",
        "-n 2 build",
        "build --dry-run",
        "list --all",
        "info build:one:neck.onnx",
        "store",
        "verify",
        "suggest recipe=one",
        "origin build/one/neck.onnx",
    ],
)
@pytest.mark.parametrize("read", [0, 1])
def test_output_that_nobody_reads_ends_a_command_quietly(
    built: Project, command: str, read: int
) -> None:
    with subprocess.Popen(
        built.command(*command.split()),
        cwd=built.folder,
        env=built.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        if read:
            process.stdout.readline()
        process.stdout.close()
        complaints = process.stderr.read()
    assert complaints == b""
    # With a line read, all may have been written by then.
    assert process.returncode in ((0, 141) if read else (141,))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "-n -1 build",
            "-n -1: not a number of processes; expected 0 or the number of processes that build in "
            "parallel",
        ),
        (
            "origin",
            "doit origin: no file is given; expected one or more, such as `doit origin "
            "build/yolov3/yolov3.onnx`",
        ),
        (
            "suggest recipe=one parts=x",
            "parts=x: is not a valid number; expected a whole number from 2 to 8",
        ),
    ],
)
def test_what_a_command_cannot_do_is_told_in_one_line(
    built: Project, command: str, told: str
) -> None:
    run = built.doit(*command.split())
    assert run.returncode != 0
    assert run.stdout == f"ERROR: {told}\n"


ODD = """
<ir_version: 10, opset_import: ["": 20]>
g (float[1,8] x, float[1,8] z) => (float[1,8] y, float[1,8] late) {
  [a] a = Relu(x)
  [b] "n o/p: #é" = Neg(a)
  [c] y = Abs("n o/p: #é")
  [d] d = Add(y, z)
  [e] e = Mul(d, a)
  [f] late = Sub(e, x)
}
"""


def odd() -> onnx.ModelProto:
    """Return a net with an output that is read again, inputs that skip, and a strange name."""
    file = onnx.parser.parse_model(ODD.replace('"n o/p: #é"', "strange"))
    for node in file.graph.node:
        for names in (node.input, node.output):
            names[:] = ["n o/p: #é" if name == "strange" else name for name in names]
    return file


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("source", ["a plain file", "a marked recipe", "a strange file"])
def test_advice_on_a_file_ends_in_yaml_that_builds(
    project: Project, monkeypatch: pytest.MonkeyPatch, source: str, parts: int
) -> None:
    monkeypatch.setenv("PARTITION_CORE_REPORT", "0")
    if source == "a strange file":
        project.save(odd())
        project.recipe(LINE.replace("[conv_1]", "[a]").replace("{node: /neck/Relu}", "'n o/p: #é'"))
    else:
        project.recipe(TWO if source == "a marked recipe" else LINE)
    (build,) = Run(project.folder, ["x"]).builds
    build.carry_out("export", lambda _: None)
    for number in (None, "1"):
        told: list[str] = []
        wishes = {"parts": str(parts), "max_bytes": "1MB"} | ({"cut": number} if number else {})
        lines = list(build.advice(wishes, told.append))
        assert [line for line in told if line.endswith("…")] == [
            "x: suggest: measure the model …",
            "x: suggest: search the cuts …",
        ]
        assert f" into {parts} parts with max_bytes=1MB that no other cut" in lines[0]
        assert not [line for line in lines if "No mark can name" in line]
        yaml = "\n".join(lines[lines.index("marks:") :])
        project.recipe(f"model: {{source: onnx, path: detector.onnx}}\n{yaml}\n", "pasted")
        made = project.make("pasted")
        assert len(made) == parts + 1
        nodes = sum(len(made[f"part{number}.onnx"].graph.node) for number in range(parts))
        file = onnx.load(project.folder / "detector.onnx")
        assert nodes == len(file.graph.node)  # each in one part
        _, proof = project.proven("pasted")
        assert proof["given_by_end2end"] == []
