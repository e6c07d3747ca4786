"""`doit suggest`, as a user runs it: what it tells, and that what it writes builds."""

from __future__ import annotations

import math
import re

import onnx
import pytest

from tests.projects import Scratch

BARE = """\
class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.head = Head(8)

    def forward(self, image):
        map = self.stem(image).relu()
        return self.head([map, map])
"""
REFUSED = """\
model: {source: torch, factory: 'bare:Bare', weights: {seed: 0}}
export: {inputs: {image: {shape: [1, 3, 32, 32]}}}
partition: {type: raw_heads}
"""
"""A recipe whose policy only the exported model refuses: it has no post-processing."""


def advice(scratch: Scratch, *wishes: str, recipe: str = "tiny") -> str:
    """Return what `doit suggest` says."""
    return scratch.built("suggest", f"recipe={recipe}", *wishes)


def rows(output: str) -> dict[str, list[str]]:
    """Return the rows of the table by their names: bytes across, tensors, FLOPs, …"""
    cells = [re.split(r"  +", line) for line in output.splitlines()]
    return {line[0]: line[1:] for line in cells if len(line) >= 6 and line[0] != "cut"}


def pasted(output: str) -> str:
    """Return the YAML that an output ends in."""
    return output[output.index("\nmarks:\n") + 1 :]


def test_the_advice_names_the_best_cuts_and_where_the_recipe_stands(torch_scratch: Scratch) -> None:
    before = (torch_scratch.folder / "recipes" / "tiny.yaml").read_bytes()
    output = advice(torch_scratch)
    # The stem gives 8 x 16 x 16 floats, the heads 6 x (16 x 16 + 8 x 8): 8192 and 7680 bytes.
    found = rows(output)
    assert found["recipe"][:2] == ["7.7 kB", "2"]
    assert ["8.2 kB", "1"] in [row[:2] for row in found.values()]
    assert "tiny: " in output
    assert " that no other cut beats in both bytes and evenness:\n" in output
    assert "the recipe's own cut carries 7.7 kB" in output
    assert (torch_scratch.folder / "recipes" / "tiny.yaml").read_bytes() == before
    assert [path.name for path in (torch_scratch.folder / "build" / "tiny").iterdir()] == [
        "suggest.svg"
    ]
    assert b"<svg" in (torch_scratch.folder / "build" / "tiny" / "suggest.svg").read_bytes()


def test_the_yaml_builds_what_was_said(torch_scratch: Scratch) -> None:
    output = advice(torch_scratch, "cut=2")
    across, tensors, *_ = rows(output)["2"]
    whole = (torch_scratch.folder / "recipes" / "tiny.yaml").read_text()
    torch_scratch.write("recipes/pasted.yaml", whole[: whole.index("marks:")] + pasted(output))
    torch_scratch.built("build", "recipe=pasted")
    first = onnx.load(torch_scratch.folder / "build" / "pasted" / "part0.onnx")
    dims = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in first.graph.output]
    assert len(dims) == int(tensors)
    assert across == f"{4 * sum(map(math.prod, dims)) / 1000:.1f} kB"


def test_a_model_that_cannot_be_cut_as_asked_has_tensors_and_advice(torch_fresh: Scratch) -> None:
    torch_fresh.write("bare.py", "from tiny import Head, nn\n\n\n" + BARE)
    torch_fresh.write("recipes/tiny.yaml", REFUSED)
    said = torch_fresh.built("tensors", "recipe=tiny", "match=head.*")
    assert "WARNING: recipes/tiny.yaml:3: partition.type: the last operators with weights" in said
    listed = [line.split()[:3] for line in said.splitlines() if "float32" in line]
    assert [operator for _, operator, _ in listed] == ["Conv", "Conv"]
    assert [module for *_, module in listed] == ["head.small", "head.large"]
    again = torch_fresh.built("tensors", "recipe=tiny", "match=head.*")
    assert again.splitlines() == said.splitlines()[-3:]  # nothing is exported again
    assert "of the model without its partition" in torch_fresh.built("suggest", "recipe=tiny")


def test_limits_are_kept(torch_scratch: Scratch) -> None:
    output = advice(torch_scratch, "max_bytes=8kB")
    assert rows(output).keys() == {"recipe", *(str(n) for n in range(1, len(rows(output))))}
    assert "8.2 kB" not in output
    refused = torch_scratch.doit("suggest", "recipe=tiny", "max_memory=1kB")
    assert refused.returncode != 0
    assert (
        "ERROR: recipes/tiny.yaml: tiny: no cut into 2 parts meets the limits; expected limits "
        "that some cut can meet; raise max_bytes or max_memory, or list fewer unsupported "
        "operators\n"
    ) in refused.stdout


def test_three_parts_with_times(torch_scratch: Scratch) -> None:
    output = advice(torch_scratch, "parts=3", "measure=yes")
    header = next(line for line in output.splitlines() if line.startswith("cut "))
    assert header.split() == ["cut", "across", "tensors", "FLOPs", "parameters", "memory", "time"]
    assert all(row[2].count("%") == 3 and row[5].count("ms") == 3
               for name, row in rows(output).items() if name != "recipe")  # fmt: skip
    assert pasted(output).count("save_file: ") == 3


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (
            "parts=1",
            "parts=1: is not a valid number; expected a whole number from 2 to 8",
        ),
        ("max_bytes=much", "max_bytes: 'much' is not a size; expected one such as 20GB"),
        (
            "unsupported=TopL",
            "unsupported=TopL: the model has no operator 'TopL'; expected one of ",
        ),
        ("cut=99", "cut=99: there are "),
        ("measure=1", "measure=1: is not a valid answer; expected 'yes' or 'no'"),
    ],
)
def test_a_wish_that_makes_no_sense_is_told(torch_scratch: Scratch, wish: str, told: str) -> None:
    run = torch_scratch.doit("suggest", "recipe=tiny", wish)
    assert run.returncode != 0
    assert "Traceback" not in run.stdout
    # What the model has no say in is told before it is exported.
    needs_model = wish.startswith(("unsupported", "cut"))
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("ERROR: ")]
    assert line.startswith(f"ERROR: {'recipes/tiny.yaml: ' * needs_model}{told}")
    assert needs_model or run.stdout == f"{line}\n"


def test_wishes_are_for_this_command_only(torch_scratch: Scratch) -> None:
    run = torch_scratch.doit("build", "recipe=tiny", "parts=3")
    assert run.returncode != 0
    assert "parts=3: not a variable of this command" in run.stdout
    assert not (torch_scratch.folder / "build").exists()
