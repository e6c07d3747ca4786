"""A shared store that fails in every way: a miss, one warning, and the right artifacts."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from partition_core.base.disk import digest_of
from partition_core.store.entry import any_result, decode
from partition_core.store.local import LocalStore
from partition_core.store.shared import SharedStore
from partition_core.store.transports.http import HttpTransport
from tests.projects import Scratch, steps

from . import cache_server as cache
from .cache_server import CacheServer, Fault
from .shared import Shared, configure, made, warnings_in

BODY = "cut body.onnx"
ANSWERS = r"the server answers {}; continuing without it"
NO_ANSWER = r"no answer: .*; continuing without it for the rest of the build"
BROKE = r"the connection broke: .*; continuing without it"
DAMAGED = r"ac/[0-9a-f]{64} is damaged or belongs to another key; continuing without it"
OTHER_BYTES = r"'body\.onnx' does not match its entry \(cas/[0-9a-f]{64}\); continuing without it"

DRIPPING = (
    r"it sends \d+ bytes in \S+ s, less than 1000 bytes a second; continuing without it for the "
    r"rest of the build"
)

ENTRY_FAULTS: dict[str, tuple[Fault, str]] = {
    "internal error": (cache.status(500), ANSWERS.format("500 .*")),
    "unavailable": (cache.status(503), ANSWERS.format("503 .*")),
    "reset": (cache.reset, BROKE),
    "redirected in a circle": (cache.redirecting("/team/%"), ANSWERS.format("302 .*")),
    "redirected to a file": (cache.redirecting("file:///etc/hostname"), ANSWERS.format("302 .*")),
    "silent": (cache.silent, NO_ANSWER),
    "dripping": (cache.dripping, DRIPPING),
    "a head without end": (cache.dripping_heads, DRIPPING),
    "cut short": (cache.cut_short, DAMAGED),
    "flipped bit": (cache.with_a_flipped_bit, DAMAGED),
    "not JSON": (cache.instead(b"<html>welcome</html>"), DAMAGED),
    "nested without end": (cache.instead(b"[" * 200_000), DAMAGED),
    "endless": (cache.endless, r"ac/[0-9a-f]{64} is too large for an entry; continuing without it"),
}
FILE_FAULTS: dict[str, tuple[Fault, str]] = {
    "cut short": (cache.cut_short, OTHER_BYTES),
    "reset half-way": (cache.reset_half_way, BROKE),
    "flipped bit": (cache.with_a_flipped_bit, OTHER_BYTES),
    "endless": (cache.endless, OTHER_BYTES),
    "length too short": (cache.promising_too_few, OTHER_BYTES),
    "length too long": (cache.promising_too_many, NO_ANSWER),
}
MORE_FAULTS: dict[str, tuple[str, Fault, str]] = {
    "forbidden": ("ac/", cache.status(403), ANSWERS.format("403 .*")),
    "no content": ("ac/", cache.status(204), ANSWERS.format("204 instead of 200")),
    "garbage": ("ac/", cache.garbage, r"the connection broke: ÿwhat\?; continuing without it"),
    "redirected to ftp": ("ac/", cache.redirecting("ftp://host/%"), ANSWERS.format("302 .*")),
    "reset half-way": ("ac/", cache.reset_half_way, BROKE),
    "not UTF-8": ("ac/", cache.instead(b"\xff\xfe"), DAMAGED),
    "another form": ("ac/", cache.instead(b'{"result": 1, "seal": 2}'), DAMAGED),
    "no entry at all": ("ac/", cache.instead(b""), DAMAGED),
    "internal error": ("cas/", cache.status(500), ANSWERS.format("500 .*")),
    "other bytes": ("cas/", cache.instead(b"other"), OTHER_BYTES),
    "no bytes": ("cas/", cache.instead(b""), OTHER_BYTES),
    "silent": ("cas/", cache.silent, NO_ANSWER),
    "dripping": ("cas/", cache.dripping, DRIPPING),
    "an entry with a status that drips": ("ac/", cache.dripping_status, DRIPPING),
    "an entry with a chunk without end": ("ac/", cache.dripping_chunks, DRIPPING),
    "a head without end": ("cas/", cache.dripping_heads, DRIPPING),
    "a chunk without end": ("cas/", cache.dripping_chunks, DRIPPING),
}


FAULTS = {
    **{f"{kind} of the entry": ("ac/", *row) for kind, row in ENTRY_FAULTS.items()},
    **{f"{kind} of the file": ("cas/", *row) for kind, row in FILE_FAULTS.items()},
    **MORE_FAULTS,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_nothing_is_stored(
    server: CacheServer, shared: Shared, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.where, server.fault, told = FAULTS[fault]
    said: list[str] = []
    here = LocalStore(tmp_path, said.append)
    transport = HttpTransport(server.url, ("", ""), 0.4)
    store = SharedStore(transport, False, lambda line: said.append(f"WARNING: {line}"))
    key = shared.key(BODY).removeprefix("ac/")
    for _ in range(2):
        assert store.fetch(key, any_result, here) is None
    assert_warned("\n".join(said), server, told)
    assert list(here.entries()) == list(here.files()) == []


def sample(faults: Iterable[str], *few: str) -> list[Any]:
    """Return faults of which a run that is not thorough builds with a few."""
    return [pytest.param(one, marks=() if one in few else pytest.mark.thorough) for one in faults]


@pytest.mark.parametrize("fault", sample(ENTRY_FAULTS, "unavailable", "silent", "flipped bit"))
def test_a_fault_of_an_entry_is_a_miss_and_one_warning(
    lacking: Scratch, server: CacheServer, shared: Shared, fault: str
) -> None:
    server.fault, told = ENTRY_FAULTS[fault]
    output = built_without_the_server(lacking, server, shared)
    assert_warned(output, server, told)


@pytest.mark.parametrize("fault", sample(FILE_FAULTS, "cut short", "reset half-way"))
def test_a_fault_of_a_file_is_a_miss_and_one_warning(
    lacking: Scratch, server: CacheServer, shared: Shared, fault: str
) -> None:
    server.fault, told = FILE_FAULTS[fault]
    server.where = "cas/"
    output = built_without_the_server(lacking, server, shared)
    assert_warned(output, server, told)


def test_the_sealed_entry_of_another_key_is_a_miss_and_one_warning(
    lacking: Scratch, server: CacheServer, shared: Shared
) -> None:
    server.files[shared.key(BODY)] = shared.files[shared.key("cut tail.onnx")]
    assert_warned(built_without_the_server(lacking, server, shared), server, DAMAGED)


@pytest.mark.parametrize("files", [{}, {"body.onnx": None, "more": None}])
def test_a_sealed_entry_with_other_files_is_a_miss_and_one_warning(
    lacking: Scratch, server: CacheServer, shared: Shared, files: dict[str, None]
) -> None:
    stored = json.loads(shared.files[shared.key(BODY)])["result"]["files"]["body.onnx"]
    forge(server, shared, dict.fromkeys(files, stored))
    assert_warned(built_without_the_server(lacking, server, shared), server, DAMAGED)


def test_a_sealed_entry_with_a_wrong_size_is_a_miss_and_one_warning(
    lacking: Scratch, server: CacheServer, shared: Shared
) -> None:
    digest, size = json.loads(shared.files[shared.key(BODY)])["result"]["files"]["body.onnx"]
    forge(server, shared, {"body.onnx": [digest, size - 1]})
    assert_warned(built_without_the_server(lacking, server, shared), server, OTHER_BYTES)


@pytest.mark.parametrize("lost", ["the entry", "the file", "a digest of nothing"])
def test_what_the_server_does_not_have_is_a_miss_without_a_warning(
    lacking: Scratch, server: CacheServer, shared: Shared, lost: str
) -> None:
    if lost == "a digest of nothing":
        forge(server, shared, {"body.onnx": ["0" * 64, 10]})
    else:
        name = shared.key(BODY) if lost == "the entry" else shared.file(BODY, "body.onnx")
        del server.files[name]
    assert warnings_in(built_without_the_server(lacking, server, shared)) == []


def test_a_server_that_is_not_there_is_one_warning(lacking: Scratch, shared: Shared) -> None:
    with cache.serving(CacheServer()) as gone:
        place = gone.url
    configure(lacking, place, "remote_write = true\n")
    output = lacking.built()
    assert steps(output) == [BODY]
    assert lacking.artifacts() == shared.artifacts
    (warning,) = warnings_in(output)
    assert warning == (
        f"WARNING: shared store '{place}': no answer: Connection refused; continuing without it "
        "for the rest of the build"
    )


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_fault_of_the_whole_server_is_told_once_for_all_steps(
    lacking: Scratch, server: CacheServer, shared: Shared, processes: str
) -> None:
    for kept in ("cut tail.onnx", "prove"):
        kind, key = shared.key(kept).split("/")
        (lacking.store / "v1" / kind / key[:2] / key).unlink()
    server.fault = cache.status(503)
    output = lacking.built("-n", processes, "build")
    assert steps(output) == [BODY, "cut tail.onnx", "prove"]
    assert lacking.artifacts() == shared.artifacts
    assert_warned(output, server, ANSWERS.format("503 .*"))


def test_a_server_that_refuses_what_is_sent_is_one_warning(
    lacking: Scratch, server: CacheServer, shared: Shared
) -> None:
    del server.files[shared.key(BODY)]
    server.credentials = "Bearer of writers"
    configure(lacking, server.url, "remote_write = true\n")
    output = lacking.built()
    assert steps(output) == [BODY]
    assert lacking.artifacts() == shared.artifacts
    assert_warned(output, server, ANSWERS.format("401 .*"))


def built_without_the_server(project: Scratch, server: CacheServer, shared: Shared) -> str:
    """Build; what was missing must have been made here, and nothing wrong be kept anywhere."""
    project.environment["PARTITION_CORE_REMOTE_TIMEOUT"] = "0.4"
    output = project.built()
    assert steps(output) == [BODY]
    assert made(project) == 0
    assert project.artifacts() == shared.artifacts
    assert_sound(project.store)
    assert server.moved("GET", "ac") == {shared.key(BODY).removeprefix("ac/")}
    assert [one for one in server.seen if one.startswith("PUT")] == []
    return output


def assert_warned(output: str, server: CacheServer, told: str) -> None:
    (warning,) = warnings_in(output)
    assert re.fullmatch(rf"WARNING: shared store '{re.escape(server.url)}': {told}.*", warning), (
        warning
    )


def assert_sound(store: Path) -> None:
    """Assert that the store holds no byte that is not what its name says."""
    layout = store / "v1"
    for path in layout.glob("cas/??/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for path in layout.glob("ac/??/*"):
        assert decode(path.name, path.read_bytes()) is not None
    assert list(layout.glob("work/*")) == []


def forge(server: CacheServer, shared: Shared, files: dict[str, list[object]]) -> None:
    """Put an entry with other files, rightly sealed, in place of that of the segment."""
    name = shared.key(BODY)
    body = json.loads(shared.files[name])["result"] | {"files": files}
    seal = digest_of(json.dumps([name.removeprefix("ac/"), body], sort_keys=True).encode())
    server.files[name] = json.dumps({"result": body, "seal": seal}).encode()


def test_a_redirect_on_the_same_server_is_followed(
    lacking: Scratch, server: CacheServer, shared: Shared
) -> None:
    server.fault = cache.redirecting("/team/elsewhere/%")
    output = lacking.built()
    assert steps(output) == []
    assert warnings_in(output) == []
    assert lacking.artifacts() == shared.artifacts


def test_a_connection_that_broke_once_is_tried_again(
    lacking: Scratch, server: CacheServer, shared: Shared
) -> None:
    broken: list[str] = []

    def once(answer: cache.Answer, content: bytes) -> None:
        if broken:
            answer.answer(200, content)
        else:
            broken.append(answer.path)
            cache.reset(answer, content)

    server.fault = once
    output = lacking.built()
    assert steps(output) == []
    assert warnings_in(output) == []
    assert broken


def test_a_build_with_no_store_at_all_exports_after_one_warning(
    colleague: Scratch, server: CacheServer, shared: Shared
) -> None:
    server.fault = cache.status(500)
    colleague.store.mkdir()
    shutil.rmtree(colleague.store)
    output = colleague.built()
    assert made(colleague) == 1
    assert colleague.artifacts() == shared.artifacts
    assert_warned(output, server, ANSWERS.format("500 .*"))
