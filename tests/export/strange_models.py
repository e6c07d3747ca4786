"""Models of modules, dtypes and results that few models have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Halves(nn.Module):
    """Its result is bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.bfloat16)


class BrainWeights(nn.Module):
    """Its weights are bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.to(torch.bfloat16)).float()


class Mixed(nn.Module):
    """It returns more than tensors."""

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"n": 3, "y": x * 2, "text": "none", "nothing": None, "of": object()}


class Number(nn.Module):
    """It returns no tensor."""

    def forward(self, x: Tensor) -> int:
        return len(x)


class Counting(nn.Module):
    """It writes a buffer that it reads the next time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x * self.count


class Noting(nn.Module):
    """It writes a buffer that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.last.copy_(x)
        return x * 2


class Spectrum(nn.Module):
    """Its result is complex."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x)


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh())


def scripted() -> Any:
    return torch.jit.script(plain())


def traced() -> Any:
    return torch.jit.trace(plain(), torch.zeros(2, 4))


def inner_script() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), torch.jit.script(nn.Tanh()))


def inner_trace() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), torch.jit.trace(nn.Tanh(), torch.zeros(2, 4)))


def quantized() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, dtype=torch.qint8)
