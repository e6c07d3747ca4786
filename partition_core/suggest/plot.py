"""Draws the best cuts; the only module that imports matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence

from partition_core.base.wording import size_text
from partition_core.suggest.appraisal import Appraisal


def draw(best: Sequence[Appraisal], own: Appraisal | None, title: str) -> bytes:
    """Return an SVG of the cuts: bytes across (logarithmic), FLOPs of the largest part.

    `own` is the recipe's cut. Equal cuts give equal bytes. Raises ImportError without matplotlib.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "partition-core", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        points = [(cut.crossing or 0, cut.share / 10) for cut in best]
        axes.step(*zip(*points, strict=True), where="post", color="#4477aa", marker="o")
        for number, point in enumerate(points, 1):
            axes.annotate(str(number), point, (7, 3), textcoords="offset points")
        if own is not None and own.crossing is not None:
            axes.plot(
                [own.crossing], [own.share / 10], "D", color="#cc6677", label="the recipe's own"
            )
            axes.legend(loc="lower left")
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter(lambda value, _: size_text(round(value)))
        axes.set(
            title=title,
            xlabel="bytes across",
            ylabel="FLOPs of the largest part, %",
        )
        axes.margins(0.1)
        axes.grid(alpha=0.3)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()
