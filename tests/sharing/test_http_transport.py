"""What one request makes of a server that trickles, and of one that sends it elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from partition_core.store.shared import RemoteDownError, RemoteError
from partition_core.store.transports.http import HttpTransport

from . import cache_server as cache
from .cache_server import CacheServer, Fault

NAME = "ac/key"
CONTENT = b"content"
LOGIN = ("anna", "secret")
HEADER = "Basic YW5uYTpzZWNyZXQ="


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with cache.serving(CacheServer({NAME: CONTENT, "cas/file": CONTENT})) as running:
        yield running


def read(transport: HttpTransport) -> bytes | None:
    with transport.read(NAME) as chunks:
        return None if chunks is None else b"".join(chunks)


TRICKLES: dict[str, Fault] = {
    "its status": cache.dripping_status,
    "its headers": cache.dripping_heads,
    "its body": lambda answer, _: cache.dripping(answer, bytes(10_000)),
    "the length of a chunk": cache.dripping_chunks,
}


@pytest.mark.parametrize("what", TRICKLES)
def test_a_server_that_trickles_counts_as_down(server: CacheServer, what: str) -> None:
    server.fault = TRICKLES[what]
    found: list[Exception] = []

    def ask() -> None:
        try:
            read(HttpTransport(server.url, ("", ""), 0.4))
        except RemoteError as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(30)  # what trickles does so for much longer
    (error,) = found
    assert isinstance(error, RemoteDownError)
    assert str(error).startswith("it sends ")
    assert str(error).endswith(" s, less than 1000 bytes a second")


def test_a_head_that_takes_its_time_is_read(server: CacheServer) -> None:
    def slow(answer: cache.Answer, content: bytes) -> None:
        answer.server.is_over.wait(0.3)
        answer.answer(200, content)

    server.fault = slow
    assert read(HttpTransport(server.url, ("", ""), 20)) == CONTENT


ASKED: dict[str, Callable[[HttpTransport], object]] = {
    "GET": read,
    "HEAD": lambda transport: transport.has(NAME, len(CONTENT)),
}


@pytest.mark.parametrize("method", ASKED)
def test_a_redirect_on_the_same_server_keeps_the_login(server: CacheServer, method: str) -> None:
    server.credentials = HEADER
    server.moves = "/team/elsewhere/%"
    assert ASKED[method](HttpTransport(server.url, LOGIN, 20)) in (CONTENT, True)
    assert server.logins == [HEADER, HEADER]


@pytest.mark.parametrize("host", ["localhost", "another port"])
def test_a_redirect_to_another_server_has_no_login(server: CacheServer, host: str) -> None:
    with cache.serving(CacheServer({NAME: CONTENT})) as other:
        port = server.server_port if host == "localhost" else other.server_port
        name = "localhost" if host == "localhost" else "127.0.0.1"
        server.moves = f"http://{name}:{port}/team/elsewhere/%"
        assert read(HttpTransport(server.url, LOGIN, 20)) == CONTENT
        assert [*server.logins, *other.logins] == [HEADER, None]
