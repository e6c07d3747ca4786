"""Torch models of which float16 holds some values and not others."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """Convolutions, a residual sum and a normalization: all of it is float16."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.head = nn.Linear(8, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        low = features(self.stem(image))
        return self.head((low + self.body(low)).mean((2, 3))).softmax(-1)


def features(low: torch.Tensor) -> torch.Tensor:
    return low


class Choosing(nn.Module):
    """The places of the largest scores, far beyond 2048, above which float16 has no odd numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scores = nn.Conv2d(3, 1, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = chosen_from(self.scores(image)).flatten(1)
        places = torch.arange(scores.shape[1]).to(torch.float32) + 3000.0
        best, index = (scores + places * 1e-6).topk(5)
        return best, (places[index] * 1.0).to(torch.int64)


def chosen_from(scores: torch.Tensor) -> torch.Tensor:
    return scores


class Beyond(nn.Module):
    """Constants that float16 has not: a mask of -1e9 and a divisor of 1e-9, twice a weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 8)
        self.register_buffer("scale", torch.full((8,), 1e-9))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        made = self.layer(image)
        hidden = torch.where(torch.arange(8) > 5, -1e9, made).softmax(-1)
        small = (made * self.scale) / self.scale
        return self.layer(hidden + small)


class Large(nn.Module):
    """An output that float16 has not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return wide(self.layer(image) * 1e5)


def wide(values: torch.Tensor) -> torch.Tensor:
    return values


class Branching(nn.Module):
    """A branch in the graph, whose bodies read a tensor from outside."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        made = self.layer(image)
        chosen = torch.cond(
            made.sum() > 0, lambda one: one * 2 + 1, lambda one: one.sigmoid(), (made,)
        )
        return self.layer(chosen)


class Steep(Branching):
    """A branch in the graph, and values that float16 cannot hold for inputs of about 100."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) + image**3


class Sampling(nn.Module):
    """A map that is read at places which a convolution gives."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 4, 1)
        self.places = nn.Conv2d(3, 2, 1)
        self.head = nn.Conv2d(4, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        grid = (self.places(image) * 0.1 + 0.05).permute(0, 2, 3, 1)
        return self.head(functional.grid_sample(self.features(image), grid, align_corners=False))
