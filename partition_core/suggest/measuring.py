"""What only a run can tell: sizes that the data decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from partition_core.backends.onnxruntime.session import Array, Session, with_outputs
from partition_core.suggest.flow import Dims


def measured_dims(
    model: Path, names: Sequence[str], inputs: Mapping[str, Array], scratch: Path
) -> dict[str, Dims]:
    """Return the dims that the tensors `names` have when `model` runs on `inputs`.

    `scratch` takes a copy of the model. Raises ProofError if it does not run.
    """
    if not names:
        return {}
    session = Session(with_outputs(model, names, scratch / "every_size.onnx"), "the model")
    found = session.run({name: inputs[name] for name in session.inputs})
    return {name: np.shape(found[name]) for name in names}
