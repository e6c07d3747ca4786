"""Suggestions as text: a table of cuts, and the lines of a recipe for one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from partition_core.base.wording import columns, counted, size_text
from partition_core.suggest.appraisal import Appraisal, PartFigures
from partition_core.suggest.naming import CutText

_COUNTS = (("G", 10**9), ("M", 10**6), ("k", 10**3))
Cell = Callable[[PartFigures], str]


def table(rows: Sequence[tuple[str, Appraisal]], flops: int) -> Iterator[str]:
    """Yield a line for the columns and one for each cut, which `rows` name.

    `flops` are the operations of the model. Figures of single parts are joined by `+`.
    """
    cells: dict[str, Cell] = {
        "FLOPs": lambda part: f"{100 * part.flops / max(flops, 1):.1f} %",
        "parameters": lambda part: count_text(part.parameters),
        "memory": lambda part: size_text(part.memory),
    }
    if any(part.seconds is not None for _, cut in rows for part in cut.figures):
        cells["time"] = lambda part: f"{1000 * (part.seconds or 0):.1f} ms"
    lines = [("cut", "across", "tensors", *cells)]
    for name, cut in rows:
        across = "?" if cut.crossing is None else size_text(cut.crossing)
        parts = [" + ".join(cell(part) for part in cut.figures) for cell in cells.values()]
        lines.append((name, across, str(cut.tensors), *parts))
    yield from columns(lines)


def count_text(count: int) -> str:
    """Return a number with a unit: `62.0 M`."""
    for unit, scale in _COUNTS:
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return str(count)


def recipe_lines(cut: CutText, known: dict[str, str], files: Sequence[str]) -> Iterator[str]:
    """Yield the marks and the partition of a recipe that make a cut.

    `known` has the recipe's own marks, by name, as YAML; `files` name the segments. If no mark can
    name a tensor, comments say so instead.
    """
    if cut.unmarkable:
        tensors = ", ".join(f"'{name}'" for name in cut.unmarkable)
        it = "it" if len(cut.unmarkable) == 1 else "each of them"
        yield f"# No mark can name {tensors}: no module returns only {it}."
        yield "# Mark a function of your own that does, or choose another cut."
        return
    yield "marks:"
    for name in cut.known:
        yield f"  - {known.get(name, '{name: ' + name + ', decorator: true}')}"
    for name, path in cut.new.items():
        yield f"  - {{name: {name}, module: {path}, inputs: [], outputs: [{name}]}}"
    for name, marked in cut.tensors.items():
        # As JSON, which is valid YAML: names of tensors may have any characters.
        yield f"  - {{name: {name}, tensors: {json.dumps(marked, ensure_ascii=False)}}}"
    yield "partition:"
    yield "  type: suggested"
    yield "  segments:"
    for file, (start, end) in zip(files, cut.segments, strict=True):
        yield f"    - save_file: {file}"
        yield f"      start: [{', '.join(map(_quoted, start))}]"
        yield f"      end: [{', '.join(map(_quoted, end))}]"


def comparison(own: Appraisal, best: Sequence[Appraisal]) -> str:
    """Return how a recipe's own cut compares with the `best`, which are sorted by their bytes."""
    if own.crossing is None:
        return "the recipe's own cut cannot be compared: the size of one of its tensors is unknown"
    across = f"the recipe's own cut carries {size_text(own.crossing)}"
    better = [cut for cut in best if cut.share <= own.share and (cut.crossing or 0) <= own.crossing]
    if not better or all((c.crossing, c.share) == (own.crossing, own.share) for c in better):
        return f"{across}; no cut beats it"
    evenest = better[-1]
    number = list(best).index(evenest) + 1
    carried, share = size_text(evenest.crossing or 0), evenest.share / 10
    return (
        f"{across} and its largest part has {own.share / 10:.1f} % of the FLOPs; "
        f"cut {number} carries {carried} and has {share:.1f} %"
    )


def heading(recipe: str, count: int, parts: int, limits: str, is_complete: bool) -> str:
    """Return the line above the table; `limits` are the user's, as they were written."""
    line = f"{recipe}: {counted(count, 'cut')} into {parts} parts"
    if limits:
        line += f" with {limits}"
    if is_complete:
        return f"{line} that no other cut beats in both bytes and evenness:"
    return (
        f"{line} that no other tried cut beats in both bytes and evenness "
        "(there are too many to try all):"
    )


def unmarkable(numbers: Sequence[int], count: int) -> Iterator[str]:
    """Yield a line about the cuts, by `numbers` of `count`, whose tensors no mark can name."""
    if numbers:
        cuts = "all cuts" if len(numbers) == count else f"cut {', '.join(map(str, numbers))}"
        yield f"No mark can name what crosses in {cuts}: mark a function of your own there."


NOTES = (
    "FLOPs are counted from shapes; where that is impossible, one for each output element.",
    "Memory is the weights of a part plus the peak size of its tensors.",
    "Sizes that depend on the data are those of the recipe's first picture or input.",
)


def _quoted(reference: str) -> str:
    return f"'{reference}'"
