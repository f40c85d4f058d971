"""How many requests a caller may send: a moving window for each, that touches no clock."""

from __future__ import annotations

import ipaddress
import math
import re
from collections import OrderedDict, deque
from dataclasses import dataclass

_RATE = re.compile(r"([0-9]{1,6})/(?:([0-9]{1,3}) ?)?(second|minute|hour)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any stretch of `seconds`."""

    requests: int
    seconds: float

    @staticmethod
    def parse(text: str) -> Rate:
        """`100/second`, `1000/15 minutes`; raises ValueError."""
        found = _RATE.fullmatch(text.strip().lower())
        if found is None or int(found[1]) == 0 or int(found[2] or 1) == 0:
            raise ValueError("must be like 100/second, 600/minute or 1000/15 minutes")
        return Rate(int(found[1]), int(found[2] or 1) * _SECONDS[found[3]])


class MovingWindows:
    """The recent requests of every caller.

    Holds the moments of the requests that still count, so at most `rate.requests` a caller, and no caller
    whose last one counts no more.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()  # by the last hit, oldest first
        self._now = -math.inf

    def __len__(self) -> int:
        """Callers held."""
        return len(self._hits)

    def hit(self, caller: str, now: float) -> float:
        """0 where the request may pass, and is counted; else the seconds until one may, and is not.

        One that was read long before its turn, behind another, may say when it came: time does not go back.
        """
        now = self._now = max(self._now, now)
        self._forget(now)
        hits = self._hits.setdefault(caller, deque(maxlen=self._rate.requests))
        if len(hits) == self._rate.requests and (wait := hits[0] + self._rate.seconds - now) > 0:
            return wait
        hits.append(now)
        self._hits.move_to_end(caller)
        return 0.0

    def _forget(self, now: float) -> None:
        while self._hits:
            caller, hits = next(iter(self._hits.items()))
            if hits[-1] + self._rate.seconds > now:
                return
            del self._hits[caller]


def peer_name(client: tuple[str, int] | None) -> str:
    """A peer as a caller: its address, or its network where it has 2^64 addresses to choose from (IPv6)."""
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
