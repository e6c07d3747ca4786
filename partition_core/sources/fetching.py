"""Downloads pinned files: with resume, verified against the pinned digest, cached."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from partition_core.base.disk import Digest, digest_of, file_digest
from partition_core.base.errors import BuildError
from partition_core.base.http_answers import Answer, answer_of, opener_with
from partition_core.base.progress import shown
from partition_core.base.wording import warn
from partition_core.recipe.file import RecipeFile
from partition_core.sources.job import Job
from partition_core.sources.pinned import Pinned, pinned_by

_TIMEOUT = 30.0
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416


def pinned_file(job: Job) -> tuple[Path, Digest] | None:
    """Return the pinned file of a job's recipe and its full digest, fetched if it is not here yet.

    None for a recipe that pins none. Raises BuildError for a file that cannot be fetched or
    whose digest is not the pinned one.
    """
    file = job.file
    pinned = pinned_by(file)
    if pinned is None:
        return None
    if not pinned.is_url:
        path = job.root / pinned.location
        return path, _verified(path, pinned, file)
    path = job.store.checkpoint_path(pinned.sha256, Path(pinned.location).name)
    # Recipes may share a file: one build at a time fetches it, the others get a cache hit.
    with job.store.locked(digest_of(f"checkpoint {path.name}".encode())):
        if path.exists():
            digest = file_digest(path)
            if digest.startswith(pinned.sha256):
                return path, digest
            warn(f"the copy of {pinned.kind} '{pinned.location}' is damaged; fetching it again")
            path.unlink()
        return path, _fetch(pinned, path, file)


def _verified(path: Path, pinned: Pinned, file: RecipeFile) -> Digest:
    digest = file_digest(path)
    pinned.check(digest, file)
    return digest


def _fetch(pinned: Pinned, target: Path, file: RecipeFile) -> Digest:
    """Download `pinned` to `target`, resuming an interrupted download.

    After a digest mismatch, a resumed download is retried from the start: the server's file may
    have changed in between.
    """
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    _download(pinned, part, file)
    if resumed and not file_digest(part).startswith(pinned.sha256):
        part.unlink()
        _download(pinned, part, file)
    try:
        digest = _verified(part, pinned, file)
    except BuildError:
        part.unlink()
        raise
    part.replace(target)
    return digest


def _download(pinned: Pinned, part: Path, file: RecipeFile) -> None:
    start = part.stat().st_size if part.exists() else 0
    # The recipe schema allows only http and https.
    request = urllib.request.Request(  # noqa: S310  # reason: see above
        pinned.location, headers={"Range": f"bytes={start}-"} if start else {}
    )
    try:
        with answer_of(opener_with(), request, _TIMEOUT) as response:
            is_resumed = start > 0 and response.status == _PARTIAL
            with part.open("ab" if is_resumed else "wb") as stream:
                _receive(response, stream, start if is_resumed else 0)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and start:
            return  # the download is complete already; the digest decides
        reason = f"the server answers {error.code} {error.reason}"
        raise _unreachable(pinned, reason, file) from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise _unreachable(pinned, reason, file) from error


def _receive(response: Answer, stream: BinaryIO, start: int) -> None:
    """Write to `stream` what a server sends after the first `start` bytes of a file."""
    remaining = response.length
    total = None if remaining is None else start + remaining
    received = start
    name = Path(stream.name).name.removesuffix(".part")
    with shown(f"fetch {name}", total, start) as bar:
        for chunk in response.chunks():
            stream.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    if total is not None and received < total:
        raise ConnectionError(f"the connection ended after {received} of {total} bytes")


def _unreachable(pinned: Pinned, reason: str, file: RecipeFile) -> BuildError:
    return BuildError.at(
        file.place(pinned.at),
        f"'{pinned.location}' cannot be fetched: {reason}",
        f"expected a server that has the {pinned.kind}",
        "run the command again to resume the download, or put the file here and name its path",
    )
