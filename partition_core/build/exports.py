"""What an export depends on: entries known before it runs, and those that earlier runs read.

The known entries are the key of label lists in the store; together with the current values of the
labels of such a list, they are the key of a result.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable

from partition_core.base.build_name import BuildName
from partition_core.base.fingerprint import Fingerprint
from partition_core.build.dependencies.labels import parsed
from partition_core.build.step import Entries, StepJob
from partition_core.build.steps import EXPORT, module_of
from partition_core.chain.manifest import former_manifest
from partition_core.store.entry import Result
from partition_core.store.lists import Names, entry_of, merged

_LISTED = "what exports read"


class Exports:
    """The exports of one recipe: the current one and those that the store knows.

    `known` are the inputs known before it runs, `paths` the files among them and those that would
    count if they appeared. Raises PartitionError for one that is missing or wrong.
    """

    def __init__(self, job: StepJob) -> None:
        self.job = job
        with job.digests.watched() as files:
            self.known: Entries = tuple(module_of(EXPORT).entries(job, ""))
        self.paths: Collection[str] = tuple(files)
        self._remote_lists: tuple[Names, ...] = ()

    @property
    def is_followed(self) -> bool:
        """Whether the export runs user code, so that what that reads must be followed."""
        return self.job.recipe.model.is_traced

    @functools.cached_property
    def key(self) -> str:
        """The key of the lists."""
        return Fingerprint(((_LISTED, EXPORT), *self.known)).key

    def local_lists(self) -> tuple[Names, ...]:
        """Return the lists known on this machine, the build folder's first.

        The list of an export that reads nothing is always among them.
        """
        if not self.is_followed:
            return ((),)
        return merged(self._usable(self._known_here()), [()])

    def all_lists(self) -> tuple[Names, ...]:
        """Return the lists known on this machine and those now in the shared store."""
        if not self.is_followed:
            return ((),)
        remote = self.job.store.shared_lists(self.key)
        return self._usable(merged(self._known_here(), remote))

    def _known_here(self) -> tuple[Names, ...]:
        stored = self.job.store.lists(self.key)
        return merged(self._published(), self._remote_lists, stored)

    def add_remote_lists(self, lists: tuple[Names, ...]) -> None:
        """Use the lists of a shared store as well."""
        self._remote_lists = lists

    def store_list(self, fingerprint: Fingerprint) -> None:
        """Put the label list of an export with this fingerprint into the store."""
        if self.is_followed:
            self.job.store.add_lists(self.key, self.entry([self.names_of(fingerprint)]))

    def names_of(self, fingerprint: Fingerprint) -> Names:
        """Return the list of labels of an export with this fingerprint."""
        return tuple(label for label, _ in fingerprint.entries[len(self.known) :])

    def entry(self, lists: Iterable[Names]) -> Result:
        """Return the store entry that has these lists."""
        return entry_of(self.job.recipe.name, _LISTED, lists)

    def entries_of(self, names: Names) -> Entries:
        """Return the labels of a list with their current values."""
        known = dict(self.known)
        return self.job.project.dependency_state.entries(
            name for name in names if name not in known
        )

    @staticmethod
    def _usable(lists: tuple[Names, ...]) -> tuple[Names, ...]:
        """Return the lists without a label that only another version knows."""
        return tuple(names for names in lists if all(parsed(name) for name in names))

    def _published(self) -> tuple[Names, ...]:
        """Return the list of the export in the build folder, if there is one."""
        name = self.job.recipe.name
        folder = self.job.project.build_folder(name)
        former = former_manifest(folder, BuildName.of(name).variant)
        if EXPORT not in former.fingerprints:
            return ()
        labels = [label for label, _ in former.fingerprints[EXPORT].entries]
        known = dict(self.known)
        return (tuple(label for label in labels if parsed(label) and label not in known),)
