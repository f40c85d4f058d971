"""The end of a process: it does not wait for whoever reads its log, nor take the interpreter down."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.process.leaving import HANGING

ROOT = Path(__file__).parent.parent.parent.parent
LEAVE = f"from service.process.leaving import leave; leave({HANGING}, 'the engine hangs')"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its two ends; a test may close them before."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def exit_code(stderr: int) -> int:
    return subprocess.run([sys.executable, "-c", LEAVE], cwd=ROOT, stderr=stderr, timeout=60).returncode


def test_it_says_why_and_leaves_what_it_wrote_to_as_it_was(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    assert exit_code(writer) == HANGING
    assert os.read(reader, 100) == b"rotulo: the engine hangs\n"
    assert os.get_blocking(writer)


def test_a_full_pipe_that_nobody_reads_does_not_keep_the_process_from_its_end(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    assert exit_code(writer) == HANGING


def test_nor_does_a_pipe_that_is_closed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    assert exit_code(writer) == HANGING


END = """
import atexit, os, sys
from service.process import logs
from service.process.leaving import end

logs.configure("info", "text")
sys.stdout.write("said")
logs.announce("logged")
atexit.register(os.abort)
end(3)
"""


def test_one_whose_work_is_done_says_all_it_had_to_say_and_ends_there() -> None:
    ended = subprocess.run([sys.executable, "-c", END], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "said", "INFO: logged\n")


def test_one_that_was_begun_without_streams_ends_the_same() -> None:
    code = "import sys; sys.stdout = sys.stderr = None; from service.process.leaving import end; end(3)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 3


def test_a_hangup_that_somebody_has_asked_to_ignore_stays_ignored() -> None:
    code = """
import os, signal
from service.process.leaving import leave_at_signals

signal.signal(signal.SIGHUP, signal.SIG_IGN)
leave_at_signals()
os.kill(os.getpid(), signal.SIGHUP)
os._exit(3)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 3
