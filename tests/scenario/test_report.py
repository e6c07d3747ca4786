"""The report: written once, remade when what it tells of changes, and never in the way."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from partition_core.build.settings import read_settings
from tests.projects import FileScratch, Scratch, steps

HOSTILE = (
    "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)> & {{ 7*7 }}"
)


MEASURED = ["measure end2end.onnx", "measure body.onnx", "measure tail.onnx", "report"]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> FileScratch:
    """Return a project in which the tiny recipe was built with its report."""
    folder = tmp_path_factory.mktemp("reported")
    project = FileScratch(folder / "project", folder / "store")
    project.environment["PARTITION_CORE_REPORT"] = "1"
    project.edit("recipes/tiny.yaml", "model:", f"# {HOSTILE}\nmodel:")
    output = project.built()
    assert steps(output)[-4:] == MEASURED
    return project


def page(project: Scratch) -> str:
    return (project.folder / "build" / "tiny" / "report.html").read_text(encoding="utf-8")


def text_of(html: str) -> str:
    """Return what a browser shows of a page, without its scripts and styles."""
    found: list[str] = []

    class Reader(HTMLParser):
        hidden = False

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.hidden = tag in ("script", "style")

        def handle_endtag(self, tag: str) -> None:
            self.hidden = False

        def handle_data(self, data: str) -> None:
            if not self.hidden:
                found.append(data)

    Reader().feed(html)
    return " ".join(" ".join(found).split())


def test_the_page_loads_nothing_and_shows_what_the_manifest_says(reported: Scratch) -> None:
    html = page(reported)
    links = re.findall(r"""(?:href|src|action)\s*=\s*["']([^"']*)""", html)
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"@import|url\(", html)
    assert {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"} >= set(
        re.findall(r"""https?://[^\s"'<)]+""", html)
    )
    shown = text_of(html)
    manifest = json.loads((reported.folder / "build" / "tiny" / "manifest.json").read_text())
    assert manifest["summary"][1:] in shown
    for name, file in manifest["artifacts"].items():
        assert name in shown
        assert file["sha256"] in shown
    for edge in manifest["edges"]:
        assert edge["input"] in shown
    for step in ("export", "cut body.onnx", "prove"):
        for label, text in manifest["fingerprints"][step]["entries"]:
            assert f"{label} {text}" in shown
    assert "bit for bit" in shown
    assert "doit build recipe=tiny" in shown
    assert str(reported.folder) not in html


def test_the_recipe_is_shown_as_text_whatever_it_says(reported: Scratch) -> None:
    html = page(reported)
    assert html.count("<script") == 2
    assert "<img" not in html
    assert HOSTILE in text_of(html)


def test_a_report_is_made_once(reported: Scratch) -> None:
    before = page(reported)
    assert reported.built() == "tiny: up to date (5 artifacts in build/tiny)\n"
    reported.built("clean", "build")
    assert not (reported.folder / "build" / "tiny").exists()
    assert steps(reported.built()) == []
    assert page(reported) == before


def test_a_comment_in_the_recipe_measures_nothing_again(reported: Scratch) -> None:
    recipe = reported.folder / "recipes" / "tiny.yaml"
    text = recipe.read_text()
    try:
        recipe.write_text(f"{text}# the end\n")
        assert steps(reported.built()) == ["report"]
        assert "# the end" in page(reported)
    finally:
        recipe.write_text(text)
    assert steps(reported.built()) == []
    assert "# the end" not in page(reported)


def test_what_a_page_tells_of_the_export_is_that_of_the_last_one(
    torch_scratch: Scratch, tmp_path: Path
) -> None:
    torch_scratch.environment["PARTITION_CORE_REPORT"] = "1"
    torch_scratch.built()
    metadata = tmp_path / "onnxscript-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: onnxscript\nVersion: 99.0\n")
    assert "onnxscript 99.0" not in text_of(page(torch_scratch))
    torch_scratch.environment["PYTHONPATH"] = f"{tmp_path}:{torch_scratch.package_root}"
    # The models are the same bytes, so that nothing is proven and measured again.
    assert steps(torch_scratch.built()) == ["export", "report"]
    assert "onnxscript 99.0" in text_of(page(torch_scratch))
    del torch_scratch.environment["PYTHONPATH"]
    assert steps(torch_scratch.built()) == []


