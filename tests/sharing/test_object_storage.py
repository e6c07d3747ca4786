"""The shared store in object storage: moto's server speaks S3's protocol on loopback."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.projects import Scratch, steps

from .shared import Shared, configure, lose, made, project_in, warnings_in

REMOTE = "s3://artifacts/team"
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")


@dataclass(frozen=True)
class Bucket:
    """A bucket, how to reach it, and the server that holds it."""

    server: ThreadedMotoServer
    client: Any
    variables: dict[str, str]

    def names(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket="artifacts").get("Contents", [])
        return {one["Key"].removeprefix("team/") for one in found}

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket="artifacts", Key=f"team/{name}", Body=content)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id="key",
        aws_secret_access_key="secret",  # noqa: S106  # reason: moto takes any
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="artifacts")
    yield Bucket(server, client, variables)
    client.close()
    server.stop()


def project(folder: Path, bucket: Bucket, more: str = "") -> Scratch:
    scratch = project_in(folder)
    configure(scratch, REMOTE, more)
    scratch.environment |= bucket.variables
    return scratch


def test_what_is_pushed_to_s3_is_built_elsewhere_without_exporting(
    tmp_path: Path, bucket: Bucket, shared: Shared
) -> None:
    builder = project(tmp_path / "a", bucket)
    shutil.copytree(shared.store, builder.store)
    builder.built("push", "recipe=tiny")
    assert bucket.names() == set(shared.files)
    assert builder.built("push", "recipe=tiny").count(": already there") == 4

    other = project(tmp_path / "b", bucket)
    output = other.built()
    assert steps(output) == []
    assert warnings_in(output) == []
    assert made(other) == 0
    assert other.artifacts() == shared.artifacts


def test_what_goes_wrong_with_s3_is_a_miss_and_one_warning(
    tmp_path: Path, bucket: Bucket, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    from partition_core.store.entry import any_result
    from partition_core.store.local import LocalStore
    from partition_core.store.shared import SharedStore
    from partition_core.store.transports.object_storage import FsspecTransport

    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
    for name, content in shared.files.items():
        bucket.put(name, content)
    file = shared.file("cut body.onnx", "body.onnx")
    entry = shared.key("cut body.onnx")
    good = shared.files[file]
    here = LocalStore(tmp_path / "here", print)

    def missed(told: str) -> None:
        said: list[str] = []
        remote = SharedStore(FsspecTransport(REMOTE, 5), False, said.append)
        for _ in range(2):
            assert remote.fetch(entry.removeprefix("ac/"), any_result, here) is None
        (warning,) = said
        assert re.fullmatch(f"shared store '{REMOTE}': {told}", warning), warning
        assert list(here.entries()) == list(here.files()) == []

    before = bucket.names()
    bucket.put(file, good[:-1])
    missed(r"'body\.onnx' does not match its entry \(cas/\w+\); continuing without it")
    bucket.put(entry, shared.files[entry][:-1])
    missed(r"ac/\w+ is damaged or belongs to another key; continuing without it")
    assert bucket.names() == before  # nothing was sent
    scratch = project(tmp_path, bucket)
    shutil.copytree(shared.store, scratch.store)
    scratch.environment["PARTITION_CORE_REMOTE_TIMEOUT"] = "5"

    def built(told: str) -> None:
        lose(scratch, shared, "cut body.onnx")
        output = scratch.built()
        assert steps(output) == ["cut body.onnx"]
        assert scratch.artifacts() == shared.artifacts
        (warning,) = warnings_in(output)
        assert re.fullmatch(f"WARNING: shared store '.*': {told}", warning), warning

    scratch.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    built(r".*Could not connect to the endpoint URL.*; continuing without it for the rest of .*")
    configure(scratch, "s3://no-such-bucket/team", "remote_write = true\n")
    scratch.environment |= bucket.variables
    built(r".*bucket does not exist.*")


def test_a_large_file_is_sent_to_s3_in_parts_and_comes_back_the_same(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    from partition_core.store.entry import Origin, Result, any_result
    from partition_core.store.local import LocalStore
    from partition_core.store.shared import SharedStore
    from partition_core.store.transports.object_storage import FsspecTransport

    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    stores = [LocalStore(tmp_path / n, said.append) for n in "ab"]
    large = tmp_path / "large"
    large.write_bytes(random.Random(0).randbytes(20 << 20))
    file = stores[0].put_file(large)
    key = "0" * 64
    result = Result({"large": file}, {}, Origin("recipe", "step", 1.0))
    shared = SharedStore(FsspecTransport(REMOTE, 20), True, said.append)
    assert shared.send(key, result, stores[0])
    assert shared.fetch(key, any_result, stores[1]) == result
    path = stores[1].path_of(file)
    assert path is not None
    assert path.read_bytes() == large.read_bytes()
    assert said == []


def trickling(server: socket.socket, is_over: threading.Event) -> None:
    """Send one header after the other to whoever connects, until the test is over."""

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not is_over.wait(0.2):
                connection.sendall(b"X-Header: x\r\n")

    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=[connection], daemon=True).start()


def test_an_object_storage_that_trickles_counts_as_down(monkeypatch: pytest.MonkeyPatch) -> None:
    from partition_core.store.shared import RemoteDownError
    from partition_core.store.transports.object_storage import FsspecTransport

    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=trickling, args=[server, is_over], daemon=True).start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        found: list[Exception] = []

        def ask() -> None:
            try:
                FsspecTransport("s3://artifacts/slow", 1).has("ac/key", 7)
            except RemoteDownError as error:
                found.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(30)  # what trickles does so for as long as the test lasts
        is_over.set()
    (error,) = found
    assert "Timeout" in str(error)
