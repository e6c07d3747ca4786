"""Cuts models of other projects by one line, and compares with the places that vendors publish.

    python benchmarks/any_detector.py                  the models that have no row yet
    python benchmarks/any_detector.py --again          all models
    python benchmarks/any_detector.py 'yolov8*'        those whose name fits, again

Each model is built on random weights in its own project, which is installed into a folder of its
own (Ultralytics has a copyleft licence and is no dependency), exported to ONNX by that project's
exporter, and built by `doit build` with `partition: {type: raw_heads}`. mmdet's models are exported
by partition-core. After each model its row goes to `docs/any_detector.json` and the table to
`docs/any_detector.md`: an interrupted run goes on where it was. What vendors publish is in
`any_detector_published.py`.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from any_detector_page import NOT_EXPORTED, page
from any_detector_published import CANDIDATES, Candidate

from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.structural_marks import structural_marks

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "docs" / "any_detector.json"
PAGE = ROOT / "docs" / "any_detector.md"

_HUB = (
    "transformers", "tokenizers", "safetensors", "huggingface_hub", "regex", "filelock",
    "fsspec", "hf-xet", "httpx2", "httpcore2", "h11", "anyio", "typer", "click", "idna",
    "annotated-doc", "shellingham", "sniffio", "truststore",
)  # fmt: skip
_MORE = (
    "torchvision==0.28.0", "timm", "segmentation-models-pytorch", "rfdetr", "supervision",
    "pydeprecate", "defusedxml", "pydantic", "pydantic-core", "annotated-types",
    "typing-inspection", "scikit-learn", "requests",
)  # fmt: skip
PACKAGES = {
    "ultralytics": ("ultralytics", "ultralytics-thop", "requests", "urllib3", "idna", "certifi"),
    "transformers": _HUB,
    "more": _MORE,
}
"""What each folder of packages has besides torch and what partition-core has."""
_FOLDERS = {"ultralytics": ("ultralytics",), "transformers": ("transformers",)}
_MORE_FOLDERS = ("more", "transformers")

Row = dict[str, Any]


def installed(group: str, folder: Path) -> Path:
    """Install a group of packages into a folder of its own, once, and return the folder."""
    target = folder / group
    if not target.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target"]
        subprocess.run([*command, str(target), *PACKAGES[group]], check=True)
        if group == "ultralytics":
            _placeholder(target)
        if group == "more":
            # The index has no build of its operators for a torch without CUDA. No model here has
            # one, and nothing else needs what describes them to torch.
            (target / "torchvision" / "_meta_registrations.py").write_text("")
    return target


def _placeholder(target: Path) -> None:
    """Give Ultralytics a torchvision: it asks for its version only."""
    (target / "torchvision").mkdir()
    (target / "torchvision" / "__init__.py").write_text('__version__ = "0.28.0"\n')
    about = target / "torchvision-0.28.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")


def exported(candidate: Candidate, folder: Path, target: Path) -> str:
    """Export a model to `target` by its own project; return why that failed, if it did."""
    groups = _FOLDERS.get(candidate.library, _MORE_FOLDERS)
    packages = [str(installed(group, folder / "packages")) for group in groups]
    script = Path(__file__).with_name("any_detector_models.py")
    run = subprocess.run(
        [sys.executable, str(script), candidate.library, candidate.name, str(target)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(packages), "YOLO_OFFLINE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if run.returncode == 0 else (run.stderr.strip().splitlines() or ["no reason"])[-1]


def recipe(candidate: Candidate) -> str:
    """Return the recipe that cuts a model by one line."""
    if candidate.library != "mmdet":
        model = "model: {source: onnx, path: model.onnx}\n"
    else:
        model = f"model: {{source: mmdet, config: {candidate.name}, weights: {{seed: 0}}}}\n"
        model += "export: {inputs: {input: {shape: [1, 3, 160, 160]}}}\n"
    return f"{model}partition: {{type: raw_heads}}\n"


def row_of(candidate: Candidate, folder: Path) -> Row:
    """Export, cut and prove a model, and return what became of it.

    `heads` are the nodes at which `raw_heads` cuts, `joined` the number of tensors that cross where
    `no_postprocess` cuts; `problem` is empty where the model was cut and proven.
    """
    row: Row = {"library": candidate.library, "name": candidate.name, "nodes": 0, "heads": []}
    row |= {"joined": 0, "proof": "", "problem": ""}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        project = Path(name)
        if candidate.library != "mmdet":
            row["problem"] = exported(candidate, folder, project / "model.onnx")
        if row["problem"]:
            return {**row, "problem": f"{NOT_EXPORTED}{row['problem']}"}
        (project / "recipes").mkdir()
        (project / "dodo.py").write_text((ROOT / "dodo.py").read_text())
        (project / "recipes" / "x.yaml").write_text(recipe(candidate))
        row["problem"] = built(project)
        if row["problem"]:
            return row
        result = project / "build" / "x"
        row["heads"] = list(makers(result / "network.onnx"))
        row["proof"] = json.loads((result / "manifest.json").read_text())["summary"]
        whole = onnx.load(result / "end2end.onnx", load_external_data=False)
        row["nodes"] = len(whole.graph.node)
        if candidate.library != "mmdet":  # whose policy `no_postprocess` is another
            row["joined"] = joined(project / "model.onnx")
    return row


def joined(file: Path) -> int:
    """Return how many tensors cross where `no_postprocess` cuts a model."""
    table = structural_marks(read_model(file), "joined_heads", is_file=True)
    return sum((each.mark, each.side) == ("front", "output") for each in table.tensors)


def built(project: Path) -> str:
    """Build the recipe of a project; return the problem that it names, if there is one."""
    run = subprocess.run(
        [sys.executable, "-m", "doit", "build", "recipe=x"],
        cwd=project,
        env={**os.environ, "PARTITION_CORE_STORE": str(project / "store")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not run.returncode:
        return ""
    lines = [line for line in run.stdout.splitlines() if "recipes/x.yaml" in line]
    return (lines or run.stdout.splitlines())[-1].removeprefix("ERROR: ")


def makers(file: Path) -> Iterator[str]:
    """Yield the name of the node that makes each output of a model, behind its module."""
    graph = onnx.load(file, load_external_data=False).graph
    made = {output: node for node in graph.node for output in node.output}
    for value in graph.output:
        node = made[value.name]
        module = {entry.key: entry.value for entry in node.metadata_props}.get("module")
        yield f"/{module}/{node.name}" if module else node.name or value.name


def known_rows() -> dict[tuple[str, str], Row]:
    """Return the rows of earlier runs, by project and name."""
    rows = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.is_file() else []
    return {(row["library"], row["name"]): row for row in rows}


def save(rows: Sequence[Row]) -> None:
    """Add rows to those of earlier runs, and write them and their table, both whole."""
    known = known_rows() | {(row["library"], row["name"]): row for row in rows}
    names = [(candidate.library, candidate.name) for candidate in CANDIDATES]
    ordered = [known[name] for name in names if name in known]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered)
    _write(ROWS, f"[\n{lines}\n]\n")
    _write(PAGE, page(ordered))


def _write(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def main() -> None:
    """Cut the models that the command line asks for, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--again", action="store_true", help="also models that have a row")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "any_detector"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for candidate in CANDIDATES:
        key = (candidate.library, candidate.name)
        fits = any(fnmatch.fnmatch(candidate.name, pattern) for pattern in options.patterns)
        if not (fits if options.patterns else options.again or key not in known_rows()):
            continue
        start = time.perf_counter()
        row = row_of(candidate, options.folder)
        save([row])
        seconds = time.perf_counter() - start
        print(*key, len(row["heads"]), row["joined"], f"({seconds:.0f} s)")
        print("   ", row["problem"] or row["proof"], flush=True)
    save([])


if __name__ == "__main__":
    main()
