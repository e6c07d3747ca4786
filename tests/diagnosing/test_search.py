"""The bisection alone: how much it asks, and what it finds where an error is damped."""

from __future__ import annotations

import random

import pytest
from onnx import TensorProto, helper

from partition_core.graph.file.graph_reader import read_model
from partition_core.proof.diagnosis.lineage import Lineage, bits_of, lineage_of, members
from partition_core.proof.diagnosis.search import Answer, Asked, first_wrong


def lineage(readers: list[list[int]], hidden: frozenset[int] = frozenset()) -> Lineage:
    """Return the lineage of a graph whose node `i` reads the outputs of `readers[i]`, or the input.

    Tensors in `hidden` cannot be compared.
    """
    nodes = [
        helper.make_node("Sum", [f"t{i}" for i in read] or ["x"], [f"t{number}"], f"n{number}")
        for number, read in enumerate(readers)
    ]
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [1])],
        [helper.make_tensor_value_info(f"t{len(readers) - 1}", kind, [1])],
    )
    model = read_model(helper.make_model(graph).SerializeToString())
    return lineage_of(model.graph, lambda value: value.name not in {f"t{i}" for i in hidden})


def drawn(seed: int, size: int) -> list[list[int]]:
    """Return a random graph in which each node reads one to three of those before."""
    dice = random.Random(seed)
    near = [range(max(0, i - 6), i) for i in range(size)]
    return [sorted({dice.choice(list(some)) for _ in range(3)}) if some else [] for some in near]


def wrong_from(found: Lineage, faults: set[int], damped: set[int]) -> set[int]:
    """Return which tensors are wrong: those of `faults`, and what reads a wrong one undamped."""
    wrong: set[int] = set()
    for index in range(len(found.values)):
        reads_wrong = any(parent in wrong for parent in members(found.parents[index]))
        if index in faults or (reads_wrong and index not in damped):
            wrong.add(index)
    return wrong


def asked(wrong: set[int], budget: int = 1000) -> Asked:
    return Asked(lambda index: Answer.WRONG if index in wrong else Answer.RIGHT, budget)


@pytest.mark.parametrize("seed", range(20))
def test_an_error_that_stays_is_found_in_about_log2_of_n_questions(seed: int) -> None:
    graph = lineage(drawn(seed, 200))
    last = len(graph.values) - 1
    faults = list(members(graph.ancestors[last]))
    fault = faults[len(faults) * seed // 20]
    ask = asked(wrong_from(graph, {fault}, set()))
    found = first_wrong(graph, last, ask)
    assert (found.index, found.is_verified) == (fault, True)
    assert len(ask.answers) <= 2 * 8 + 3


@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_is_wrong_while_all_that_its_node_reads_is_right(seed: int) -> None:
    dice = random.Random(seed)
    graph = lineage(drawn(seed, 120))
    count = len(graph.values)
    damped = set(dice.sample(range(count), 30))
    wrong = wrong_from(graph, set(dice.sample(range(count), 3)), damped)
    for end in sorted(wrong)[-3:]:
        found = first_wrong(graph, end, asked(wrong))
        assert found.index in wrong and found.is_verified
        assert wrong.isdisjoint(members(graph.parents[found.index]))
        assert graph.ancestors[end] >> found.index & 1


def test_a_damped_error_on_one_branch_is_found_along_the_other() -> None:
    # t1 is wrong; t2 … t4 are not, though computed from it; t5 reads t4 and t1.
    graph = lineage([[], [0], [1], [2], [3], [4, 1]])
    ask = asked({1, 5})
    assert first_wrong(graph, 5, ask).index == 1
    assert ask.answers[3] is Answer.RIGHT  # which clears t1, wrongly


def test_tensors_that_cannot_be_compared_belong_to_the_region_behind_them() -> None:
    graph = lineage([[], [0], [1], [2], [3]], hidden=frozenset([2]))
    names = [value.name for value in graph.values]
    assert names == ["t0", "t1", "t3", "t4"]
    assert [node.name for node in graph.regions[2]] == ["n2", "n3"]
    unknown = {0, 1}  # t0 and t1, as it turns out
    answers = {2: Answer.WRONG, 3: Answer.WRONG}
    ask = Asked(lambda i: Answer.UNKNOWN if i in unknown else answers[i], 10)
    found = first_wrong(graph, 3, ask)
    region, parents = graph.region(found.index, ask.unknown)
    assert (found.index, found.is_verified) == (2, True)
    assert [node.name for node in region] == ["n0", "n1", "n2", "n3"]
    assert parents == 0


def test_without_more_questions_the_earliest_wrong_tensor_so_far_is_unverified() -> None:
    graph = lineage([[i - 1] if i else [] for i in range(64)])
    found = first_wrong(graph, 63, asked(set(range(5, 64)), budget=3))
    assert not found.is_verified
    assert 5 <= found.index < 63


def test_sets_of_tensors_keep_their_members() -> None:
    assert list(members(bits_of([5, 0, 64]))) == [0, 5, 64]
