"""Each model's latency target, from the operator's one setting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_MS = 1000.0
MOST_MS = 600_000

_PART = re.compile(r"(?:([^\s=]+)=)?([0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class LatencyTargets:
    """`models`: milliseconds of those that have a target of their own; `default_ms`: of the others."""

    default_ms: float
    models: Mapping[str, float]

    @staticmethod
    def parse(text: str) -> LatencyTargets:
        """`100`, `cifar10=100,large=500` or `100,large=500`; raises ValueError."""
        targets: dict[str, float] = {}
        for part in text.split(","):
            found = _PART.fullmatch(part.strip())
            if found is None or not 0 < float(found[2]) <= MOST_MS:
                raise ValueError(f"must be like 100 or 100,large=500, each above 0 and up to {MOST_MS}")
            if (model := found[1] or "") in targets:
                raise ValueError(f"has two targets for {model or 'all other models'}")
            targets[model] = float(found[2])
        return LatencyTargets(targets.pop("", DEFAULT_MS), targets)

    def seconds(self, model: str) -> float:
        """Of this model, or of what concerns none where it is empty."""
        return self.models.get(model, self.default_ms) / 1000
