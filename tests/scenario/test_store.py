"""What the store serves, and what it never does: damaged objects, touched inputs, other clones."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

from partition_core.base.file_stamp import SETTLED_AFTER
from tests.projects import FileScratch, Scratch, steps


def objects(store: Path) -> list[Path]:
    found = sorted((store / "v1" / "ac").glob("??/*")) + sorted((store / "v1" / "cas").glob("??/*"))
    assert len(found) == 9
    return found


def flip_a_bit(path: Path, at: int) -> None:
    """Flip one bit in place and put the times and the mode back as they were."""
    stat = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(at // 8)
        (byte,) = stream.read(1)
        stream.seek(at // 8)
        stream.write(bytes([byte ^ (1 << at % 8)]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    path.chmod(stat.st_mode)


def test_a_flipped_bit_in_any_object_is_never_served(scratch: Scratch) -> None:
    scratch.built()
    expected = scratch.artifacts()
    chance = random.Random(1)
    for trial in range(9):
        path = objects(scratch.store)[trial]
        flip_a_bit(path, chance.randrange(path.stat().st_size * 8))
        shutil.rmtree(scratch.folder / "build" / "tiny")
        output = scratch.built()
        assert output.count("is damaged; it was moved to") == 1, output
        assert path.name in output
        assert scratch.artifacts() == expected
        assert len(list((scratch.store / "v1" / "quarantine").iterdir())) == trial + 1


def test_touched_inputs_rebuild_nothing_and_are_read_only_once(scratch: Scratch) -> None:
    scratch.built()
    for path in tree(scratch.folder):
        os.utime(path)
    time.sleep(SETTLED_AFTER + 0.1)  # a file that changed just now is not believed
    up_to_date = "tiny: up to date (4 artifacts in build/tiny)\n"
    assert scratch.built() == up_to_date
    memory = scratch.folder / "build" / ".partition" / "digests.json"
    known = json.loads(memory.read_bytes())["digests"]
    assert {str(scratch.folder / "tiny.onnx"), str(scratch.folder / "recipes/tiny.yaml")} <= set(
        known
    )
    read = memory.stat()
    assert scratch.built() == up_to_date
    assert memory.stat().st_ino == read.st_ino, "something was read once more"


def test_a_clone_elsewhere_restores_everything(scratch: Scratch, tmp_path: Path) -> None:
    scratch.built()
    other = FileScratch(tmp_path / "other" / "clone", scratch.store)
    output = other.built()
    assert steps(output) == []
    assert other.artifacts() == scratch.artifacts()


def test_going_to_another_branch_and_back_builds_nothing(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    scratch.edit("recipes/tiny.yaml", "save_file: tail.onnx", "save_file: decoded.onnx")
    assert steps(scratch.built()) == ["cut decoded.onnx", "prove"]
    assert "tail.onnx" not in scratch.artifacts()
    scratch.edit("recipes/tiny.yaml", "save_file: decoded.onnx", "save_file: tail.onnx")
    assert steps(scratch.built()) == []
    assert scratch.artifacts() == before


def test_an_export_to_the_same_bytes_stops_there(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    torch_scratch.write(
        "tiny.py", (torch_scratch.folder / "tiny.py").read_text() + "\n# a remark\n"
    )
    assert steps(torch_scratch.built()) == ["export"]


def test_editing_an_artifact_in_place_does_not_reach_the_store(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    for path in (scratch.folder / "build" / "tiny").iterdir():
        with path.open("r+b") as stream:
            stream.write(b"edited")
    assert scratch.built("verify").endswith("all sound\n")
    assert steps(scratch.built()) == []
    assert scratch.artifacts() == before


def dry(scratch: Scratch) -> list[str]:
    """Return what a dry run says; it changes nothing, in the project or in the store."""
    before = [(p, p.stat().st_mtime_ns) for f in (scratch.folder, scratch.store) for p in tree(f)]
    lines = scratch.built("build", "--dry-run").splitlines()
    assert before == [
        (p, p.stat().st_mtime_ns) for f in (scratch.folder, scratch.store) for p in tree(f)
    ]
    return lines


def tree(folder: Path) -> list[Path]:
    unwatched = (".doit.db", ".partition", "__pycache__", "use.lock")
    return [
        p for p in sorted(folder.rglob("*")) if p.is_file() and not set(unwatched) & set(p.parts)
    ]


def test_a_dry_run_tells_what_is_up_to_date_and_what_is_restored(scratch: Scratch) -> None:
    assert dry(scratch) == [
        "tiny: export: up to date",
        "tiny: cut body.onnx: up to date",
        "tiny: cut tail.onnx: up to date",
        "tiny: prove: up to date",
        "tiny: end2end.onnx: restore: the file is missing",
        "tiny: body.onnx: restore: the file is missing",
        "tiny: tail.onnx: restore: the file is missing",
        "tiny: manifest.json: restore: the file is missing",
    ]
    scratch.built()
    assert all(line.endswith(": up to date") for line in dry(scratch))
    (scratch.folder / "build" / "tiny" / "tail.onnx").write_bytes(b"another")
    assert dry(scratch)[6] == "tiny: tail.onnx: restore: the file differs"


def test_a_dry_run_tells_what_changed_in_words(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    torch_scratch.edit("recipes/tiny.yaml", "width: 8", "width: 12")
    told = dry(torch_scratch)
    assert told[0] == 'tiny: export: build: recipe model changed: args[0][1] "8" -> "12"'
    assert told[1] == "tiny: cut body.onnx: build if the result of 'export' changes"
    assert told[4] == "tiny: end2end.onnx: publish if it is new and the proof holds"


def test_a_dry_run_of_a_new_recipe_says_that_there_is_no_earlier_build(fresh: Scratch) -> None:
    assert dry(fresh)[0] == "tiny: export: build: there is no earlier build"


def test_a_dry_run_names_the_code_that_changed(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    code = torch_scratch.folder / "tiny.py"
    code.write_text(code.read_text() + "\n# a remark\n")
    assert dry(torch_scratch)[0] == "tiny: export: build: code tiny.py changed"


def test_a_dry_run_names_the_file_and_the_segment_that_changed(scratch: FileScratch) -> None:
    scratch.built()
    scratch.change(seed=1)
    assert dry(scratch)[0] == "tiny: export: build: model changed"
    scratch.built()
    scratch.edit(
        "recipes/tiny.yaml",
        "start: ['decode:input']",
        "start: ['decode:input.small', 'decode:input.large']",
    )
    told = dry(scratch)
    assert told[0] == "tiny: export: up to date"
    assert told[2].startswith("tiny: cut tail.onnx: build: recipe segment changed")
