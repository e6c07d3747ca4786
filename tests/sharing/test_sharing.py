"""What one machine built, another one has: over HTTP with its credentials, and in a folder."""

from __future__ import annotations

import base64
import json
import os
import pty
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from partition_core.base.file_stamp import SETTLED_AFTER
from tests.projects import Scratch, steps

from .cache_server import CacheServer, serving
from .shared import Shared, configure, lose, made, project_in, warnings_in


def test_a_colleague_builds_without_exporting(
    colleague: Scratch, server: CacheServer, shared: Shared
) -> None:
    output = colleague.built()
    assert made(colleague) == 0
    assert steps(output) == []
    assert warnings_in(output) == []
    assert colleague.artifacts() == shared.artifacts
    assert not [one for one in server.seen if one.startswith("PUT")]
    # What was fetched is kept: without the server there is nothing to do.
    configure(colleague, "")
    shutil.rmtree(colleague.folder / "build")
    assert steps(colleague.built()) == []


def test_a_build_sends_nothing_unless_it_is_told_to(colleague: Scratch, shared: Shared) -> None:
    with serving(CacheServer()) as empty:
        shutil.copytree(shared.store, colleague.store)
        lose(colleague, shared, "cut body.onnx")
        configure(colleague, empty.url)
        assert steps(colleague.built()) == ["cut body.onnx"]
        assert {one.split()[0] for one in empty.seen} == {"GET"}
        lose(colleague, shared, "cut body.onnx")
        configure(colleague, empty.url, "remote_write = true\n")
        assert steps(colleague.built()) == ["cut body.onnx"]
        # A file goes before the entry that names it.
        sent = [one.split()[1] for one in empty.seen if one.startswith("PUT")]
        assert sent == [shared.file("cut body.onnx", "body.onnx"), shared.key("cut body.onnx")]
        empty.files.clear()
        for variable, is_sent in (("0", False), ("1", True)):  # has the last word
            lose(colleague, shared, "cut body.onnx")
            colleague.environment["PARTITION_CORE_REMOTE_WRITE"] = variable
            colleague.built()
            assert (shared.key("cut body.onnx") in empty.files) is is_sent


def test_a_build_that_has_everything_asks_nobody(
    lacking: Scratch, server: CacheServer, shared: Shared
) -> None:
    lacking.built()
    server.seen.clear()
    assert lacking.built() == "tiny: up to date (4 artifacts in build/tiny)\n"
    shutil.rmtree(lacking.folder / "build")
    lacking.built()
    assert lacking.artifacts() == shared.artifacts
    assert server.seen == []


TRANSPORTS = {
    "partition_core.store.shared",
    "partition_core.store.transports.http",
    "partition_core.store.transports.object_storage",
    "partition_core.store.transports.folder",
    "partition_core.build.sharing",
    "fsspec",
    "http.client",
    "ssl",
    "tqdm",
    "urllib.request",
}


@pytest.mark.parametrize("remote", ["", "http://127.0.0.1:1/team", "s3://bucket/team", "/shared"])
def test_a_build_with_nothing_to_do_imports_nothing_of_the_remote(
    lacking: Scratch, remote: str
) -> None:
    lacking.built()
    configure(lacking, remote)
    lacking.write("late.py", "import sys, atexit\natexit.register(lambda: print(*sys.modules))\n")
    lacking.edit("dodo.py", "from partition", "import late\n\nfrom partition")
    lacking.is_forked = False
    first, second = lacking.built().splitlines()
    assert first == "tiny: up to date (4 artifacts in build/tiny)"
    assert "partition_core.store.tiers" in second.split()
    assert TRANSPORTS & set(second.split()) == set()
    if not remote:
        assert "partition_core.store.transports.by_url" not in second.split()


