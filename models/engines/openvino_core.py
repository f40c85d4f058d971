"""The process's one OpenVINO core, which is never freed.

OpenVINO's CPU plugin gives the thread that loads it an alternate signal stack, and unmaps it with the core.
Freed on another thread, or in another order than made, it leaves a thread that dies of its next signal:
Ctrl-C or SIGTERM then end the process with a segmentation fault in place of a drain (seen with 2026.4.1).
"""

from __future__ import annotations

from functools import cache

import openvino as ov


@cache
def core() -> ov.Core:
    """The core that reads and compiles every graph."""
    return ov.Core()
