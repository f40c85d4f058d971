"""How a batch is cut up, so that no thread of an engine waits for another at every layer.

Threads that share the layers of one batch meet at the end of each. Where the event loop, a decoder or
another process takes one of the processors for a moment, all of them wait, and most of it spinning. So a
batch that is large enough for all of them is cut into parts, and each part runs on a thread, or a few, of its
own: they meet once. On two cores, batches of 32 in int8, beside a process that takes half of one core: 1.2 to
1.6 times the images a second, and 1.0 to 1.3 times where nothing else runs. A smaller batch is quicker with
all threads on each layer, and so is any with one thread: four images at a time cost it a tenth. More than two
cores were not at hand.

OpenVINO prepares a plan for every batch size when it first comes: 10 to 30 ms, and up to 4 MB that stay. Of
all sizes up to 32 that is half a second of late answers and 130 MB. So there are few, all of them prepared
before the first caller, and what is between two of them is filled up to the larger one, as vLLM does with the
sizes that it has CUDA graphs for.
"""

from __future__ import annotations

PART = 4  # images; with 2 or 8 a batch of 32 took longer
MOST_STREAMS = 8  # parts in a batch of 32


def streams(threads: int) -> int:
    """Parts that run at a time: one a thread or, beyond `MOST_STREAMS`, one for each few threads."""
    return threads // -(-threads // MOST_STREAMS)


def runs_in_parts(size: int, streams: int) -> bool:
    """Whether a batch of this size does, and not whole."""
    return streams > 1 and size >= PART * streams


def batch_sizes(most: int) -> list[int]:
    """Ascending: 1 to 7, then 8, 12, 16, ..., whole parts; the last one is `most` itself."""
    return [*range(1, min(most, 2 * PART)), *range(2 * PART, most, PART), most]


def filled_up(size: int) -> int:
    """The smallest of those, without bound, that is at least `size`."""
    return size if size < 2 * PART else -(-size // PART) * PART
