"""Models that give something else in each run, and models that only look so."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Noisy(nn.Module):
    """Adds noise."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + torch.randn_like(image)


class Dropped(nn.Module):
    """Drops values though it does not train."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return functional.dropout(image, 0.5, training=True)


class Training(nn.Module):
    """Has a dropout that its own forward sets to training."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.dropout.train()(2 * image)


class Drawn(nn.Module):
    """Draws with numpy."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * float(np.random.default_rng().normal())


class Counting(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return image * self.calls


class Reseeded(nn.Module):
    """Draws the same numbers each time, which ONNX cannot."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return image + torch.randn_like(image)


class Evaluated(nn.Module):
    """Has a dropout, as most models."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.dropout(image.sin())


class Silent(nn.Module):
    """Draws numbers of which nothing is left."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.sin() + 0 * torch.randn_like(image)


class Overwriting(nn.Module):
    """Writes into its input."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.add_(1).sin()


class Keeping(nn.Module):
    """Returns a buffer that the next run overwrites."""

    kept: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(1, 3, 16, 16))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.kept.copy_(image.sin())
        return self.kept
