"""Suggests where to cut a recipe's model: reads the export and changes no recipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.build_name import BuildName
from partition_core.base.disk import write_whole
from partition_core.base.errors import BuildError, CutError, Problem, one_of, problem, suggestion
from partition_core.base.progress import Say, phase
from partition_core.base.recording import load_recording
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.marks import live_nodes
from partition_core.graph.model_inputs import inputs_of
from partition_core.graph.scope import scopes_of
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Mark, Recipe
from partition_core.suggest import text
from partition_core.suggest.appraisal import Appraisal, appraised
from partition_core.suggest.flow import Flow, flow_of, unknown_sizes
from partition_core.suggest.measuring import measured_dims, measured_seconds
from partition_core.suggest.naming import CutText, Words, cut_text, words_of, words_of_file
from partition_core.suggest.plot import draw
from partition_core.suggest.search import Parts, Wishes, pareto_front
from partition_core.suggest.wishes import SuggestOptions

PLOT = "suggest.svg"
_EVEN = 990  # of two parts, the smaller one then has 1 % of the FLOPs


@dataclass(frozen=True)
class MeasuredModel:
    """An end2end model, its flow for a sample, and each node's seconds if measured."""

    model: Model
    flow: Flow
    seconds: Mapping[str, float] | None


def measured_model(
    path: Path, recording: Path, scratch: Path, unsupported: Collection[str], measures: bool
) -> MeasuredModel:
    """Run the end2end model at `path` on the first sample of its `recording`; seconds on demand.

    `scratch` is an empty folder. Raises BuildError for an operator of `unsupported` that the model
    does not have.
    """
    model = read_model(path)
    sample = load_recording(recording).samples[0].inputs
    inputs = {name: sample[name] for name in inputs_of(model)}
    _check_operators(model, unsupported)
    flow = flow_of(model, measured_dims(path, unknown_sizes(model), inputs, scratch))
    return MeasuredModel(model, flow, measured_seconds(path, inputs, scratch) if measures else None)


def advice(
    measured: MeasuredModel, file: RecipeFile, wanted: SuggestOptions, folder: Path, say: Say
) -> Iterator[str]:
    """Yield the best cuts of a recipe's model as lines, and write a plot into `folder`.

    Raises BuildError if there are none.
    """
    model, flow, seconds = measured.model, measured.flow, measured.seconds
    recipe = file.recipe
    with phase(f"{recipe.name}: suggest: search the cuts", say):
        words = _words(recipe, model, flow)
        front = pareto_front(
            flow,
            Wishes(
                wanted.parts,
                wanted.max_bytes,
                wanted.unsupported,
                _memory_test(flow, wanted.max_memory),
                words.efforts(flow),
            ),
        )
        best = [appraised(flow, cut.parts, seconds) for cut in front.cuts]
    if not best:
        raise BuildError(_no_cut(recipe.name, wanted))
    every = [cut_text(words, flow, cut.parts) for cut in best]
    chosen = _chosen(best, every, wanted.cut)
    own_parts = _own_parts(recipe, model, flow)
    own = None if own_parts is None else appraised(flow, own_parts, seconds)
    rows = [(str(number), cut) for number, cut in enumerate(best, 1)]
    yield text.heading(recipe.name, len(best), wanted.parts, wanted.limits, front.is_complete)
    yield from text.table([*rows, *([("recipe", own)] if own else [])], flow.flops)
    comparable = own if own and len(own.figures) == wanted.parts else None
    if comparable:
        yield text.comparison(comparable, best)
    yield from text.unmarkable(
        [number for number, cut in enumerate(every, 1) if cut.unmarkable], len(every)
    )
    yield from text.NOTES
    yield _drawn(recipe.name, folder, best, comparable)
    yield f"# Cut {chosen + 1}, for {file.file}:"
    yield from text.recipe_lines(
        every[chosen],
        {mark.name: _mark_text(mark) for mark in recipe.marks},
        [f"part{number}.onnx" for number in range(wanted.parts)],
    )


