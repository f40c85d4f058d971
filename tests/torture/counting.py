"""The service as it is, which says at its end how many requests it has read the head of.

`--lose-first` resets the first of them: the negative control.
"""

from __future__ import annotations

import argparse
import re
import socket
import struct
import sys

from service.__main__ import main
from service.edge.guarded_protocol import GuardedProtocol

SERVICE = (sys.executable, "-m", "tests.torture.counting")
LOSING = (*SERVICE, "--lose-first")
_SAID = "heads read: "
_ABORT = struct.pack("ii", 1, 0)  # close is a reset


def heads_read(log: str) -> int:
    """What a process that has ended said; raises AssertionError where it said nothing."""
    found = re.search(rf"^{_SAID}(\d+)$", log, re.MULTILINE)
    assert found, f"it did not say how much it had read; {log[-500:]}"
    return int(found[1])


def _run() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--lose-first", action="store_true")
    given, arguments = parser.parse_known_args()
    read, heads = GuardedProtocol.on_headers_complete, 0

    def counted(self: GuardedProtocol) -> None:
        nonlocal heads
        read(self)
        heads += 1
        if given.lose_first and heads == 1:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self.transport.abort()

    GuardedProtocol.on_headers_complete = counted  # type: ignore[method-assign]
    code = main(arguments)
    sys.stdout.write(f"\n{_SAID}{heads}\n")  # in one piece: the log is still being written, by a thread
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(_run())
