"""What one seed does with what a store, another machine or an earlier run says."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from partition_core.base.disk import digest_of
from partition_core.build import store_commands as building_upkeep
from partition_core.build.project import Project
from partition_core.build.publish import publish
from partition_core.build.run import Run
from partition_core.chain.manifest import read_manifest
from partition_core.cli.doit_database import Database
from partition_core.store import upkeep
from partition_core.store.entry import StoredFile, decode
from partition_core.store.local import LocalStore
from partition_core.store.shared import SharedStore
from partition_core.store.transports.http import HttpTransport
from tests.onnx_source.files import detector
from tests.onnx_source.projects import TWO

from .cases import folder, quiet, refused
from .mutations import mutated, mutated_value

KEY = "0" * 64
STATE = Path("build") / ".partition"


def changed_json(content: bytes, chance: random.Random) -> bytes:
    """Return JSON with a value of it changed, or its bytes."""
    if chance.random() < 0.3:
        return mutated(content, chance)
    return json.dumps(mutated_value(json.loads(content), chance)).encode()


def sealed(key: str, body: Any) -> bytes:
    """Return an entry as a store would seal it, whatever is in it."""
    seal = digest_of(json.dumps([key, body], sort_keys=True).encode())
    return json.dumps({"result": body, "seal": seal}).encode()


@functools.cache
def built() -> Path:
    """Return a project that was built, whose store and memories are as the build left them."""
    path = folder() / "built"
    (path / "recipes").mkdir(parents=True)
    (path / "recipes" / "x.yaml").write_text(TWO)
    (path / "detector.onnx").write_bytes(detector().SerializeToString(deterministic=True))
    make(path)
    shutil.copytree(folder() / "store", folder() / "kept store")
    shutil.copytree(path / "build", folder() / "kept build")
    return path


def make(path: Path) -> dict[str, bytes]:
    """Build, as doit does; return the bytes of what is published."""
    run = Run(path, ["x"])
    (build,) = run.builds
    if not build.is_up_to_date:
        plan = build.plan
        for step in ("export", *(f"cut {name}" for name in build.overview.segments), "prove"):
            if not build.is_done(step):
                build.carry_out(step, quiet)
        for artifact in plan.job().model_names:
            publish(plan, artifact)
        publish(plan, "manifest.json")
        list(build.explanation())
        assert build.plan.result_of("prove")
    run.finish()
    return {one.name: one.read_bytes() for one in (path / "build" / "x").iterdir()}


def restored() -> Path:
    """Return the project with its store and its memories as the build left them."""
    path = built()
    for target, source in ((folder() / "store", "kept store"), (path / "build", "kept build")):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder() / source, target)
    return path


def entry(seed: int) -> None:
    """Look up, list and verify an entry that was changed, sealed or not."""
    chance = random.Random(seed)
    built()
    store = LocalStore(folder() / "kept store", quiet)
    key, path = chance.choice(list(store.entries()))
    body = json.loads(path.read_bytes())["result"]
    content = changed_json(path.read_bytes(), chance)
    if chance.random() < 0.7:
        content = sealed(key, mutated_value(body, chance))
    decode(key, content)
    here = LocalStore(folder() / "entries", quiet)
    shutil.rmtree(here.folder, ignore_errors=True)
    here.entry_path(key).parent.mkdir(parents=True)
    here.entry_path(key).write_bytes(content)
    here.entry(key)
    upkeep.results_in(here)
    list(upkeep.origins(here, StoredFile(digest_of(b""), 0).digest))
    upkeep.verify(here, quiet)


def poisoned(seed: int) -> None:
    """Build with an entry that is sealed and wrong: it gives what it gave before."""
    chance = random.Random(seed)
    path = restored()
    expected = {one.name: one.read_bytes() for one in (path / "build" / "x").iterdir()}
    if chance.random() < 0.5:
        shutil.rmtree(path / "build")
    store = LocalStore(folder() / "store", quiet)
    key, file = chance.choice(list(store.entries()))
    body = json.loads(file.read_bytes())["result"]
    if chance.random() < 0.7:
        body["notes"] = mutated_value(body["notes"], chance)
    else:
        body = mutated_value(body, chance)
    file.unlink()
    file.write_bytes(sealed(key, body))
    made = make(path)
    models = {name: content for name, content in made.items() if name.endswith(".onnx")}
    assert models == {name: one for name, one in expected.items() if name.endswith(".onnx")}
    project = Project.at(path)
    list(building_upkeep.show(project))
    refused(lambda: list(building_upkeep.verify(project, lambda _: contextlib.nullcontext(_Bar()))))
    refused(lambda: list(building_upkeep.origin(project, path / "build" / "x" / "body.onnx")))
    list(building_upkeep.prune(project, None, None, is_dry=True))


class _Bar:
    def update(self, count: int) -> None:
        """Show nothing."""


def memory(seed: int) -> None:
    """Build with a memory of an earlier run that was changed: nothing depends on it."""
    chance = random.Random(seed)
    path = restored()
    names = ["settled.json", "recipes.json", "digests.json"]
    files = [path / STATE / name for name in names]
    files.append(folder() / "store" / "v1" / "digests.json")
    file = chance.choice([one for one in files if one.exists()])
    file.write_bytes(changed_json(file.read_bytes(), chance))
    make(path)


def database(seed: int) -> None:
    """Open a database that was changed, and remember something in it."""
    chance = random.Random(seed)
    file = folder() / "db"
    for old in folder().glob("db*"):
        old.unlink()
    file.write_bytes(mutated(_database(), chance))
    opened = Database(str(file), _Json(), quiet)
    for task in ("build", "build:x", "export:x"):
        opened.get(task, "values")
    opened.set("build:x", "values", {"a": 2})
    opened.remove("build")
    opened.dump()


@functools.cache
def _database() -> bytes:
    file = folder() / "whole db"
    opened = Database(str(file), _Json(), quiet)
    for number in range(40):
        opened.set(f"build:{number}", "values", {"a": number, "text": "x" * 50})
    opened.dump()
    with sqlite3.connect(file) as connection:
        connection.execute("vacuum")
    return file.read_bytes()


class _Json:
    def encode(self, values: dict[str, Any]) -> str:
        return json.dumps(values)

    def decode(self, text: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(text)
        return found


def manifest(seed: int) -> None:
    """Read a manifest that was changed, as who runs a build does and who builds again."""
    chance = random.Random(seed)
    path = built()
    target = folder() / "run"
    target.mkdir(exist_ok=True)
    content = (folder() / "kept build" / "x" / "manifest.json").read_bytes()
    (target / "manifest.json").write_bytes(changed_json(content, chance))
    refused(lambda: read_manifest(target))
    shutil.copyfile(target / "manifest.json", path / "build" / "x" / "manifest.json")
    (build,) = Run(path, ["x"]).builds
    list(build.explanation())
    list(building_upkeep.show(Project.at(path)))


def answer(seed: int) -> None:
    """Ask a shared store whose answers were changed, heads and all."""
    chance = random.Random(seed)
    built()
    kept = LocalStore(folder() / "kept store", quiet)
    key, path = chance.choice(list(kept.entries()))
    content = path.read_bytes()
    if chance.random() < 0.5:
        content = changed_json(content, chance)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    whole = head.encode() + content
    if chance.random() < 0.7:
        whole = mutated(whole[: len(head) + 200], chance) + whole[len(head) + 200 :]
    here = LocalStore(folder() / "fetched", quiet)
    shutil.rmtree(here.folder, ignore_errors=True)
    result = kept.entry(key)
    names = list(result.files) if result is not None else []
    with _answering(whole) as url:
        store = SharedStore(HttpTransport(url, ("", ""), 0.5), False, quiet)
        store.fetch(key, lambda one: set(one.files) == set(names), here)
        store.lists(key)


@contextlib.contextmanager
def _answering(content: bytes) -> Any:
    """Answer everything with some bytes, on loopback."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(server, content), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/team"
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def _serve(server: socket.socket, content: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with contextlib.suppress(OSError), connection:
                connection.recv(1 << 16)
                connection.sendall(content)


CASES: dict[str, Callable[[int], None]] = {
    "entries of a store": entry,
    "poisoned entries": poisoned,
    "memories": memory,
    "databases": database,
    "manifests": manifest,
    "answers": answer,
}
