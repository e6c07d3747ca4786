"""Cuts language models of `transformers` into four groups of layers, and compares their tokens.

    python benchmarks/language_models.py [llama llama_fixed t5]

A Llama and a T5 with four layers (of each stack) are built from their configurations on random
weights, exported with free lengths, cut by one line, and proven. Then the chain of the groups
writes 64 tokens greedily, which must be those of `generate`. The Llama is built a second time as
two variants of fixed sizes, for the prompt and for one token at a time, whose weights are one file.
`transformers` is installed into a folder of its own. One JSON a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from any_detector import ROOT, installed

CACHES = [f"{kind}{layer}" for layer in range(4) for kind in "kv"]

MODELS = '''
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration
from transformers.cache_utils import DynamicCache


def scattered(make, scale):
    """Return a model whose greedy tokens differ: a fresh one repeats a token."""
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model.eval()


class Llama(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lm = scattered(lambda: LlamaForCausalLM(LlamaConfig(
            vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
            tie_word_embeddings=True, attn_implementation="eager")), 0.3)

    def forward(self, ids, places, mask, k0, v0, k1, v1, k2, v2, k3, v3):
        cache = DynamicCache()
        for layer, past in enumerate([(k0, v0), (k1, v1), (k2, v2), (k3, v3)]):
            cache.update(*past, layer)
        out = self.lm(input_ids=ids, position_ids=places, attention_mask=mask,
                      past_key_values=cache, use_cache=True)
        result = {"logits": out.logits}
        for number, layer in enumerate(out.past_key_values.layers):
            result |= {f"new_k{number}": layer.keys, f"new_v{number}": layer.values}
        return result


def t5():
    config = T5Config(vocab_size=512, d_model=64, d_kv=16, d_ff=128, num_layers=4,
                      num_heads=4, decoder_start_token_id=0, dropout_rate=0.0)
    config._attn_implementation = "eager"
    model = T5ForConditionalGeneration(config)
    # One that is tied to the embedding gives each token again.
    model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    return model


class T5(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lm = scattered(t5, 0.05)
        with torch.no_grad():
            self.lm.shared.weight.mul_(8)  # or what the layers add outweighs the last token

    def forward(self, ids, decoder_ids):
        out = self.lm(input_ids=ids, decoder_input_ids=decoder_ids, use_cache=False)
        return {"logits": out.logits}
'''

TOKENS = """
import itertools, json, sys, numpy as np, torch
import lms
from partition_core import Pipeline

COUNT, SLOTS, PROMPT = 64, 72, 8
name = sys.argv[1]
folder = f"build/{name}"
prompt = torch.randint(0, 512, (1, 5), generator=torch.Generator().manual_seed(1))


def empty(length):
    return {f"{k}{n}": np.zeros((1, 2, length, 16), np.float32) for n in range(4) for k in "kv"}


def llama():
    chain, caches, new, past = Pipeline(folder), empty(0), prompt.numpy(), 0
    while True:
        total = past + new.shape[1]
        result = chain({"ids": new, "places": np.arange(past, total)[None],
                        "mask": np.ones((1, total), np.int64), **caches})
        caches = {name: result[f"new_{name}"] for name in caches}
        new, past = result["logits"][:, -1:].argmax(2), total
        yield int(new[0, 0])


def llama_fixed():
    # Two variants, whose caches have slots for all tokens: what has no token yet is masked.
    prefill, decode = (Pipeline(folder, variant=each) for each in ("prefill", "decode"))
    caches, new, past = empty(SLOTS), prompt[0].tolist(), 0
    while True:
        chain, size = (decode, 1) if past else (prefill, PROMPT)
        count = len(new)
        mask = [1] * past + [0] * (SLOTS - past) + [1] * count + [0] * (size - count)
        result = chain({"ids": np.array([new + [0] * (size - count)]),
                        "places": np.arange(past, past + size)[None],
                        "mask": np.array([mask]), **caches})
        for each, cache in caches.items():
            cache[:, :, past:past + count] = result[f"new_{each}"][:, :, SLOTS:SLOTS + count]
        new, past = [int(result["logits"][0, count - 1].argmax())], past + count
        yield new[0]


def t5():
    chain, tokens = Pipeline(folder), [0]
    while True:
        result = chain({"ids": prompt.numpy(), "decoder_ids": np.array([tokens])})
        tokens.append(int(result["logits"][0, -1].argmax()))
        yield tokens[-1]


