"""Records what of partition_core a process runs and reads; imports nothing of the package."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

FOLDER = "RECORDED_INTO"
"""The variable that names the folder for what a process records, and those that it starts."""


class Recording:
    """The files of partition_core that are run or, if they hold no code, read from now on.

    A module counts when it is imported and, with `calls`, when one of its functions is called;
    not below a function of a module that is one of `aside`, or in such a package.
    """

    def __init__(self, aside: Iterable[str] = (), *, calls: bool = True) -> None:
        spec = importlib.util.find_spec("partition_core")
        assert spec is not None
        assert spec.origin is not None
        self._package = f"{os.path.dirname(spec.origin)}{os.sep}"
        self._aside = tuple(f"{self._package}{path}{end}" for path in aside for end in (".py", "/"))
        self._files: set[str] = set()
        self._settled: set[str] = set()  # these and others' files, of which calls are not looked at
        self._is_on = True
        sys.addaudithook(self._audited)
        if calls:
            threading.settrace(self._called)
            sys.settrace(self._called)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if path not in self._settled:
            self._note(path, frame)

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec" and isinstance(arguments[0], CodeType):
            self._note(arguments[0].co_filename, sys._getframe())
        elif event == "open" and not str(arguments[0]).endswith((".py", ".pyc")):
            self._note(str(arguments[0]), sys._getframe())

    def _note(self, path: str, frame: FrameType | None) -> None:
        if not path.startswith(self._package):
            self._settled.add(path)
            return
        if path in self._files or not self._is_on:
            return
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._aside):
                return
            frame = frame.f_back
        self._files.add(path)
        self._settled.add(path)

    def write(self) -> None:
        """Write down the files, by their paths in the package, and what this process imported."""
        self._is_on = False
        sys.settrace(None)
        content = {
            "files": sorted(path.removeprefix(self._package) for path in self._files),
            "packages": sorted({name.partition(".")[0] for name in sys.modules}),
        }
        target = Path(os.environ[FOLDER]) / f"{os.getpid()}.json"
        target.write_text(json.dumps(content), encoding="utf-8")
