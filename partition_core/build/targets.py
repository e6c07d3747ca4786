"""The targets of a build: segments converted, compared and published, each by itself."""

from __future__ import annotations

from partition_core.backends.backend import backend
from partition_core.base.errors import BuildError, ConversionError, PartitionError, problem
from partition_core.base.progress import Say
from partition_core.base.wording import warn
from partition_core.build.carry_out import carry_out
from partition_core.build.failures import forget_failure, record_failure
from partition_core.build.plan import Plan
from partition_core.build.publish import is_published, publish
from partition_core.build.steps import COMPARE, CONVERT
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.places import target_place


def make_target(plan: Plan, target: str, say: Say) -> bool:
    """Convert and compare a segment for a target, and publish it if it agrees.

    Returns False if the build folder has it, or it failed as it is and is not required. A failure
    is recorded, so that the rest is published: `refuse_failures` raises it. It is only a warning
    if the target is not required.
    """
    if is_published(plan, target):
        return False
    path, step = plan.failure_path(target), ""
    try:
        for kind in (CONVERT, COMPARE):
            step = f"{kind} {target}"
            carry_out(plan, step, say)
    except PartitionError as error:
        at_fault = plan.step(step)
        record_failure(path, step, at_fault.key if at_fault else "", error.problems)
        if not plan.targets[target].required:
            for each in error.problems:
                warn(f"{each}; the target is not required, and not published")
        return True
    forget_failure(path)
    return publish(plan, target)


def refuse_failures(plan: Plan) -> bool:
    """Raise ConversionError for all required targets that failed; return True."""
    failures = (plan.failure(name) for name, target in plan.targets.items() if target.required)
    ConversionError.refuse(
        problem for failure in failures if failure for problem in failure.problems
    )
    return True


def is_there(plan: Plan, target: str) -> bool:
    """Return whether nothing is left to do for a target, as far as is known."""
    try:
        return is_published(plan, target)
    except (PartitionError, OSError):
        return False


def check_packages(file: RecipeFile) -> None:
    """Raise BuildError, all problems at once, for targets whose packages are not installed."""
    missing = {
        target: backend(target.backend, target.precision).missing()
        for target in file.recipe.partition.targets
    }
    BuildError.refuse(
        problem(target_place(file, target), f"target '{target.name}': {lack}")
        for target, lack in missing.items()
        if lack
    )
