"""Reads what a build folder says of itself; must not load a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partition_core.base.disk import file_digest
from partition_core.base.errors import Place, RunError, problem
from partition_core.base.folders import END2END, MANIFEST
from partition_core.base.outside_files import json_in
from partition_core.chain.picture import PictureInput

MODEL_INPUT = "end2end input"
MODEL_OUTPUT = "end2end output"
_FORMAT = 1


@dataclass(frozen=True)
class Tensor:
    """A tensor at a boundary: its name, ONNX dtype and dims, of which texts are free sizes.

    Equal texts of one segment are equal sizes. `reference` is the mark reference it comes from.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    reference: str = ""


@dataclass(frozen=True)
class Part:
    """A segment: its file, its boundary, and the SHA-256 of each of its files by name."""

    save_file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Edge:
    """The tensor `output` of `producer` is `input` of `consumer`; an empty producer is a gap."""

    producer: str
    output: str
    consumer: str
    input: str


@dataclass(frozen=True)
class Manifest:
    """What a build folder holds.

    `parts` are in the order in which they run; `inputs` are those of the end2end model. `picture`
    tells how pictures are prepared, and `picture_unknown` why it does not; `classes` are the names
    of labels, if they are known. `seed` is what the weights were drawn from; None for others.
    `pictures` is how many a detector takes at once, `digests` has the SHA-256 of each of end2end's
    files by name.
    """

    folder: Path
    recipe: str
    parts: tuple[Part, ...]
    edges: tuple[Edge, ...]
    inputs: tuple[str, ...]
    detects: bool
    picture: PictureInput | None
    picture_unknown: str
    classes: tuple[str, ...]
    seed: int | None = None
    pictures: int = 1
    digests: Mapping[str, str] = field(default_factory=dict)

    def check_files(self, save_file: str) -> None:
        """Raise RunError unless the files of a segment or end2end are those that the build made."""
        known = {part.save_file: part.digests for part in self.parts} | {END2END: self.digests}
        for name, digest in known[save_file].items():
            try:
                found = file_digest(self.folder / name)
            except OSError as error:
                raise RunError(
                    problem(
                        Place(str(self.folder / name)),
                        f"cannot be read: {error.strerror}",
                        "expected a file of the build",
                        "build again"
                        + (", or give another runtime for it in `segments`" * (name != END2END)),
                    )
                ) from error
            if found != digest:
                raise RunError(
                    problem(
                        Place(str(self.folder / name)),
                        f"its SHA-256 is {found[:16]}…",
                        f"the manifest says {digest[:16]}…",
                        "build again, or take `verify=False` if you changed it on purpose",
                    )
                )


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a build folder; raises RunError if there is none that can be read."""
    path = folder / MANIFEST
    try:
        content = json_in(path)
    except OSError as error:
        raise RunError(
            problem(
                Place(str(path)),
                f"cannot be read: {error.strerror}",
                "expected the folder of a build, such as 'build/yolov3'",
                "build the recipe first: `doit build recipe=…`",
            )
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
    return RunError(
        problem(
            Place(str(path)),
            f"is no manifest that this version can read: {why}",
            "expected one that a build wrote",
            "build again",
        )
    )


def _manifest(folder: Path, content: Mapping[str, Any]) -> Manifest:
    told, artifacts = content["export"], content["artifacts"]
    described = [spec["name"] for spec in content["recipe"]["export"]["inputs"]]
    return Manifest(
        folder=folder,
        recipe=str(content["recipe"]["name"]),
        parts=tuple(
            Part(
                save_file=segment["save_file"],
                inputs=tuple(map(_tensor, segment["inputs"])),
                outputs=tuple(map(_tensor, segment["outputs"])),
                digests=_digests(segment["save_file"], artifacts[segment["save_file"]]),
            )
            for segment in content["segments"]
        ),
        edges=tuple(
            Edge(edge["producer"], edge["output"], edge["consumer"], edge["input"])
            for edge in content["edges"]
        ),
        inputs=tuple(map(str, told.get("inputs", described))),
        detects=bool(told.get("detects")),
        picture=PictureInput.of(told["picture"]) if "picture" in told else None,
        picture_unknown=str(told.get("picture_unknown", "")),
        classes=tuple(map(str, told.get("classes", ()))),
        seed=_seed(content["recipe"]["model"]),
        pictures=_pictures(content),
        digests=_digests(END2END, artifacts[END2END]),
    )


def _pictures(content: Mapping[str, Any]) -> int:
    taken = content["export"].get("picture", {}).get("input")
    inputs = content["recipe"]["export"]["inputs"]
    return next((int(one["shape"][0]) for one in inputs if one["name"] == taken), 1)


def _seed(model: Mapping[str, Any]) -> int | None:
    seed = model.get("weights", {}).get("seed")  # an ONNX file has its weights itself
    return None if seed is None else int(seed)


def _tensor(plain: Mapping[str, Any]) -> Tensor:
    return Tensor(plain["name"], plain["dtype"], tuple(plain["dims"]), plain["reference"])


def _digests(name: str, artifact: Mapping[str, Any]) -> dict[str, str]:
    found = {name: str(artifact["sha256"])}
    if "weights" in artifact:
        found[artifact["weights"]["file"]] = str(artifact["weights"]["sha256"])
    if any(Path(file).name != file for file in found):
        raise ValueError("a file lies outside the folder")
    return found
