"""The worked example of docs/quantize.md runs as it stands there, on the small detector."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2

from tests.projects import ROOT, Scratch

TEXT = (ROOT / "docs" / "quantize.md").read_text(encoding="utf-8")


def test_the_example_quantizes_a_segment_and_tells_the_loss(
    detector: Scratch, photograph: Path
) -> None:
    (command,) = re.findall(r"```sh\ndoit (.*?)\n```", TEXT)
    (script,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    pictures = detector.folder / "pictures"
    pictures.mkdir(exist_ok=True)
    photo = cv2.imread(str(photograph))
    for number in range(3):
        part = photo[35 * number : 35 * number + 300, 20 * number : 20 * number + 340]
        cv2.imwrite(str(pictures / f"{number}.png"), part)
    detector.built(*command.split())
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=detector.folder,
        env=detector.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = re.findall(r"int(\d+): (\d+) of (\d+) detections are found again", run.stdout)
    (long, kept, total), (short, fewer, _) = [tuple(map(int, numbers)) for numbers in found]
    assert (long, short) == (16, 8)
    assert total > 200
    assert 0.8 * total < kept <= total
    assert fewer < kept  # rounding to 8 bits is seen, so the example measures something
    build = detector.folder / "build" / "yolov3"
    sizes = [(build / f"yolov3{kind}.onnx").stat().st_size for kind in ("", ".int16", ".int8")]
    assert sizes[1] < 0.6 * sizes[0] and sizes[2] < 0.35 * sizes[0]
    for kind in (".int16", ".int8"):
        (build / f"yolov3{kind}.onnx").unlink()
