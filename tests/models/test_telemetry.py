"""Nobody is called when a process starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["models.engines.openvino_engine", "train.export"])
def test_importing_openvino_sends_nothing_to_anybody(tmp_path: Path, module: str) -> None:
    code = f"import {module}, openvino, sys; assert 'openvino_telemetry.main' not in sys.modules"
    environment = {**os.environ, "HOME": str(tmp_path)}  # where it would keep whom it counts
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], env=environment, check=True)
    assert not list(tmp_path.iterdir())
