"""How a checkpoint comes from the network: resumed, verified, once; or not at all, and told."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from partition_core.base.errors import BuildError
from partition_core.build.project import Project
from partition_core.build.recipes import Recipes
from partition_core.build.step import job_of
from partition_core.sources import fetching
from partition_core.sources.fetching import pinned_file
from tests.projects import Scratch

from .file_server import FileServer, serving
from .recipes import load_from, sha256

CONTENT = random.Random(0).randbytes(3 << 20)
OTHER = random.Random(1).randbytes(3 << 20)
DIGEST = sha256(CONTENT)


@pytest.fixture
def project(fresh: Scratch, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    """A project whose recipe pins the content of the server."""
    monkeypatch.setenv("PARTITION_CORE_STORE", str(fresh.store))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.content = CONTENT
    load_from(fresh, server.url(), DIGEST)
    return fresh


def fetched(project: Scratch, recipe: str = "tiny") -> bytes:
    """Return the bytes of the recipe's checkpoint, whose digest must be told."""
    here = Project.at(project.folder)
    found = pinned_file(job_of(here, Recipes(here).open(recipe)))
    assert found is not None
    path, digest = found
    content = path.read_bytes()
    assert sha256(content) == digest
    return content


def kept(project: Scratch) -> dict[str, bytes]:
    """Return the checkpoints, and parts of them, in the store."""
    folder = project.store / "v1" / "checkpoints"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("pinned", [DIGEST, DIGEST[:8], DIGEST[:8].upper()])
def test_a_checkpoint_is_fetched_once_and_kept(
    project: Scratch, server: FileServer, pinned: str
) -> None:
    load_from(project, server.url(), pinned)
    assert fetched(project) == CONTENT
    assert fetched(project) == CONTENT
    assert server.ranges == [None]
    assert list(kept(project).values()) == [CONTENT]


def test_a_download_goes_on_where_it_was_cut_off(project: Scratch, server: FileServer) -> None:
    server.cuts = [1_000_000]
    with pytest.raises(BuildError) as told:
        fetched(project)
    assert str(told.value) == (
        f"recipes/tiny.yaml:6: model.weights.checkpoint: '{server.url()}' cannot be fetched: "
        f"the connection ended after 1000000 of {len(CONTENT)} bytes; expected a server that "
        "has the checkpoint; run the command again to resume the download, "
        "or put the file here and name its path"
    )
    assert list(kept(project).values()) == [CONTENT[:1_000_000]]
    assert fetched(project) == CONTENT
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_server_that_trickles_is_one_that_fails(
    project: Scratch, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_TIMEOUT", 0.4)
    server.drips = True
    with pytest.raises(BuildError, match=r"fetched: it sends .*, less than 1000 bytes"):
        fetched(project)
    (part,) = kept(project).values()
    assert part
    assert CONTENT.startswith(part)
    server.drips = False
    assert fetched(project) == CONTENT
    assert server.ranges == [None, f"bytes={len(part)}-"]


def test_a_server_without_ranges_sends_it_all_again(project: Scratch, server: FileServer) -> None:
    server.cuts = [1_000_000]
    server.knows_ranges = False
    with pytest.raises(BuildError):
        fetched(project)
    assert fetched(project) == CONTENT
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_part_that_is_whole_is_taken(project: Scratch, server: FileServer) -> None:
    server.cuts = [1_000_000]
    with pytest.raises(BuildError):
        fetched(project)
    (name,) = kept(project)
    (project.store / "v1" / "checkpoints" / name).write_bytes(CONTENT)
    assert fetched(project) == CONTENT  # the server answers 416
    assert server.ranges == [None, f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("size", [1_000_000, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_another_file_is_fetched_anew(
    project: Scratch, server: FileServer, size: int
) -> None:
    server.cuts = [1_000_000]
    with pytest.raises(BuildError):
        fetched(project)
    (name,) = kept(project)
    (project.store / "v1" / "checkpoints" / name).write_bytes((OTHER * 2)[:size])
    assert fetched(project) == CONTENT
    assert server.ranges == [None, f"bytes={size}-", None]


@pytest.mark.parametrize("length", [8, 64])
def test_another_file_than_the_pinned_one_is_refused(
    project: Scratch, server: FileServer, length: int
) -> None:
    load_from(project, server.url(), DIGEST[:length])
    server.content = OTHER
    with pytest.raises(BuildError) as told:
        fetched(project)
    assert str(told.value) == (
        "recipes/tiny.yaml:6: model.weights.sha256: "
        f"the checkpoint's SHA-256 is '{sha256(OTHER)}'; "
        f"the recipe expects one that starts with '{DIGEST[:length]}'; "
        "check where the checkpoint comes from before you change the recipe"
    )
    assert kept(project) == {}


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "Not Found"), (403, "Forbidden"), (503, "Service Unavailable")]
)
def test_a_server_that_refuses_is_told(
    project: Scratch, server: FileServer, status: int, reason: str
) -> None:
    server.status = status
    with pytest.raises(BuildError, match=f"the server answers {status} {reason}; expected"):
        fetched(project)
    assert kept(project) == {}


def test_a_damaged_copy_is_fetched_anew(
    project: Scratch, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched(project)
    (name,) = kept(project)
    (project.store / "v1" / "checkpoints" / name).write_bytes(OTHER)
    assert fetched(project) == CONTENT
    assert server.ranges == [None, None]
    assert capsys.readouterr().err == (
        f"WARNING: the copy of checkpoint '{server.url()}' is damaged; fetching it again\n"
    )


def test_two_recipes_at_once_fetch_it_once(project: Scratch, server: FileServer) -> None:
    text = (project.folder / "recipes" / "tiny.yaml").read_text()
    project.write("recipes/twin.yaml", text)
    server.waits_after = 1_000_000
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda name=name: found.append(fetched(project, name)))
        for name in ("tiny", "twin")
    ]
    for thread in threads:
        thread.start()
    server.go_on.wait(0.5)  # both have begun by now, or the test asks less
    server.go_on.set()
    for thread in threads:
        thread.join()
    assert found == [CONTENT, CONTENT]
    assert server.ranges == [None]


