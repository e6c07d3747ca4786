"""The page of `any_detector.py`: what was cut where, and whether vendors publish the same place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from any_detector_published import CANDIDATES, Published, Source

NOT_EXPORTED = "not exported: "
_ERROR = re.compile(r"within (\S+) of each")


def place_of(head: str, places: Iterable[str]) -> str | None:
    """Return which of `places` the node `head` is: by its name, or by the module it is in."""
    steps = head.strip("/").split("/")[:-1]
    for place in places:
        is_module = "/" not in place
        if head == place or (is_module and any(f".{step}".endswith(f".{place}") for step in steps)):
            return place
    return None


def is_same(heads: Sequence[str], published: Published) -> bool:
    """Return whether the nodes `heads` are the published ones, each once."""
    found = Counter(place_of(head, published.places) for head in heads)
    return found == Counter(published.places)


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return the page with the table of all rows."""
    published = {(c.library, c.name): c.published for c in CANDIDATES}
    cut = [row for row in rows if row["heads"]]
    lost = [row for row in rows if row["problem"].startswith(NOT_EXPORTED)]
    refused = [row for row in rows if not row["heads"] and row not in lost]
    compared = [row for row in cut if _comparable(published[row["library"], row["name"]])]
    same = [row for row in compared if _agreeing(row, published[row["library"], row["name"]])]
    missing = [name for library, name in published if name not in {row["name"] for row in rows}]
    lines = [
        "# Any detector",
        "",
        f"{len(cut)} of {len(rows)} models are cut by one line and proven, "
        f"{len(refused)} are refused by name{_lost(len(lost))}. Of the {len(compared)} for which a "
        "vendor publishes "
        f"end nodes that this page can compare, {len(same)} are cut exactly there. "
        "A proof shows that the parts together compute the whole, not that the place is the best; "
        "where no vendor is cited, nothing says so but the rule.",
        "",
        "`python benchmarks/any_detector.py` makes this page: models of other projects on random "
        "weights, exported by their own exporters (mmdet's by partition-core), cut by "
        "`partition: {type: raw_heads}` and proven on two inputs: the segments in a chain equal "
        "the whole model bit for bit, the whole equals the ONNX file, or PyTorch, within the "
        "*error* given, relative to each tensor's largest value. *Outputs* are those of "
        "`network.onnx`; with *no_postprocess* those that the model itself joins count as one.",
        "",
        "*Published* names who publishes the same end nodes, cited below. A node is the same if "
        "its name is, or if it is the last one in the module that the vendor's exporter returns; "
        "widths (n, s, m) of one network count as one. D-Robotics replaces what a class of heads "
        "returns, and is cited for each model with such a head; Renesas finds those of poses by "
        "a script; those of Texas Instruments are the outputs that it keeps in 16 bits; Rockchip's "
        "DeepLabV3 is the same layer in TensorFlow. Vendors who end elsewhere are listed below and "
        "not counted.",
        "",
        "A DETR whose boxes are offsets from reference points gives these as outputs too, since "
        "its tail adds them. Names such as `node_linear_90` are those of PyTorch's newer exporter.",
        "",
        "| model | nodes | cut behind | outputs | no_postprocess | published | error |",
        "|---|---:|---|---:|---:|---|---|",
        *(_line(row, published[row["library"], row["name"]]) for row in cut),
        "",
        "## Refused, or not exported",
        "",
        *(f"* {row['library']} {row['name']}: {_reason(row['problem'])}" for row in refused + lost),
        "",
        *([f"Not run yet: {', '.join(missing)}.", ""] if missing else []),
        "## Where vendors cut elsewhere",
        "",
        "Each is a matter of taste: a function without weights more, or a place behind it.",
        "",
        *_differences(rows, published),
        "",
        "## Sources",
        "",
        *_sources(published.values()),
    ]
    return "\n".join(lines) + "\n"


def _lost(count: int) -> str:
    return f", {count} not exported by the project's own exporter" if count else ""


def _comparable(published: Iterable[Published]) -> list[Published]:
    return [each for each in published if each.places]


def _agreeing(row: dict[str, Any], published: Iterable[Published]) -> list[Published]:
    return [each for each in _comparable(published) if is_same(row["heads"], each)]


def _line(row: dict[str, Any], published: Iterable[Published]) -> str:
    same = _agreeing(row, published)
    other = [each for each in _comparable(published) if each not in same]
    said = [f"yes: {_vendors(same)}"] if same else []
    said += [f"**no**: {_vendors([each])} ({', '.join(_shown(each.places))})" for each in other]
    error = _ERROR.search(row["proof"])
    cells = [
        f"{row['library']}: {row['name']}",
        str(row["nodes"]),
        _cut(row["heads"]),
        str(len(row["heads"])),
        str(row["joined"] or ""),
        "; ".join(said),
        error.group(1) if error else "",
    ]
    return f"| {' | '.join(cells)} |"


def _cut(heads: Sequence[str]) -> str:
    """Return the nodes with what they have in common said once."""
    steps = [head.split("/") for head in heads]
    common = 0
    while all(len(each) > common + 2 and each[common] == steps[0][common] for each in steps):
        common += 1
    within = "/".join(steps[0][:common])
    short = ["/".join(_without_prefixes(step[common:])) for step in steps]
    shown = ", ".join(f"`{name}`" for name in _shown(short))
    return f"`{within}/`: {shown}" if within else shown


def _without_prefixes(steps: Sequence[str]) -> Iterator[str]:
    """Yield the steps of a path but those that the next one says again: cv2.0 of cv2.0/cv2.0.2."""
    for step, after in zip(steps, [*steps[1:], ""], strict=True):
        if not after.startswith(f"{step}."):
            yield step


def _shown(names: Sequence[str]) -> list[str]:
    most = 12
    return [*names[:most], *["…"] * (len(names) > most)]


def _vendors(published: Iterable[Published]) -> str:
    return ", ".join(dict.fromkeys(each.source.repository.split("/")[0] for each in published))


def _reason(problem: str) -> str:
    return problem.replace("|", "\\|").replace("<", "&lt;")


def _differences(
    rows: Sequence[dict[str, Any]], published: dict[tuple[str, str], tuple[Published, ...]]
) -> list[str]:
    models: dict[Published, list[str]] = {}
    for row in rows:
        for each in published[row["library"], row["name"]]:
            if each.differs:
                models.setdefault(each, []).append(row["name"].partition(":")[0])
    return [
        f"* {each.source.repository}, `{each.file}`, for {', '.join(names)}: {each.differs}."
        for each, names in models.items()
    ]


def _sources(published: Iterable[tuple[Published, ...]]) -> list[str]:
    files: dict[Source, set[str]] = {}
    for each in (each for group in published for each in group):
        files.setdefault(each.source, set()).add(each.file)
    return [
        f"* `{source.repository}` at `{source.commit[:12]}`: "
        + ", ".join(f"`{file}`" for file in sorted(names))
        for source, names in sorted(files.items())
    ]
