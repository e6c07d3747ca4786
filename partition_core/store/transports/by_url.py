"""The transport for the URL of a shared store; it is imported when it is opened."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from partition_core.base.errors import BuildError, one_of, quoted, suggestion

if TYPE_CHECKING:
    from partition_core.store.shared import Transport

Opener = Callable[[], "Transport"]

TIMEOUT_VARIABLE = "PARTITION_CORE_REMOTE_TIMEOUT"
DEFAULT_TIMEOUT = 30.0
"""Seconds to wait for the server's next bytes."""

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}
"""Schemes of object storage and the packages that fsspec needs; our extras are named like them."""
_SCHEMES = ("http", "https", "file", *_PACKAGES)


def transport_of(url: str, root: Path) -> Opener:
    """Return a function that opens the transport for a URL, or for a folder relative to `root`.

    Raises BuildError for a URL that cannot be used; no connection is made.
    """
    if "://" not in url:
        return _folder(root / url)
    try:
        parts = urlsplit(url)
        scheme, _ = parts.scheme, parts.port
    except ValueError as error:
        raise _wrong("the URL of the shared store cannot be read", str(error)) from error
    if scheme not in _SCHEMES:
        raise _wrong(
            f"there is no shared store at '{scheme}://'",
            f"{one_of(_SCHEMES)}, or a folder",
            suggestion(scheme, _SCHEMES),
        )
    location = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    if parts.query or parts.fragment or not (parts.hostname or scheme == "file"):
        raise _wrong(f"{quoted(location)} is not the URL of a store", "expected scheme://host/path")
    if scheme == "file":
        return _folder(Path(unquote(parts.path)))
    if scheme in _PACKAGES:
        return _object_storage(scheme, location)
    return _http(location, parts)


def _http(location: str, parts: SplitResult) -> Opener:
    login = (unquote(parts.username or ""), unquote(parts.password or ""))
    timeout = _timeout()

    def opened() -> Transport:
        from partition_core.store.transports.http import HttpTransport

        return HttpTransport(location, login, timeout)

    return opened


def _folder(path: Path) -> Opener:
    def opened() -> Transport:
        from partition_core.store.transports.folder import FolderTransport

        return FolderTransport(path)

    return opened


def _object_storage(scheme: str, location: str) -> Opener:
    package = _PACKAGES[scheme]
    if importlib.util.find_spec("fsspec") is None or importlib.util.find_spec(package) is None:
        raise _wrong(
            f"a shared store at '{scheme}://' needs the package '{package}'",
            f"install it with `pip install 'partition-core[{scheme}]'`",
        )
    timeout = _timeout()

    def opened() -> Transport:
        from partition_core.store.transports.object_storage import FsspecTransport

        return FsspecTransport(location, timeout)

    return opened


def _timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, str(DEFAULT_TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < sys.maxsize:
        what = f"{quoted(text)} is not a timeout"
        raise BuildError.at(TIMEOUT_VARIABLE, what, "expected a number of seconds above 0")
    return seconds


def _wrong(what: str, expected: str, remedy: str = "") -> BuildError:
    return BuildError.at("remote", what, expected, remedy)
