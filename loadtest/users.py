"""Locust users that post real images: one class for each kind of caller."""

from __future__ import annotations

import random
import re
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import locust.stats
from locust import FastHttpUser, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import RequestStats

from loadtest import bodies
from loadtest.answers import Check, Outcome, flask_answers, judge, native_answer
from loadtest.api_key import key_headers
from loadtest.bodies import Body
from loadtest.errors import BadOptions, NoImages
from loadtest.images import EncodedImage, load_images

SERVER_TIMING = re.compile(r'(\w+);(?:dur|desc)="?([\d.]+)')
PERCENTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


def fine_bucket(response_time: float) -> float:
    """To 0.1 ms below a second, to 1 % above: Locust's own are to two digits above 100 ms.

    About 11,000 distinct values up to a minute, so distributed workers still send little.
    """
    if response_time < 1000:
        return round(response_time, 1)
    return round(response_time, -1 if response_time < 10_000 else -2)


locust.stats.bucket_response_time = fine_bucket  # type: ignore[assignment]


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--model", default="cifar10", help="model to ask on the native route")
    parser.add_argument("--images", default="", help="folder or zip of images; the bundled samples if empty")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _encode_bodies(environment: Environment, **_: Any) -> None:
    """Before the load begins, so that bad images or a bad key stop the start and encoding is not measured."""
    if environment.parsed_options:
        source = environment.parsed_options.images
        try:
            key_headers(), _raw_bodies(source), _form_bodies(source)
        except BadOptions as error:
            sys.exit(str(error))
        except NoImages as error:
            sys.exit(f"--images: {error}")


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _print_percentiles(environment: Environment, **_: Any) -> None:
    """To 0.1 ms: Locust's own tables show whole ones. Not on workers, since the master has it all."""
    if not isinstance(environment.runner, WorkerRunner):
        for line in percentile_lines(environment.stats):
            print(line, file=sys.stderr)


def percentile_lines(stats: RequestStats) -> list[str]:
    """A header, and a line for each row of the statistics."""
    lines = [
        f"{'':8}{'ms, from buckets of 0.1 ms':32}" + "".join(f"{f'p{p * 100:g}':>10}" for p in PERCENTILES)
    ]
    for (name, method), entry in sorted(stats.entries.items()):
        cells = (f"{entry.get_response_time_percentile(p):10.1f}" for p in PERCENTILES)
        lines.append(f"{method:8}{name:32}{''.join(cells)}")
    return lines


@cache
def _images(source: str) -> list[EncodedImage]:
    return load_images(Path(source) if source else None)


@cache
def _raw_bodies(source: str) -> list[Body]:
    return [bodies.raw(image) for image in _images(source)]


@cache
def _form_bodies(source: str) -> list[Body]:
    return [bodies.multipart([image]) for image in _images(source)]


@dataclass(frozen=True, slots=True)
class Request:
    """What to post where, how it is named in the statistics, and how its answer is checked."""

    path: str
    name: str
    body: Body
    check: Check


def native_request(options: Any) -> Request:
    """One of the images, to the native route."""
    body = random.choice(_raw_bodies(options.images))  # noqa: S311
    return Request(f"/v1/models/{options.model}/predict", "native", body, native_answer)


def flask_request(options: Any) -> Request:
    """One of the images, as clients of the old service send it."""
    body = random.choice(_form_bodies(options.images))  # noqa: S311
    return Request("/predict", "flask", body, flask_answers())


class ImageUser(FastHttpUser):
    """Posts one body after the other on a keep-alive connection."""

    abstract = True
    wait_time = constant(0)

    def post_image(self, request: Request, due: float | None = None) -> None:
        """Refusals and passed deadlines have rows of their own in the statistics; only errors fail.

        due: when it should have left, on the performance counter; the response time runs from then.
        """
        with self.client.post(
            request.path,
            name=request.name,
            data=request.body.data,  # type: ignore[arg-type]
            headers={"Content-Type": request.body.content_type, **key_headers()},
            catch_response=True,
        ) as response:
            meta = response.request_meta
            settle(response, request.check)
            if due is not None:
                self._log("SENT", meta["name"], meta["response_time"])
                meta["response_time"] = (time.perf_counter() - due) * 1000
        self._log_server_timing(request.name, response.headers or {})

    def _log_server_timing(self, name: str, headers: Any) -> None:
        """What the server says of an answer: milliseconds, and the size of its batch."""
        for part, value in SERVER_TIMING.findall(headers.get("server-timing", "")):
            self._log("SERVER", f"{name} {part}", float(value))

    def _log(self, kind: str, name: str, value: float) -> None:
        """A row of its own, which is not counted as a request and so is no part of the total."""
        self.environment.stats.get(name, kind).log(value, 0)


def settle(response: Any, check: Check) -> None:
    """Tell Locust how the request ended."""
    if not response.status_code:
        return  # no response at all: Locust reports why
    has_retry_after = "retry-after" in response.headers
    outcome, fault = judge(check, response.status_code, has_retry_after, response.content)
    if outcome is Outcome.ERROR:
        response.failure(fault)
        return
    if outcome is not Outcome.ANSWERED:
        response.request_meta["name"] += f" ({outcome.name.lower()})"
    response.success()


class NativeUser(ImageUser):
    """`POST /v1/models/{model}/predict`, the image as the body."""

    @task
    def predict(self) -> None:
        self.post_image(native_request(self.environment.parsed_options))


class FlaskUser(ImageUser):
    """`POST /predict`, the image as the multipart field `file`, as clients of the old service send it."""

    @task
    def predict(self) -> None:
        self.post_image(flask_request(self.environment.parsed_options))
