"""What an export depends on: what is known before it runs, and what earlier ones turned out to.

The first is the key of lists of labels in the store; with what the labels of one of them stand
for now, it is the key of a result.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable

from partition_core.base.fingerprint import Fingerprint
from partition_core.build.dependencies.labels import parsed
from partition_core.build.step import Entries, StepJob
from partition_core.build.steps import EXPORT, module_of
from partition_core.chain.manifest import former_manifest
from partition_core.store.entry import Result
from partition_core.store.lists import Names, entry_of, merged

_LISTED = "what exports read"


class Exports:
    """The exports of one recipe, that of now and those of which the store knows.

    `known` are the inputs that are known before it runs, `paths` the files among them and those
    that would be if they appeared. Raises PartitionError for one that is missing or wrong.
    """

    def __init__(self, job: StepJob) -> None:
        self.job = job
        with job.digests.watched() as seen:
            self.known: Entries = tuple(module_of(EXPORT).entries(job, ""))
        self.paths: Collection[str] = tuple(seen)
        self._learnt: tuple[Names, ...] = ()

    @property
    def is_followed(self) -> bool:
        """Whether the export runs code of the user, so that it must be seen what that reads."""
        return self.job.recipe.model.is_traced

    @functools.cached_property
    def key(self) -> str:
        """The key of the lists."""
        return Fingerprint(((_LISTED, EXPORT), *self.known)).key

    def lists_here(self) -> tuple[Names, ...]:
        """Return the lists that are known on this machine, that of the build folder first.

        The list of an export that reads nothing is always among them.
        """
        if not self.is_followed:
            return ((),)
        return merged(self._usable(self._known_here()), [()])

    def lists_everywhere(self) -> tuple[Names, ...]:
        """Return the lists that are known here, and those that others have now."""
        if not self.is_followed:
            return ((),)
        shared = self.job.store.shared_lists(self.key)
        return self._usable(merged(self._known_here(), shared))

    def _known_here(self) -> tuple[Names, ...]:
        here = self.job.store.lists(self.key)
        return merged(self._published(), self._learnt, here)

    def learn(self, lists: tuple[Names, ...]) -> None:
        """Take lists that others know."""
        self._learnt = lists

    def keep(self, fingerprint: Fingerprint) -> None:
        """Keep the list of an export whose fingerprint turned out to be this."""
        if self.is_followed:
            self.job.store.add_lists(self.key, self.entry([self.names_of(fingerprint)]))

    def names_of(self, fingerprint: Fingerprint) -> Names:
        """Return the list of labels of an export with this fingerprint."""
        return tuple(label for label, _ in fingerprint.entries[len(self.known) :])

    def entry(self, lists: Iterable[Names]) -> Result:
        """Return the entry of the store that has these lists."""
        return entry_of(self.job.recipe.name, _LISTED, lists)

    def entries_of(self, names: Names) -> Entries:
        """Return the labels of a list with what stands for their subjects now."""
        known = dict(self.known)
        return self.job.project.around.entries(name for name in names if name not in known)

    @staticmethod
    def _usable(lists: tuple[Names, ...]) -> tuple[Names, ...]:
        """Return the lists in which nothing is a label that only another version knows."""
        return tuple(names for names in lists if all(parsed(name) for name in names))

    def _published(self) -> tuple[Names, ...]:
        """Return the list of the export that is in the build folder, if there is one."""
        former = former_manifest(self.job.project.build_folder(self.job.recipe.name))
        if EXPORT not in former.fingerprints:
            return ()
        labels = [label for label, _ in former.fingerprints[EXPORT].entries]
        known = dict(self.known)
        return (tuple(label for label in labels if parsed(label) and label not in known),)
