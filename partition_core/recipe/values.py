"""The recipe as immutable values, and its canonical JSON; reads no file and imports no library."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.target import Target

WeightsPlacement = Literal["inline", "external", "shared"]
"""Where weights are: in each model's file, in a file beside each, or in one file for all."""

MasksForm = Literal["probabilities", "pasted"]
"""What masks of a two-stage detector are: values in each box, or booleans in the picture."""

Unproven = Literal["refuse", "allow"]
"""What a build does with what cannot be proven: it gives nothing, or all with a note of that."""

Precision = Literal["float32", "float16"]
"""The dtype that a model computes in where it has the choice."""

HeadCut = Literal["features", "joined_heads", "raw_heads"]
"""Where the structure of a model puts the marks of `STRUCTURAL_MARKS`: at the maps that the heads
of a detector share; behind the last operators with weights, where the model joins what they give;
or before that."""

STRUCTURAL_MARKS = ("front", "tail", "model")
PART = "part_{}"
"""The names of the marks of parts, by their number."""

Balance = Literal["weights", "flops"]
"""What groups of layers have in about equal parts: bytes of weights, or operations."""

Element = bool | int | float
"""One element of an input."""

Range = tuple[float, float]
"""The minimum and maximum element of an input; whole numbers for an integer dtype."""

DEFAULT_OPSET = 20
DEFAULT_BATCHES = (1, 2, 5)
"""The sizes at which an open batch is proven: one row, several, and more than in the trace."""
DEFAULT_TOLERANCE = 1e-4
HALF_TOLERANCES: Mapping[str, float] = {"float16": 1e-2, "bfloat16": 8e-2}
"""The defaults for models that compute in 16 bits, where onnxruntime rounds other tensors than
PyTorch: float16 as `benchmarks/half_precision.py` measures it; bfloat16, with 3 bits less, is eight
times that."""


@dataclass(frozen=True)
class Seed:
    """Deterministic weights, derived from `seed` and each tensor's name."""

    seed: int


@dataclass(frozen=True)
class Checkpoint:
    """A published state dict: a path or URL, and (a prefix of) its SHA-256."""

    checkpoint: str
    sha256: str


@dataclass(frozen=True)
class OwnWeights:
    """The weights of the model as the factory of a `torch` source returns it."""


Weights = Seed | Checkpoint | OwnWeights


@dataclass(frozen=True)
class DependsOn:
    """What a model depends on that a build does not detect: paths or patterns of files, below the
    project's folder or absolute, and names of installed packages."""

    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


class _TracedModel:
    """What is the same for all models that PyTorch runs."""

    weights: Weights
    is_traced: ClassVar[bool] = True
    """Whether PyTorch runs the model; else it is a file that onnxruntime runs."""
    whole_mark: ClassVar[str] = ""
    """The `on` of a mark on the whole model; empty if the graph shows it (`naming`)."""
    inputs: ClassVar[tuple[FileInput, ...]] = ()
    """What a recipe says about the inputs of a file."""

    @property
    def factories(self) -> tuple[str, ...]:
        """Dotted paths of a user's functions that make the model."""
        return ()

    @property
    def seed(self) -> int | None:
        """The seed that the weights are drawn from, None for other weights."""
        return self.weights.seed if isinstance(self.weights, Seed) else None


@dataclass(frozen=True)
class MmdetModel(_TracedModel):
    """A detector that an mmdet config describes, or a `part` of it if that is not empty.

    `overrides` is sorted by its dotted key; each value is canonical JSON text, so that the
    recipe stays hashable.
    """

    config: str
    overrides: tuple[tuple[str, str], ...]
    weights: Weights
    source: Literal["mmdet"] = "mmdet"
    depends_on: DependsOn | None = None
    part: str = ""

    whole_mark: ClassVar[str] = "detector"

    @property
    def title(self) -> str:
        """The name of the model in messages: where it comes from."""
        return self.config


@dataclass(frozen=True)
class TorchModel(_TracedModel):
    """A module that a Python callable, `package.module:function`, returns.

    `args` holds the callable's keyword arguments, sorted, each value as canonical JSON text.
    """

    factory: str
    args: tuple[tuple[str, str], ...]
    weights: Weights
    source: Literal["torch"] = "torch"
    depends_on: DependsOn | None = None

    @property
    def factories(self) -> tuple[str, ...]:
        """Dotted paths of a user's functions that make the model."""
        return (self.factory.replace(":", "."),)

    @property
    def title(self) -> str:
        """The name of the model in messages: where it comes from."""
        return self.factory


