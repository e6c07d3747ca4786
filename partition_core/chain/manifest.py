"""The manifest of a build folder, written and read; must not load a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from partition_core.base.build_name import BuildName, published_file, variants_in
from partition_core.base.disk import file_digest
from partition_core.base.errors import Place, RunError, one_of, suggestion
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
"""The SHA-256 and size of a model's files by their names in the build folder: first the model, then
its weights."""


@dataclass(frozen=True)
class BuiltTarget:
    """A segment converted for a backend: its files in `folder`, in order, with their SHA-256."""

    segment: str
    backend: str
    precision: str
    folder: str
    files: Mapping[str, str]

    @property
    def name(self) -> str:
        """What `use` calls it: the backend, and the precision unless float32."""
        # In front of the segment there may be the name of a variant.
        return self.folder.rpartition(f"{self.segment.removesuffix('.onnx')}.")[2]


@dataclass(frozen=True)
class Manifest:
    """The content of a build folder.

    `segments` are in the order in which they run; `inputs` are those of the end2end model.
    `picture` describes how pictures are prepared, `picture_unknown` says why that is unknown;
    `classes` are the names of labels, if known. `seed` is that of drawn weights, None for others.
    `pictures` is the batch size of a detector; `digests` has the SHA-256 of the files of end2end
    and each segment, by the model's and then the file's name in the folder, the model's own first.
    `targets` are the segments that were converted for a runtime and agree there.
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
    targets: tuple[BuiltTarget, ...] = ()

    @property
    def variant(self) -> str:
        """The variant of the recipe, empty for none."""
        return BuildName.of(self.recipe).variant

    @property
    def file(self) -> Path:
        """The manifest's own file."""
        return self.folder / published_file(self.variant, MANIFEST)

    def path(self, save_file: str) -> Path:
        """Return the file of a segment or end2end; that of a variant has the variant's name too."""
        return self.folder / next(iter(self.digests[save_file]))

    def digest(self, save_file: str) -> str:
        """Return the SHA-256 of the file of a segment or end2end."""
        return next(iter(self.digests[save_file].values()))

    def check_files(self, save_file: str) -> None:
        """Raise RunError unless the files of a segment or end2end match the manifest's digests."""
        self._check(self.digests[save_file], save_file)

    def check_target(self, target: BuiltTarget) -> None:
        """Raise RunError unless the files of a target match the manifest's digests."""
        digests = {f"{target.folder}/{name}": digest for name, digest in target.files.items()}
        self._check(digests, target.segment)

    def _check(self, digests: Mapping[str, str], save_file: str) -> None:
        for name, digest in digests.items():
            try:
                actual = file_digest(self.folder / name)
            except OSError as error:
                raise RunError.at(
                    Place(str(self.folder / name)),
                    f"cannot be read: {error.strerror}",
                    "expected a file of the build",
                    "build again"
                    + (", or pass another runtime for it in `segments`" * (save_file != END2END)),
                ) from error
            if actual != digest:
                raise RunError.at(
                    Place(str(self.folder / name)),
                    f"its SHA-256 is {actual[:16]}…",
                    f"the manifest says {digest[:16]}…",
                    "build again, or pass `verify=False` if you changed it on purpose",
                )


