"""What a run of doit tells its user: every error, and at the end what there is."""

from __future__ import annotations

from typing import Any

from doit.reporter import ConsoleReporter

from partition_core.building.plan import MANIFEST, Plan
from partition_core.building.project import BUILD
from partition_core.wording import counted, size_text


class BuildReporter(ConsoleReporter):  # type: ignore[misc]  # reason: doit has no types
    """Says at the end, for each recipe, what was built and what was up to date."""

    desc = "one line for each recipe, and every error without a traceback"

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self._published: dict[str, list[str]] = {}
        self._up_to_date: dict[str, list[str]] = {}
        self._plans: dict[str, Plan] = {}

    def execute_task(self, task: Any) -> None:
        """Say nothing: the actions tell what they do."""

    def add_success(self, task: Any) -> None:
        """Note an artifact that was published."""
        self._note(task, self._published)

    def skip_uptodate(self, task: Any) -> None:
        """Note an artifact that needed nothing."""
        self._note(task, self._up_to_date)

    def _note(self, task: Any, artifacts: dict[str, list[str]]) -> None:
        meta = task.meta or {}
        if "plan" in meta:
            self._plans[meta["recipe"]] = meta["plan"]
            for target in task.targets:
                artifacts.setdefault(meta["recipe"], []).append(target.rsplit("/", 1)[1])

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        self.write(f"ERROR: {result['exception'].get_msg().strip()}\n")

    def complete_run(self) -> None:
        """Tell what became of each recipe."""
        for recipe, plan in self._plans.items():
            published = self._published.get(recipe, [])
            kept = self._up_to_date.get(recipe, [])
            if published:
                self.write(f"{recipe}: {_proof(plan)}\n")
                self.write(f"{recipe}: built {_sized(plan, published)} in {BUILD}/{recipe}\n")
            elif kept:
                count = counted(len(kept), "artifact")
                self.write(f"{recipe}: up to date ({count} in {BUILD}/{recipe})\n")
            plan.project.digests.save()
        for message in self.runtime_errors:
            self.write(f"ERROR: {message}\n")


def _proof(plan: Plan) -> str:
    result = plan.result(plan.prove())
    return str(result.notes["summary"]) if result else "not proven"


def _sized(plan: Plan, artifacts: list[str]) -> str:
    models = plan.models() or {}
    return ", ".join(
        name
        if name == MANIFEST or name not in models
        else f"{name} ({size_text(models[name].size)})"
        for name in artifacts
    )
