"""Builds that are killed at random instants, alone and eight at a time.

A run of the tests has a few kills of builds of an ONNX file, a thorough one many of PyTorch models.
`PARTITION_CORE_KILLS` and `PARTITION_CORE_STORM_KILLS` ask for still more.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from partition_core.store.entry import decode
from tests.projects import FileScratch, Scratch, steps, tiny_file

from .leftovers import entries, finished

KILLS = int(os.environ.get("PARTITION_CORE_KILLS", "12"))
STORM_KILLS = int(os.environ.get("PARTITION_CORE_STORM_KILLS", "4"))
STEPS = ("export", "cut body.onnx", "cut tail.onnx", "prove")


def forget(store: Path, gone: set[str]) -> None:
    for path in entries(store):
        result = decode(path.name, path.read_bytes())
        if result is not None and result.origin.step in gone:
            path.unlink()


def killed_after(project: Scratch, begun: str, seconds: float) -> bool:
    """Run a build, kill its processes a while after it says `begun`; return whether it was killed.

    After nothing at all the while begins with the build.
    """
    with project.start("build") as build:
        try:
            assert build.stdout is not None
            while begun and (said := build.stdout.readline()) and begun not in said:
                pass
            build.wait(seconds)
        except subprocess.TimeoutExpired:
            kill(build.pid)
    return build.returncode == -signal.SIGKILL


def kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended just now
        os.killpg(group, signal.SIGKILL)


def duration(project: Scratch, gone: set[str]) -> float:
    """Return how many seconds a build takes for which some steps are gone."""
    forget(project.store, gone)
    shutil.rmtree(project.folder / "build")
    start = time.monotonic()
    project.built()
    return time.monotonic() - start


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.part") if path.is_file()]


@pytest.mark.parametrize(
    ("kind", "number"),
    [("scratch", 2), pytest.param("torch_scratch", KILLS, marks=pytest.mark.thorough)],
    ids=["file", "torch"],
)
def test_killed_builds_leave_nothing_wrong_and_repeat_no_finished_step(
    request: pytest.FixtureRequest, kind: str, number: int
) -> None:
    scratch: Scratch = request.getfixturevalue(kind)
    scratch.built()
    expected = scratch.artifacts()
    lasts = [duration(scratch, set(STEPS[start:])) for start in range(len(STEPS) + 1)]
    chance = random.Random(20)
    kills: Counter[tuple[str, ...]] = Counter()
    while kills.total() < number:
        # Most runs start behind the export, which takes nearly all the time of a build.
        start = chance.choice((0, 1, 1, 1, 2, 3, 4))
        gone = set(STEPS[start:])
        forget(scratch.store, gone)
        if chance.random() < 0.7:
            shutil.rmtree(scratch.folder / "build")
        # Half of them are killed from their start on, the others from that of a step.
        steps_left = [f"tiny: {step}" for step in STEPS[start:]]
        begun = chance.choice([*steps_left, *[""] * max(1, len(steps_left))])
        last = lasts[start] if not begun else max(0.0, lasts[start] - lasts[-1])
        if not killed_after(scratch, begun, chance.uniform(0.0, last)):
            continue
        done = finished(scratch.store)
        kills[tuple(sorted(done - (set(STEPS) - gone)))] += 1
        for name, content in expected.items():
            path = scratch.folder / "build" / "tiny" / name
            assert not path.exists() or path.read_bytes() == content
        output = scratch.built()
        assert not done & set(steps(output)), output
        assert scratch.artifacts() == expected
        assert parts(scratch.folder) == []
    print(f"{kills.total()} kills by the steps that were finished: {dict(kills)}")


class Storm:
    """Builds at the same time of a few recipes in a few folders, some of them killed."""

    def __init__(
        self, folder: Path, kind: type[Scratch], patience: float, projects: int, recipes: int
    ) -> None:
        self.chance, self.patience = random.Random(8), patience
        self.store = folder / "store"
        self.recipes = [f"tiny{number}" for number in range(recipes)]
        self.projects = [kind(folder / f"p{n}", self.store) for n in range(projects)]
        for project in self.projects:
            text = (project.folder / "recipes" / "tiny.yaml").read_text()
            (project.folder / "recipes" / "tiny.yaml").unlink()
            for number, name in enumerate(self.recipes):
                (project.folder / f"{name}.onnx").write_bytes(tiny_file(seed=number))
                project.write(f"recipes/{name}.yaml", of_number(text, number, name))
        self.outputs: list[str] = []
        self.failures: list[str] = []
        self.kills = 0

    def run(self, kills: int, workers: int) -> None:
        """Build until so many builds were killed, and five times as many ran."""
        threads = [
            threading.Thread(target=self._work, args=(self.projects[n % len(self.projects)], kills))
            for n in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, project: Scratch, kills: int) -> None:
        while self.failures == [] and (self.kills < kills or len(self.outputs) < 5 * kills):
            recipes = ",".join(self.chance.sample(self.recipes, k=self.chance.choice((1, 2))))
            patience = self.chance.choice((None, None, self.chance.uniform(0.1, self.patience)))
            with project.start("build", f"recipe={recipes}") as build:
                killer = threading.Timer(patience or 600.0, kill, (build.pid,))
                killer.start()
                output = build.communicate()[0]
                killer.cancel()
            self.outputs.append(output)
            if build.returncode == -signal.SIGKILL:
                self.kills += 1
            elif build.returncode != 0:
                self.failures.append(output)

    def artifacts(self) -> Iterator[tuple[str, str, bytes]]:
        for project in self.projects:
            for recipe in self.recipes:
                for name, content in project.artifacts(recipe).items():
                    yield recipe, name, content


def of_number(recipe: str, number: int, name: str) -> str:
    """Return a recipe with another seed or another file."""
    return recipe.replace("seed: 0", f"seed: {number}").replace("tiny.onnx", f"{name}.onnx")


@pytest.mark.parametrize(
    ("kind", "patience", "kills"),
    [(FileScratch, 1.0, 2), (Scratch, 3.0, STORM_KILLS)],
    ids=["file", "torch"],
)
@pytest.mark.thorough
def test_eight_builds_at_once_with_kills_work_once_and_agree(
    tmp_path: Path, kind: type[Scratch], patience: float, kills: int
) -> None:
    storm = Storm(tmp_path, kind, patience, projects=3, recipes=4)
    storm.run(kills, workers=8)
    assert storm.failures == []
    first = "read the ONNX file" if kind is FileScratch else "build the model"
    begun = sum(text.count(f": export: {first} …") for text in storm.outputs)
    assert begun <= len(storm.recipes) + storm.kills
    for project in storm.projects:
        project.built()
    found: dict[tuple[str, str], set[bytes]] = {}
    for recipe, name, content in storm.artifacts():
        found.setdefault((recipe, name), set()).add(content)
    assert len(found) == 4 * len(storm.recipes)
    assert all(len(contents) == 1 for contents in found.values())
    alone = kind(tmp_path / "alone", tmp_path / "another store")
    recipe = alone.folder / "recipes" / "tiny.yaml"
    alone.write("recipes/tiny1.yaml", of_number(recipe.read_text(), 1, "tiny1"))
    (alone.folder / "tiny1.onnx").write_bytes(tiny_file(seed=1))
    recipe.unlink()
    alone.built()
    for name, content in alone.artifacts("tiny1").items():
        assert found["tiny1", name] == {content}
    assert storm.projects[0].built("verify").endswith("all sound\n")
    assert parts(tmp_path) == []
    print(f"{len(storm.outputs)} builds, {storm.kills} kills, {begun} exports begun")
