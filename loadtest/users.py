"""Locust users that post real images: one class for each kind of caller."""

from __future__ import annotations

import random
import sys
from functools import cache
from pathlib import Path
from typing import Any

import locust.stats
from locust import FastHttpUser, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtest import bodies
from loadtest.answers import Check, Outcome, flask_answers, judge, native_answer
from loadtest.bodies import Body
from loadtest.errors import NoImages
from loadtest.images import EncodedImage, load_images


def fine_bucket(response_time: float) -> float:
    """To 0.1 ms below 100 ms, to 1 % above: Locust's own are ten times coarser.

    About 1,900 distinct values up to a minute, so distributed workers still send little.
    """
    if response_time < 100:
        return round(response_time, 1)
    if response_time < 1000:
        return round(response_time)
    return round(response_time, -1 if response_time < 10_000 else -2)


locust.stats.bucket_response_time = fine_bucket  # type: ignore[assignment]


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--model", default="cifar10", help="model to ask on the native route")
    parser.add_argument("--images", default="", help="folder or zip of images; the bundled samples if empty")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _encode_bodies(environment: Environment, **_: Any) -> None:
    """Before the load begins, so that bad images stop the start and encoding is not measured."""
    if environment.parsed_options:
        source = environment.parsed_options.images
        try:
            _raw_bodies(source), _form_bodies(source)
        except NoImages as error:
            sys.exit(f"--images: {error}")


@cache
def _images(source: str) -> list[EncodedImage]:
    return load_images(Path(source) if source else None)


@cache
def _raw_bodies(source: str) -> list[Body]:
    return [bodies.raw(image) for image in _images(source)]


@cache
def _form_bodies(source: str) -> list[Body]:
    return [bodies.multipart([image]) for image in _images(source)]


class ImageUser(FastHttpUser):
    """Posts one body after the other on a keep-alive connection."""

    abstract = True
    wait_time = constant(0)

    def post_image(self, path: str, name: str, body: Body, check: Check) -> None:
        """Refusals and passed deadlines have rows of their own in the statistics; only errors fail."""
        headers = {"Content-Type": body.content_type}
        with self.client.post(
            path,
            name=name,
            data=body.data,  # type: ignore[arg-type]
            headers=headers,
            catch_response=True,
        ) as response:
            settle(response, check)


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
        options = self.environment.parsed_options
        body = random.choice(_raw_bodies(options.images))  # noqa: S311
        self.post_image(f"/v1/models/{options.model}/predict", "native", body, native_answer)


class FlaskUser(ImageUser):
    """`POST /predict`, the image as the multipart field `file`, as clients of the old service send it."""

    @task
    def predict(self) -> None:
        body = random.choice(_form_bodies(self.environment.parsed_options.images))  # noqa: S311
        self.post_image("/predict", "flask", body, flask_answers())