def composed(
    *,
    recipe: Any,
    artifacts: Mapping[str, Files],
    targets: Sequence[Mapping[str, Any]],
    proven: Mapping[str, Any],
    export: Mapping[str, Any],
    summary: str,
    fingerprints: Mapping[str, Fingerprint],
) -> str:
    """Return a manifest as JSON, equal for equal artifacts.

    `recipe`, `export` (the notes of the export), `proven` (`proof`, `segments`, `edges` and
    `coverage`) and `targets` (segments converted for a runtime) are plain data. `fingerprints` has
    those of the steps by name.
    """
    content = {
        "format": _FORMAT,
        "recipe": recipe,
        "artifacts": {name: _artifact(name, files) for name, files in artifacts.items()},
        "targets": targets,
        **proven,
        "export": export,
        "summary": summary,
        "fingerprints": {
            name: {"key": step.key, "entries": [list(entry) for entry in step.entries]}
            for name, step in fingerprints.items()
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _artifact(name: str, files: Files) -> dict[str, Any]:
    (file, model), *others = files.items()
    entry: dict[str, Any] = {} if file == name else {"file": file}
    entry |= zip(_OF_A_FILE, model, strict=True)
    for other, weights in others:
        entry["weights"] = {"file": other, **dict(zip(_OF_A_FILE, weights, strict=True))}
    return entry


@dataclass(frozen=True)
class Former:
    """The manifest of an earlier build, of any version, as far as it can be read.

    `artifacts` are the names of the models, `files` and `weights` those of their files in the build
    folder, `keys` those of the steps' results, `fetched` the SHA-256 of files that were downloaded
    for the export, and `fingerprints` those of the steps, by name. `targets` are the files of
    segments converted for a runtime, by their folders.
    """

    artifacts: tuple[str, ...]
    files: tuple[str, ...]
    weights: tuple[str, ...]
    keys: tuple[str, ...]
    fetched: tuple[str, ...]
    fingerprints: Mapping[str, Fingerprint]
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def former_manifest(folder: Path, variant: str = "") -> Former:
    """Return the manifest of an earlier build, that of a `variant` if it is one; an empty manifest
    if there is none."""
    try:
        content = json_in(folder / published_file(variant, MANIFEST))
    except (OSError, ValueError):
        content = {}
    return Former(
        _read(lambda: tuple(map(str, content["artifacts"])), ()),
        _read(lambda: tuple(_file_names(content["artifacts"])), ()),
        _read(lambda: tuple(_weights_names(content["artifacts"])), ()),
        _read(lambda: tuple(str(step["key"]) for step in content["fingerprints"].values()), ()),
        _read(
            lambda: tuple(
                str(content["export"][key]) for key in _FETCHED if key in content["export"]
            ),
            (),
        ),
        _read(
            lambda: {
                name: Fingerprint(tuple((str(label), str(text)) for label, text in step["entries"]))
                for name, step in content["fingerprints"].items()
            },
            {},
        ),
        _read(
            lambda: {
                str(target["folder"]): tuple(map(str, target["files"]))
                for target in content["targets"]
            },
            {},
        ),
    )


def _file_names(artifacts: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in artifacts.items():
        yield str(entry.get("file", name))


def _weights_names(artifacts: Mapping[str, Any]) -> Iterator[str]:
    for entry in artifacts.values():
        if "weights" in entry:
            yield str(entry["weights"]["file"])


def _read(part: Callable[[], T], default: T) -> T:
    try:
        return part()
    except (AttributeError, KeyError, TypeError, ValueError):
        return default


def read_manifest(folder: Path, variant: str = "") -> Manifest:
    """Return the manifest of a build folder, or of a `variant` in it.

    Raises RunError if it cannot be read, and for a folder of variants if none of them is named.
    """
    path = folder / published_file(variant, MANIFEST)
    try:
        content = json_in(path)
    except OSError as error:
        if not path.exists() and (known := list(variants_in(folder))):
            raise _unknown_variant(folder, variant, known) from error
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


def _unknown_variant(folder: Path, variant: str, known: Sequence[str]) -> RunError:
    place, named = Place(str(folder)), [each for each in known if each]
    if not named:
        what = f"has no variant '{variant}'"
        return RunError.at(place, what, "expected no variant, as its recipe has none")
    what = f"has no variant '{variant}'" if variant else "contains the variants of a recipe"
    example = f"name it, as in `variant='{named[0]}'`"
    return RunError.at(place, what, one_of(named), suggestion(variant, named) or example)


def _damaged(path: Path, why: str) -> RunError:
    return RunError.at(
        Place(str(path)),
        f"is not a manifest that this version can read: {why}",
        "expected one written by a build",
        "build again",
    )


def _manifest(folder: Path, content: Mapping[str, Any]) -> Manifest:
    export, artifacts = content["export"], content["artifacts"]
    described = [spec["name"] for spec in content["recipe"]["export"]["inputs"]]
    segments = tuple(map(boundary_of, content["segments"]))
    return Manifest(
        folder=folder,
        recipe=str(content["recipe"]["name"]),
        segments=segments,
        edges=tuple(map(edge_of, content["edges"])),
        inputs=tuple(map(str, export.get("inputs", described))),
        detects=bool(export.get("detects")),
        picture=PictureInput.of(export["picture"]) if "picture" in export else None,
        picture_unknown=str(export.get("picture_unknown", "")),
        classes=tuple(map(str, export.get("classes", ()))),
        seed=_seed(content["recipe"]["model"]),
        pictures=_pictures(content),
        digests={
            name: _digests(name, artifacts[name])
            for name in (END2END, *(segment.save_file for segment in segments))
        },
        targets=tuple(map(_target, content["targets"])),
    )


def _target(plain: Mapping[str, Any]) -> BuiltTarget:
    segment, backend, precision, folder = (
        str(plain[name]) for name in ("segment", "backend", "precision", "folder")
    )
    files = {str(name): str(file["sha256"]) for name, file in plain["files"].items()}
    if any(Path(name).name != name for name in (folder, *files)):
        raise ValueError("a file is outside the folder")
    return BuiltTarget(segment, backend, precision, folder, files)


def _pictures(content: Mapping[str, Any]) -> int:
    name = content["export"].get("picture", {}).get("input")
    inputs = content["recipe"]["export"]["inputs"]
    return next((int(spec["shape"][0]) for spec in inputs if spec["name"] == name), 1)


def _seed(model: Mapping[str, Any]) -> int | None:
    seed = model.get("weights", {}).get("seed")  # an ONNX file contains its weights
    return None if seed is None else int(seed)


def _digests(name: str, artifact: Mapping[str, Any]) -> dict[str, str]:
    digests = {str(artifact.get("file", name)): str(artifact["sha256"])}
    if "weights" in artifact:
        digests[artifact["weights"]["file"]] = str(artifact["weights"]["sha256"])
    if any(Path(file).name != file for file in digests):
        raise ValueError("a file is outside the folder")
    return digests
