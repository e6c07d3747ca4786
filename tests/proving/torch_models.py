"""Models that are no detectors: a transformer encoder for texts and a U-Net."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Encoder(nn.Module):
    """A transformer encoder whose output layer is its table of words, turned round.

    tokens (N, L) int64 and present (N, L) int64, 1 where there is a word; returns a dict.
    """

    def __init__(self, words: int = 40, width: int = 16, heads: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(64, width)
        layers = [
            nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True)
            for _ in range(depth)
        ]
        self.layers = nn.ModuleList(layers)
        self.out = nn.Linear(width, words, bias=False)
        self.out.weight = self.words.weight

    def forward(self, tokens: torch.Tensor, present: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=present == 0)
        return {"logits": self.out(x), "summary": mean_of_words(x, present)}


def mean_of_words(states: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    kept = present[..., None].to(states.dtype)
    mean: torch.Tensor = (states * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
    return mean


class TextEncoder(nn.Module):
    """What a text encoder is given: ids, positions and segments (N, L) int64, and who is present.

    Returns a mean (N, width) of the words present.
    """

    def __init__(self, words: int = 500, places: int = 32, kinds: int = 3) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 8)
        self.places = nn.Embedding(places + 2, 8)
        self.kinds = nn.Embedding(kinds, 8)
        self.layer = nn.Linear(8, 8)

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        segments: torch.Tensor,
        present: torch.Tensor,
    ) -> torch.Tensor:
        # As in BART, the first two rows of the places are for others.
        x = self.words(ids) + self.places(positions + 2) + self.kinds(segments)
        return mean_of_words(self.layer(x).tanh(), present)


class Loudness(nn.Module):
    """An amplitude at a sample rate: wave (N, L) float32, rate () int64, gain () float32."""

    def forward(self, wave: torch.Tensor, rate: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        seconds = wave.shape[1] / rate.to(wave.dtype)
        return wave.cumsum(dim=1) / rate * gain.log() + seconds


def _double_conv(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()
    )


class UNet(nn.Module):
    """Two levels down and two up, with a connection across at each level."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.down = nn.ModuleList([_double_conv(3, width), _double_conv(width, 2 * width)])
        self.bottom = _double_conv(2 * width, 4 * width)
        self.up = nn.ModuleList(
            [
                nn.ConvTranspose2d(4 * width, 2 * width, 2, 2),
                nn.ConvTranspose2d(2 * width, width, 2, 2),
            ]
        )
        self.join = nn.ModuleList(
            [_double_conv(4 * width, 2 * width), _double_conv(2 * width, width)]
        )
        self.classes = nn.Conv2d(width, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.decoded(*self.encoded(image))

    def encoded(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        skips = []
        for block in self.down:
            image = block(image)
            skips.append(image)
            image = functional.max_pool2d(image, 2)
        return self.bottom(image), skips

    def decoded(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        for up, join, skip in zip(self.up, self.join, reversed(skips), strict=True):
            x = join(torch.cat([skip, up(x)], dim=1))
        classes: torch.Tensor = self.classes(x)
        return classes


class Halves(nn.Module):
    """Two layers that compute in float16 between a cast and a cast back."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(width, width).half()
        self.second = nn.Linear(width, width).half()
        for number, tensor in enumerate(self.parameters()):
            tensor.data.copy_(
                torch.arange(number, number + tensor.numel()).sin().reshape_as(tensor) / 2
            )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.later(self.first(values.half()))

    def later(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.second(torch.relu(hidden))).float()
