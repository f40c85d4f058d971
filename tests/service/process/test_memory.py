"""Memory that large images took goes back to the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.torture.subject import ROOT

# In a process of its own: the allocator cannot be told otherwise again.
SCRIPT = """
from concurrent.futures import ThreadPoolExecutor
import psutil
from service.process.memory import give_memory_back
give_memory_back()
def use(_):
    blocks = [bytearray(16 << 20) for _ in range(4)]
    kept.append(bytes(1000))
kept = []
before = psutil.Process().memory_info().rss
with ThreadPoolExecutor(2) as pool:
    list(pool.map(use, range(8)))
    print((psutil.Process().memory_info().rss - before) >> 20)
"""


# Free memory in the middle of the heap, below what is in use, as many small blocks.
IN_THE_MIDDLE = """
import time, psutil
from service.process import memory
memory.TRIM_SECONDS = 0.01
memory.give_memory_back()
def resident():
    return psutil.Process().memory_info().rss >> 20
before = resident()
blocks = [bytearray(100_000) for _ in range(640)]
in_use = bytearray(100_000)
blocks.clear()
deadline = time.monotonic() + 30
while resident() - before >= 32 and time.monotonic() < deadline:
    pass
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own setting")
def test_blocks_as_large_as_pillows_are_given_back() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert int(result.stdout) < 16, result.stderr


FROZEN = """
import gc
from service.process.memory import leave_out_of_collections
kept = [[] for _ in range(100_000)]
leave_out_of_collections()
print(len(gc.get_objects()))
"""


COLLECTED = """
import gc
from service.process.memory import leave_out_of_collections
kept = [[] for _ in range(1_000_000)]
leave_out_of_collections()
before = gc.get_stats()[2]["collections"]
kept.extend([] for _ in range(100_000))
print(gc.get_stats()[2]["collections"] - before)
"""


def test_full_collections_do_not_wait_for_a_quarter_of_what_is_left_out() -> None:
    result = subprocess.run([sys.executable, "-c", COLLECTED], cwd=ROOT, capture_output=True, text=True)
    assert int(result.stdout) > 0, result.stderr


def test_what_stays_is_looked_at_in_no_collection() -> None:
    result = subprocess.run([sys.executable, "-c", FROZEN], cwd=ROOT, capture_output=True, text=True)
    assert int(result.stdout) < 1000, result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own setting")
def test_memory_freed_below_what_is_in_use_is_given_back_too() -> None:
    result = subprocess.run([sys.executable, "-c", IN_THE_MIDDLE], cwd=ROOT, capture_output=True, text=True)
    assert int(result.stdout) < 32, result.stderr