def _words(recipe: Recipe, model: Model, flow: Flow) -> Words:
    if recipe.model.is_traced:
        return words_of(model, flow, recipe.model.whole_mark)
    return words_of_file(model, flow)


def _own_parts(recipe: Recipe, model: Model, flow: Flow) -> Parts | None:
    """Return the recipe's segments as parts, None if they do not make up the model in order."""
    try:
        walks = [scope.walk for scope in scopes_of(model, recipe.partition.segments)]
    except CutError:
        return None  # `doit build` reports what is wrong with them
    homes = [
        [number for number, walk in enumerate(walks) if node in walk.nodes]
        for node in live_nodes(model.graph)
    ]
    parts = tuple(home[0] for home in homes if len(home) == 1)
    if len(parts) < len(homes) or set(parts) != set(range(len(walks))):
        return None
    flows_back = any(
        tensor.maker >= 0 and any(parts[reader] < parts[tensor.maker] for reader in tensor.readers)
        for tensor in flow.tensors
    )
    return None if flows_back else parts


def _memory_test(flow: Flow, most: int | None) -> Callable[[Parts], bool] | None:
    if most is None:
        return None
    return lambda parts: all(part.memory <= most for part in appraised(flow, parts).figures)


def _check_operators(model: Model, names: Collection[str]) -> None:
    known = {node.op_type for node in live_nodes(model.graph)}
    BuildError.refuse(
        problem(
            f"unsupported={','.join(sorted(names))}",
            f"the model has no operator '{name}'",
            one_of(known),
            suggestion(name, known),
        )
        for name in sorted(set(names) - known)
    )


def _no_cut(name: str, wanted: SuggestOptions) -> Problem:
    if not wanted.limits:
        return problem(
            name,
            f"the model cannot be cut into {wanted.parts} parts",
            "expected at least as many consecutive operators that depend on its inputs",
            "ask for fewer parts" if wanted.parts > 2 else "",
        )
    return problem(
        name,
        f"no cut into {wanted.parts} parts meets the limits",
        "expected limits that some cut can meet",
        "raise max_bytes or max_memory, or list fewer unsupported operators",
    )


def _chosen(best: Sequence[Appraisal], every: Sequence[CutText], number: int | None) -> int:
    """Return the index of the cut to write as YAML.

    If the user chose none, the cheapest that marks can name and whose parts all do real work; if
    there is none, one that lacks one of the two.
    """
    if number is None:
        named = [i for i, cut in enumerate(every) if not cut.unmarkable]
        even = [i for i, cut in enumerate(best) if cut.share <= _EVEN]
        both = [i for i in named if i in even]
        return next(iter((*both, *named, *even, 0)))
    if number > len(best):
        what = f"there are {len(best)} cuts"
        raise BuildError.at(f"cut={number}", what, f"expected a number from 1 to {len(best)}")
    return number - 1


def _drawn(name: str, folder: Path, best: Sequence[Appraisal], own: Appraisal | None) -> str:
    """Write the plot if matplotlib is installed, and return a line about it."""
    title = f"{name}: cuts into {len(best[0].figures)} parts that no other cut beats"
    try:
        content = draw(best, own, title)
    except ImportError:
        return "no plot: it needs matplotlib, `pip install 'partition-core[plot]'`"
    build = BuildName.of(name)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / build.file(PLOT), content)
    return f"plot: {build.path(PLOT)}"


def _mark_text(mark: Mark) -> str:
    """Return a mark as one line of YAML."""
    place = {"on": mark.on, "module": mark.module, "decorator": mark.decorator or None}
    names = {"inputs": mark.inputs, "outputs": mark.outputs}
    keys = {"name": mark.name, **{key: value for key, value in place.items() if value}}
    listed = {key: list(value) for key, value in names.items() if value is not None}
    items = [
        f"{key}: {json.dumps(value) if value is True else value}" for key, value in keys.items()
    ]
    items += [f"{key}: [{', '.join(value)}]" for key, value in listed.items()]
    return f"{{{', '.join(items)}}}"
