"""Cuts models of other projects by one line, and compares with the places that vendors publish.

    python benchmarks/any_detector.py                  all models
    python benchmarks/any_detector.py 'yolov8*'        those whose name fits

Each model is built on random weights in its own project, which is installed into a folder of its
own (Ultralytics has a copyleft licence and is no dependency), exported to ONNX by that project's
exporter, and built by `doit build` with `partition: {type: raw_heads}`, then with
`no_postprocess`. The table goes to `docs/any_detector.md`. mmdet's models are exported by
partition-core.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "any_detector.md"
ZOO = "hailo-ai/hailo_model_zoo"
NETWORKS = "hailo_model_zoo/cfg/networks"


class Published(NamedTuple):
    """The end nodes that a vendor publishes, in `file` of its repository."""

    file: str
    nodes: frozenset[str]


class Candidate(NamedTuple):
    """A model: its project, its name there, and the end nodes that a vendor publishes for it."""

    library: str
    name: str
    published: Published | None = None


def _scales(head: int, branches: tuple[str, ...], *more: str) -> frozenset[str]:
    nodes = {f"/model.{head}/{b}.{s}/{b}.{s}.2/Conv" for b in branches for s in range(3)}
    return frozenset((*nodes, *more))


def _hailo(name: str, head: int, branches: tuple[str, ...], *more: str) -> Published:
    return Published(f"{NETWORKS}/{name}.yaml", _scales(head, branches, *more))


_TWO, _THREE = ("cv2", "cv3"), ("cv2", "cv3", "cv4")
PUBLISHED = {
    "yolov8n-seg:Segmentation": _hailo("yolov8s_seg", 22, _THREE, "/model.22/proto/cv3/act/Mul"),
    "yolov8n-pose:Pose": _hailo("yolov8s_pose", 22, _THREE),
    "yolo11n:Detection": _hailo("yolov11n", 23, _TWO),
}
"""What a vendor publishes for the same network, whatever its width."""

ULTRALYTICS = (
    "yolov3:Detection", "yolov3-tiny:Detection", "yolov5n:Detection", "yolov6n:Detection",
    "yolov8n:Detection", "yolov8n-p2:Detection", "yolov8n-ghost:Detection",
    "yolov8n-seg:Segmentation", "yolov8n-pose:Pose", "yolov8n-obb:OBB",
    "yolov8n-cls:Classification", "yolov8n-worldv2:World", "yolov8n-rtdetr:RTDETRDetection",
    "yolov9t:Detection", "yolov9c-seg:Segmentation", "yolov10n:Detection", "yolo11n:Detection",
    "yolo11n-seg:Segmentation", "yolo11n-pose:Pose", "yolo11n-obb:OBB",
    "yolo11n-cls:Classification", "yolo12n:Detection", "yolo26n:Detection",
    "yolo26n-seg:Segmentation", "yolo26n-pose:Pose", "yolo26n-obb:OBB",
    "rtdetr-l:RTDETRDetection",
)  # fmt: skip
TRANSFORMERS = (
    "DETR", "Conditional DETR", "Deformable DETR", "Deformable DETR, two-stage", "RT-DETR",
    "RT-DETRv2", "YOLOS", "MaskFormer", "Mask2Former", "DPT", "SegFormer", "SuperPoint", "ViT",
)  # fmt: skip
MMDET = (
    "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py",
    "yolox/yolox_tiny_8xb8-300e_coco.py",
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "retinanet/retinanet_r18_fpn_1x_coco.py",
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "detr/detr_r18_8xb2-500e_coco.py",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
)
CANDIDATES = [
    *(Candidate("ultralytics", name, PUBLISHED.get(name)) for name in ULTRALYTICS),
    *(Candidate("transformers", name) for name in TRANSFORMERS),
    *(Candidate("mmdet", name) for name in MMDET),
]

PACKAGES = {
    "ultralytics": ("ultralytics", "ultralytics-thop", "requests", "urllib3", "idna", "certifi"),
    "transformers": (
        "transformers", "tokenizers", "safetensors", "huggingface_hub", "regex", "filelock",
        "fsspec", "hf-xet", "httpx2", "httpcore2", "h11", "anyio", "typer", "click", "idna",
        "annotated-doc", "shellingham", "sniffio", "truststore",
    ),
}  # fmt: skip
"""What each project needs besides torch and what partition-core has."""


class Row(NamedTuple):
    """What became of a model; `problem` is empty where it was cut and proven."""

    candidate: Candidate
    nodes: int
    heads: tuple[str, ...]
    joined: int
    proof: str
    problem: str

    @property
    def agrees(self) -> str:
        """Whether the cut is where the vendor publishes it."""
        published = self.candidate.published
        if published is None:
            return "none published"
        return "yes" if published.nodes == set(self.heads) else "**no**"


def installed(library: str, folder: Path) -> Path:
    """Install a project into a folder of its own, once, and return the folder."""
    target = folder / library
    if not target.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target"]
        subprocess.run([*command, str(target), *PACKAGES[library]], check=True)
        if library == "ultralytics":
            _placeholder(target)
    return target


def _placeholder(target: Path) -> None:
    """Give Ultralytics a torchvision: it asks for its version only, and the index has no build for
    a torch without CUDA."""
    (target / "torchvision").mkdir()
    (target / "torchvision" / "__init__.py").write_text('__version__ = "0.28.0"\n')
    about = target / "torchvision-0.28.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")


def exported(candidate: Candidate, folder: Path, target: Path) -> str:
    """Export a model to `target` by its own project; return why that failed, if it did."""
    packages = installed(candidate.library, folder / "packages")
    script = Path(__file__).with_name("any_detector_models.py")
    run = subprocess.run(
        [sys.executable, str(script), candidate.library, candidate.name, str(target)],
        env={**os.environ, "PYTHONPATH": str(packages), "YOLO_OFFLINE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if run.returncode == 0 else (run.stderr.strip().splitlines() or ["no reason"])[-1]


def recipe(candidate: Candidate, policy: str) -> str:
    """Return the recipe that cuts a model by one line."""
    if candidate.library != "mmdet":
        model = "model: {source: onnx, path: model.onnx}\n"
    else:
        model = f"model: {{source: mmdet, config: {candidate.name}, weights: {{seed: 0}}}}\n"
        model += "export: {inputs: {input: {shape: [1, 3, 160, 160]}}}\n"
    return f"{model}partition: {{type: {policy}}}\n"


def row_of(candidate: Candidate, folder: Path) -> Row:
    """Export, cut and prove a model, and return what became of it."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        project = Path(name)
        problem = ""
        if candidate.library != "mmdet":
            problem = exported(candidate, folder, project / "model.onnx")
        if problem:
            return Row(candidate, 0, (), 0, "", f"not exported: {problem}")
        (project / "recipes").mkdir()
        (project / "dodo.py").write_text((ROOT / "dodo.py").read_text())
        heads: dict[str, tuple[str, ...]] = {}
        proof = ""
        nodes = 0
        # mmdet's detectors have a policy `no_postprocess` of their own.
        for policy in ("raw_heads", "no_postprocess")[: 1 if candidate.library == "mmdet" else 2]:
            (project / "recipes" / "x.yaml").write_text(recipe(candidate, policy))
            run = subprocess.run(
                [sys.executable, "-m", "doit", "build", "recipe=x"],
                cwd=project,
                env={**os.environ, "PARTITION_CORE_STORE": str(project / "store")},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if run.returncode:
                lines = [line for line in run.stdout.splitlines() if "recipes/x.yaml" in line]
                return Row(candidate, nodes, (), 0, "", (lines or run.stdout.splitlines())[-1])
            built = project / "build" / "x"
            heads[policy] = tuple(makers(built / "network.onnx"))
            proof = proof or json.loads((built / "manifest.json").read_text())["summary"]
            nodes = len(onnx.load(built / "end2end.onnx", load_external_data=False).graph.node)
        joined = len(heads.get("no_postprocess", ()))
        return Row(candidate, nodes, heads["raw_heads"], joined, proof, "")


def makers(file: Path) -> Iterator[str]:
    """Yield the name of the node that makes each output of a model."""
    graph = onnx.load(file, load_external_data=False).graph
    names = {output: node.name for node in graph.node for output in node.output}
    for value in graph.output:
        yield names[value.name]


def page(rows: list[Row]) -> str:
    """Return the page with the table of all rows."""
    lines = [
        "# Any detector",
        "",
        "`python benchmarks/any_detector.py` makes this page: models of other projects on random "
        "weights, exported by their own exporters, then cut by `partition: {type: raw_heads}` and "
        "proven. *Published* compares the ends of the network with the end nodes in "
        f"`{ZOO}` on GitHub, where it has that network.",
        "",
        "| model | nodes | heads | the first of them | published | joined | result |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        candidate = row.candidate
        source = f" (`{candidate.published.file}`)" if candidate.published else ""
        first = f"`{row.heads[0]}`" if row.heads else ""
        result = row.proof if not row.problem else f"refused: {row.problem}"
        cells = [
            f"{candidate.library}: {candidate.name}",
            str(row.nodes or ""),
            str(len(row.heads)),
        ]
        agrees = f"{row.agrees}{source}" if row.heads else ""
        cells += [first, agrees, str(row.joined or ""), result.replace("|", "\\|")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Cut the models that the command line names, and write the page if these are all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "any_detector"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for candidate in CANDIDATES:
        if any(fnmatch.fnmatch(candidate.name, pattern) for pattern in options.patterns):
            rows.append(row_of(candidate, options.folder))
            last = rows[-1]
            print(candidate.library, candidate.name, len(last.heads), last.agrees, last.joined)
            print("   ", last.problem or last.proof, flush=True)
    if options.patterns == ["*"]:
        PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