def test_a_killed_build_leaves_a_part_and_the_next_one_goes_on(
    project: Scratch, server: FileServer
) -> None:
    server.waits_after = 2 << 20
    with subprocess.Popen(
        project.command("build"),
        cwd=project.folder,
        env=project.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        folder = project.store / "v1" / "checkpoints"
        while run.poll() is None and sum(p.stat().st_size for p in folder.glob("*")) < 1 << 20:
            server.go_on.wait(0.05)
        os.kill(run.pid, signal.SIGKILL)
    ((name, part),) = kept(project).items()
    assert name.endswith(".part")
    assert CONTENT.startswith(part)
    assert 0 < len(part) < len(CONTENT)
    server.waits_after = None
    assert fetched(project) == CONTENT
    assert server.ranges == [None, f"bytes={len(part)}-"]


def test_a_server_that_is_not_there_is_one_clear_error(fresh: Scratch) -> None:
    with serving(FileServer()) as gone:
        url = gone.url()
    load_from(fresh, url, DIGEST)
    run = fresh.doit("build", "recipe=tiny")
    assert run.returncode != 0
    assert run.stdout.splitlines()[0] == (
        f"ERROR: recipes/tiny.yaml:6: model.weights.checkpoint: '{url}' cannot be fetched: "
        "Connection refused; expected a server that has the checkpoint; "
        "run the command again to resume the download, "
        "or put the file here and name its path"
    )
    assert "Traceback" not in run.stdout
    assert not (fresh.folder / "build" / "tiny").exists()


def test_a_checkpoint_without_a_digest_is_a_mistake_of_the_recipe(fresh: Scratch) -> None:
    fresh.edit("recipes/tiny.yaml", "{seed: 0}", "{checkpoint: 'model.pth'}")
    run = fresh.doit("build", "recipe=tiny")
    assert run.returncode != 0
    assert run.stdout == (
        "ERROR: recipes/tiny.yaml:6: model.weights.checkpoint: the key 'checkpoint' needs the "
        "key 'sha256' beside it; expected 8 to 64 hex digits\n"
    )


def test_a_path_that_leads_nowhere_is_told_before_anything_is_done(fresh: Scratch) -> None:
    load_from(fresh, Path("weights/model.pth"), DIGEST)
    run = fresh.doit("build", "recipe=tiny")
    assert run.returncode != 0
    assert run.stdout == (
        "ERROR: recipes/tiny.yaml:6: model.weights.checkpoint: there is no file "
        "'weights/model.pth'; the folder 'weights' does not exist either\n"
    )
