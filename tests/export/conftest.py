"""Two threads for torch, as many as the machines of the project have."""

from __future__ import annotations

import torch

torch.set_num_threads(2)
