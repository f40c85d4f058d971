"""Negative controls: the checks must fail on a server that is bad on purpose."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from tests.torture import counting, mutations
from tests.torture.faults import Group
from tests.torture.health import Standing
from tests.torture.mutations import in_words
from tests.torture.signals import stopped_under_load
from tests.torture.soak import soak
from tests.torture.subject import Subject, started

BUSY_CLIENTS = 10
BAD_SERVER = (sys.executable, "-m", "tests.torture.bad_server")
REQUESTS = 300
SOAK_MINUTES, SOAK_RATE = 0.5, 50.0


def group() -> Group:
    """Each fault starts a bad server; it passes where the check notices. The given subject is not used."""
    faults = Group()
    faults.fault(14, "control: a server that answers 500 once in 50", "the check of statuses fails")(
        lambda _: _noticed(("--fail-every", "50"), lambda bad: mutations.attack(bad, REQUESTS, 0))
    )
    faults.fault(0, "control: a server that keeps 200 KB of every request", "the standing checks fail")(
        lambda _: _noticed(("--leak-bytes", "200000"), _standing)
    )
    faults.fault(57, "control: a server that keeps 2 KB of every request", "the slope check fails")(
        lambda _: _noticed(("--leak-bytes", "2000"), lambda bad: soak(bad, SOAK_MINUTES, SOAK_RATE))
    )
    sent = "control: the service resets the first request that it has read"
    faults.fault(49, sent, "the count of heads fails")(
        lambda _: _raises(lambda: in_words(stopped_under_load(BUSY_CLIENTS, signal.SIGTERM, counting.LOSING)))
    )
    return faults


def _standing(bad: Subject) -> str:
    standing = Standing(bad, settle_seconds=1.0)
    mutations.attack(bad, REQUESTS, 0)
    return standing.check()


def _noticed(flags: tuple[str, ...], check: Callable[[Subject], str]) -> str:
    with started(*flags, command=BAD_SERVER) as bad:
        return _raises(lambda: check(bad))


def _raises(check: Callable[[], str]) -> str:
    try:
        what = check()
    except AssertionError as error:
        return f"noticed: {error}"
    raise AssertionError(f"not noticed: {what}")
