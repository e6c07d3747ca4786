"""Converts the network of each model that MMDeploy lists for OpenVINO and ncnn, and runs it there.

    python benchmarks/targets.py                 the models that have no row yet
    python benchmarks/targets.py --again failed  and those with a target that did not agree
    python benchmarks/targets.py solo detr       these

For each model a recipe of a few lines, cut by `no_postprocess` or, where that does not fit, by
`backbone_head`, is built by `doit build` in a process of its own, on seeded weights at 320 x 320
pixels. After each one the rows go to
`docs/targets.json` and the table to `docs/targets.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from coverage_models import SIDE, named, overrides, tolerance_of
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
TARGETS = ("openvino", "ncnn")
MODELS = {
    "ATSS": "atss/atss_r50_fpn_1x_coco.py",
    "FCOS": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "FoveaBox": "foveabox/fovea_r50_fpn_4xb4-1x_coco.py",
    "FSAF": "fsaf/fsaf_r50_fpn_1x_coco.py",
    "RetinaNet": "retinanet/retinanet_r18_fpn_1x_coco.py",
    "SSD": "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
    "VFNet": "vfnet/vfnet_r50_fpn_1x_coco.py",
    "YOLOv3": "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py",
    "YOLOX": "yolox/yolox_tiny_8xb8-300e_coco.py",
    "Cascade R-CNN": "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
    "Faster R-CNN": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "Faster R-CNN + DCN": "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
    "GFL": "gfl/gfl_r50_fpn_1x_coco.py",
    "RepPoints": "reppoints/reppoints-moment_r50_fpn_1x_coco.py",
    "DETR": "detr/detr_r50_8xb2-150e_coco.py",
    "Deformable DETR": "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
    "Conditional DETR": "conditional_detr/conditional-detr_r50_8xb2-50e_coco.py",
    "DAB-DETR": "dab_detr/dab-detr_r50_8xb2-50e_coco.py",
    "DINO": "dino/dino-4scale_r50_8xb2-12e_coco.py",
    "CenterNet": "centernet/centernet_r18_8xb16-crop512-140e_coco.py",
    "RTMDet": "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "Cascade Mask R-CNN": "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
    "HTC": "htc/htc_r50_fpn_1x_coco.py",
    "Mask R-CNN": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "Swin Transformer": "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py",
    "SOLO": "solo/solo_r50_fpn_1x_coco.py",
    "SOLOv2": "solov2/solov2-light_r18_fpn_ms-3x_coco.py",
    "CondInst": "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py",
    "Panoptic FPN": "panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py",
    "MaskFormer": "maskformer/maskformer_r50_ms-16xb1-75e_coco.py",
    "Mask2Former": "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
}
"""The models of MMDeploy's list for mmdet, each with a config of mmdet's with a small backbone."""

POLICIES = {"no_postprocess": "network.onnx", "backbone_head": "backbone.onnx"}
"""The policies to try, each with the file of its first segment."""

_FAILED = re.compile(r"^WARNING: \S+ partition\.\S+ \w+\.(\S+?): (.*); the target is not")
LONGEST = 300
Row = dict[str, Any]


def recipe(config: str, policy: str) -> str:
    """Return a recipe for a config, cut by a policy; JSON, which is YAML as well."""
    from mmengine.config import Config

    from partition_core.sources.mmdet.configs import shipped_configs
    from partition_core.sources.mmdet.detector import provide_compiled_ops, quiet_mmdet

    folder, candidate = shipped_configs(), named(config)
    if folder is None:
        raise SystemExit("mmdet is not installed; it is with `pip install -e '.[mmdet]'`")
    with quiet_mmdet():
        provide_compiled_ops()
        changed = overrides(Config.fromfile(str(folder / config)).model)
    tolerance = tolerance_of(candidate.family)
    targets = [{"backend": backend, "required": False} for backend in TARGETS]
    values = {
        "model": {
            "source": "mmdet",
            "config": config,
            "weights": {"seed": 0},
            **({"overrides": changed} if changed else {}),
        },
        "export": {"inputs": {"input": {"shape": [1, 3, SIDE, SIDE]}}},
        "partition": {"type": policy, "targets": {POLICIES[policy]: targets}},
        **({"proof": {"tolerance": tolerance}} if tolerance else {}),
    }
    return json.dumps(values, indent=1)


def row_of(name: str, limit: float, store: Path | None) -> Row:
    """Return the row of a model, from builds that get `limit` seconds each; `store` keeps them.

    A target in which what one policy cuts does not run gets what the next one does.
    """
    start = time.monotonic()
    row: Row = {"model": name, "config": MODELS[name], "cut_by": {}}
    for policy in POLICIES:
        made = _built(name, policy, limit, store)
        for target in TARGETS:
            if not agrees(row, target):
                row[target], row["cut_by"][target] = made[target], policy
        if all(agrees(row, target) for target in TARGETS):
            break
    return {**row, "seconds": round(time.monotonic() - start, 1)}


def _built(name: str, policy: str, limit: float, store: Path | None) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "recipes").mkdir()
        (project / "dodo.py").write_text((HERE.parent / "dodo.py").read_text("utf-8"))
        (project / "recipes" / "model.yaml").write_text(recipe(MODELS[name], policy))
        environment = {
            **os.environ,
            "PARTITION_CORE_STORE": str(store or f"{folder}/store"),
            "PARTITION_CORE_REPORT": "0",
        }
        try:
            run = subprocess.run(
                [sys.executable, "-m", "doit", "build"],
                cwd=project,
                env={"OMP_NUM_THREADS": "1", **environment},
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
            said = run.stdout + run.stderr
        except subprocess.TimeoutExpired:
            said = f"ERROR: not done after {limit:.0f} s"
        return _outcomes(project / "build" / "model" / "manifest.json", said)


def _outcomes(manifest: Path, said: str) -> Row:
    """Return for each target how it agrees, or why it does not."""
    built = json.loads(manifest.read_text("utf-8")) if manifest.is_file() else {"targets": []}
    agreed = {each["backend"]: each["agreement"] for each in built["targets"]}
    errors = re.findall(r"^ERROR: (.*)", said, re.M)
    failed = {match[1]: match[2] for line in said.splitlines() if (match := _FAILED.match(line))}
    reason = "" if manifest.is_file() else (" ".join(errors) or said.strip())[-LONGEST:]
    return {
        backend: agreed.get(backend) or (failed.get(backend) or reason)[:LONGEST]
        for backend in TARGETS
    }


def save(rows: dict[str, Row], folder: Path) -> None:
    """Write the rows and their table."""
    ordered = [rows[name] for name in MODELS if name in rows]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered)
    (folder / "targets.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    (folder / "targets.md").write_text(page(ordered), encoding="utf-8")


def agrees(row: Row, backend: str) -> bool:
    """Return whether the network of a row runs in a backend as in onnxruntime."""
    return isinstance(row.get(backend), dict)


def page(rows: list[Row]) -> str:
    """Return the page: totals, a line for each model, and what stops the others."""
    counts = {name: sum(agrees(row, name) for row in rows) for name in TARGETS}
    lines = [
        "# Targets",
        "",
        f"Of the {len(MODELS)} models that MMDeploy lists for mmdet {len(rows)} were run, of which "
        f"{counts['openvino']} run in OpenVINO and {counts['ncnn']} in ncnn as in onnxruntime: "
        + " and ".join(_by_policy(rows, name) for name in TARGETS)
        + ".",
        "",
        "`python benchmarks/targets.py` makes this page: each model is built by `doit build` on "
        f"seeded weights at {SIDE} × {SIDE} pixels, its first segment converted, run in the target "
        "on the inputs of the proof and compared. It is cut by `no_postprocess` or, marked *b*, by "
        "`backbone_head`, where that does not fit or leaves what the runtime lacks. The figure is "
        "the largest relative L2 of a tensor that crosses; *same* are the detections that the rest "
        "of the chain gives behind it, of those of `end2end.onnx`.",
        "",
        "| model | config | OpenVINO | same | ncnn | same |",
        "|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
        "",
        "## What stops the others",
        "",
        *(
            f"* {row['model']}, {name}: {row[name]}"
            for row in rows
            for name in TARGETS
            if not agrees(row, name)
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _by_policy(rows: list[Row], target: str) -> str:
    """Return how many models run in a target by which policy."""
    agreeing = [row["cut_by"][target] for row in rows if agrees(row, target)]
    counts = [f"{agreeing.count(policy)} by `{policy}`" for policy in POLICIES]
    return f"{' and '.join(counts)} in {target}"


def _line(row: Row) -> str:
    cells = [row["model"], f"`{Path(row['config']).stem}`"]
    for name in TARGETS:
        cells += _cells(row[name], " *b*" * (row["cut_by"][name] == "backbone_head"))
    return f"| {' | '.join(cells)} |"


def _cells(agreement: Any, note: str) -> list[str]:
    if not isinstance(agreement, dict):
        return ["–", ""]
    apart = max(each["relative_l2"] for each in agreement["tensors"].values())
    found = agreement.get("detections")
    return [f"{apart:.1e}{note}", f"{found['same']} of {found['end2end']}" if found else ""]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="*", help="names of models, or the start of them")
    parser.add_argument("--again", choices=("none", "failed", "all"), default="none")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each model")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "docs")
    parser.add_argument("--store", type=Path, help="a folder that keeps what is built")
    options = parser.parse_args()
    file = options.folder / "targets.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    rows = {row["model"]: row for row in known}
    wanted = {
        "none": lambda name: name not in rows,
        "failed": lambda name: name not in rows or not all(agrees(rows[name], t) for t in TARGETS),
        "all": lambda _: True,
    }[options.again]
    starts = tuple(word.lower() for word in options.model)
    todo = [n for n in MODELS if (n.lower().startswith(starts) if starts else wanted(n))]
    for name in tqdm(todo, unit="model"):
        rows[name] = row_of(name, options.limit, options.store)
        save(rows, options.folder)
        shown = {t: "agrees" if agrees(rows[name], t) else rows[name][t] for t in TARGETS}
        tqdm.write(f"{name}: {shown} ({rows[name]['seconds']} s)")


if __name__ == "__main__":
    main()
