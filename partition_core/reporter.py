"""What a run of doit tells its user: every error, and at the end what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doit.reporter import ConsoleReporter

from partition_core.building.folders import BUILD
from partition_core.wording import counted, size_text

if TYPE_CHECKING:
    from partition_core.building.run import RecipeBuild


class BuildReporter(ConsoleReporter):  # type: ignore[misc]  # reason: doit has no types
    """Says at the end, for each recipe, what was built and what was up to date."""

    desc = "one line for each recipe, and every error without a traceback"

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self._published: dict[str, list[str]] = {}
        self._up_to_date: dict[str, list[str]] = {}
        self._builds: dict[str, RecipeBuild] = {}

    def execute_task(self, task: Any) -> None:
        """Say nothing: the actions tell what they do."""

    def add_success(self, task: Any) -> None:
        """Note an artifact that was published."""
        self._note(task, self._published)

    def skip_uptodate(self, task: Any) -> None:
        """Note an artifact that needed nothing."""
        self._note(task, self._up_to_date)

    def _note(self, task: Any, artifacts: dict[str, list[str]]) -> None:
        build = (task.meta or {}).get("build")
        if build is not None:
            self._builds[build.name] = build
            for target in task.targets:
                artifacts.setdefault(build.name, []).append(target.rsplit("/", 1)[1])

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        self.write(f"ERROR: {result['exception'].get_msg().strip()}\n")

    def complete_run(self) -> None:
        """Tell what became of each recipe."""
        for recipe, build in self._builds.items():
            published = self._published.get(recipe, [])
            kept = self._up_to_date.get(recipe, [])
            if published:
                self.write(f"{recipe}: {_proof(build)}\n")
                self.write(f"{recipe}: built {_sized(build, published)} in {BUILD}/{recipe}\n")
            elif kept:
                count = counted(len(kept), "artifact")
                self.write(f"{recipe}: up to date ({count} in {BUILD}/{recipe})\n")
        for run in {id(build.run): build.run for build in self._builds.values()}.values():
            run.finish()
        for message in self.runtime_errors:
            self.write(f"ERROR: {message}\n")


def _proof(build: RecipeBuild) -> str:
    result = build.plan.result(build.plan.prove())
    return str(result.notes["summary"]) if result else "not proven"


def _sized(build: RecipeBuild, artifacts: list[str]) -> str:
    models = build.plan.models() or {}
    return ", ".join(
        f"{name} ({size_text(models[name].size)})" if name in models else name for name in artifacts
    )
