"""Locust users that send by schedule: `locust -f loadtest/locustfile.py ScheduledNativeUser -u 1 --rate 200`.

Locust's own users wait for an answer before they ask again, and so ask less while the server is slow. These
begin a request whenever one is due, `--rate` times a second each, and what they report as the response time
runs from the moment it was due. The row of type SENT holds the time from when it really left; it is no part
of the total. Without a free connection requests wait, while their response time runs.
"""

from __future__ import annotations

import random
import time
from typing import Any

from gevent.pool import Group
from locust import events, task
from locust.argument_parser import LocustArgumentParser

from loadtest.schedules import Arrivals, positive
from loadtest.users import ImageUser, Request, flask_request, native_request

LAST_ANSWERS_SECONDS = 10.0


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--rate", type=positive, default=10.0, help="requests/s of each Scheduled... user")
    gaps = [str(Arrivals.POISSON), str(Arrivals.UNIFORM)]  # Locust asks for one gap at a time: no bursts
    parser.add_argument("--arrivals", choices=gaps, default="poisson", help="their gaps")


class ScheduledUser(ImageUser):
    """One stream of requests. Many streams at independent times are one stream of their rates' sum."""

    abstract = True
    concurrency = 1000

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._due = time.perf_counter()
        self._under_way = Group()

    def wait_time(self) -> float:
        """Seconds until the next request is due; none if that has passed."""
        rate = self.environment.parsed_options.rate
        poisson = self.environment.parsed_options.arrivals == Arrivals.POISSON
        self._due += random.expovariate(rate) if poisson else 1 / rate
        return max(0.0, self._due - time.perf_counter())

    def send(self, request: Request) -> None:
        """Begin it; whatever became of those before."""
        self._under_way.spawn(self.post_image, request, due=self._due)

    def on_stop(self) -> None:
        """Answers to come still count."""
        self._under_way.join(timeout=LAST_ANSWERS_SECONDS)


class ScheduledNativeUser(ScheduledUser):
    """`POST /v1/models/{model}/predict`, the image as the body."""

    @task
    def predict(self) -> None:
        self.send(native_request(self.environment.parsed_options))


class ScheduledFlaskUser(ScheduledUser):
    """`POST /predict`, the image as the multipart field `file`."""

    @task
    def predict(self) -> None:
        self.send(flask_request(self.environment.parsed_options))
