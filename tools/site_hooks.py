"""What mkdocs asks of us: the order of the pages, and the recipe reference out of the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
REFERENCE = "recipe-reference.md"
ORDER = (
    "index.md", "quick-start.md", REFERENCE, "marks.md", "branches.md", "questions.md",
    "policies.md", "report.md", "run.md", "backends.md", "diagnose.md", "quantize.md",
    "cache.md", "ci.md", "from-mmdeploy.md", "python.md", "any_detector.md", "coverage.md",
    "design_notes.md", "benchmarks.md",
)  # fmt: skip
_SECTIONS = (
    ("model", "mmdet_model", "torch_model"),
    ("model.weights", "weights"),
    ("model.depends_on", "depends_on"),
    ("export", "export"),
    ("export.inputs", "input"),
    ("export.answers", "answer"),
    ("marks", "mark"),
    ("partition", "partition"),
    ("partition.segments", "segment", "layers"),
    ("partition.operators", "operators"),
    ("partition.targets", "target"),
    ("proof", "proof"),
    ("model, of an ONNX file", "onnx_model"),
    ("export, of an ONNX file", "onnx_export"),
    ("marks, of an ONNX file", "tensor_mark", "tensor"),
    ("partition, of an ONNX file", "onnx_partition"),
    ("proof, of an ONNX file", "onnx_proof"),
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that exist in their order, and those that nobody ordered behind them."""
    found = {path.name for path in Path(config.docs_dir).glob("*.md")} | {REFERENCE}
    config.nav = [name for name in ORDER if name in found]
    config.nav += sorted(found - set(ORDER))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the recipe reference."""
    files.append(File.generated(config, REFERENCE, content=reference()))
    return files


def reference() -> str:
    """Return every key of a recipe as Markdown, from the schema that checks recipes."""
    schema = json.loads((ROOT / "schema" / "recipe.schema.json").read_text(encoding="utf-8"))
    parts = [
        "# Recipe reference",
        "Every key of a recipe, from `schema/recipe.schema.json`, against which recipes are "
        "checked. **Bold** keys are needed, after what a recipe inherits by `extends`.",
        "## At the top",
        *_table(schema, schema["$defs"]["whole_recipe"]["required"], schema),
    ]
    for title, *names in _SECTIONS:
        parts.append(f"## `{title}`")
        for name in names:
            form = schema["$defs"][name]
            parts += [form["description"], *_table(form, form.get("required", ()), schema)]
    return "\n\n".join(parts) + "\n"


def _table(form: dict[str, Any], needed: object, schema: dict[str, Any]) -> Iterator[str]:
    rows = [
        _row(key, value, key in needed if isinstance(needed, list | tuple) else False, schema)
        for key, value in form.get("properties", {}).items()
        if value.get("not") != {}  # a key that is only there to be refused with its reason
    ]
    if rows:
        head = "| key | what it is | expected | default |\n|---|---|---|---|"
        yield "\n".join([head, *rows])
    for other in ("then", "else"):
        if "properties" in form.get(other, {}):
            yield from _table(form[other], form[other].get("required", ()), schema)


def _row(key: str, value: dict[str, Any], needed: bool, schema: dict[str, Any]) -> str:
    told = {**_followed(value, schema), **value}
    name = f"**`{key}`**" if needed else f"`{key}`"
    default = f"`{json.dumps(told['default'])}`" if "default" in told else ""
    cells = (name, told.get("description", ""), told.get("title", ""), default)
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _followed(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = value.get("$ref", "").removeprefix("#/$defs/")
    found: dict[str, Any] = schema["$defs"].get(name, {})
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
