"""The coverage command: which configs it chooses, what a row tells, and how a run goes on."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHEAP = "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py"


@pytest.fixture(scope="module")
def command() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        spec = importlib.util.spec_from_file_location("command", ROOT / "benchmarks/coverage.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def row(command: ModuleType, config: str, **values: Any) -> dict[str, Any]:
    return {**command.new_row(Path(config).parent.name, config), **values}


def good(command: ModuleType, config: str) -> dict[str, Any]:
    return row(command, config, **dict.fromkeys(command.COLUMNS, True), detections=[9, 8])


def test_every_family_of_the_index_is_there_once_and_cheap_ones_come_first(
    command: ModuleType,
) -> None:
    found = command.candidates()
    families = {candidate.family for candidate in found}
    assert {"atss", "detr", "mask_rcnn", "yolox", "solov2", "rtmdet"} <= families
    assert len(families) > 90
    configs = [candidate.config for candidate in found]
    assert len(set(configs)) == len(configs)
    assert configs.index("retinanet/retinanet_r18_fpn_1x_coco.py") < configs.index(
        "atss/atss_r50_fpn_1x_coco.py"
    )


def test_a_run_goes_on_where_it_was_and_repeats_what_it_is_told_to(command: ModuleType) -> None:
    first, second, *_ = (candidate.config for candidate in command.candidates())
    rows = {first: good(command, first), second: row(command, second, reason="no")}

    def wanted(again: str) -> set[str]:
        return {candidate.config for candidate in command.chosen([], again, rows)}

    assert not {first, second} & wanted("none")
    assert {first, second} & wanted("failed") == {second}
    assert {first, second} <= wanted("all")
    (named,) = command.chosen([first], "none", rows)
    assert (named.config, named.family) == (first, Path(first).parent.name)


def test_configs_are_chosen_by_pattern_whatever_the_table_has(command: ModuleType) -> None:
    def chosen(*patterns: str) -> list[str]:
        rows = {"yolox/yolox_tiny_8xb8-300e_coco.py": {}}
        return [candidate.config for candidate in command.chosen(list(patterns), "none", rows)]

    assert chosen("yolox/*") == ["yolox/yolox_tiny_8xb8-300e_coco.py"]
    assert chosen("yolox/*", "*yolox_tiny*", CHEAP) == ["yolox/yolox_tiny_8xb8-300e_coco.py", CHEAP]
    assert {Path(config).parent.name for config in chosen("cascade_*/*")} == {
        "cascade_rcnn",
        "cascade_rpn",
    }
    other = "yolox/yolox_s_8xb8-300e_coco.py"  # in no row, but a config of mmdet
    assert chosen(other) == [other]


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        ("yolx/*", "; did you mean 'yolox/*'?"),
        (CHEAP.replace("300e", "30e"), f"; did you mean '{CHEAP}'?"),
        ("*nothing*", ""),
    ],
)
def test_a_pattern_that_fits_nothing_is_an_error(
    command: ModuleType, pattern: str, remedy: str
) -> None:
    with pytest.raises(SystemExit) as error:
        command.chosen(["yolox/*", pattern], "none", {})
    assert str(error.value) == f"'{pattern}' fits no config of the table{remedy}"


def test_a_row_of_a_part_and_of_another_tolerance_tells_it(
    command: ModuleType, tmp_path: Path
) -> None:
    told = good(command, "a/b.py") | {"part": "detector", "tolerance": 5e-4}
    command.save({"a/b.py": told}, tmp_path)
    page = (tmp_path / "coverage.md").read_text()
    assert "| a | `b`: `detector` |  | 0 | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ (0.0005) | 9, 8 | 0 |" in page


def test_rows_and_the_page_tell_the_same(command: ModuleType, tmp_path: Path) -> None:
    failed = row(command, "b/second.py", built=True, reason="it does not trace")
    rows = {"c/first.py": good(command, "c/first.py"), "b/second.py": failed}
    command.save(rows, tmp_path)
    kept = json.loads((tmp_path / "coverage.json").read_text())
    assert kept == [failed, rows["c/first.py"]]
    page = (tmp_path / "coverage.md").read_text()
    assert "1 of 2 families" in page
    assert "(1 of 2 configs); 2 configs can be built" in page
    assert "* `b/second.py`: it does not trace" in page
    assert "| c | `first` |  | 0 | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | 9, 8 | 0 |" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coverage.json", "coverage.md"]


def test_a_process_that_was_ended_leaves_how_far_it_came(
    command: ModuleType, tmp_path: Path
) -> None:
    candidate = command.Candidate("a", "a/b.py")
    begun = row(command, "a/b.py", built=True, reason="ended while: export: trace it")
    file = tmp_path / "row.json"
    file.write_text(json.dumps(begun))
    found = command.read_row(file, candidate, "not done after 9 s")
    assert found["built"]
    assert found["reason"] == "not done after 9 s, ended while: export: trace it"
    absent = command.read_row(tmp_path / "none.json", candidate, "the process ended with status 3")
    assert absent == row(command, "a/b.py", reason="the process ended with status 3")
    file.write_text(json.dumps(good(command, "a/b.py")))
    assert command.passes(command.read_row(file, candidate, "the process ended with status 0"))


@pytest.mark.costly
def test_a_config_that_is_not_there_is_told_in_its_row(command: ModuleType) -> None:
    told = command.row_of(command.Candidate("yolo", "yolo/nothing.py"), 96, 60, None)
    assert not told["built"]
    assert told["reason"].startswith("no config 'yolo/nothing.py'")


@pytest.mark.thorough
def test_a_cheap_config_passes_every_column_by_the_real_build(command: ModuleType) -> None:
    told = command.row_of(command.Candidate("yolo", CHEAP), 128, 240, None)
    assert told["reason"] == ""
    assert command.passes(told)
    assert told["partition"] == "single_stage"
    assert len(told["detections"]) == 2
    assert min(told["detections"]) > 20
