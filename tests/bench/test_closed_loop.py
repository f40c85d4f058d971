"""Both load generators count what a server answered, and what it did not."""

from __future__ import annotations

import pytest

from loadtest.bodies import Body
from tests.bench import closed_loop
from tests.conftest import ImageMaker
from tests.live import LiveService
from tests.loadtest.fakes import Reply, fake_server

PREDICT = "/v1/models/cifar10/predict"


@pytest.fixture(params=["wrk", "streams"], autouse=True)
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "streams":
        monkeypatch.setattr(closed_loop, "WRK", None)
    elif not closed_loop.WRK:
        pytest.skip("wrk is not installed")


def test_every_answer_is_counted_and_every_body_is_sent(live: LiveService, make_image: ImageMaker) -> None:
    before = live.metric("rotulo_batch_size_sum", model="cifar10")
    bodies = [Body("image/png", make_image(seed)) for seed in range(2)]
    answers = closed_loop.run(f"http://127.0.0.1:{live.port}{PREDICT}", bodies, 2, 1)
    assert answers.answered > 0
    assert answers.failed == 0
    assert 0 < answers.p50_ms <= answers.p99_ms
    # Those under way at the end may have been answered to nobody.
    assert 0 <= live.metric("rotulo_batch_size_sum", model="cifar10") - before - answers.answered <= 2


def test_one_bad_body_of_two_is_half_of_the_requests_failed(
    live: LiveService, make_image: ImageMaker
) -> None:
    bodies = [Body("image/png", make_image(0)), Body("image/png", b"not an image")]
    answers = closed_loop.run(f"http://127.0.0.1:{live.port}{PREDICT}", bodies, 1, 1)
    assert answers.answered > 0
    assert abs(answers.answered - answers.failed) <= 1


def test_of_several_connections_every_failure_is_counted() -> None:
    with fake_server(lambda _: Reply(500)) as server:
        answers = closed_loop.run(f"{server.url}{PREDICT}", [Body("image/png", b"cat")], 8, 1)
    assert answers.failed > 0
    assert answers.answered == 0
