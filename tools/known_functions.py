"""Writes `docs/questions.md`: mmdet's questions, the branch taken for each, what shows it right.

Run it where mmdet is installed, after a change of `sources/mmdet/questions` or of its tests' cases:
`python tools/known_functions.py`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "questions.md"
HEAD = """\
# Questions of mmdet's code

Some lines of mmdet and mmcv ask how many boxes there are, or whether a mask lets anything through:
the input decides, and a graph takes one branch for all inputs (see
[Models that branch](branches.md)). `partition_core/sources/mmdet/questions.py` has a row for each
of these functions that was read.

A row holds for a line of a function whose source has the row's digest, as in mmdet 3.3.0 and mmcv
2.1.0. It does not hold for a function that you changed, nor for your own parts of a config: where
an answer rests on more code than the function itself, the row names it in the column "only with",
and a head, an extractor or a coder of yours in that place stops the export with the line.

"Shown by" is the case of `tests/mmdet/test_questions_other_side.py` in which PyTorch takes both
branches, and the exported file, which always takes one, gives the same. Where no input reaches the
other branch the column says why; a test runs inputs that would.
`python tools/known_functions.py` writes this page.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_rows(), ""])


def _rows() -> Iterator[str]:
    from partition_core.sources.mmdet.questions import KNOWN_FUNCTIONS
    from tests.mmdet.question_cases import CASES, UNREACHABLE

    cases = {line: name for name, case in CASES.items() for line in case.lines}
    package = ""
    for row in sorted(KNOWN_FUNCTIONS, key=lambda row: row.module):
        if row.module.partition(".")[0] != package:
            package = row.module.partition(".")[0]
            yield f"\n## {package}\n"
            yield "| function | line | taken branch | because | only with | shown by |"
            yield "|---|---|---|---|---|---|"
        for code, kinds in row.lines.items():
            line = (row.function, code)
            _, why = UNREACHABLE.get(line, ("", ""))
            shown = f"cannot be reached: {why}" if why else f"“{cases[line]}”"
            module = row.module.removeprefix(f"{package}.")
            only = "; ".join(one.text for one in row.only)
            yield (
                f"| `{row.function}` in `{module}` | `{code}` | {_branches()[kinds[0].matches]} "
                f"| {kinds[0].reason} | {only} | {shown} |"
            )


def _branches() -> dict[object, str]:
    from partition_core.trace import questions

    return {
        questions.NOT_EMPTY[0].matches: "there are rows",
        questions.MORE_THAN_THE_LIMIT[0].matches: "there are more than the limit",
        questions.PICTURES_OF_THE_BATCH[0].matches: "there are no more than pictures",
        questions.NOT_ALL[0].matches: "not all are true",
        questions.SOME_MATCH[0].matches: "some are true",
    }


def main() -> None:
    """Write the page."""
    sys.path.insert(0, str(ROOT))
    warnings.simplefilter("ignore")  # mmdet warns of what it is built of itself
    from partition_core.sources.mmdet.ops import provide_compiled_ops

    provide_compiled_ops()
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
