"""Configs of mmdet, where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from partition_core.base.errors import ExportError, Place
from partition_core.sources.mmdet import configs as mmdet_configs


def test_without_mmdet_it_is_told_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmdet_configs, "shipped_configs", lambda: None)
    with pytest.raises(ExportError) as error:
        mmdet_configs.find_config("yolo/x.py", tmp_path, Place("recipes/x.yaml", 2, "model.config"))
    assert str(error.value) == (
        "recipes/x.yaml:2: model.config: no config 'yolo/x.py'; mmdet is not installed, so there "
        "are no shipped configs; install it with `pip install 'partition-core[mmdet]'`"
    )
    (tmp_path / "own.py").write_text("")
    assert mmdet_configs.find_config("own.py", tmp_path, Place()) == tmp_path / "own.py"
