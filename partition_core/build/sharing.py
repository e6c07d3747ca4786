"""Results given to the shared store, and taken from it, by command: all of a recipe's, or some."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from partition_core.base.errors import BuildError, Place, one_of, problem, suggestion
from partition_core.base.folders import BUILD, REPORT, SETTINGS
from partition_core.base.wording import warn
from partition_core.build.plan import Plan
from partition_core.build.publish import publish
from partition_core.build.settings import REMOTE_VARIABLE
from partition_core.build.step import Step
from partition_core.build.steps import EXPORT
from partition_core.store.entry import Result
from partition_core.store.lists import merged
from partition_core.store.shared import RemoteError, SharedStore
from partition_core.store.transports.by_url import transport_of


def push(plan: Plan, names: Sequence[str] | None = None) -> list[str]:
    """Give a recipe's results to the shared store; return in lines what was moved.

    All of them, or what a pull of the artifacts `names` needs. Being asked for, it is done
    whether or not builds write. Raises BuildError for a recipe that is not built.
    """
    chosen = _chosen(plan, names)
    shared, place = _shared(plan)
    # All that is to be sent is looked up before any of it is.
    parcels = _parcels(plan, chosen, lambda step: _here(plan, step))
    lines = []
    for _, result, files in parcels:
        if any(plan.project.store.path_of(result.files[name]) is None for name in files):
            raise _not_built(plan)
    with _told(place):
        for step, result, files in parcels:
            moved = shared.upload(step.key, result, plan.project.store, files)
            if files:
                told = f"sent {', '.join(moved)}" if moved else "was there"
                lines.append(f"{plan.recipe}: {step.name}: {told}")
        exports, (exported, _, _) = plan.exports, parcels[0]
        if exports.is_followed:
            lists = merged([exports.names_of(exported.fingerprint)], shared.lists_at(exports.key))
            shared.upload(exports.key, exports.entry(lists), plan.project.store)
    return lines


def pull(plan: Plan, names: Sequence[str] | None = None) -> list[str]:
    """Take a recipe's artifacts from the shared store into the build folder, verified.

    All of them, or only the artifacts `names`: then no bytes of the others are transferred.
    Returns in lines what was moved. Raises BuildError if the shared store lacks something; the
    build folder is then as it was.
    """
    chosen = _chosen(plan, names)
    shared, place = _shared(plan)
    lines = []

    def entry(step: Step) -> tuple[Step, Result]:
        for one in plan.alternatives(step):
            result = plan.result(one) or shared.entry(one.key, plan.fitting(one))
            if result is not None:
                plan.remember(one, result)
                return one, result
        raise _not_there(plan, place, f"result of '{step.name}'")

    with _told(place):
        if plan.exports.is_followed and plan.result_of(EXPORT) is None:
            plan.exports.learn(shared.lists_at(plan.exports.key))
        for step, result, files in _parcels(plan, chosen, entry):
            moved = [name for name in files if _brought(plan, shared, place, result, name)]
            if plan.project.store.is_complete(result):
                _keep(plan, step, result)
            if step.name == EXPORT:
                plan.exports.keep(step.fingerprint)
            if files:
                told = f"got {', '.join(moved)}" if moved else "was here"
                lines.append(f"{plan.recipe}: {step.name}: {told}")
    for artifact in chosen:
        publish(plan, artifact)
    return [*lines, f"{plan.recipe}: {', '.join(chosen)} in {BUILD}/{plan.recipe}"]


def _keep(plan: Plan, step: Step, result: Result) -> None:
    plan.project.store.on_first_tier(lambda tier: tier.put_entry(step.key, result))


def _brought(plan: Plan, shared: SharedStore, place: str, result: Result, name: str) -> bool:
    """Put one file of a result into the store; return whether it was not there."""
    file = result.files[name]
    if plan.project.store.path_of(file) is not None:
        return False
    if not plan.project.store.on_first_tier(lambda tier: shared.download(name, file, tier)):
        raise _not_there(plan, place, f"'{name}'")
    return True


def _parcels(
    plan: Plan, chosen: Sequence[str], find: Callable[[Step], tuple[Step, Result]]
) -> list[tuple[Step, Result, list[str]]]:
    """Return each step, its result, and its files that the chosen artifacts are made of.

    The next step is known only if the result of the one before is found.
    """
    found = []
    for name, step in plan.steps():
        if plan.names[name].artifact == REPORT and REPORT not in chosen:
            continue
        if step is None:
            raise _not_built(plan)
        found.append(find(step))
    everything = tuple(chosen) == _models(plan)
    wanted = {name for artifact in chosen for name in plan.files_of(artifact)}
    return [
        (step, result, [name for name in step.files if everything or name in wanted])
        for step, result in found
    ]


def _models(plan: Plan) -> tuple[str, ...]:
    """Return what moves unless someone names more: a report is made where it is read."""
    return tuple(name for name in plan.artifacts if name != REPORT)


def _here(plan: Plan, step: Step) -> tuple[Step, Result]:
    result = plan.result(step)
    if result is None:
        raise _not_built(plan)
    return step, result


def _chosen(plan: Plan, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the artifacts to move, in the order in which they are published."""
    if names is None:
        return _models(plan)
    unknown = [name for name in names if name not in plan.artifacts]
    if unknown or not names:
        raise BuildError(
            *(
                problem(
                    Place(f"artifact={','.join(names)}"),
                    f"recipe '{plan.recipe}' has no artifact '{name}'",
                    one_of(plan.artifacts),
                    suggestion(name, plan.artifacts),
                )
                for name in unknown or [""]
            )
        )
    return tuple(artifact for artifact in plan.artifacts if artifact in names)


def _shared(plan: Plan) -> tuple[SharedStore, str]:
    url = plan.project.settings.remote
    if not url:
        raise BuildError.at(
            Place(SETTINGS),
            "there is no shared store",
            'expected a line such as `remote = "https://host/path"`',
            f"write it, or set the variable {REMOTE_VARIABLE}",
        )
    transport = transport_of(url, plan.project.root)()
    return SharedStore(transport, True, warn), f"shared store '{transport.location}'"


@contextlib.contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        raise BuildError.at(Place(place), str(error)) from error


def _not_built(plan: Plan) -> BuildError:
    return BuildError.at(
        Place(plan.file.file),
        "not everything that it gives is in the store of this machine",
        "expected a recipe that is built",
        f"run `doit build recipe={plan.recipe}`",
    )


def _not_there(plan: Plan, place: str, what: str) -> BuildError:
    return BuildError.at(
        Place(place),
        f"it has no {what} for recipe '{plan.recipe}' as it is here",
        "expected what was built from the same recipe, inputs and versions",
        f"run `doit push recipe={plan.recipe}` where it is built, or build it here",
    )
