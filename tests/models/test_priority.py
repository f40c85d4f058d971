"""Engines and decoders must not keep the event loop from its processor."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.engines.priority import NICENESS, yield_to_the_loop
from tests.markdown import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux alone")


def niceness(thread: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_a_thread_that_yields_has_less_priority_and_so_have_those_it_starts() -> None:
    def own() -> int:
        return niceness(threading.get_native_id())

    def started() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(own).result()

    before = own()
    with ThreadPoolExecutor(1, initializer=yield_to_the_loop) as pool:
        assert pool.submit(own).result() == min(before + NICENESS, 19)
        assert pool.submit(started).result() == min(before + NICENESS, 19)
    assert own() == before


WHO_COMPUTES = """
import os, sys, time
from pathlib import Path
import numpy as np
from models import artifact
from models.engines.openvino_engine import OpenVinoEngine
from models.engines.openvino_graph import build

def spent():
    stats = {int(task.name): (task / "stat").read_text() for task in Path("/proc/self/task").iterdir()}
    return {thread: int(stat.rpartition(")")[2].split()[11]) for thread, stat in stats.items()}

engine = OpenVinoEngine(build(artifact.load(Path(sys.argv[1]))), "fp32", threads=2)
pixels = np.zeros((32, 32, 32, 3), np.uint8)
engine.logits(pixels)
before, began = spent(), time.process_time()
while time.process_time() - began < 1:
    engine.logits(pixels)
worked = {thread: ticks - before.get(thread, 0) for thread, ticks in spent().items()}
all_ticks = sum(worked.values())
print(*sorted({os.getpriority(os.PRIO_PROCESS, thread) - os.getpriority(os.PRIO_PROCESS, 0)
               for thread, ticks in worked.items() if ticks > all_ticks / 4}))
"""


def test_openvino_runs_parts_in_threads_that_yield_and_not_in_its_callers(models_dir: Path) -> None:
    command = [sys.executable, "-c", WHO_COMPUTES, str(models_dir / "cifar10" / "1")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(NICENESS)]
