"""OpenVINO reports each import to Google Analytics, in a fork of the importing process; here it does not.

Nobody was asked, and a fork of a process with threads may never end: the process then waits for it at its own
end (seen with 2026.4.1). A module that cannot be imported is what OpenVINO and NNCF take as "no telemetry".
"""

from __future__ import annotations

import sys


def leave_out() -> None:
    """To be called before OpenVINO is first imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
