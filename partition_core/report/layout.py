"""Runs Graphviz, in a process of its own, so that its output and crashes stay there.

Graphviz measures text with the machine's fonts. It sees one font only, `metrics.ttf`, so that it
measures the same everywhere; `tools/metrics_font.py` makes it, of the widest letters and with room
for those that other fonts must show.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

from partition_core.base.errors import BuildError
from partition_core.base.signals import temporary_folder

_FONT = Path(__file__).parent / "page" / "metrics.ttf"
_TIMEOUT = 120.0  # seconds; a map of 26 boxes takes 0.2


@functools.cache
def obstacle() -> str:
    """Return why this machine cannot draw maps (empty if it can); tries it once."""
    try:
        drawn("digraph { a -> b }")
    except BuildError as error:
        return error.problems[0].what
    return ""


def drawn(dot: str) -> str:
    """Return the SVG file that Graphviz's `dot` draws of a graph in the DOT language.

    Raises BuildError if it cannot.
    """
    with temporary_folder(Path(tempfile.gettempdir())) as folder:
        # A copy, since fontconfig leaves a file of its own in every folder of fonts.
        shutil.copy(_FONT, folder)
        settings = folder / "fonts.conf"
        place = escape(str(folder))
        settings.write_text(
            f"<fontconfig><dir>{place}</dir><cachedir>{place}</cachedir></fontconfig>",
            encoding="utf-8",
        )
        try:
            run = subprocess.run(  # noqa: S603  # reason: this module itself
                [sys.executable, "-P", "-m", __name__],
                input=dot.encode(),
                capture_output=True,
                env={**os.environ, "FONTCONFIG_FILE": str(settings)},
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _failed(f"it timed out after {_TIMEOUT:.0f} s") from error
    if run.returncode != 0 or b"<svg" not in run.stdout:
        last = run.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise _failed(" ".join(last) or f"it exited with {run.returncode}")
    return run.stdout.decode()


def _failed(what: str) -> BuildError:
    remedy = "`report = false` in partition.toml builds without a report"
    return BuildError.at("report", f"Graphviz did not draw the map: {what}", "", remedy)


def _main() -> None:
    import pygraphviz

    graph = pygraphviz.AGraph(sys.stdin.buffer.read().decode())
    sys.stdout.buffer.write(graph.draw(format="svg", prog="dot"))


if __name__ == "__main__":
    _main()
