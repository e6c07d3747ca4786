"""What it costs to find an artifact in the store and to restore it verified, beside `cp` of it.

    python benchmarks/restore.py [--megabytes 250] [--runs 7]

Prints one JSON object: median `seconds` of look-up and restore in a process that has them to do
(both verify: what is served was read and hashed), `cp_seconds`, and `ratio`. `first_seconds` is
for a file whose digest is not remembered, as after a build that was killed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from partition_core.store.entry import Origin
from partition_core.store.local import LAYOUT, LocalStore
from partition_core.store.tiers import Store

KEY = "0" * 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=250)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        source = folder / "source"
        source.write_bytes(os.urandom(given.megabytes * 10**6))
        opened(folder).keep(KEY, {"model": source}, {}, Origin("recipe", "export", 1.0))
        rows = [row(folder, source) for _ in range(given.runs)]
    first, again, copied = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        json.dumps(
            {
                "megabytes": given.megabytes,
                "cp_seconds": round(copied, 3),
                "seconds": round(again, 3),
                "ratio": round(again / copied, 2),
                "first_seconds": round(first, 3),
                "first_ratio": round(first / copied, 2),
            }
        )
    )


def opened(folder: Path) -> Store:
    """Return the store, as a build that has just begun sees it."""
    main, fallback = (LocalStore(folder / name, print) for name in ("store", "other"))
    return Store(main, fallback, None, print)


def row(folder: Path, source: Path) -> tuple[float, float, float]:
    """Return the seconds of a first restore, of one with digests remembered, and of `cp`."""
    (folder / "store" / LAYOUT / "digests.json").unlink(missing_ok=True)
    time.sleep(1.1)  # a digest is remembered for a file that did not change just now
    first = restored(folder)
    again = restored(folder)
    target = folder / "copy"
    start = time.monotonic()
    subprocess.run(["/bin/cp", str(source), str(target)], check=True)
    copied = time.monotonic() - start
    target.unlink()
    return first, again, copied


def restored(folder: Path) -> float:
    """Return the seconds that look-up and restore took."""
    target = folder / "restored"
    start = time.monotonic()
    store = opened(folder)
    result = store.fetch(KEY, ("model",))
    if result is None or not store.restore(result.files["model"], target):
        raise RuntimeError("the store lost its file")
    took = time.monotonic() - start
    store.save()
    target.unlink()
    return took


if __name__ == "__main__":
    main()
