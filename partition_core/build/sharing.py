"""Results pushed to the shared store and pulled from it, all of a recipe's or some."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from partition_core.base.build_name import BuildName
from partition_core.base.errors import BuildError, Place, one_of, problem, suggestion
from partition_core.base.folders import REPORT, SETTINGS
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
    """Upload a recipe's results to the shared store; return lines about what was transferred.

    All of them, or what a pull of the artifacts `names` needs, whether or not the settings let
    builds write. Raises BuildError for a recipe that is not built.
    """
    chosen = _chosen(plan, names)
    shared, place = _shared(plan)
    # Look up everything before sending anything.
    parcels = _parcels(plan, chosen, lambda step: _built(plan, step))
    lines = []
    for _, result, files in parcels:
        if any(plan.project.store.path_of(result.files[name]) is None for name in files):
            raise _not_built(plan)
    with _remote_errors_as_build_errors(place):
        for step, result, files in parcels:
            moved = shared.upload(step.key, result, plan.project.store, files)
            if files:
                status = f"sent {', '.join(moved)}" if moved else "already there"
                lines.append(f"{plan.recipe}: {step.name}: {status}")
        exports, (exported, _, _) = plan.exports, parcels[0]
        if exports.is_followed:
            lists = merged([exports.names_of(exported.fingerprint)], shared.lists_at(exports.key))
            shared.upload(exports.key, exports.entry(lists), plan.project.store)
    return lines


def pull(plan: Plan, names: Sequence[str] | None = None) -> list[str]:
    """Download a recipe's artifacts from the shared store into the build folder, verified.

    All of them, or only the artifacts `names`: then no bytes of the others are transferred.
    Returns lines about what was transferred. Raises BuildError if the shared store lacks
    something; the build folder is then unchanged.
    """
    shared, place = _shared(plan)
    lines = []

    def entry(step: Step) -> tuple[Step, Result]:
        for candidate in plan.alternatives(step):
            key = candidate.key
            result = plan.result(candidate) or shared.entry(key, plan.validator(candidate))
            if result is not None:
                plan.remember(candidate, result)
                return candidate, result
        raise _not_there(plan, place, f"result of '{step.name}'")

    with _remote_errors_as_build_errors(place):
        if plan.result_of(EXPORT) is None:
            _know_dependencies(plan, shared)
            entry(plan.export())  # how many segments there are may depend on it
        chosen = _chosen(plan, names)
        for step, result, files in _parcels(plan, chosen, entry):
            moved = [name for name in files if _downloaded(plan, shared, place, result, name)]
            if plan.project.store.is_complete(result):
                _store_entry(plan, step, result)
            if step.name == EXPORT:
                plan.exports.store_list(step.fingerprint)
            if files:
                status = f"got {', '.join(moved)}" if moved else "already here"
                lines.append(f"{plan.recipe}: {step.name}: {status}")
    for artifact in chosen:
        publish(plan, artifact)
    return [*lines, f"{plan.recipe}: {', '.join(chosen)} in {_folder(plan)}"]


def _folder(plan: Plan) -> str:
    return BuildName.of(plan.recipe).folder


def _know_dependencies(plan: Plan, shared: SharedStore) -> None:
    if plan.exports.is_followed:
        plan.exports.add_remote_lists(shared.lists_at(plan.exports.key))


def _store_entry(plan: Plan, step: Step, result: Result) -> None:
    plan.project.store.on_first_tier(lambda tier: tier.put_entry(step.key, result))


def _downloaded(plan: Plan, shared: SharedStore, place: str, result: Result, name: str) -> bool:
    """Put one file of a result into the store; return whether it was missing there."""
    file = result.files[name]
    if plan.project.store.path_of(file) is not None:
        return False
    if not plan.project.store.on_first_tier(lambda tier: shared.download(name, file, tier)):
        raise _not_there(plan, place, f"'{name}'")
    return True


def _parcels(
    plan: Plan, chosen: Sequence[str], find: Callable[[Step], tuple[Step, Result]]
) -> list[tuple[Step, Result, list[str]]]:
    """Return each step, its result, and the files that the chosen artifacts consist of.

    A step is known only once the result of the previous one is.
    """
    results = []
    for name, step in plan.steps():
        own = plan.names[name]
        if own.artifact == REPORT and REPORT not in chosen:
            continue
        if own.row.may_fail and own.subject not in chosen:
            continue
        if step is None:
            raise _not_built(plan)
        results.append(find(step))
    everything = tuple(chosen) == _models(plan)
    wanted = {name for artifact in chosen for name in plan.files_of(artifact)}
    return [
        (step, result, [name for name in step.files if everything or name in wanted])
        for step, result in results
    ]


def _models(plan: Plan) -> tuple[str, ...]:
    """Return what is transferred by default: a report is written where it is read."""
    return tuple(name for name in plan.artifacts if name != REPORT)


def _built(plan: Plan, step: Step) -> tuple[Step, Result]:
    result = plan.result(step)
    if result is None:
        raise _not_built(plan)
    return step, result


def _chosen(plan: Plan, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the artifacts to transfer, in the order of publication."""
    if names is None:
        return _models(plan)
    BuildError.refuse(
        problem(
            Place(f"artifact={','.join(names)}"),
            f"recipe '{plan.recipe}' has no artifact '{name}'",
            one_of(plan.artifacts),
            suggestion(name, plan.artifacts),
        )
        for name in names or [""]
        if name not in plan.artifacts
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
def _remote_errors_as_build_errors(place: str) -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        raise BuildError.at(Place(place), str(error)) from error


def _not_built(plan: Plan) -> BuildError:
    return BuildError.at(
        Place(plan.file.file),
        "not all of its results are in this machine's store",
        "expected a built recipe",
        f"run `doit build recipe={plan.recipe}`",
    )


def _not_there(plan: Plan, place: str, what: str) -> BuildError:
    return BuildError.at(
        Place(place),
        f"it has no {what} for the local state of recipe '{plan.recipe}'",
        "expected results built from the same recipe, inputs and versions",
        f"run `doit push recipe={plan.recipe}` where it was built, or build it here",
    )
