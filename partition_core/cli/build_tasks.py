"""The tasks of a build: each step, each artifact, and `doit build` with all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from doit import task_params
from doit.action import BaseAction

from partition_core.base.errors import PartitionError
from partition_core.base.folders import MANIFEST
from partition_core.build.run import RecipeBuild
from partition_core.build.steps import PROVE, STEPS, Row
from partition_core.cli.actions import attempt, say, say_all
from partition_core.cli.builds import Task, file_of, selected_builds, tasks_of_variants


@task_params(  # type: ignore[untyped-decorator]  # reason: doit has no types
    [
        {
            "name": "dry_run",
            "long": "dry-run",
            "type": bool,
            "default": False,
            "help": "show what each step would do, and why; change nothing",
        }
    ]
)
def task_build(dry_run: bool) -> Iterator[Task]:
    """Build `recipe=…`, or all: export, cut, prove, report, publish in build/<recipe>/."""
    for build in selected_builds():
        if dry_run:
            yield {
                "name": build.name,
                "doc": build.overview.doc,
                "actions": [(_explain, [build])],
                "verbosity": 2,
            }
        else:
            yield from _build_tasks(build)
    for builds, task in tasks_of_variants("build"):
        yield {**task, "clean": [_Removal(build) for build in builds]}


def _build_tasks(build: RecipeBuild) -> Iterator[Task]:
    overview = build.overview
    names = {artifact: f"build:{build.name}:{artifact}" for artifact in overview.artifacts}
    steps = [] if build.is_up_to_date else _steps(build, STEPS[-1])
    yield {
        "name": build.name,
        "doc": overview.doc,
        "actions": [(attempt, [build.refuse_failed_targets, file_of(build)])]
        if overview.targets
        else None,
        "uptodate": [lambda: build.is_up_to_date or all(map(build.has_target, overview.targets))],
        "task_dep": [*steps, *names.values()],
        "meta": {"recipe": build.name},
        "clean": [_Removal(build)],
    }
    for artifact, name in names.items():
        after = [] if build.is_up_to_date else _before(build, artifact, names)
        target = build.full_name.path(artifact)
        publish = build.publish_target if artifact in overview.targets else build.publish
        yield _task(
            build,
            name.removeprefix("build:"),
            f"Publish {target} once it is proven.",
            functools.partial(publish, artifact, say),
            artifact,
            build.is_published,
            after,
            targets=[target] if build.is_expected(artifact) else [],
            clean=[_Removal(build, artifact)],
        )


def _before(build: RecipeBuild, artifact: str, names: Mapping[str, str]) -> list[str]:
    """Return the tasks to run before `artifact` is published; `names` are the publishing tasks."""
    order = [step.row.kind for step in build.steps]
    prove = order.index(PROVE)  # nothing is published before it is proven
    producer = next(i for i, step in enumerate(build.steps) if step.artifact == artifact)
    if build.steps[producer].row.may_fail:
        return [build.steps[prove].task(build.name)]
    own = [build.steps[max(producer, prove)].task(build.name)]
    if artifact != MANIFEST:
        return own
    # It names the models and the targets, so it is published after them.
    targets = build.overview.targets
    earlier = [step.artifact for step in build.steps[:prove]]
    return [*own, *(name for each, name in names.items() if each in (*earlier, *targets))]


def _step_tasks(row: Row) -> Callable[[], Iterator[Task]]:
    """Return the task creator, in the sense of doit, of a kind of step."""

    def tasks() -> Iterator[Task]:
        for build in selected_builds():
            for step in (step for step in build.steps if step.row is row):
                yield _task(
                    build,
                    step.task(build.name).removeprefix(f"{row.kind}:"),
                    row.title.format(recipe=build.name, subject=step.subject),
                    functools.partial(build.carry_out, str(step), say),
                    str(step),
                    build.is_done,
                    _steps(build, row, step.subject),
                )
        for builds, task in tasks_of_variants(row.kind):
            if row.artifact and row in [step.row for step in builds[0].steps]:
                yield task

    tasks.__doc__ = row.summary
    return tasks


globals().update({f"task_{row.kind}": _step_tasks(row) for row in STEPS})


def _steps(build: RecipeBuild, before: Row, subject: str = "") -> list[str]:
    """Return the tasks of the steps before a kind of step, in the order of the work.

    doit starts tasks in the order of `task_dep`, except those that had to wait, which start in any
    order: so a task that needs a cut lists the export first. Of steps that may fail only those of
    its own target are among them; what is done behind all targets waits for their publishing.
    """
    kinds = STEPS[: STEPS.index(before)]
    steps = [step for step in build.steps if step.row in kinds]
    own = [s for s in steps if not s.row.may_fail or (before.may_fail and s.subject == subject)]
    published = [f"build:{build.name}:{target}" for target in build.overview.targets]
    return [
        *(step.task(build.name) for step in own),
        *(published if any(step.row.may_fail for step in steps) and not before.may_fail else ()),
    ]


def _task(
    build: RecipeBuild,
    name: str,
    doc: str,
    act: Callable[[], bool],
    what: str,
    is_done: Callable[[str], bool],
    after: list[str],
    **more: Any,
) -> Task:
    return {
        "name": name,
        "doc": doc,
        "actions": [(attempt, [act, file_of(build)])],
        "uptodate": [build.is_up_to_date or _UpToDate(build, what, is_done)],
        "task_dep": after,
        "verbosity": 2,
        "meta": {"recipe": build.name},
        **more,
    }


class _UpToDate:
    """Whether a task is up to date; its text, which `doit info` shows, is the reason why not."""

    def __init__(self, build: RecipeBuild, what: str, is_done: Callable[[str], bool]) -> None:
        self._build = build
        self._what = what
        self._is_done = is_done

    def __call__(self) -> bool:
        """Return it; False after an error, which the action will raise again and report."""
        try:
            return self._is_done(self._what)
        except (PartitionError, OSError):
            return False

    def __repr__(self) -> str:
        return self._build.reason(self._what)


class _Removal(BaseAction):  # type: ignore[misc]  # reason: doit has no types
    """Removes one or all artifacts of a recipe (`doit clean build:<recipe>`)."""

    def __init__(self, build: RecipeBuild, artifact: str | None = None) -> None:
        self._build = build
        self._artifact = artifact
        self.task = None

    def execute(self, out: Any = None, err: Any = None) -> object:
        """Remove them; doit prints what it does."""
        return attempt(lambda: self._build.remove(self._artifact), file_of(self._build))

    def __str__(self) -> str:
        name = self._build.full_name
        whole = name.path("*") if name.variant else name.folder
        return f"remove {name.path(self._artifact) if self._artifact else whole}"


def _explain(build: RecipeBuild) -> object:
    return attempt(lambda: say_all(build.explanation()), file_of(build))
