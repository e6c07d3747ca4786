"""A small language model in the place of BERT, whose tokens are the words of a caption."""

from __future__ import annotations

import re
import zlib
from collections import UserDict
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import nn

SPECIAL = "."
WIDTH = 8


class Tokens(UserDict[str, torch.Tensor]):
    """The tokens of captions: their `input_ids` (captions, tokens), and where each comes from."""

    def __init__(self, captions: Sequence[str]) -> None:
        self.found = list(re.finditer(r"\w+|\S", captions[0]))
        # No number of a word may change from one process to the next.
        numbers = [zlib.crc32(one.group().encode()) % 64 for one in self.found]
        super().__init__(input_ids=torch.tensor([numbers] * len(captions)))

    @property
    def input_ids(self) -> torch.Tensor:
        return self["input_ids"]

    def char_to_token(self, place: int) -> int | None:
        inside = (k for k, one in enumerate(self.found) if one.start() <= place < one.end())
        return next(inside, None)


@MODELS.register_module(force=True)
class WordModel(nn.Module):
    """Embeds each word; a word reads those of its own name, up to the next full stop."""

    max_tokens, pad_to_max = 32, False

    def __init__(self) -> None:
        super().__init__()
        self.language_backbone = nn.ModuleDict({"body": nn.Embedding(64, WIDTH)})
        self.language_backbone.body.language_dim = WIDTH

    def tokenizer(self, captions: Sequence[str], **_: Any) -> Tokens:
        return Tokens(captions)

    def forward(self, captions: Sequence[str]) -> dict[str, torch.Tensor]:
        tokens = Tokens(captions)
        embedded = self.language_backbone.body(tokens.input_ids)
        stops = [one.group() == SPECIAL for one in tokens.found]
        name = torch.tensor([sum(stops[:place]) for place in range(len(stops))])
        ids = torch.arange(len(stops))[None].repeat(len(captions), 1)
        return {
            "embedded": embedded,
            "hidden": embedded,
            "masks": (name[:, None] == name)[None].repeat(len(captions), 1, 1),
            "position_ids": ids,
            "text_token_mask": ids >= 0,
        }
