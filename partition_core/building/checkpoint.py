"""Checkpoints fetched from the network: resumed, verified against the pinned digest, kept."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from partition_core.building.inputs import is_url, wrong_checkpoint
from partition_core.building.project import Project
from partition_core.disk import Digest, file_digest
from partition_core.errors import BuildError, problem
from partition_core.reading.recipe_file import RecipeFile
from partition_core.recipe import Checkpoint

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
    if not path.exists():
        _fetch(weights.checkpoint, path, weights, file)
    try:
        return path, _verified(path, weights, file)
    except BuildError:
        path.unlink()
        raise


def _verified(path: Path, weights: Checkpoint, file: RecipeFile) -> Digest:
    digest = file_digest(path)
    if not digest.startswith(weights.sha256):
        raise wrong_checkpoint(file, digest)
    return digest


def _fetch(url: str, target: Path, weights: Checkpoint, file: RecipeFile) -> None:
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
    digest = file_digest(part)
    if not digest.startswith(weights.sha256):
        part.unlink()
        raise wrong_checkpoint(file, digest)
    part.replace(target)


def _download(url: str, part: Path, file: RecipeFile) -> None:
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    # The schema of recipes lets only http and https pass.
    request = urllib.request.Request(  # noqa: S310  # reason: see above
        url, headers={"Range": f"bytes={have}-"} if have else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310  # reason: see above
            goes_on = have > 0 and response.status == _PARTIAL
            length = response.headers.get("Content-Length")
            expected = int(length) if length else None
            start = have if goes_on else 0
            bar = tqdm(
                desc=part.name.removesuffix(".part"),
                initial=start,
                total=None if expected is None else start + expected,
                unit="B",
                unit_scale=True,
            )
            with bar, part.open("ab" if goes_on else "wb") as stream:
                received = 0
                while chunk := response.read(_CHUNK):
                    stream.write(chunk)
                    received += len(chunk)
                    bar.update(len(chunk))
            if expected is not None and received < expected:
                raise http.client.IncompleteRead(b"", expected - received)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and have:
            return  # all of it is here already; the digest decides
        raise _unreachable(url, f"the server answers {error.code} {error.reason}", file) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _unreachable(url, str(reason) or type(error).__name__, file) from error


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
