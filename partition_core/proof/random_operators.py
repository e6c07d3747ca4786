"""Operators that draw random numbers, in a model's graph, bodies and functions; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from partition_core.graph.file.attributes import tensors_of
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Key, Model, Node, Value
from partition_core.graph.file.graph_reader import ATTRIBUTES
from partition_core.graph.file.tensor import Tensor, tensor_fields
from partition_core.graph.file.wire import fields, integers, part_of, piece, text
from partition_core.graph.walk import walk_back

_DRAWING = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_STANDARD = ("", "ai.onnx")
_TRAINING_MODE = 2
_INT32_DATA = 5
_ATTRIBUTE_NAME, _ATTRIBUTE_IS_OF_THE_FUNCTION = 1, 21


_Drawing = tuple[str, str, str, bool]
"""The fields of a `RandomOperator` without the last one."""

SEEDS = (0, 1, 2, 3)
"""The seeds that runs are repeated with."""


REMEDY = "scale the numbers by 0 with the arrays of 'proof.inputs', or give the operators a 'seed'"
"""How to make an ONNX file with random operators compute the same in each run."""


NOT_DETERMINISTIC = (
    "no operator that makes it is a random one without a seed: a kernel of onnxruntime is not "
    "deterministic"
)


@dataclass(frozen=True)
class RandomOperator:
    """A node that draws random numbers, and `top`: itself or the main graph's node around it.

    `within` says in words which body or function contains it (empty in the main graph). `seeded`
    is whether it has a seed, so that a new session draws the same numbers.
    """

    op_type: str
    name: str
    within: str
    seeded: bool
    top: Node

    def __str__(self) -> str:
        return f"{self.op_type} '{self.name}'{self.within}"


def random_operators(model: Model) -> tuple[RandomOperator, ...]:
    """Return the random operators of `model`, in the order of its main graph.

    Dropout is one unless a constant says that it is not in training mode.
    """
    functions: dict[Key, tuple[_Drawing, ...]] = {}
    return tuple(
        RandomOperator(*draw, top)
        for top in model.graph
        for draw in dict.fromkeys(_within(top, "", model, functions))
    )


def unseeded(
    model: Model, operators: Iterable[RandomOperator], tensors: Iterable[Value]
) -> list[str]:
    """Return, in words, the operators without a seed that values of the main graph depend on."""
    free = [operator for operator in operators if not operator.seeded]
    needed = set(walk_back(model.graph, (), tensors).nodes) if free else set()
    return list(dict.fromkeys(str(operator) for operator in free if operator.top in needed))


def draw_random_numbers(operators: Sequence[str]) -> str:
    """Return the clause that `operators` draw random numbers."""
    return f"{' and '.join(operators)} draw{'s' if len(operators) == 1 else ''} random numbers"


def _within(
    node: Node, where: str, model: Model, functions: dict[Key, tuple[_Drawing, ...]]
) -> Iterator[_Drawing]:
    if _draws(node):
        yield node.op_type, _name(node), where, _is_seeded(node)
    for body in node.bodies:
        for inner in body:
            yield from _within(inner, f" in {node.op_type} '{_name(node)}'", model, functions)
    yield from _of_function(node.key, model, functions)


def _of_function(
    key: Key, model: Model, functions: dict[Key, tuple[_Drawing, ...]]
) -> Sequence[_Drawing]:
    function = model.functions.get(key)
    if function is None:
        return ()
    if key not in functions:
        functions[key] = ()  # a recursive function is invalid, and ends here
        where = f" in function '{key[0]}.{key[1]}'"
        functions[key] = tuple(
            draw for node in function.graph for draw in _within(node, where, model, functions)
        )
    return functions[key]


def _name(node: Node) -> str:
    return node.name or next((value.name for value in node.outputs if value.name), "")


def _draws(node: Node) -> bool:
    if node.domain not in _STANDARD:
        return False
    if node.op_type == "Dropout":
        mode = node.inputs[_TRAINING_MODE:]
        return bool(mode) and mode[0] is not None and not _is_false(mode[0])
    return node.op_type in _DRAWING


def _is_false(value: Value) -> bool:
    tensor = value.tensor or _constant(value.producer)
    if tensor is None or tensor.external is not None:
        return False
    if tensor.raw is not None:
        return not any(content_of(tensor.raw))
    return not any(integers(tensor_fields(tensor.message), _INT32_DATA))


def _constant(node: Node | None) -> Tensor | None:
    tensors = tensors_of(node) if node is not None and node.op_type == "Constant" else []
    return tensors[0] if tensors else None


def _is_seeded(node: Node) -> bool:
    # A seed that is the attribute of a function may be absent where that is called.
    return any(
        text(part_of(attribute, _ATTRIBUTE_NAME) or b"") == "seed"
        and not part_of(attribute, _ATTRIBUTE_IS_OF_THE_FUNCTION)
        for key, message in fields(node.message)
        if key >> 3 == ATTRIBUTES
        for attribute in [content_of(piece(message))]
    )
