"""How long a caller waits: from the arrival of its request, whatever happens to it first."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from service.errors import MalformedRequest

HEADER = b"x-timeout-ms"
MAX_TIMEOUT_MS = 600_000


@dataclass(frozen=True, slots=True)
class Budget:
    """`arrived`: when the request's headers were read, on the loop's clock. `timeout_seconds`: None where
    the caller set none; the model's own latency target counts from the same moment."""

    arrived: float
    timeout_seconds: float | None


def budget_of(scope: Scope) -> Budget:
    """The budget of a request that came through the edge; raises MalformedRequest."""
    for name, value in scope["headers"]:
        if name == HEADER:
            return Budget(scope["state"]["arrived"], _milliseconds(value) / 1000)
    return Budget(scope["state"]["arrived"], None)


def _milliseconds(value: bytes) -> int:
    if not (value.isdigit() and len(value) <= 6 and 1 <= int(value) <= MAX_TIMEOUT_MS):
        raise MalformedRequest(f"X-Timeout-Ms must be a whole number from 1 to {MAX_TIMEOUT_MS}")
    return int(value)
