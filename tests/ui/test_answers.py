"""Each image is asked about once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.conftest import ImageMaker
from tests.live import LiveService
from ui.answers import Answers
from ui.client import Answer, Refused, ServiceClient, Unreachable
from ui.pictures import Picture
from ui.settings import Settings

ROUTE = "/v1/models/{model}/predict"


@pytest.fixture
def client(live: LiveService) -> Iterator[ServiceClient]:
    with closing(ServiceClient(Settings(f"http://127.0.0.1:{live.port}"))) as client:
        yield client


def asked(live: LiveService) -> float:
    statuses = ("200", "415", "422")
    return sum(
        live.metric("rotulo_http_requests_total", route=ROUTE, method="POST", status=each)
        for each in statuses
    )


def test_drawing_the_page_again_asks_nothing_again(
    live: LiveService, client: ServiceClient, make_image: ImageMaker
) -> None:
    (model,) = client.models()
    answers, before = Answers(), asked(live)
    pictures = [Picture("a", make_image(1)), Picture("b", b"no image"), Picture("a copy", make_image(1))]
    first = answers.of(client, model, pictures)
    assert answers.of(client, model, pictures) == first
    assert asked(live) - before == 2
    assert first[0] is first[2]
    assert first[0].preview is not None
    assert first[1].preview is None


def test_a_new_version_is_asked_anew_and_what_is_gone_is_forgotten(
    live: LiveService, client: ServiceClient, make_image: ImageMaker
) -> None:
    (model,) = client.models()
    answers, before = Answers(), asked(live)
    picture = Picture("a", make_image(1))
    answers.of(client, model, [picture])
    answers.of(client, model.model_copy(update={"version": "2"}), [picture])
    assert asked(live) - before == 2
    answers.of(client, model, [])
    answers.of(client, model, [picture])
    assert asked(live) - before == 3


class Once(ServiceClient):
    """A service that is away at the first question."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.away = True

    def classify(self, model: str, image: bytes) -> Answer:
        if self.away:
            raise Unreachable
        return super().classify(model, image)


def test_only_what_may_succeed_later_is_asked_again(live: LiveService, make_image: ImageMaker) -> None:
    with closing(Once(Settings(f"http://127.0.0.1:{live.port}"))) as client:
        (model,) = client.models()
        answers = Answers()
        pictures = [Picture("a", make_image(1))]
        assert isinstance(answers.of(client, model, pictures)[0].result, Unreachable)
        client.away = False
        assert isinstance(answers.of(client, model, pictures)[0].result, Unreachable)
        assert answers.any_retryable()
        answers.forget_retryable()
        assert isinstance(answers.of(client, model, pictures)[0].result, Answer)
        assert not answers.any_retryable()
        bad = answers.of(client, model, [Picture("b", b"no image")])
        assert isinstance(bad[0].result, Refused)
        assert not answers.any_retryable()
