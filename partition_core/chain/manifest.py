"""What a build folder says of itself: the manifest, written and read; must not load a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from partition_core.base.disk import file_digest
from partition_core.base.errors import Place, RunError
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.folders import END2END, MANIFEST
from partition_core.base.outside_files import json_in
from partition_core.chain.picture import PictureInput
from partition_core.chain.pieces import Edge, SegmentBoundary, boundary_of, edge_of

T = TypeVar("T")

_FORMAT = 1
_OF_A_FILE = ("sha256", "bytes")
_FETCHED = ("checkpoint_sha256", "model_sha256")

Files = Mapping[str, tuple[str, int]]
"""The SHA-256 and the bytes of a model's files by name, first its own, then that of its weights."""


@dataclass(frozen=True)
class Manifest:
    """What a build folder holds.

    `segments` are in the order in which they run; `inputs` are those of the end2end model.
    `picture` tells how pictures are prepared, and `picture_unknown` why it does not; `classes` are
    the names of labels, if they are known. `seed` is what the weights were drawn from; None for
    others. `pictures` is how many a detector takes at once, `digests` has the SHA-256 of the files
    of end2end and each segment, by the model's and then the file's name.
    """

    folder: Path
    recipe: str
    segments: tuple[SegmentBoundary, ...]
    edges: tuple[Edge, ...]
    inputs: tuple[str, ...]
    detects: bool
    picture: PictureInput | None
    picture_unknown: str
    classes: tuple[str, ...]
    seed: int | None = None
    pictures: int = 1
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def check_files(self, save_file: str) -> None:
        """Raise RunError unless the files of a segment or end2end are those that the build made."""
        for name, digest in self.digests[save_file].items():
            try:
                found = file_digest(self.folder / name)
            except OSError as error:
                raise RunError.at(
                    Place(str(self.folder / name)),
                    f"cannot be read: {error.strerror}",
                    "expected a file of the build",
                    "build again"
                    + (", or give another runtime for it in `segments`" * (name != END2END)),
                ) from error
            if found != digest:
                raise RunError.at(
                    Place(str(self.folder / name)),
                    f"its SHA-256 is {found[:16]}…",
                    f"the manifest says {digest[:16]}…",
                    "build again, or take `verify=False` if you changed it on purpose",
                )


def composed(
    *,
    recipe: Any,
    artifacts: Mapping[str, Files],
    proven: Mapping[str, Any],
    export: Mapping[str, Any],
    summary: str,
    fingerprints: Mapping[str, Fingerprint],
) -> str:
    """Return a manifest as JSON; the same artifacts have the same one.

    `recipe` and `export`, the notes of the export, are plain data, and so is what is `proven`:
    `proof`, `segments`, `edges` and `coverage`. `fingerprints` has those of the steps by name.
    """
    content = {
        "format": _FORMAT,
        "recipe": recipe,
        "artifacts": {name: _artifact(files) for name, files in artifacts.items()},
        **proven,
        "export": export,
        "summary": summary,
        "fingerprints": {
            name: {"key": one.key, "entries": [list(entry) for entry in one.entries]}
            for name, one in fingerprints.items()
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _artifact(files: Files) -> dict[str, Any]:
    (_, own), *weights = files.items()
    told = dict(zip(_OF_A_FILE, own, strict=True))
    for name, one in weights:
        told["weights"] = {"file": name, **dict(zip(_OF_A_FILE, one, strict=True))}
    return told


@dataclass(frozen=True)
class Former:
    """What the manifest of an earlier build says, of any version, as far as it can be read."""

    content: Any

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The names of the models."""
        return _read(lambda: tuple(map(str, self.content["artifacts"])), ())

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the steps' results."""
        return _read(
            lambda: tuple(str(step["key"]) for step in self.content["fingerprints"].values()), ()
        )

    @property
    def fetched(self) -> tuple[str, ...]:
        """The SHA-256 of files that were fetched for the export."""
        return _read(
            lambda: tuple(
                str(self.content["export"][key])
                for key in _FETCHED
                if key in self.content["export"]
            ),
            (),
        )

    @property
    def fingerprints(self) -> Mapping[str, Fingerprint]:
        """The fingerprints of the steps, by name."""
        return _read(
            lambda: {
                name: Fingerprint(tuple((str(label), str(text)) for label, text in step["entries"]))
                for name, step in self.content["fingerprints"].items()
            },
            {},
        )


def former_manifest(folder: Path) -> Former:
    """Return what the manifest of a build folder says; nothing if there is none."""
    try:
        return Former(json_in(folder / MANIFEST))
    except (OSError, ValueError):
        return Former({})


def _read(part: Callable[[], T], otherwise: T) -> T:
    try:
        return part()
    except (AttributeError, KeyError, TypeError, ValueError):
        return otherwise


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a build folder; raises RunError if there is none that can be read."""
    path = folder / MANIFEST
    try:
        content = json_in(path)
    except OSError as error:
        raise RunError.at(
            Place(str(path)),
            f"cannot be read: {error.strerror}",
            "expected the folder of a build, such as 'build/yolov3'",
            "build the recipe first: `doit build recipe=…`",
        ) from error
    except ValueError as error:
        raise _damaged(path, f"it is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _damaged(path, f"its format is not {_FORMAT}")
    try:
        return _manifest(folder, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _damaged(path: Path, why: str) -> RunError:
    return RunError.at(
        Place(str(path)),
        f"is no manifest that this version can read: {why}",
        "expected one that a build wrote",
        "build again",
    )


def _manifest(folder: Path, content: Mapping[str, Any]) -> Manifest:
    told, artifacts = content["export"], content["artifacts"]
    described = [spec["name"] for spec in content["recipe"]["export"]["inputs"]]
    segments = tuple(map(boundary_of, content["segments"]))
    return Manifest(
        folder=folder,
        recipe=str(content["recipe"]["name"]),
        segments=segments,
        edges=tuple(map(edge_of, content["edges"])),
        inputs=tuple(map(str, told.get("inputs", described))),
        detects=bool(told.get("detects")),
        picture=PictureInput.of(told["picture"]) if "picture" in told else None,
        picture_unknown=str(told.get("picture_unknown", "")),
        classes=tuple(map(str, told.get("classes", ()))),
        seed=_seed(content["recipe"]["model"]),
        pictures=_pictures(content),
        digests={
            name: _digests(name, artifacts[name])
            for name in (END2END, *(segment.save_file for segment in segments))
        },
    )


def _pictures(content: Mapping[str, Any]) -> int:
    taken = content["export"].get("picture", {}).get("input")
    inputs = content["recipe"]["export"]["inputs"]
    return next((int(one["shape"][0]) for one in inputs if one["name"] == taken), 1)


def _seed(model: Mapping[str, Any]) -> int | None:
    seed = model.get("weights", {}).get("seed")  # an ONNX file has its weights itself
    return None if seed is None else int(seed)


def _digests(name: str, artifact: Mapping[str, Any]) -> dict[str, str]:
    found = {name: str(artifact["sha256"])}
    if "weights" in artifact:
        found[artifact["weights"]["file"]] = str(artifact["weights"]["sha256"])
    if any(Path(file).name != file for file in found):
        raise ValueError("a file lies outside the folder")
    return found
