"""Checkpoints fetched from the network: resumed, verified against the pinned digest, kept."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from partition_core.building.inputs import is_url, wrong_checkpoint
from partition_core.building.project import Project
from partition_core.disk import Digest, digest_of, file_digest
from partition_core.errors import BuildError, problem
from partition_core.progress import shown
from partition_core.reading.recipe_file import RecipeFile
from partition_core.recipe import Checkpoint
from partition_core.wording import warn

_TIMEOUT = 30.0
_CHUNK = 1 << 20
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416


def checkpoint_file(project: Project, file: RecipeFile) -> tuple[Path, Digest] | None:
    """Return the file and full digest of a recipe's checkpoint, fetched if it is not here yet.

    None for a recipe whose weights are no checkpoint. Raises BuildError for a checkpoint that
    cannot be fetched or whose digest is not the pinned one.
    """
    weights = file.recipe.model.weights
    if not isinstance(weights, Checkpoint):
        return None
    if not is_url(weights.checkpoint):
        path = project.root / weights.checkpoint
        return path, _verified(path, weights, file)
    path = project.store.checkpoint_path(weights.sha256, Path(weights.checkpoint).name)
    # Recipes may share a checkpoint: one build at a time fetches it, the others find it.
    with project.store.locked(digest_of(f"checkpoint {path.name}".encode())):
        if path.exists():
            digest = file_digest(path)
            if digest.startswith(weights.sha256):
                return path, digest
            warn(f"the copy of checkpoint '{weights.checkpoint}' is damaged; it is fetched anew")
            path.unlink()
        return path, _fetch(weights.checkpoint, path, weights, file)


def _verified(path: Path, weights: Checkpoint, file: RecipeFile) -> Digest:
    digest = file_digest(path)
    if not digest.startswith(weights.sha256):
        raise wrong_checkpoint(file, digest)
    return digest


def _fetch(url: str, target: Path, weights: Checkpoint, file: RecipeFile) -> Digest:
    """Download `url` to `target`, going on where an earlier attempt was cut off.

    What was resumed and is wrong is fetched once more from the start: the server's file may
    have changed in between.
    """
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    _download(url, part, file)
    if resumed and not file_digest(part).startswith(weights.sha256):
        part.unlink()
        _download(url, part, file)
    try:
        digest = _verified(part, weights, file)
    except BuildError:
        part.unlink()
        raise
    part.replace(target)
    return digest


def _download(url: str, part: Path, file: RecipeFile) -> None:
    have = part.stat().st_size if part.exists() else 0
    # The schema of recipes lets only http and https pass.
    request = urllib.request.Request(  # noqa: S310  # reason: see above
        url, headers={"Range": f"bytes={have}-"} if have else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310  # reason: see above
            goes_on = have > 0 and response.status == _PARTIAL
            with part.open("ab" if goes_on else "wb") as stream:
                _receive(response, stream, have if goes_on else 0)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and have:
            return  # all of it is here already; the digest decides
        raise _unreachable(url, f"the server answers {error.code} {error.reason}", file) from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise _unreachable(url, reason, file) from error


def _receive(response: http.client.HTTPResponse, stream: BinaryIO, start: int) -> None:
    """Write to `stream` what a server sends after the first `start` bytes of a file."""
    left = response.length
    total = None if left is None else start + left
    received = start
    name = Path(stream.name).name.removesuffix(".part")
    with shown(f"fetch {name}", total, start) as bar:
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    if total is not None and received < total:
        raise ConnectionError(f"the connection ended after {received} of {total} bytes")


def _unreachable(url: str, reason: str, file: RecipeFile) -> BuildError:
    return BuildError(
        problem(
            file.place("model.weights.checkpoint"),
            f"'{url}' cannot be fetched: {reason}",
            "expected a server that gives the checkpoint",
            "run the command again to go on where it stopped, "
            "or put the file here and name its path",
        )
    )
