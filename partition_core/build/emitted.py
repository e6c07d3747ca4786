"""The check of segments that are emitted for a device, by the list of what its runtime supports."""

from __future__ import annotations

from collections import Counter

from partition_core.base.errors import ConversionError
from partition_core.base.wording import first_of
from partition_core.build.step import StepJob, models_on_disk
from partition_core.recipe.places import in_target
from partition_core.recipe.target import Target

_MOST_LISTED = 5


def check_operators(job: StepJob, target: Target) -> None:
    """Raise ConversionError for operators that are not in the list named like the backend."""
    from partition_core.graph.constants import constants_of
    from partition_core.graph.file.graph_reader import read_model
    from partition_core.graph.supported import unsupported
    from partition_core.recipe.operators import TOOLCHAINS, read_operators

    operators = read_operators(target.backend, TOOLCHAINS, "targets")
    with models_on_disk(job, [target.segment]) as (models, _), in_target(job.file, target):
        model = read_model(models[target.segment])
        constants = constants_of(model)
        nodes = [
            node for node in model.graph if not all(value in constants for value in node.outputs)
        ]
        reasons = Counter(unsupported(model, constants, operators, nodes).values())
        if reasons:
            listed = [f"{reason} ({count})" for reason, count in sorted(reasons.items())]
            raise ConversionError.at(
                f"segment '{target.segment}'",
                f"it has what TensorRT does not support: {first_of(listed, _MOST_LISTED, '; ')}",
                "",
                f"`partition: {{type: supported, operators: {{toolchain: {target.backend}}}}}` "
                "cuts them out",
            )
