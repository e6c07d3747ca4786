"""How far float16 networks of several depths are from PyTorch in onnxruntime: what a tolerance
must allow.

`python benchmarks/half_precision.py` prints, for each kind of network and number of blocks, the
largest difference of an output relative to its largest value, over five seeds of weights and
inputs. float32 stands beside it.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from torch import nn

SEEDS = 5
DEPTHS = (1, 4, 16, 48)
WIDTH = 32


class Residual(nn.Module):
    """A block of convolutions beside a skip, as in a ResNet, with its norm folded in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a map of the same shape."""
        return torch.relu(x + 0.3 * self.second(torch.relu(self.first(x))))


class Attention(nn.Module):
    """A block of a vision transformer: attention and two linear layers, each with a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.queries = nn.Linear(WIDTH, 3 * WIDTH)
        self.inner = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape."""
        query, key, value = self.queries(self.norms[0](x)).chunk(3, -1)
        weights = torch.softmax(query @ key.transpose(1, 2) / WIDTH**0.5, -1)
        x = x + weights @ value
        return x + self.inner(self.norms[1](x))


class Plain(nn.Module):
    """Two convolutions without a skip, as in the neck of a detector."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(WIDTH, WIDTH, 1), nn.LeakyReLU(0.1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a map of the same shape."""
        return self.layers(x)


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (1, WIDTH, 16, 16)),
    "attention": (Attention, (1, 64, WIDTH)),
    "plain": (Plain, (1, WIDTH, 16, 16)),
}


def network(block: Callable[[], nn.Module], depth: int, seed: int) -> nn.Module:
    """Return `depth` blocks whose maps keep their magnitude."""
    torch.manual_seed(seed)
    made = nn.Sequential(*(block() for _ in range(depth))).eval()
    for module in made.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return made


def difference(model: nn.Module, sample: torch.Tensor) -> float:
    """Return how far onnxruntime is from PyTorch, relative to the largest value."""
    file = io.BytesIO()
    torch.onnx.export(model, (sample,), file, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    (found,) = session.run(None, {session.get_inputs()[0].name: sample.numpy()})
    with torch.no_grad():
        expected = model(sample).double().numpy()
    return float(np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max())


def main() -> None:
    """Print a row for each kind and depth."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print("| network | blocks | float16 | float32 |\n|---|---|---|---|")
    for name, (block, shape) in KINDS.items():
        for depth in DEPTHS:
            worst = {torch.float16: 0.0, torch.float32: 0.0}
            for seed in range(SEEDS):
                for dtype, so_far in worst.items():
                    model = network(block, depth, seed).to(dtype)
                    found = difference(model, torch.randn(shape).to(dtype))
                    worst[dtype] = max(so_far, found)
            print(f"| {name} | {depth} | {worst[torch.float16]:.1e} | {worst[torch.float32]:.1e} |")


if __name__ == "__main__":
    with torch.no_grad():
        main()
