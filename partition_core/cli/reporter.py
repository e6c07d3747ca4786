"""The output of a run of doit: every error, and at the end a summary of each recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from doit.exceptions import UnmetDependency
from doit.reporter import ConsoleReporter

from partition_core.base.wording import columns, counted, size_text
from partition_core.build.steps import ALL_SEGMENTS, CUT, PROVE
from partition_core.cli.actions import DID_WORK, SECONDS

if TYPE_CHECKING:
    from partition_core.build.run import RecipeBuild, Run
    from partition_core.graph.stored_models import StoredModel


class BuildReporter(ConsoleReporter):  # type: ignore[misc]  # reason: doit has no types
    """Reports at the end, for each recipe, where each artifact comes from.

    At a terminal as a table with times; otherwise as a line for each artifact, without times, so
    that the same work gives the same log.
    """

    desc = "where each artifact comes from, and every error without a traceback"

    run: ClassVar[Run | None] = None
    """The current run. Not in the tasks' `meta`, which doit sends between processes."""

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self._tasks: dict[str, list[Any]] = {}
        self._worked: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._published: set[str] = set()
        self._failed: set[str] = set()

    def execute_task(self, task: Any) -> None:
        """Print nothing: the actions report what they do."""

    def add_success(self, task: Any) -> None:
        """Record a task that ran."""
        self._record(task)
        if task.values.get(DID_WORK):
            self._worked.add(task.name)
        self._seconds[task.name] = float(task.values.get(SECONDS) or 0)
        self._published.update(task.targets)

    def skip_uptodate(self, task: Any) -> None:
        """Record a task that was up to date."""
        self._record(task)

    def add_failure(self, task: Any, fail: Any) -> None:
        """Print an error, except for a task that could not start because another one failed."""
        self._failed.add(_recipe(task))
        if not isinstance(fail, UnmetDependency):
            super().add_failure(task, fail)

    def _record(self, task: Any) -> None:
        if task.actions and _recipe(task):
            self._tasks.setdefault(_recipe(task), []).append(task)

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        self.write(f"ERROR: {result['exception'].get_msg().strip()}\n")

    def complete_run(self) -> None:
        """Print the outcome of each recipe."""
        for build in self.run.builds if self.run else ():
            if build.name in self._failed:
                if build.overview.targets and build.name in self._tasks:
                    self._report(build)  # what does not need the target is published
                self.write(f"{build.name}: failed\n")
            elif build.name in self._tasks:
                self._report(build)
        if self.run and self._tasks:
            self.run.finish()
        for message in self.runtime_errors:
            self.write(f"ERROR: {message}\n")

    def _report(self, build: RecipeBuild) -> None:
        tasks = self._tasks[build.name]
        targets = {target for task in tasks for target in task.targets}
        self._name_segments(build, targets)
        if targets & self._published and self.outstream.isatty():
            self._report_table(build, targets)
        elif targets & self._published:
            self.write(f"{build.name}: {_proof(build)}\n")
            for artifact, target in _targets(build, targets):
                how = self._origin(build, artifact, target)
                model = (build.plan.models() or {}).get(artifact)
                size = f", {_size(model)}" if model and target in self._published else ""
                self.write(f"{target}: {how}{size}\n")
        elif targets:
            count = counted(len(targets), "artifact")
            self.write(f"{build.name}: up to date ({count} in {build.full_name.folder})\n")
        elif not any(task.name in self._worked for task in tasks):
            steps = ", ".join(task.name for task in tasks)
            self.write(f"{build.name}: up to date ({steps})\n")

    def _name_segments(self, build: RecipeBuild, targets: set[str]) -> None:
        """Put each segment in place of what stood for all, now that they are known."""
        path = build.full_name.path
        for every in (targets, self._published):
            if path(ALL_SEGMENTS) in every:
                every.remove(path(ALL_SEGMENTS))
                every.update(map(path, build.overview.segments))
        cut = f"{CUT}:{build.name}:"
        if f"{cut}{ALL_SEGMENTS}" in self._worked:
            self._worked.update(f"{cut}{name}" for name in build.overview.segments)

    def _report_table(self, build: RecipeBuild, targets: set[str]) -> None:
        models = build.plan.models() or {}
        rows = [("artifact", "size", "obtained", "seconds")]
        for artifact, target in _targets(build, targets):
            work = [f"build:{build.name}:{artifact}", self._step(build, artifact)]
            seconds = sum(self._seconds.get(name, 0.0) for name in work)
            rows.append(
                (
                    target,
                    _size(models[artifact]) if artifact in models else _file_size(build, target),
                    self._origin(build, artifact, target),
                    f"{seconds:.1f}" if target in self._published else "",
                )
            )
        for line in columns(rows, frozenset({1, 3})):
            self.write(f"{line}\n")
        self.write(f"{build.name}: {_proof(build)}\n")

    def _origin(self, build: RecipeBuild, artifact: str, target: str) -> str:
        if artifact in build.overview.targets:
            return self._of_target(build, artifact, target)
        if target not in self._published:
            return "up to date"
        if artifact not in (build.plan.models() or {}):
            return "written"
        is_built = self._step(build, artifact) in self._worked
        return "built" if is_built else "restored from the store"

    def _of_target(self, build: RecipeBuild, artifact: str, target: str) -> str:
        """Return the origin of a target, and how it agrees."""
        results = build.plan.target_results(artifact)
        if not results:
            return "failed"
        origin = "published" if target in self._published else "up to date"
        return f"{origin}, {results[1].notes['summary']}"

    def _step(self, build: RecipeBuild, artifact: str) -> str:
        """Return the task that produces an artifact."""
        return next(step.task(build.name) for step in build.steps if step.artifact == artifact)


def _targets(build: RecipeBuild, there: set[str]) -> list[tuple[str, str]]:
    """Return the artifacts, and their paths, that a run was about."""
    named = [(name, build.full_name.path(name)) for name in build.overview.artifacts]
    return [(name, target) for name, target in named if target in there]


def _size(model: StoredModel) -> str:
    if model.weights is None:
        return size_text(model.file.size)
    return f"{size_text(model.file.size)} and {size_text(model.weights.size)} of weights"


def _file_size(build: RecipeBuild, target: str) -> str:
    path = build.run.root / target
    files = [path] if path.is_file() else list(path.glob("*"))
    return size_text(sum(file.stat().st_size for file in files)) if files else ""


def _recipe(task: Any) -> str:
    return str((task.meta or {}).get("recipe", ""))


def _proof(build: RecipeBuild) -> str:
    result = build.plan.result_of(PROVE)
    return str(result.notes["summary"]) if result else "not proven"