@dataclass(frozen=True)
class TensorName:
    """A tensor of an ONNX file: the one named `tensor`, or output `output` of the node `node`.

    An `output` of None is the only output of the node. `alias` is what references and
    boundaries call the tensor, if not by its own name.
    """

    tensor: str | None = None
    node: str | None = None
    output: int | None = None
    alias: str = ""


@dataclass(frozen=True)
class TensorMark:
    """A named place of an ONNX file: `tensors` are both its input and its output, or `inputs`
    and `outputs` are the two sides of what lies between them."""

    name: str
    tensors: tuple[TensorName, ...] = ()
    inputs: tuple[TensorName, ...] = ()
    outputs: tuple[TensorName, ...] = ()


@dataclass(frozen=True)
class FileInput:
    """What a recipe says about an input of an ONNX file; the file defines the rest.

    `shape` is None where the file's dims apply; `range` and `value` are those of `TensorSpec`.
    """

    name: str
    shape: tuple[int, ...] | None = None
    range: Range | None = None
    value: Element | None = None


@dataclass(frozen=True)
class BoundaryType:
    """The dtype of the tensor `tensor` of an ONNX file and its dims, sizes or symbols."""

    tensor: str
    dtype: str
    dims: tuple[str | int, ...]


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file at `location`, a path or a URL, and (a prefix of) its SHA-256.

    `sha256` is empty if the file is not pinned, which only a path allows. `marks` are its named
    places, `inputs` what the recipe says about its inputs, `types` what it says about tensors at
    the boundaries of segments.
    """

    location: str
    sha256: str
    marks: tuple[TensorMark, ...]
    inputs: tuple[FileInput, ...]
    types: tuple[BoundaryType, ...] = ()
    source: Literal["onnx"] = "onnx"

    is_traced: ClassVar[bool] = False
    whole_mark: ClassVar[str] = ""
    factories: ClassVar[tuple[str, ...]] = ()
    seed: ClassVar[int | None] = None
    depends_on: ClassVar[DependsOn | None] = None

    @property
    def title(self) -> str:
        """The name of the model in messages: where it comes from."""
        return self.location


Model = MmdetModel | TorchModel | OnnxModel


@dataclass(frozen=True)
class TensorSpec:
    """An input of the end2end model: its name, dims and dtype (ONNX names: `float32`, …).

    The elements of a sample are drawn from `range`, both ends included, or all are `value`; at
    most one of the two is given.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    range: Range | None = None
    value: Element | None = None


@dataclass(frozen=True)
class DynamicAxis:
    """The dim `axis` of the tensor `tensor` is not fixed; it carries the symbol `symbol`."""

    tensor: str
    axis: int
    symbol: str


@dataclass(frozen=True)
class Answer:
    """The branch that is right for every input, as a user states: `answer` is the assumed value of
    the condition in the line `at`, `file:line`, and `reason` says why, for people.
    """

    at: str
    answer: bool
    reason: str


@dataclass(frozen=True)
class ExportOptions:
    """How the model becomes ONNX. `weights` says where the weights of all artifacts are, `masks`
    what the masks of a two-stage detector are, `answers` the assumed values of conditions that
    depend on the input. `args` are arguments of a torch model that are not tensors, sorted, each
    value as canonical JSON text. `precision` float16 makes weights, what is computed with them,
    inputs and outputs float16, the last two unless `keep_io_types`.

    For an ONNX file, `inputs` is empty and `opset` is 0: the file has its own.
    """

    inputs: tuple[TensorSpec, ...]
    output_names: tuple[str, ...]
    dynamic_axes: tuple[DynamicAxis, ...]
    opset: int
    weights: WeightsPlacement = "inline"
    masks: MasksForm = "probabilities"
    answers: tuple[Answer, ...] = ()
    args: tuple[tuple[str, str], ...] = ()
    precision: Precision = "float32"
    keep_io_types: bool = False

    @property
    def batches(self) -> frozenset[str]:
        """The symbols of dims 0 of inputs that are no other dims too."""
        return frozenset(axis.symbol for axis in self.dynamic_axes if axis.axis == 0) - frozenset(
            axis.symbol for axis in self.dynamic_axes if axis.axis
        )

    def io_dtype(self, dtype: str) -> str:
        """Return the dtype in end2end of an input or output that is `dtype` in PyTorch."""
        is_changed = self.precision == "float16" and not self.keep_io_types
        return "float16" if is_changed and dtype == "float32" else dtype


