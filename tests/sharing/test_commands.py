"""`doit push` and `doit pull`: one recipe's results, or only some of its artifacts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from partition_core.base.errors import BuildError
from partition_core.build import settings
from partition_core.store.transports.by_url import transport_of
from tests.projects import ROOT, Scratch

from .cache_server import CacheServer, serving, status, with_a_flipped_bit
from .shared import Shared, configure, made, project_in


def test_what_is_pushed_is_pulled_elsewhere(
    colleague: Scratch, shared: Shared, tmp_path: Path
) -> None:
    shutil.copytree(shared.store, colleague.store)
    with serving(CacheServer()) as empty:
        configure(colleague, empty.url)  # without `remote_write`: it is asked for
        assert colleague.built("push", "recipe=tiny").splitlines() == [
            "tiny: export: sent end2end.onnx, recording.npz",
            "tiny: cut body.onnx: sent body.onnx",
            "tiny: cut tail.onnx: sent tail.onnx",
            "tiny: prove: sent proof.json",
        ]
        assert empty.files == shared.files
        assert colleague.built("push", "recipe=tiny").count(": already there") == 4
        other = project_in(tmp_path / "other")
        configure(other, empty.url)
        assert other.built("pull", "recipe=tiny").splitlines() == [
            "tiny: export: got end2end.onnx, recording.npz",
            "tiny: cut body.onnx: got body.onnx",
            "tiny: cut tail.onnx: got tail.onnx",
            "tiny: prove: got proof.json",
            "tiny: end2end.onnx, body.onnx, tail.onnx, manifest.json in build/tiny",
        ]
        assert other.artifacts() == shared.artifacts
        assert other.built() == "tiny: up to date (4 artifacts in build/tiny)\n"
        assert made(other) == 0


def test_one_segment_is_pulled_without_the_rest(
    colleague: Scratch, server: CacheServer, shared: Shared
) -> None:
    output = colleague.built("pull", "recipe=tiny", "artifact=tail.onnx")
    assert output.splitlines() == [
        "tiny: cut tail.onnx: got tail.onnx",
        "tiny: tail.onnx in build/tiny",
    ]
    assert server.moved("GET") == {shared.file("cut tail.onnx", "tail.onnx").removeprefix("cas/")}
    assert colleague.artifacts() == {"tail.onnx": shared.artifacts["tail.onnx"]}
    server.seen.clear()
    colleague.built("build", "recipe=tiny")
    assert len(server.moved("GET")) == 4
    assert colleague.artifacts() == shared.artifacts
    assert made(colleague) == 0


def test_one_segment_is_pushed_without_the_rest(colleague: Scratch, shared: Shared) -> None:
    shutil.copytree(shared.store, colleague.store)
    with serving(CacheServer()) as empty:
        configure(colleague, empty.url)
        output = colleague.built("push", "recipe=tiny", "artifact=tail.onnx")
        assert output == "tiny: cut tail.onnx: sent tail.onnx\n"
        assert {name for name in empty.files if name.startswith("cas/")} == {
            shared.file("cut tail.onnx", "tail.onnx")
        }
        shutil.rmtree(colleague.store)
        colleague.built("pull", "recipe=tiny", "artifact=tail.onnx")
        assert colleague.artifacts()["tail.onnx"] == shared.artifacts["tail.onnx"]
        run = colleague.doit("pull", "recipe=tiny")
        assert run.returncode != 0
        assert (
            f"shared store '{empty.url}': it has no 'end2end.onnx' for the local state of recipe"
            in run.stdout
        )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["pull", "recipe=tiny", "artifact=tial.onnx"],
            "artifact=tial.onnx: recipe 'tiny' has no artifact 'tial.onnx'; expected one of "
            "'body.onnx', 'end2end.onnx', 'manifest.json', 'tail.onnx'; "
            "did you mean 'tail.onnx'?",
        ),
        (
            ["push", "recipe=tiny"],
            "recipes/tiny.yaml: not all of its results are in this machine's store; "
            "expected a built recipe; run `doit build recipe=tiny`",
        ),
        (
            ["build", "recipe=tiny", "artifact=tail.onnx"],
            "artifact=tail.onnx: a build always makes all artifacts of a recipe; "
            "expected this variable with `doit push` or `doit pull`",
        ),
        (
            ["pull", "recipe=tiny", "artefact=tail.onnx"],
            "artefact=tail.onnx: unknown variable 'artefact'; "
            "expected one of 'artifact', 'recipe'; did you mean 'artifact'?",
        ),
    ],
)
def test_a_mistake_is_told_and_moves_nothing(
    colleague: Scratch, server: CacheServer, arguments: list[str], told: str
) -> None:
    assert_refused(colleague, arguments, told)
    assert not (colleague.folder / "build" / "tiny").exists()
    assert server.moved("GET") == server.moved("PUT") == set()


@pytest.mark.parametrize(
    ("remote", "told"),
    [
        (
            "",
            "partition.toml: there is no shared store; expected a line such as "
            '`remote = "https://host/path"`; write it, or set the variable PARTITION_CORE_REMOTE',
        ),
        (
            "htps://host/path",
            "remote: there is no shared store at 'htps://'; expected one of 'file', 'gs', 'http', "
            "'https', 's3', or a folder; did you mean 'https'?",
        ),
        (
            "http://host/path?key=1",
            "remote: 'http://host/path' is not the URL of a store; expected scheme://host/path",
        ),
    ],
)
def test_a_remote_that_cannot_be_used_is_told(colleague: Scratch, remote: str, told: str) -> None:
    configure(colleague, remote)
    assert_refused(colleague, ["pull", "recipe=tiny"], told)


def test_a_pull_that_fails_says_so_and_publishes_nothing(
    colleague: Scratch, server: CacheServer
) -> None:
    server.fault = status(503)
    place = f"shared store '{server.url}'"
    assert_refused(colleague, ["pull"], f"{place}: the server answers 503 Service Unavailable")
    server.fault, server.where = with_a_flipped_bit, "cas/"
    run = colleague.doit("pull", "recipe=tiny")
    assert run.returncode != 0
    assert f"ERROR: {place}: 'end2end.onnx' does not match its entry (cas/" in run.stdout
    assert not (colleague.folder / "build" / "tiny").exists()


def test_the_lines_and_commands_of_the_readme_work(
    colleague: Scratch, server: CacheServer, shared: Shared
) -> None:
    readme = (ROOT / "README.md").read_text()
    (lines,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    (place,) = re.findall(r'"(https://.*)"', lines)
    colleague.write("partition.toml", lines.replace(place, server.url))
    commands = re.findall(r"\| `doit ((?:push|pull)[^`]*)` \|", readme)
    assert len(commands) == 3
    for command in sorted(commands):  # pushed after it was pulled
        mine = command.replace("yolov3", "tiny").replace("postprocess", "tail")
        colleague.built(*mine.split())
    assert colleague.artifacts() == shared.artifacts
    variables = {value for name, value in vars(settings).items() if name.endswith("_VARIABLE")}
    assert set(re.findall(r"PARTITION_CORE_\w+", readme)) == variables


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_package_that_is_missing_is_told(
    scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BuildError) as told:
        transport_of(f"{scheme}://bucket/folder", Path())
    assert str(told.value) == (
        f"remote: a shared store at '{scheme}://' needs the package '{package}'; "
        f"install it with `pip install 'partition-core[{scheme}]'`"
    )


def test_the_commands_are_not_part_of_a_build(colleague: Scratch) -> None:
    tasks = colleague.built("list", "--all", "--deps").splitlines()
    assert {"push", "pull"} <= {line.split()[0] for line in tasks if line[:1].strip()}
    assert not [line for line in tasks if line.strip().startswith("-  pu")]


def assert_refused(project: Scratch, arguments: list[str], told: str) -> None:
    run = project.doit(*arguments)
    assert run.returncode != 0
    assert run.stdout.splitlines()[0] == f"ERROR: {told}"
    assert "Traceback" not in run.stdout
