"""Small torch models whose functions, methods and modules the tests put marks on."""

from __future__ import annotations

import warnings
from collections import namedtuple
from typing import Any

import torch
from torch import nn

from partition_core.trace.decorator import mark

Pair = namedtuple("Pair", ["low", "high"])
NOT_A_FUNCTION = 3


def double(value: torch.Tensor) -> torch.Tensor:
    return value * 2


def shifted(value: torch.Tensor, by: float = 1.0, *, scale: torch.Tensor | None = None) -> Any:
    moved = value + by
    return moved if scale is None else moved * scale


def nested(values: Any) -> Any:
    """Return what was given, in containers of every kind."""
    first, (second, third) = values["list"][0], values["pair"]
    return {"sum": [first + second], "pair": Pair(low=second * 2, high=third), "text": "kept"}


def two(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return value + 1, value - 1


def half_a_tensor(value: torch.Tensor) -> tuple[torch.Tensor, None]:
    return value, None


def count(value: torch.Tensor) -> int:
    return value.dim()


def fails(value: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("on purpose")


def never(value: torch.Tensor) -> torch.Tensor:
    return value


@mark("decorated", inputs=["given"], outputs=["made"])
def decorated(value: torch.Tensor) -> torch.Tensor:
    return value * 3


class Steps:
    """Methods of every kind."""

    def method(self, value: torch.Tensor) -> torch.Tensor:
        return value * 5

    @staticmethod
    def static(value: torch.Tensor) -> torch.Tensor:
        return value * 7

    @classmethod
    def of_class(cls, value: torch.Tensor) -> torch.Tensor:
        return value * 11


class MoreSteps(Steps):
    """Inherits every method."""


class Calls(nn.Module):
    """Calls what its argument names: a function of this module with the input."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.what = what

    def forward(self, x: torch.Tensor) -> Any:
        return getattr(self, self.what)(x)

    def function(self, x: torch.Tensor) -> Any:
        return double(x)

    def twice(self, x: torch.Tensor) -> Any:
        return double(double(x))

    def by_keyword(self, x: torch.Tensor) -> Any:
        return shifted(scale=x, value=x * 10)

    def by_position(self, x: torch.Tensor) -> Any:
        return shifted(x, 2.0)

    def containers(self, x: torch.Tensor) -> Any:
        made = nested({"list": [x], "pair": Pair(x + 1, x + 2), "number": 4})
        return made["sum"][0] + made["pair"].low + made["pair"].high

    def method_of_class(self, x: torch.Tensor) -> Any:
        return Steps().method(x)

    def method_of_subclass(self, x: torch.Tensor) -> Any:
        return MoreSteps().method(x)

    def static(self, x: torch.Tensor) -> Any:
        return Steps.static(x) + Steps().static(x)

    def of_class(self, x: torch.Tensor) -> Any:
        return Steps.of_class(x)

    def pair(self, x: torch.Tensor) -> Any:
        return two(x)

    def halves(self, x: torch.Tensor) -> Any:
        return half_a_tensor(x)[0]

    def number(self, x: torch.Tensor) -> Any:
        return x * count(x)

    def failing(self, x: torch.Tensor) -> Any:
        return fails(x)

    def with_decorator(self, x: torch.Tensor) -> Any:
        return decorated(x)

    def submodule(self, x: torch.Tensor) -> Any:
        return self.inner(x)

    def builtin(self, x: torch.Tensor) -> Any:
        return torch.relu(x)


class Block(nn.Module):
    """A convolution with a BatchNorm, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + torch.relu(self.bn(self.conv(features)))


class Net(nn.Module):
    """A stem, blocks in a list, and a head with two maps that `decode` joins."""

    def __init__(self, width: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        heads = {"small": nn.Conv2d(width, 6, 1), "large": nn.Conv2d(width, 6, 1)}
        self.head = nn.ModuleDict(heads)
        self.register_buffer("anchors", torch.arange(6.0).reshape(1, 6, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.stem(image)
        for block in self.blocks:
            features = block(features)
        return decode([self.head["small"](features), self.head["large"](features)]) + self.anchors


def decode(maps: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([one.flatten(2).sigmoid() for one in maps], dim=2)


class Inputs(nn.Module):
    """Takes a float and an integer tensor, in an order that is not the alphabet's."""

    def forward(self, zoom: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"picked": zoom[:, index], "index": index + 1}


class Bounded(nn.Module):
    """Bounds one tensor from below and above, three times in other ways."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = x.tanh()
        bounds = ((-0.1, 0.5), (-0.2, 0.6), (-0.3, 0.9))
        return {f"in_{high}": y.clamp(min=low).clamp(max=high) for low, high in bounds}


class Nested(nn.Module):
    """Returns a tuple of a tensor and a list."""

    def forward(self, x: torch.Tensor) -> Any:
        return x + 1, [x * 2, x * 3]


class Rows(nn.Module):
    """Keeps the rows whose first value is positive, asking about the mask as detectors do."""

    def __init__(self, ask: str) -> None:
        super().__init__()
        self.ask = ask

    def forward(self, x: torch.Tensor) -> Any:
        return getattr(self, self.ask)(x, x[:, 0] > 0)

    def not_all(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not mask.all():
            x = x[mask]
        return x * 2

    def torch_all(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x * 2 if torch.all(mask) else x[mask] * 2

    def any(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x[mask] if mask.any() else x[:0]

    def empty(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = x[mask]
        if kept.shape[0] == 0:
            return kept
        return kept / (kept + 1).pow(2)

    def numel(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = x[mask]
        if kept.numel() > 0:
            kept = kept.flip(0)
        return kept

    def more_than(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = x[mask]
        if kept.shape[0] > 3:
            kept = kept[:3]
        return kept

    def at_least(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = x[mask]
        if kept.shape[0] >= 3:
            kept = kept[:3]
        return kept

    def odd(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = x[mask]
        return kept if kept.shape[0] % 2 == 0 else kept * 2

    def difference(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        one, other = x[mask], x[~mask]
        return one if one.shape[0] - other.shape[0] > 0 else other

    def both(self, x: torch.Tensor, mask: torch.Tensor) -> Any:
        one, other = x[mask], x[~mask]
        return one, other, one @ other.T

    def known(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] > 5 and mask.numel() == 6 else x

    def value(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x if int(x[0, 0]) > 1 else x * 2

    def real_value(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x if x.max().item() > 0 else x * 2

    def branch(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else x * 2


class Fixed(nn.Module):
    """Its code reads a size as a number."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[2] == 16
        return image.mean(dim=3)


class Nothing(nn.Module):
    """Returns no tensor."""

    def forward(self, x: torch.Tensor) -> None:
        x.sum()


class Suppressed(nn.Module):
    """Our nms of a picture's boxes."""

    def __init__(self, iou_threshold: float, offset: int) -> None:
        super().__init__()
        self.iou_threshold, self.offset = iou_threshold, offset

    def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = torch.ops.partition.nms(boxes, scores, self.iou_threshold, self.offset)
        return kept


class Added(nn.Module):
    """Adds its inputs, which makes their sizes equal."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left + right


class Classwise(nn.Module):
    """mmcv's own suppression of each class apart."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mmcv.ops import batched_nms
        self.batched_nms = batched_nms

    def forward(self, boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor) -> Any:
        settings = {"type": "nms", "iou_threshold": 0.4}
        dets, kept = self.batched_nms(boxes, scores, idxs, settings)
        return {"dets": dets, "kept": kept}


class Eighths(nn.Module):
    """Takes another branch for a length that eight does not divide."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum() if x.shape[1] % 8 else x + 1


class Positions(nn.Module):
    """Adds a table of eight rows to a sequence that may be shorter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(32.0).view(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table: torch.Tensor = self.table  # type: ignore[assignment]
        return x + table[: x.shape[1]]


class Strided(nn.Module):
    """Takes another branch for a sequence whose every eighth step is a single one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = x[:, :, ::8]
        return x + steps if steps.shape[2] == 1 else x - steps.mean()


class Padded(nn.Module):
    """Asks about rows, pads them by an operator that refuses none, and asks again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x[x[:, 0] > 0]
        padded = self.padded(kept)
        if kept.shape[0] == 0:
            return torch.zeros(1, 6)
        return padded

    def padded(self, kept: torch.Tensor) -> torch.Tensor:
        if kept.shape[0] == 0:
            return kept.new_zeros(0, 6)
        return torch.nn.functional.pad(kept[None], (1, 1), mode="replicate")[0]


class Picked(nn.Module):
    """The rows of `states` (N, L, C) at `places` (N, K)."""

    def forward(self, states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return states.gather(1, places[..., None].expand(-1, -1, states.shape[2]))
