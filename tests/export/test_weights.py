"""Weights drawn from a seed: reproducible, different by name, and of a size that suits the net."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from partition_core.trace.seed_weights import seed_weights
from tests.export.models import Block, Net
from tests.export.support import in_new_process

IMAGE = torch.randn((1, 3, 32, 32), generator=torch.Generator().manual_seed(0))


def seeded(model: nn.Module, seed: int = 0, image: torch.Tensor = IMAGE) -> nn.Module:
    model.eval()
    seed_weights(model, seed, lambda: None, lambda: model(image))
    return model


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


DIGEST = """
import sys, hashlib
from tests.export.test_weights import *
for seed in sys.argv[1:]:
    model = seeded(Net(8, 3), int(seed))
    content = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    print(hashlib.sha256(content).hexdigest())
"""


def test_a_seed_gives_the_same_bytes_in_every_process_and_another_seed_others() -> None:
    one, other = in_new_process(DIGEST, "0", "1", PYTHONHASHSEED="1").split()
    assert one != other
    again = in_new_process(DIGEST, "1", "0", PYTHONHASHSEED="2", OMP_NUM_THREADS="1")
    assert again.split() == [other, one]


def test_what_the_model_was_before_does_not_matter() -> None:
    torch.manual_seed(5)
    one = seeded(Net()).state_dict()
    torch.manual_seed(6)
    other = seeded(Net()).state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_values_of_a_parameter_depend_on_its_name() -> None:
    model = seeded(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), image=noise(4, 8))
    first, second = model[0].weight, model[1].weight  # type: ignore[index]
    assert not torch.allclose(first / first.norm(), second / second.norm(), atol=1e-3)
    other = nn.Sequential(nn.Identity(), nn.Linear(8, 8))
    alone = seeded(other, image=noise(4, 8))[1].weight  # type: ignore[index]
    assert torch.equal(alone / alone.norm(), second / second.norm())


def test_every_seed_gives_every_parameter_other_values() -> None:
    one, other = (dict(seeded(Net(), seed).named_parameters()) for seed in (0, 1))
    assert all(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_outputs_of_a_deep_residual_net_keep_a_standard_deviation_near_one() -> None:
    model = seeded(Net(16, 40))
    spreads: dict[str, float] = {}

    def note(name: str):  # type: ignore[no-untyped-def]
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            centered = output - output.mean(dim=(0, 2, 3), keepdim=True)
            spreads[name] = float(centered.std())

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | Block):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        model(IMAGE)
    convolutions = {name: s for name, s in spreads.items() if name.endswith(("conv", "stem.0"))}
    assert len(convolutions) == 41
    # A power of two is within sqrt(2) of what is wanted.
    assert all(1 / 1.5 < spread < 1.5 for spread in convolutions.values()), convolutions
    # Forty residual additions grow like a sum, not like a product (1.5 ** 40 is ten million).
    assert 1 < spreads["blocks.39"] < 40


def test_scales_are_powers_of_two_so_that_rounding_does_not_reach_the_weights() -> None:
    image = IMAGE * (1 + 1e-6)
    one, other = seeded(Net(8, 4)), seeded(Net(8, 4), image=image)
    for (name, left), right in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_keeps_its_dtype_and_gets_the_weights_that_it_has_in_float32(
    dtype: torch.dtype,
) -> None:
    plain, other = seeded(Net(8, 4)), seeded(Net(8, 4).to(dtype), image=IMAGE.to(dtype))
    with torch.no_grad():
        assert other(IMAGE.to(dtype)).dtype == dtype
    for (name, left), right in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert right.dtype == dtype
        if name.endswith("weight"):
            assert torch.equal(left.to(dtype), right), name


class Detector(nn.Module):
    """Two heads: one whose bias starts some channels with a low probability."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.boxes = nn.Conv2d(8, 4, 1)
        self.classes = nn.Conv2d(8, 6, 1)
        self.mixed = nn.Conv2d(8, 10, 1)
        self.scale = nn.Parameter(torch.tensor(1.25))
        self.register_buffer("anchors", torch.arange(4.0))
        self.register_buffer("table", torch.arange(4))
        self.running = nn.BatchNorm2d(8)

    def init(self) -> None:
        nn.init.constant_(self.classes.bias, -math.log(99))  # type: ignore[arg-type]
        nn.init.zeros_(self.mixed.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.mixed.bias[4:] = -4.6  # type: ignore[index]

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features = self.running(self.body(image)).relu()
        return [head(features) for head in (self.boxes, self.classes, self.mixed)]


@pytest.fixture(scope="module")
def detector() -> Detector:
    model = Detector().eval()
    seed_weights(model, 0, model.init, lambda: model(IMAGE))
    return model


def test_channels_that_start_with_a_low_probability_keep_one(detector: Detector) -> None:
    # What all places have in common is taken away, in steps of an eighth.
    assert detector.classes.bias.tolist() == pytest.approx([-3.0] * 6, abs=0.5)
    assert detector.mixed.bias[4:].tolist() == pytest.approx([-3.0] * 6, abs=0.5)
    assert detector.mixed.bias[:4].abs().max() < 1
    assert detector.boxes.bias.abs().max() < 1
    with torch.no_grad():
        boxes, classes, mixed = detector(IMAGE)
    for scores in (classes, mixed[:, 4:]):
        assert -4.5 < scores.mean() < -1.5
        assert 1 < scores.std() < 4
        assert (scores.sigmoid() > 0.5).any()
    for offsets in (boxes, mixed[:, :4]):
        spread = offsets - offsets.mean(dim=(0, 2, 3), keepdim=True)
        assert 0.25 < spread.std() < 1.5


def test_buffers_that_are_no_statistics_and_plain_scales_keep_their_values(
    detector: Detector,
) -> None:
    assert detector.anchors.tolist() == [0, 1, 2, 3]
    assert detector.table.tolist() == [0, 1, 2, 3]
    assert detector.scale.item() == 1.25
    assert int(detector.running.num_batches_tracked) == 0


def test_statistics_of_norms_are_drawn_and_positive(detector: Detector) -> None:
    mean, var = detector.running.running_mean, detector.running.running_var
    assert mean is not None and var is not None
    assert mean.abs().max() > 0
    assert var.min() > 0.5
    assert not torch.equal(var, torch.ones(8))


def test_the_filters_of_a_layer_sum_to_zero(detector: Detector) -> None:
    sums = detector.body.weight.sum(dim=(1, 2, 3))
    assert sums.abs().max() < 1e-5
    assert detector.body.weight.std() > 0.1


def test_a_layer_called_several_times_is_scaled_once() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first: torch.Tensor = self.head(x)
            return first + self.head(100 * x)

    shared = seeded(Shared(), image=noise(16, 8))
    with torch.no_grad():
        assert 0.5 < shared.head(noise(16, 8)).std() < 2  # type: ignore[operator]


@pytest.mark.parametrize("start", [0.0, 0.3], ids=["zero", "equal up to rounding"])
def test_a_layer_whose_first_output_is_alike_everywhere_is_scaled_by_a_later_one(
    start: float,
) -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(8, 8)

        def forward(self, queries: torch.Tensor) -> torch.Tensor:
            alike = torch.full_like(queries, start) * (1 + 1e-7 * queries)
            self.hidden(alike)
            hidden: torch.Tensor = self.hidden(queries)
            return hidden

    queries = noise(1, 50, 8)
    model = seeded(Decoder(), image=queries)
    assert 0.5 < float(model(queries).detach().std()) < 2.0


def test_no_hook_stays_on_the_model(detector: Detector) -> None:
    assert all(not module._forward_hooks for module in detector.modules())


def test_no_hook_stays_after_a_model_that_fails() -> None:
    model = Net()
    with pytest.raises(ZeroDivisionError):
        seed_weights(model, 0, lambda: None, lambda: 1 // 0)
    assert all(not module._forward_hooks for module in model.modules())


class Residual(nn.Module):
    """A branch whose own initialization leaves it out, as `zero_init_residual` does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.last = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = x + self.last(self.conv(self.first(x)))
        return made


def test_a_branch_that_starts_left_out_adds_little() -> None:
    model = Residual().eval()
    seed_weights(model, 0, lambda: nn.init.zeros_(model.last.weight), lambda: model(IMAGE))  # type: ignore[arg-type, return-value]
    assert torch.allclose(model.last.weight, torch.full((3,), 0.25), atol=0.2)
    assert torch.allclose(model.first.weight, torch.ones(3), atol=0.2)
    assert bool((model.last.weight != 0).all())


class Boxes(nn.Module):
    """Two layers of one head; only offsets of boxes are told by their name."""

    def __init__(self) -> None:
        super().__init__()
        self.bbox_coder = object()
        self.fc_cls, self.fc_reg = nn.Linear(16, 40), nn.Linear(16, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.fc_cls(x), self.fc_reg(x)], dim=1)


def test_offsets_of_boxes_are_smaller_than_other_outputs() -> None:
    rows = noise(200, 16)
    made = seeded(Boxes(), image=rows)(rows).detach()
    classes, offsets = made[:, :40].std(dim=0).mean(), made[:, 40:].std(dim=0).mean()
    assert 0.7 < float(classes) < 1.45
    assert 0.35 < float(offsets) < 0.75


class Coder:
    """A box coder whose offsets are told in tenths of a box's side."""

    stds = (0.1, 0.1, 0.2, 0.2)


def test_the_stages_of_a_cascade_share_the_way_of_a_box() -> None:
    stages = nn.ModuleList(Boxes() for _ in range(2))
    for stage in stages:
        stage.bbox_coder = Coder()  # type: ignore[assignment]
    rows = noise(200, 16)
    model = nn.Module()
    model.stages = stages
    seed_weights(model, 0, lambda: None, lambda: [stage(rows) for stage in stages])
    for stage in stages:
        offsets = stage(rows).detach()[:, 40:].std(dim=0).mean()
        assert 0.7 < float(offsets) / (0.05 / 2 / 0.1) < 1.45


def test_a_layer_that_is_built_of_zeros_stays_narrow_whatever_the_init_of_all_layers_does() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1))
    nn.init.zeros_(model[1].weight)

    def init() -> None:
        for layer in model:
            nn.init.kaiming_normal_(layer.weight)

    model.eval()
    seed_weights(model, 0, init, lambda: model(IMAGE))
    with torch.no_grad():
        first = model[0](IMAGE)
        assert 0.7 < float(first.std(dim=(0, 2, 3)).mean()) < 1.45
        assert float(model[1](first).std(dim=(0, 2, 3)).mean()) < 0.4


def test_rows_of_an_embedding_that_start_alike_stay_near_where_they_start() -> None:
    alike, drawn, zero = (nn.Embedding(50, 4) for _ in range(3))
    with torch.no_grad():
        alike.weight.copy_(torch.tensor([0.5, 0.5, 1.0, 1.0]))
        zero.weight.zero_()
    seed_weights(nn.ModuleList([alike, drawn, zero]), 0, lambda: None, lambda: None)
    apart = alike.weight.detach() - torch.tensor([0.5, 0.5, 1.0, 1.0])
    assert 0.09 < float(apart.std()) < 0.16
    for other in (drawn, zero):
        assert 0.8 < float(other.weight.detach().std()) < 1.2


@pytest.mark.parametrize("groups", [1, 4])
def test_a_transposed_convolution_is_scaled_like_any_other(groups: int) -> None:
    model = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1, groups=groups))
    given = noise(2, 16, 8, 8) * 50
    made = seeded(model, image=given)(given).detach()
    assert 0.7 < float(made.std(dim=(0, 2, 3)).mean()) < 1.45
