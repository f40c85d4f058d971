"""What a `Server-Timing` header says: where the time of an answer went."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DURATION = re.compile(r"(?:^|,)\s*(\w+);dur=(\d+(?:\.\d+)?)\s*(?=,|$)")
_BATCH = re.compile(r'(?:^|,)\s*batch;desc="(\d+)"\s*(?=,|$)')


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds, and how many images ran together."""

    decode_ms: float
    queue_ms: float
    infer_ms: float
    batch_size: int


def read_timing(header: str) -> Timing | None:
    """None where a part is missing: a proxy may have removed or replaced the header."""
    durations = {name: float(value) for name, value in _DURATION.findall(header)}
    batch = _BATCH.search(header)
    if batch is None or not durations.keys() >= {"decode", "queue", "infer"}:
        return None
    return Timing(durations["decode"], durations["queue"], durations["infer"], int(batch[1]))