@dataclass(frozen=True)
class Mark:
    """A named place of the model: a function (`on`), whichever of some functions the model calls
    (`any_of`), a module (`module`) or a function that the decorator `@mark` marks in Python
    (`decorator`), exactly one of them.

    `on` is a dotted path, or `model` (`detector`) for the whole model, as an empty `module` is;
    `any_of` is a list of dotted paths, empty if it is not given.
    `inputs` and `outputs` name what is marked, by parameter or position; None marks every tensor
    found, under the parameters' own names (outputs: `output`, or the keys of a returned dict), and
    an empty tuple marks nothing on that side.
    """

    name: str
    on: str | None
    module: str | None
    inputs: tuple[str, ...] | None
    outputs: tuple[str, ...] | None
    decorator: bool = False
    any_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """A sub-graph between `start` and `end`, saved as `save_file` in the recipe's build folder.

    `input_names` and `output_names` are empty, or name every boundary tensor in order.
    `sizes_from` are tensors that are inputs as well if the segment needs only their sizes.
    `inputs` have the shapes of those that are fixed in this segment alone.
    """

    save_file: str
    start: tuple[MarkReference, ...]
    end: tuple[MarkReference, ...]
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    dynamic_axes: tuple[DynamicAxis, ...] = ()
    sizes_from: tuple[MarkReference, ...] = ()
    inputs: tuple[FileInput, ...] = ()


ONE_LINE = "from-to"
"""The type of a partition that was written as `{save_file, from, to}`; no recipe can use it."""


SHOWN_POLICIES = "partition_core/policies"
"""What messages call the folder of the shared policies."""

ANY_DETECTOR = "backbone_head"
"""The shared policy that fits every detector with a backbone of its own."""


NETWORK_POLICIES = ("no_postprocess", "raw_heads", "backbone_head")
"""The shared policies that fit an mmdet detector whose batch is dynamic: of such a one only what
is in front of the post-processing is exported."""


@dataclass(frozen=True)
class LayerCut:
    """Parts of a stack of modules, in their order: before each of the modules `at`, or `groups` of
    them that are about equal by `balance`, of the modules whose path a pattern of `every` fits."""

    every: tuple[str, ...] = ()
    groups: int = 0
    balance: Balance = "weights"
    at: tuple[str, ...] = ()


@dataclass(frozen=True)
class OperatorLimits:
    """What a runtime asks of an operator; an empty field is no limit.

    `dtypes` are those of its first input, `ranks` those of that and of what it gives. Its inputs
    with the numbers `constant` are constants. `attributes` are the values that it takes, each list
    as canonical JSON text, and `opset` the least and the most.
    """

    dtypes: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    constant: tuple[int, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    opset: tuple[int, ...] = ()


@dataclass(frozen=True)
class OperatorCut:
    """Parts that a runtime supports, and those between them.

    `operators` are those that it has, sorted, as `Conv` or `com.microsoft.Gelu`.
    """

    operators: tuple[tuple[str, OperatorLimits], ...]


Cut = HeadCut | LayerCut | OperatorCut


@dataclass(frozen=True)
class Partition:
    """The segments, in the order in which they run, and the name of the partition.

    `cut` says where the structural marks are that segments refer to, None if there are none.
    `targets` are the runtimes that segments are converted for.
    """

    type: str
    segments: tuple[Segment, ...]
    cut: Cut | None = None
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Proof:
    """How the result is proven: `tolerance` is the largest allowed difference of a tensor of
    end2end from eager PyTorch, or from the given ONNX file, relative to that tensor's
    largest magnitude; `images` are paths of pictures (empty: a photograph that ships with a
    dependency); `inputs` are paths of `.npz` files with inputs, each a sample (empty: all are
    drawn). A tolerance of None is the default for the dtype in which the model computes.
    `batches` are the sizes at which dims 0 of inputs that are not fixed are proven. `unproven` is
    about operators that onnxruntime lacks here and outputs that say nothing."""

    tolerance: float | None
    images: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    batches: tuple[int, ...] = DEFAULT_BATCHES
    unproven: Unproven = "refuse"

    def tolerance_for(self, dtype: str) -> float:
        """Return the tolerance of a model that computes in `dtype`."""
        default = HALF_TOLERANCES.get(dtype, DEFAULT_TOLERANCE)
        return default if self.tolerance is None else self.tolerance


@dataclass(frozen=True)
class Recipe:
    """Everything that a user says about one model; equal recipes have equal canonical JSON.

    The marks of an ONNX file are those of its model; `marks` is empty then.
    """

    name: str
    model: Model
    export: ExportOptions
    marks: tuple[Mark, ...]
    partition: Partition
    proof: Proof


def canonical_json(value: object) -> str:
    """Return the canonical JSON text of a recipe, or of a part of it: sorted keys, no white space.

    Mark references appear as the strings that a user would write.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: object) -> Any:
    if isinstance(value, MarkReference):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
