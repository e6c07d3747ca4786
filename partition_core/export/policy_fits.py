"""Which shared policies fit a detector of mmdet, told by its parts before it is run."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from partition_core.errors import ExportError, PlaceOf, problem, quoted

_Test = Callable[[nn.Module], bool]


def check_policy(name: str, detector: nn.Module, place_of: PlaceOf) -> None:
    """Raise ExportError if `name` is a shared policy for another kind of detector than this."""
    if name not in _NEEDS:
        return
    for lacks, test in _NEEDS[name]:
        if not test(detector):
            fitting = [quoted(one) for one in _NEEDS if all(f(detector) for _, f in _NEEDS[one])]
            remedy = f"take {' or '.join(fitting)}" if fitting else "write 'segments' of your own"
            what = f"policy {quoted(name)} does not fit a {type(detector).__name__}"
            raise ExportError(problem(place_of("partition.type"), what, lacks, remedy))


def _has_regions(detector: nn.Module) -> bool:
    return getattr(detector, "roi_head", None) is not None


def _has_one_box_head(detector: nn.Module) -> bool:
    head = getattr(getattr(detector, "roi_head", None), "bbox_head", None)
    return head is not None and not isinstance(head, nn.ModuleList)


def _has_one_mask_head(detector: nn.Module) -> bool:
    head = getattr(getattr(detector, "roi_head", None), "mask_head", None)
    return head is not None and not isinstance(head, nn.ModuleList)


def _has_no_masks(detector: nn.Module) -> bool:
    return getattr(getattr(detector, "roi_head", None), "mask_head", None) is None


def _has_no_regions(detector: nn.Module) -> bool:
    return not _has_regions(detector)


def _has_dense_head(detector: nn.Module) -> bool:
    return getattr(detector, "bbox_head", None) is not None


def _suppresses(detector: nn.Module) -> bool:
    from mmdet.models.detectors import DetectionTransformer

    return not isinstance(detector, DetectionTransformer)


def _has_features(detector: nn.Module) -> bool:
    return hasattr(detector, "extract_feat")


_REGIONS = ("it is for two-stage detectors, and this one has no RoI head", _has_regions)
_ONE_BOX_HEAD = (
    "it is for one box head behind the regions, and here are several",
    _has_one_box_head,
)
_NO_REGIONS = ("it is for single-stage detectors, and this one has a RoI head", _has_no_regions)
_DENSE_HEAD = ("it cuts at the module 'bbox_head', and there is none", _has_dense_head)
_NEEDS: dict[str, tuple[tuple[str, _Test], ...]] = {
    "single_stage": (
        _NO_REGIONS,
        ("it cuts in front of a suppression, and a transformer has none", _suppresses),
    ),
    "two_stage": (
        _REGIONS,
        _ONE_BOX_HEAD,
        ("it has no part for masks, and this one gives them", _has_no_masks),
    ),
    "two_stage_masks": (
        _REGIONS,
        _ONE_BOX_HEAD,
        ("it is for detectors with one mask head, and this one has none", _has_one_mask_head),
    ),
    "no_postprocess": (_NO_REGIONS, _DENSE_HEAD),
    "backbone_head": (("it cuts behind 'extract_feat', and there is none", _has_features),),
}
"""What each policy needs: what it says of a detector that lacks it, and how that is seen."""