@pytest.mark.parametrize(
    ("login", "header"),
    [
        ("anna:p%40ss@", f"Basic {base64.b64encode(b'anna:p@ss').decode()}"),
        ("t0ken@", "Bearer t0ken"),
        ("netrc", f"Basic {base64.b64encode(b'bert:secret').decode()}"),
    ],
)
def test_credentials_come_from_the_url_or_from_netrc_and_are_never_told(
    lacking: Scratch, server: CacheServer, tmp_path: Path, login: str, header: str
) -> None:
    server.credentials = header
    refused = lacking.doit("build", "--dry-run")
    (warning,) = warnings_in(refused.stdout)
    assert "the server answers 401 Unauthorized; continuing without it" in warning
    if login == "netrc":
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login bert password secret\n")
        lacking.environment["NETRC"] = str(tmp_path / "netrc")
    else:
        configure(lacking, server.url.replace("//", f"//{login}"))
    output = lacking.built()
    assert steps(output) == []
    assert warnings_in(output) == []
    configure(lacking, f"http://{'' if login == 'netrc' else login}127.0.0.1:1/team")
    shutil.rmtree(lacking.store)
    told = lacking.doit("build", "--dry-run").stdout
    assert "shared store 'http://127.0.0.1:1/team'" in told
    assert not any(secret in told for secret in ("p%40ss", "p@ss", "t0ken", "secret"))


def test_no_command_writes_or_tells_a_password(lacking: Scratch, server: CacheServer) -> None:
    login = "anna:planted"
    encoded = base64.b64encode(login.encode()).decode()
    server.credentials = f"Basic {encoded}"
    lacking.environment["PARTITION_CORE_REMOTE"] = server.url.replace("//", f"//{login}@")
    lacking.environment["PARTITION_CORE_REMOTE_WRITE"] = "1"
    told = lacking.built()
    time.sleep(SETTLED_AFTER + 0.1)
    for command in ("build", "build --dry-run", "push", "pull", "store", "verify", "prune", "list"):
        told += lacking.built(*command.split())
    settled = lacking.folder / "build" / ".partition" / "settled.json"
    assert "tiny" in json.loads(settled.read_bytes())["recipes"]
    written = [
        path
        for folder in (lacking.folder, lacking.store)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert len(written) > 10
    for secret in ("planted", encoded):
        assert secret not in told
        assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_a_server_is_trusted_by_its_certificate_only(
    lacking: Scratch, server: CacheServer, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with_tls = CacheServer(server.files)
    with_tls.secure(context)
    with serving(with_tls):
        configure(lacking, with_tls.url)
        (warning,) = warnings_in(lacking.doit("build", "--dry-run").stdout)
        assert "certificate verify failed" in warning
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        lacking.environment["SSL_CERT_FILE"] = str(tmp_path / "authority.pem")
        output = lacking.built()
    assert steps(output) == []
    assert warnings_in(output) == []


def test_a_shared_folder_serves_and_is_missed_when_it_is_not_mounted(
    tmp_path: Path, shared: Shared
) -> None:
    folder = tmp_path / "mounted"
    for name, content in shared.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    project = project_in(tmp_path / "one")
    configure(project, folder)
    assert steps(project.built()) == []
    assert project.artifacts() == shared.artifacts
    assert made(project) == 0

    lose(project, shared, "cut body.onnx")
    damaged = folder / shared.file("cut body.onnx", "body.onnx")
    damaged.write_bytes(bytes(len(damaged.read_bytes())))
    output = project.built()
    assert steps(output) == ["cut body.onnx"]
    (warning,) = warnings_in(output)
    assert "'body.onnx' does not match its entry" in warning

    lose(project, shared, "cut body.onnx")
    folder.rename(tmp_path / "gone")
    configure(project, folder, "remote_write = true\n")
    output = project.built()
    assert steps(output) == ["cut body.onnx"]
    assert project.artifacts() == shared.artifacts
    (warning,) = warnings_in(output)
    assert f"shared store '{folder}': there is no such folder; continuing without it" in warning
    assert not folder.exists()


def test_a_transfer_is_shown_on_a_terminal_and_nowhere_else(
    colleague: Scratch, shared: Shared
) -> None:
    plain = colleague.built("pull")
    assert "end2end.onnx:" not in plain
    shutil.rmtree(colleague.store)
    shown = on_a_terminal(colleague, "pull")
    assert "pull end2end.onnx:" in shown
    assert f"/{len(shared.artifacts['end2end.onnx']) / 1000:.2f}k" in shown


def on_a_terminal(project: Scratch, *arguments: str) -> str:
    """Run doit, whose errors go to a terminal, and return what is to be seen there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        project.command(*arguments),
        cwd=project.folder,
        env=project.variables(),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as run:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 1 << 16):
                seen += part
        except OSError:  # Linux ends a terminal nobody writes to with an error
            pass
    os.close(ours)
    assert run.returncode == 0, seen
    return seen.decode()
