"""The row of one config: builds its recipe as `doit build` does, and tells how far that went.

python benchmarks/coverage_row.py FAMILY CONFIG SIDE ROW.json    in an empty folder

The row is written after each step, so that it also tells of a process that was ended.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from coverage_models import Candidate, cuts, overrides, part_of, recipe_text, tolerance_of
from coverage_stand_ins import BERT, provide_torchvision, write_bert

from partition_core.base.errors import CutError, PartitionError, Place, ProofError

SEEDS = 5
"""How many seeds are tried for weights before a difference from PyTorch counts as one."""

COLUMNS = ("built", "exported", "marked", "cut", "chain_equal", "predict_equal")
LONGEST_REASON = 240
_ABOUT_CUTS = re.compile(r"mark|partition\.type")
RECIPE = "model"


class Row:
    """A row as it grows; `file` always holds its newest state."""

    def __init__(self, family: str, config: str, file: Path) -> None:
        self.values: dict[str, Any] = new_row(family, config)
        self._file = file
        self._start = time.monotonic()

    def note(self, **values: Any) -> None:
        """Change values of the row and write it."""
        self.values |= values
        self.values["seconds"] = round(time.monotonic() - self._start, 1)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self.values), encoding="utf-8")
        part.replace(self._file)

    def say(self, message: str) -> None:
        """Take a message of the build: that a part of the work begins, or how long it took."""
        if message.endswith("…"):
            self.note(reason=f"ended while: {message.removeprefix(f'{RECIPE}: ')[:-2]}")
        elif "build the model" in message:
            self.note(built=True)


def new_row(family: str, config: str) -> dict[str, Any]:
    """Return the row of a config of which nothing is known yet."""
    return {
        "family": family,
        "config": config,
        "part": "",
        "partition": "",
        "seed": 0,
        "tolerance": None,
        **dict.fromkeys(COLUMNS, False),
        "detections": [],
        "seconds": 0.0,
        "reason": "",
    }


def fill(row: Row, candidate: Candidate, side: int) -> None:
    """Build the recipe of a config in the folder where this runs, with the first cut that fits."""
    row.note(reason="ended while: read the config")
    whole = _config_of(candidate.config)
    part = part_of(whole.model)
    model = whole.model[part] if part else whole.model
    changed = {
        key.replace("model.", f"model.{part}.", 1) if part else key: value
        for key, value in overrides(model).items()
    }
    if model.get("language_model"):
        write_bert(Path(BERT), _class_names(whole))
    row.note(part=part, tolerance=tolerance_of(candidate.family))
    choices = iter(cuts(model))
    choice, seed = next(choices, None), 0
    while choice is not None:
        row.note(partition=choice.name, seed=seed, **dict.fromkeys(COLUMNS, False))
        try:
            _build(row, recipe_text(candidate, choice, side, changed, seed, part))
            row.note(reason="")
            return
        except PartitionError as error:
            row.note(reason=_reason(error))
            if _is_about_numbers(error) and seed + 1 < SEEDS:
                seed += 1
            elif _is_about_the_cut(error):
                choice = next(choices, None)
            else:
                return


def _is_about_numbers(error: PartitionError) -> bool:
    """Return whether other weights may do: a detection or mask differs, or there is none.

    Rounding decides on which side of a threshold an overlap or a score lies that is as near to it
    as numbers of 32 bits are to each other. A wrong graph is wrong with any weights.
    """
    return isinstance(error, ProofError) and all(
        str(one.place).startswith(("detections", "masks", "panoptic", "mark"))
        for one in error.problems
    )


def _is_about_the_cut(error: PartitionError) -> bool:
    """Return whether another place to cut may do: a mark is not met or bounds no part.

    Or a policy is not for such detectors.
    """
    places = (str(one.place) for one in error.problems)
    return isinstance(error, CutError) or all(_ABOUT_CUTS.search(place) for place in places)


def _class_names(config: Any) -> list[str]:
    from partition_core.sources.mmdet.preparation import class_names

    return class_names(config)


def _config_of(config: str) -> Any:
    from partition_core.sources.mmdet.configs import find_config
    from partition_core.sources.mmdet.detector import provide_compiled_ops, quiet_mmdet

    path = find_config(config, Path.cwd(), Place(RECIPE))
    with quiet_mmdet():
        provide_compiled_ops()
        from mmengine.config import Config

        return Config.fromfile(str(path))


def _build(row: Row, recipe: str) -> None:
    from partition_core.base.folders import END2END, MANIFEST
    from partition_core.build.run import Run

    recipes = Path("recipes")
    recipes.mkdir(exist_ok=True)
    (recipes / f"{RECIPE}.yaml").write_text(recipe, encoding="utf-8")
    run = Run(Path.cwd(), [RECIPE])
    (build,) = run.builds
    build.carry_out("export", row.say)
    row.note(exported=True)
    marks = {mark.name for mark in build.plan.file.recipe.marks}
    row.note(marked=marks == _marks_in(build))
    for name in build.overview.segments:
        build.carry_out(f"cut {name}", row.say)
    row.note(cut=True)
    try:
        build.carry_out("prove", row.say)
    except ProofError as error:
        wrong = [str(one.place).startswith("segment") for one in error.problems]
        row.note(chain_equal=not any(wrong), predict_equal=all(wrong))
        raise
    for artifact in (END2END, *build.overview.segments, MANIFEST):
        build.publish(artifact, row.say)
    manifest = json.loads(Path("build", RECIPE, MANIFEST).read_text(encoding="utf-8"))
    row.note(chain_equal=True, predict_equal=True, detections=_counts(manifest["proof"]))


def _marks_in(build: Any) -> set[str]:
    from partition_core.base.folders import END2END
    from partition_core.graph.file.graph_reader import read_model
    from partition_core.graph.marks import marks_of

    result = build.plan.result_of("export")
    file = build.run.project.store.path_of(result.files[END2END])
    return {tensor.reference.mark for tensor in marks_of(read_model(file)).tensors}


def _counts(proof: dict[str, Any]) -> list[int]:
    """Return how many detections were compared, picture by picture."""
    pictures = [one for sample in proof["samples"] for one in sample.get("detections", [])]
    return [picture["pytorch"] for picture in pictures]


def _reason(error: BaseException) -> str:
    """Return one line without a folder of this machine."""
    if isinstance(error, PartitionError):
        first = error.problems[0]
        words = "; ".join(part for part in (first.what, first.expected) if part)
        place = str(Place(path=first.place.path))
        text = f"{place}: {words}" if place else words
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error}"
    text = re.sub(r"(?<!\w)(/[\w.+-]+)+/", "", " ".join(text.split()))
    text = text.partition(", the current sys.path")[0]
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


def main() -> None:
    """Fill the row that the command line names."""
    family, config, side, file = sys.argv[1:]
    os.environ["PARTITION_CORE_STORE"] = str(Path.cwd() / "store")
    provide_torchvision()
    row = Row(family, config, Path(file))
    try:
        fill(row, Candidate(family, config), int(side))
    except Exception as error:  # whatever a model raises is what its row tells
        row.note(reason=_reason(error))
        traceback.print_exc()


if __name__ == "__main__":
    main()
