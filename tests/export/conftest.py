"""Exports in this process."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quick_exports(one_registry: None, native_code_here: None) -> None:
    """Export with one registry, and cut in this process."""
