"""What must hold after every fault: it answers, as well as before, and has kept nothing."""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
from PIL import Image

from tests.live import multipart
from tests.torture.subject import FLASK, PROBES, SAMPLES, Subject, wait_for

MAX_GROWTH_MB = 20.0
# Sockets in TIME_WAIT are the kernel's; a handful covers what a probe of ours has open.
SPARE_DESCRIPTORS, SPARE_THREADS = 4, 2
MAX_CONFIDENCE_CHANGE = 0.02  # int8 batches of other sizes; the label never changes
MAX_P99_RATIO = 2.0
# What one core does in a moment is not what it promises: below this, a ratio says nothing.
P99_FLOOR_MS = 50.0
SETTLE_SECONDS = 40.0  # longer than the service's own send and body timeouts
GOLDEN = (SAMPLES / "cat.jpg").read_bytes()


@dataclass(frozen=True)
class Footprint:
    """Resident MB, open descriptors, threads."""

    rss_mb: float
    descriptors: int
    threads: int


def footprint(subject: Subject) -> Footprint:
    process = psutil.Process(subject.process.pid)
    return Footprint(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())


def most_p99_ms(quiet_ms: float) -> float:
    """What callers may wait while others misbehave."""
    return max(P99_FLOOR_MS, MAX_P99_RATIO * quiet_ms)


def warm_up(subject: Subject) -> None:
    """Threads and buffers that a burst brings, and that stay: they are not a leak of what comes after.

    Images that are slow to decode, so that all of Flask's threads are in use at once.
    """
    large = io.BytesIO()
    Image.new("RGB", (2500, 2500)).save(large, "PNG")
    body, headers = multipart(("file", large.getvalue()))
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda _: subject.request("POST", FLASK, body, headers), range(64)))
        list(pool.map(lambda _: subject.classify(GOLDEN), range(200)))


class Standing:
    """The checks that stand after every group of faults, against how it was at first."""

    def __init__(self, subject: Subject, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._subject = subject
        self._settle_seconds = settle_seconds
        self._golden = self._answer()
        self.before = footprint(subject)

    def check(self) -> str:
        """What was seen; raises AssertionError with what does not hold."""
        wait_for(lambda: not self._held(), self._settle_seconds)
        held = self._held()
        assert not held, held
        for path in PROBES:
            status = self._subject.request("GET", path).status
            assert status == 200, f"{path} answers {status}"
        self._check_golden()
        assert "Traceback" not in self._subject.log, self._subject.log[-2000:]
        after = footprint(self._subject)
        return (
            f"probes 200, golden answer, RSS {after.rss_mb - self.before.rss_mb:+.1f} MB, "
            f"descriptors {after.descriptors - self.before.descriptors:+d}, "
            f"threads {after.threads - self.before.threads:+d}"
        )

    def _held(self) -> str:
        """What the process has not given back, in words."""
        before, now = self.before, footprint(self._subject)
        kept = []
        if now.rss_mb > before.rss_mb + MAX_GROWTH_MB:
            kept.append(f"RSS {before.rss_mb:.0f} -> {now.rss_mb:.0f} MB")
        if now.descriptors > before.descriptors + SPARE_DESCRIPTORS:
            kept.append(f"descriptors {before.descriptors} -> {now.descriptors}")
        if now.threads > before.threads + SPARE_THREADS:
            kept.append(f"threads {before.threads} -> {now.threads}")
        return ", ".join(kept)

    def _answer(self) -> tuple[str, float]:
        answer = self._subject.classify(GOLDEN).json()
        return answer["label"], answer["confidence"]

    def _check_golden(self) -> None:
        with contextlib.suppress(KeyError):
            label, confidence = self._answer()
            same = label == self._golden[0] and abs(confidence - self._golden[1]) <= MAX_CONFIDENCE_CHANGE
            assert same, f"the golden image is {label} {confidence}, was {self._golden}"
            return
        raise AssertionError("the golden image is not answered")
