"""Who gets a processor first: the event loop, before an engine, which needs all that there are."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

# A third of the loop's share where both want one processor (sched(7)): a request is read, refused or answered
# in a fraction of a millisecond, which otherwise waits for a slice of several.
NICENESS = 5


def yield_to_the_loop() -> None:
    """Lower the calling thread's priority, and that of the threads it will start. Outside Linux, which alone
    has priorities of threads, nothing.

    For threads that never hold the interpreter lock: others would wait for it with them.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
