"""Which shared policies fit a detector of mmdet, told by its parts; imports no library."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from partition_core.base.errors import ExportError, quoted


class Parts(NamedTuple):
    """What a detector is made of, as far as policies care.

    `regions` tells whether it has a RoI head, and `box_heads` and `mask_heads` how many that has.
    `dense_head` is a module `bbox_head` of its own, `suppresses` a suppression behind it and
    `features` a method `extract_feat`.
    """

    regions: bool
    box_heads: int
    mask_heads: int
    dense_head: bool
    suppresses: bool
    features: bool


def check_policy(name: str, detector: str, parts: Parts, place: str) -> None:
    """Raise ExportError if `name` is a shared policy for others than the class `detector`."""
    for lacks, fits in _NEEDS.get(name, ()):
        if not fits(parts):
            fitting = [
                quoted(one) for one, needs in _NEEDS.items() if all(f(parts) for _, f in needs)
            ]
            remedy = f"take {' or '.join(fitting)}" if fitting else "write 'segments' of your own"
            what = f"policy {quoted(name)} does not fit a {detector}"
            raise ExportError.at(place, what, lacks, remedy)


_Need = tuple[str, Callable[[Parts], bool]]
_REGIONS: _Need = (
    "it is for two-stage detectors, and this one has no RoI head",
    lambda parts: parts.regions,
)
_ONE_BOX_HEAD: _Need = (
    "it is for one box head behind the regions, and here are several",
    lambda parts: parts.box_heads == 1,
)
_NO_REGIONS: _Need = (
    "it is for single-stage detectors, and this one has a RoI head",
    lambda parts: not parts.regions,
)
_NEEDS: dict[str, tuple[_Need, ...]] = {
    "single_stage": (
        _NO_REGIONS,
        (
            "it cuts in front of a suppression, and a transformer has none",
            lambda parts: parts.suppresses,
        ),
    ),
    "two_stage": (
        _REGIONS,
        _ONE_BOX_HEAD,
        (
            "it has no part for masks, and this one gives them",
            lambda parts: not parts.mask_heads,
        ),
    ),
    "two_stage_masks": (
        _REGIONS,
        _ONE_BOX_HEAD,
        (
            "it is for detectors with one mask head, which this one has not",
            lambda parts: parts.mask_heads == 1,
        ),
    ),
    "no_postprocess": (
        _NO_REGIONS,
        ("it cuts at the module 'bbox_head', and there is none", lambda parts: parts.dense_head),
    ),
    "backbone_head": (
        ("it cuts behind 'extract_feat', and there is none", lambda parts: parts.features),
    ),
}
"""What each policy needs: what is told of a detector that lacks it, and how that is seen."""
