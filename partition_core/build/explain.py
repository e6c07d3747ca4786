"""Why a build would do what it would do, one line per step; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from partition_core.base.build_name import BuildName
from partition_core.base.fingerprint import Fingerprint, changes
from partition_core.build.plan import Plan
from partition_core.build.publish import is_published
from partition_core.build.step import Step
from partition_core.chain.manifest import former_manifest

_LONGEST = 6


def explanation(plan: Plan) -> Iterator[str]:
    """Yield, for each step and artifact, whether it is up to date, restored or built, and why."""
    folder, variant = plan.project.build_folder(plan.recipe), BuildName.of(plan.recipe).variant
    former = former_manifest(folder, variant).fingerprints
    waiting = ""
    for name, step in plan.steps():
        verdict = _verdict(plan, name, step, former, waiting)
        if verdict.startswith(("build", "fetch")):
            waiting = waiting or name
        yield f"{plan.recipe}: {name}: {verdict}"
    for artifact in plan.artifacts:
        yield f"{plan.recipe}: {artifact}: {_artifact_verdict(plan, artifact, waiting)}"


def _verdict(
    plan: Plan, name: str, step: Step | None, former: Mapping[str, Fingerprint], waiting: str
) -> str:
    if _failed(plan, name):
        return "build: it failed in the last build"
    if step is None:
        return f"build if the result of '{waiting}' changes"
    result = plan.result(step)
    if result is not None and plan.project.store.is_complete(result):
        return "up to date"
    if result is not None and all(is_published(plan, artifact) for artifact in plan.artifacts):
        return "up to date"
    if plan.is_offered(step):
        return "fetch from the shared store"
    if result is not None:
        return "build: its files are no longer in the store"
    if name not in former:
        return "build: there is no earlier build"
    reasons = changes(former[name], step.fingerprint)
    if not reasons:
        return "build: its result is no longer in the store"
    more = f"; and {len(reasons) - _LONGEST} more" if len(reasons) > _LONGEST else ""
    return f"build: {'; '.join(reasons[:_LONGEST])}{more}"


def _failed(plan: Plan, name: str) -> bool:
    """Return whether a step of a required target failed in the last build."""
    if not plan.names[name].row.may_fail or not plan.targets[plan.names[name].subject].required:
        return False
    failure = plan.failure(plan.names[name].subject)
    return failure is not None and failure.step == name


def _artifact_verdict(plan: Plan, artifact: str, waiting: str) -> str:
    if waiting:
        return "publish if it is new and the proof holds"
    if is_published(plan, artifact):
        return "up to date"
    exists = plan.project.artifact_path(plan.recipe, artifact).exists()
    return f"restore: the file {'differs' if exists else 'is missing'}"
