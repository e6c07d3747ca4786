"""Writes the page: one HTML file that loads nothing, from a template that escapes every text."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from partition_core.report.figures import Report

_FOLDER = Path(__file__).parent / "page"


def page(report: Report, drawn_map: str, version: str, obstacle: str = "") -> str:
    """Return the page as HTML; `drawn_map` is the SVG element of `map.partition_map`.

    If it is empty, `obstacle` says why. The browser runs the page's own script and no other: its
    digest is in the page's Content Security Policy (W3C, "Content Security Policy Level 3").
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        report=report,
        obstacle=obstacle,
        map=Markup(drawn_map),  # noqa: S704  # reason: Graphviz's own, its texts are escaped
        script=Markup(script),  # noqa: S704  # reason: a file of ours
        style=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704  # reason: as above
        script_digest=digest,
        version=version,
    )
