"""The documentation site: it builds without a warning, and what its pages show works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from partition_core.build.settings import read_settings
from partition_core.recipe.reader import read_recipes

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
RUN_ON_A_BUILD = ("run", "quantize")
"""The pages whose Python needs a build folder; `tests/running` has one."""
COMPLETE = (ROOT / "recipes" / "yolov3.yaml").read_text(encoding="utf-8")
SECTIONS = {
    text.partition(":")[0]: text
    for text in re.findall(r"^\w+:.*?(?=^\w|\Z)", COMPLETE, flags=re.DOTALL | re.MULTILINE)
}


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_site_builds_without_a_warning_and_has_every_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    built = {path.parent.name for path in tmp_path.glob("*/index.html")}
    assert {path.stem for path in PAGES} - {"index"} <= built
    reference = (tmp_path / "recipe-reference" / "index.html").read_text(encoding="utf-8")
    for key, value in _keys(json.loads((ROOT / "schema" / "recipe.schema.json").read_text())):
        assert f"<code>{key}</code>" in reference
        if "default" in value:
            assert f"<code>{json.dumps(value['default'])}</code>" in reference
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"', reference)
    assert [one for one in loaded if "/yolov3" not in one] == []


def _keys(schema: dict[str, object]) -> list[tuple[str, dict[str, object]]]:
    forms = [schema, *schema["$defs"].values()]  # type: ignore[attr-defined]
    forms += [form[one] for form in forms for one in ("then", "else") if one in form]
    items = [item for form in forms for item in form.get("properties", {}).items()]
    return [(key, value) for key, value in items if value.get("not") != {}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_recipes_of_a_page_can_be_read(page: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "my_yolov3.pth").touch()
    for number, text in enumerate(blocks(page, "yaml")):
        given = yaml.safe_load(text).keys()
        # What a part of a recipe leaves out is as in the recipe of the README.
        lent = {"model", "export"} | (set() if "partition" in given else {"marks", "partition"})
        parts = [text, *(SECTIONS[key] for key in sorted(lent - given))]
        recipe = tmp_path / "recipes" / f"block{number}.yaml"
        recipe.write_text("".join(parts))
        for file in read_recipes(recipe, tmp_path).values():
            assert file.recipe.partition.segments or file.recipe.partition.cut


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "doit", "list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    tasks = {line.split()[0] for line in listed.stdout.splitlines()}
    shown = "\n".join([*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", page.read_text())])
    named = set(re.findall(r"^doit (?:-n \d+ )?(\w+)", shown, flags=re.MULTILINE))
    assert named <= tasks | {"list", "clean", "info", "ignore", "help"}


def test_the_python_of_the_pages_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    count = 0
    for page in PAGES:
        if page.stem in RUN_ON_A_BUILD:
            continue
        names: dict[str, object] = {}
        for text in blocks(page, "python"):
            exec(compile(text, page.name, "exec"), names)  # noqa: S102  # reason: our own pages
            count += 1
    assert count >= 3


def test_the_settings_of_a_page_are_settings(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "cache.md", "toml")
    (tmp_path / "partition.toml").write_text(text)
    assert read_settings(tmp_path, {}).remote == tomllib.loads(text)["remote"]
