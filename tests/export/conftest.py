"""Two threads for torch, as many as the machines of the project have."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _quick_exports(one_registry: None) -> None:
    """Export in this process with one registry."""
