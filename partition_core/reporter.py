"""What a run of doit tells its user: every error, and at the end what there is."""

from __future__ import annotations

from typing import Any, ClassVar

from doit.exceptions import UnmetDependency
from doit.reporter import ConsoleReporter

from partition_core.building.plan import END2END, MANIFEST, Plan
from partition_core.building.project import BUILD

MADE = "made"
"""The value of a task that tells whether it did its work, or found it done by another run."""


class BuildReporter(ConsoleReporter):  # type: ignore[misc]  # reason: doit has no types
    """Says at the end, for each recipe, where each artifact comes from."""

    desc = "one line for each artifact, and every error without a traceback"

    plans: ClassVar[dict[str, Plan]] = {}
    """The plans of a run by recipe. Not in the tasks' `meta`: doit sends that between processes."""

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self._seen: dict[str, list[Any]] = {}
        self._made: set[str] = set()
        self._published: set[str] = set()
        self._failed: set[str] = set()

    def execute_task(self, task: Any) -> None:
        """Say nothing: the actions tell what they do."""

    def add_success(self, task: Any) -> None:
        """Note what was done."""
        self._see(task)
        if task.values.get(MADE):
            self._made.add(task.name)
        self._published.update(task.targets)

    def skip_uptodate(self, task: Any) -> None:
        """Note what needed nothing."""
        self._see(task)

    def add_failure(self, task: Any, fail: Any) -> None:
        """Tell an error; of a task that could not start since another failed, nothing."""
        self._failed.add(_recipe(task))
        if not isinstance(fail, UnmetDependency):
            super().add_failure(task, fail)

    def _see(self, task: Any) -> None:
        if task.actions:
            self._seen.setdefault(_recipe(task), []).append(task)

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        self.write(f"ERROR: {result['exception'].get_msg().strip()}\n")

    def complete_run(self) -> None:
        """Tell what became of each recipe."""
        for recipe, plan in self.plans.items():
            if recipe in self._failed:
                self.write(f"{recipe}: failed\n")
            elif recipe in self._seen:
                self._tell(plan)
            plan.project.digests.save()
        for message in self.runtime_errors:
            self.write(f"ERROR: {message}\n")

    def _tell(self, plan: Plan) -> None:
        tasks = self._seen[plan.recipe]
        there = {target for task in tasks for target in task.targets}
        if there & self._published:
            self.write(f"{plan.recipe}: {_proof(plan)}\n")
            for artifact in plan.artifacts:
                target = f"{BUILD}/{plan.recipe}/{artifact}"
                if target in there:
                    self.write(f"{target}: {self._origin(plan, artifact, target)}\n")
        elif there:
            count = f"{len(there)} artifact{'s' if len(there) != 1 else ''}"
            self.write(f"{plan.recipe}: up to date ({count} in {BUILD}/{plan.recipe})\n")
        elif not any(task.name in self._made for task in tasks):
            steps = ", ".join(task.name for task in tasks)
            self.write(f"{plan.recipe}: up to date ({steps})\n")

    def _origin(self, plan: Plan, artifact: str, target: str) -> str:
        if target not in self._published:
            return "up to date"
        if artifact == MANIFEST:
            return "written"
        models = plan.models() or {}
        size = f", {_size(models[artifact].size)}" if artifact in models else ""
        step = f"export:{plan.recipe}" if artifact == END2END else f"cut:{plan.recipe}:{artifact}"
        return f"built{size}" if step in self._made else f"restored from the store{size}"


def _recipe(task: Any) -> str:
    return str((task.meta or {}).get("recipe", ""))


def _proof(plan: Plan) -> str:
    result = plan.result(plan.prove())
    return str(result.notes["summary"]) if result else "not proven"


def _size(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
