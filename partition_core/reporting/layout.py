"""The door to Graphviz, in a process of its own: what it prints, and a crash, stay there.

Graphviz asks the machine's fonts how wide a text is; without any it measures alike everywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from partition_core.errors import BuildError, problem

_FONTS = Path(__file__).parent / "page" / "fonts.conf"
_LONGEST = 120.0  # seconds; a map of 26 boxes takes 0.2


def drawn(dot: str) -> str:
    """Return the SVG file that Graphviz's `dot` draws of a graph in its language.

    Raises BuildError if it cannot.
    """
    try:
        run = subprocess.run(  # noqa: S603  # reason: this module itself
            [sys.executable, "-P", "-m", __name__],
            input=dot.encode(),
            capture_output=True,
            env={**os.environ, "FONTCONFIG_FILE": str(_FONTS)},
            timeout=_LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(f"it took more than {_LONGEST:.0f} s") from error
    if run.returncode != 0 or b"<svg" not in run.stdout:
        last = run.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise _failed(f"it ended with {run.returncode}: {' '.join(last)}")
    return run.stdout.decode()


def _failed(what: str) -> BuildError:
    remedy = "check that `import pygraphviz` works"
    return BuildError(problem("report", f"Graphviz did not draw the map: {what}", "", remedy))


def _main() -> None:
    import pygraphviz

    graph = pygraphviz.AGraph(sys.stdin.buffer.read().decode())
    sys.stdout.buffer.write(graph.draw(format="svg", prog="dot"))


if __name__ == "__main__":
    _main()
