"""A second locustfile for the tests: ends the run after a hundred requests, whatever the clock says."""

from __future__ import annotations

from typing import Any

import gevent
from locust import events
from locust.env import Environment


@events.init.add_listener  # type: ignore[untyped-decorator]
def _count(environment: Environment, **_: Any) -> None:
    requests = 0

    def on_request(**_: Any) -> None:
        nonlocal requests
        requests += 1
        if requests == 100 and environment.runner:
            gevent.spawn(environment.runner.quit)  # not from the user that it ends

    environment.events.request.add_listener(on_request)  # type: ignore[no-untyped-call]
