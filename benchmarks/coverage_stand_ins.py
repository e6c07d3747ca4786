"""What configs of mmdet ask for and the package index has not: torchvision, and BERT's files."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import torch

_CLASSES = {
    "torchvision": (),
    "torchvision.ops": (),
    "torchvision.ops.boxes": (),
    "torchvision.transforms": ("RandomResizedCrop",),
    "torchvision.transforms.functional": (),
    "torchvision.transforms.transforms": ("InterpolationMode",),
}
"""The modules that mmpretrain imports beside its models, and what it inherits from there."""


def provide_torchvision() -> None:
    """Let mmpretrain import torchvision, of which its backbones use nothing.

    The index has no build of it for a torch without CUDA.
    """
    if importlib.util.find_spec("torchvision") is not None:
        return
    for name, classes in _CLASSES.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        for kind in classes:
            setattr(module, kind, type(kind, (), {}))
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)


BERT = "bert"
"""The folder of the language model, below the one where a row is built."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?")
_WIDTH = 768


def write_bert(folder: Path, names: Iterable[str]) -> None:
    """Write the files of a BERT as large as `bert-base-uncased`, whose words are those of `names`.

    Its weights are left out but for one tensor: those of the recipe replace them.
    """
    from safetensors.torch import save_file

    words = sorted({word for name in names for word in re.findall(r"[a-z]+|\S", name.lower())})
    vocabulary = [*_SPECIAL, *(word for word in words if word not in _SPECIAL)]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    about = {"model_type": "bert", "vocab_size": len(vocabulary), "hidden_size": _WIDTH}
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    known = {"embeddings.LayerNorm.weight": torch.ones(_WIDTH)}
    save_file(known, folder / "model.safetensors", metadata={"format": "pt"})
