"""The calls of the page, against a real service on a real socket."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from models import catalog
from models.predictor import Predictor
from tests.conftest import SAMPLES, ImageMaker
from tests.live import LiveService, serve
from ui.client import Answer, ClientError, Refused, ServiceClient, Unexpected, Unreachable
from ui.settings import Settings

KEY = "a-key-for-the-tests"


@contextmanager
def client_of(port: int, key: str | None = None) -> Iterator[ServiceClient]:
    with closing(ServiceClient(Settings(f"http://127.0.0.1:{port}", key))) as client:
        yield client


@pytest.fixture
def client(live: LiveService) -> Iterator[ServiceClient]:
    with client_of(live.port) as client:
        yield client


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A web server that knows nothing of images."""

    def do_GET(self) -> None:
        status = 502 if self.path == "/metrics" else 200
        self.send_response(status)
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(b"<html>not this one</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(result: Answer | ClientError) -> Refused:
    assert isinstance(result, Refused)
    return result


def test_an_image_is_answered_with_what_the_service_knows_of_it(
    client: ServiceClient, make_image: ImageMaker
) -> None:
    answer = client.classify("cifar10", make_image(1))
    assert (answer.model, answer.version) == ("cifar10", "1")
    assert len(answer.top) == 5
    assert (answer.top[0].label, answer.top[0].confidence) == (answer.label, answer.confidence)
    assert answer.timing is not None
    assert answer.timing.batch_size == 1


def test_a_bad_image_among_good_ones_harms_only_itself(client: ServiceClient, make_image: ImageMaker) -> None:
    results = client.classify_all("cifar10", [make_image(1), b"no image", make_image(2)])
    assert isinstance(results[0], Answer)
    assert isinstance(results[2], Answer)
    bad = refusal(results[1])
    assert (bad.status, bad.kind) == (415, "unsupported-image")
    assert bad.title
    assert bad.detail
    assert bad.request_id
    assert not bad.retryable


def test_images_are_answered_in_their_order(client: ServiceClient, make_image: ImageMaker) -> None:
    images = [make_image(seed) for seed in range(12)]
    together = [result for result in client.classify_all("cifar10", images) if isinstance(result, Answer)]
    alone = [client.classify("cifar10", image) for image in images]
    assert [answer.label for answer in together] == [answer.label for answer in alone]


def test_no_images_are_no_requests(client: ServiceClient) -> None:
    assert client.classify_all("cifar10", []) == []


def test_a_model_is_described(client: ServiceClient) -> None:
    (model,) = client.models()
    assert model.name == "cifar10"
    assert len(model.classes) == 10
    assert model.calibration.uncertain_below == 0.3
    assert model.measured("test") is None


def test_a_model_that_has_seen_renders_alone_is_known_by_its_recipe(client: ServiceClient) -> None:
    (model,) = client.models()
    manifest = json.loads((catalog.locate(catalog.SHIPPED_MODELS, "bottle") / "model.json").read_text())
    assert not model.rendered
    assert model.model_copy(update={"training": manifest["training"]}).rendered


def test_a_model_that_is_not_there_is_said_so(client: ServiceClient) -> None:
    for name in ("none", "../cifar10", "ção"):
        with pytest.raises(Refused) as caught:
            client.classify(name, b"")
        assert caught.value.status == 404


def test_nobody_there_is_unreachable(free_port: int) -> None:
    with client_of(free_port) as client:
        with pytest.raises(Unreachable):
            client.models()
        (result,) = client.classify_all("cifar10", [b"image"])
        assert isinstance(result, Unreachable)
        assert result.retryable


def test_another_server_is_not_taken_for_the_service(elsewhere: int) -> None:
    with client_of(elsewhere) as client:
        with pytest.raises(Unexpected):
            client.models()
        with pytest.raises(Refused) as caught:
            client.metrics()
    assert (caught.value.status, caught.value.title, caught.value.kind) == (502, "Bad Gateway", "")
    assert caught.value.retry_after_seconds == 7


def test_a_key_is_sent_where_there_is_one(predictor: Predictor, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"page:{KEY}\n")
    with serve([predictor], api_keys_file=keys, metrics_need_key=True) as running:
        with client_of(running.port, KEY) as client:
            assert client.models()
            assert "rotulo_" in client.metrics()
        with client_of(running.port) as client, pytest.raises(Refused) as caught:
            client.models()
    assert (caught.value.status, caught.value.kind) == (401, "not-authorized")


def test_who_asks_too_often_is_told_when_to_come_back(predictor: Predictor, make_image: ImageMaker) -> None:
    with serve([predictor], rate_limit="2/minute") as running, client_of(running.port) as client:
        results = client.classify_all("cifar10", [make_image(seed) for seed in range(4)])
    refused = [result for result in results if isinstance(result, Refused)]
    assert len(refused) == 2
    assert {each.kind for each in refused} == {"too-many-requests"}
    assert all(each.retryable and 0 < (each.retry_after_seconds or 0) <= 60 for each in refused)


def test_a_body_over_the_service_s_limit_is_a_refusal_and_not_a_broken_connection(
    predictor: Predictor,
) -> None:
    with serve([predictor], max_body_bytes=2048) as running, client_of(running.port) as client:
        (result,) = client.classify_all("cifar10", [(SAMPLES / "coffee.jpg").read_bytes() * 20])
    assert refusal(result).kind == "body-too-large"