def test_only_the_segments_that_changed_are_measured_again(reported: Scratch) -> None:
    recipe = reported.folder / "recipes" / "tiny.yaml"
    text = recipe.read_text()
    decoded = "- {save_file: decoded.onnx, start: ['decode:input'], end: ['whole:output']}"
    try:
        recipe.write_text(re.sub(r"- \{save_file: tail.onnx.*\}", decoded, text))
        output = reported.built()
        assert steps(output)[:2] == ["cut decoded.onnx", "prove"]
        # What reads and gives the same is another file all the same: its name is in its graph.
        assert re.findall(r"measure (\S+): ", output) == ["decoded.onnx"]
    finally:
        recipe.write_text(text)
    assert steps(reported.built()) == []


def test_figures_vary_and_the_manifest_does_not(reported: Scratch, tmp_path: Path) -> None:
    again = FileScratch(tmp_path / "project", tmp_path / "store")
    again.environment["PARTITION_CORE_REPORT"] = "1"
    again.write("recipes/tiny.yaml", (reported.folder / "recipes" / "tiny.yaml").read_text())
    again.built()
    one, other = reported.artifacts(), again.artifacts()
    del one["report.html"], other["report.html"]
    assert one == other


def test_without_graphviz_a_report_has_no_map_and_is_another_one(scratch: Scratch) -> None:
    scratch.environment["PARTITION_CORE_REPORT"] = "1"
    broken = scratch.folder.parent / "broken"
    broken.mkdir()
    (broken / "pygraphviz.py").write_text("raise ImportError('libcgraph.so is missing')\n")
    root = scratch.package_root
    seen = []
    for place, done in (
        (f"{broken}:{root}", MEASURED),
        (root, ["report"]),
        (f"{broken}:{root}", []),
        (root, []),
    ):
        scratch.package_root = Path(place)
        output = scratch.built()
        assert steps(output) == done
        assert ("WARNING: tiny: the report has no map: " in output) == (done == MEASURED)
        assert done == [] or scratch.built().startswith("tiny: up to date")
        seen.append(page(scratch))
    without, drawn = seen[:2]
    assert seen == [without, drawn, without, drawn]
    assert 'id="canvas"' in drawn
    assert 'id="canvas"' not in without
    assert "This report has no map." in text_of(without)
    assert "libcgraph.so is missing" in text_of(without)
    # All the rest is there.
    for told in ("body.onnx", "What each segment costs", "bit for bit"):
        assert told in text_of(without)


def test_a_project_or_a_run_can_do_without_reports(scratch: Scratch) -> None:
    settings = scratch.folder / "partition.toml"
    found = [read_settings(scratch.folder, {}).report]
    for text, variables in (
        ("report = false\n", {}),
        ("report = false\n", {"PARTITION_CORE_REPORT": "1"}),
        ("report = true\n", {"PARTITION_CORE_REPORT": "0"}),
    ):
        settings.write_text(text)
        found.append(read_settings(scratch.folder, variables).report)
    assert found == [True, False, True, False]
    scratch.environment["PARTITION_CORE_REPORT"] = "0"
    scratch.built()
    assert "report.html" not in scratch.artifacts()


def test_report_is_a_step_that_can_be_asked_for(scratch: Scratch) -> None:
    scratch.environment["PARTITION_CORE_REPORT"] = "1"
    assert steps(scratch.built("report", "recipe=tiny")) == MEASURED
    assert not (scratch.folder / "build" / "tiny").exists()
    told = scratch.built("build", "--dry-run")
    assert "tiny: report: up to date" in told
    assert "tiny: report.html: restore: the file is missing" in told