model = lms.T5() if name == "t5" else lms.Llama()
write = {"llama": llama, "llama_fixed": llama_fixed, "t5": t5}[name]
tokens = list(itertools.islice(write(), COUNT))
options = {"max_new_tokens": COUNT, "min_new_tokens": COUNT, "do_sample": False}
if name != "t5":
    options["pad_token_id"] = 0
expected = model.lm.generate(prompt, **options)[0, -COUNT:].tolist()
size = sum(parameter.numel() * 4 for parameter in model.parameters())
print(json.dumps({"equal": tokens == expected, "distinct": len(set(tokens)), "bytes": size}))
"""

SLOTS, PROMPT = 72, 8
_FIXED_INPUTS = (
    "ids: {dtype: int64, range: [0, 511]}",
    "places: {dtype: int64, range: [0, 100]}",
    "mask: {dtype: int64, value: 1}",
    *(f"{name}: {{shape: [1, 2, {SLOTS}, 16]}}" for name in CACHES),
)
_LLAMA_INPUTS = (
    "ids: {shape: [1, 3], dtype: int64, range: [0, 511]}",
    "places: {shape: [1, 3], dtype: int64, range: [0, 100]}",
    "mask: {shape: [1, 8], dtype: int64, value: 1}",
    *(f"{name}: {{shape: [1, 2, 5, 16]}}" for name in CACHES),
)
_LLAMA_AXES = ("ids: {1: new}", "places: {1: new}", "mask: {1: total}")
_T5_INPUTS = (
    "ids: {shape: [1, 7], dtype: int64, range: [0, 511]}",
    "decoder_ids: {shape: [1, 5], dtype: int64, range: [0, 511]}",
)


def variant(name: str, size: int) -> str:
    """Return a line of a recipe for a variant of the Llama that takes `size` tokens at once."""
    shapes = {"ids": size, "places": size, "mask": SLOTS + size}
    inputs = ", ".join(f"{key}: {{shape: [1, {length}]}}" for key, length in shapes.items())
    return f"  {name}: {{inputs: {{{inputs}}}}}"


def recipe(
    factory: str,
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    every: str,
    variants: tuple[str, ...] = (),
) -> str:
    """Return a recipe that cuts a language model into four groups by one line."""
    return "\n".join(
        (
            f"model: {{source: torch, factory: 'lms:{factory}'}}",
            "export:",
            f"  inputs: {{{', '.join(inputs)}}}",
            f"  dynamic_axes: {{{', '.join(axes)}}}",
            "  weights: shared",
            *(("variants:", *variants) if variants else ()),
            "partition:",
            "  type: layers",
            f"  segments: {{every: '{every}', groups: 4}}",
            "",
        )
    )


RECIPES = {
    "llama": recipe(
        "Llama",
        _LLAMA_INPUTS,
        (*_LLAMA_AXES, *(f"{name}: {{2: past}}" for name in CACHES)),
        "lm.model.layers.*",
    ),
    "llama_fixed": recipe(
        "Llama",
        _FIXED_INPUTS,
        (),
        "lm.model.layers.*",
        (variant("prefill", PROMPT), variant("decode", 1)),
    ),
    "t5": recipe("T5", _T5_INPUTS, ("ids: {1: length}", "decoder_ids: {1: out}"), "lm.*.block.*"),
}


def main() -> None:
    """Build the models, and compare their tokens with those of `generate`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packages = installed("transformers", folder / "packages")
        (folder / "recipes").mkdir()
        (folder / "dodo.py").write_text((ROOT / "dodo.py").read_text())
        (folder / "lms.py").write_text(MODELS)
        (folder / "tokens.py").write_text(TOKENS)
        paths = os.pathsep.join((str(ROOT), str(packages), name))
        variables = {**os.environ, "PYTHONPATH": paths, "PARTITION_CORE_STORE": f"{name}/store"}

        def python(*words: str) -> str:
            command = [sys.executable, *words]
            run = subprocess.run(
                command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True, check=True
            )
            return run.stdout.splitlines()[-1]

        for model in sys.argv[1:] or RECIPES:
            text = RECIPES[model]
            (folder / "recipes" / f"{model}.yaml").write_text(text)
            python("-m", "doit", "build", f"recipe={model}")
            built = folder / "build" / model
            weights = [path.stat().st_size for path in built.glob("*.data")]
            found = json.loads(python("tokens.py", model))
            files = {"weights_files": len(weights), "weights_bytes": sum(weights)}
            print(json.dumps({"model": model, **found, **files}), flush=True)


if __name__ == "__main__":
    main()
