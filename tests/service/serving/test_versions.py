"""Versions of a model: one answers, another takes over between two requests, and nothing is lost."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.engines.protocol import Logits
from models.errors import BadArtifact, UnknownModel
from models.images import Pixels
from models.predictor import Predictor
from service.serving.store import Store
from service.settings import Settings
from tests.conftest import CLASSES, ImageMaker, spec
from tests.live import TOKEN, LiveService, Response, multipart, serve
from tests.service.fakes import PixelEngine, predictor_on

PREDICT = "/v1/models/cifar10/predict"
ADMIN = "/admin/models/cifar10"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


class VersionEngine(PixelEngine):
    """Answers with the class whose number is its version's."""

    def __init__(self, version: int) -> None:
        self.version = version

    def logits(self, pixels: Pixels) -> Logits:
        logits = np.zeros((len(pixels), len(CLASSES)), np.float32)
        logits[:, self.version] = 9
        return logits


class Failing(VersionEngine):
    def logits(self, pixels: Pixels) -> Logits:
        raise RuntimeError(f"no kernel\nfor {len(pixels)} images")


class NotFinite(VersionEngine):
    def logits(self, pixels: Pixels) -> Logits:
        return super().logits(pixels) * np.float32("nan")


def predictor_of(version: int, engine: type[VersionEngine] = VersionEngine) -> Predictor:
    return predictor_on(engine(version), spec(version=str(version)))


class Shelf(Store):
    """A models directory in memory: how to load each version."""

    def __init__(self) -> None:
        self.loads: dict[str, Callable[[], Predictor]] = {
            str(version): lambda version=version: predictor_of(version)  # type: ignore[misc]
            for version in (1, 2, 3)
        }

    def versions(self, _: str) -> tuple[str, ...]:
        return tuple(sorted(self.loads, key=int))

    def load(self, name: str, version: str | None = None) -> Predictor:
        chosen = version or self.versions(name)[-1]
        if chosen not in self.loads:
            raise UnknownModel(f"model {name!r} has no version {chosen!r}")
        return self.loads[chosen]()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def running(shelf: Shelf) -> Iterator[LiveService]:
    """Version 1 answers; 2 and 3 are on the shelf."""
    with serve([predictor_of(1)], shelf) as live:
        yield live


def activate(live: LiveService, version: str | None = None) -> Response:
    body = None if version is None else json.dumps({"version": version})
    return live.request("POST", f"{ADMIN}/activate", body, AUTHORISED)


def roll_back(live: LiveService) -> Response:
    return live.request("POST", f"{ADMIN}/rollback", headers=AUTHORISED)


def answering(live: LiveService, image: bytes) -> str:
    answer = live.request("POST", PREDICT, image).json()
    assert answer["index"] == int(answer["version"])
    return str(answer["version"])


def test_a_version_is_activated_and_rolled_back_by_one_call_each(
    running: LiveService, make_image: ImageMaker
) -> None:
    image = make_image()
    first = running.request("GET", ADMIN, headers=AUTHORISED).json()
    assert first == {"name": "cifar10", "versions": ["1", "2", "3"], "active": "1", "previous": None}
    second = activate(running, "2")
    assert second.status == 200
    assert second.json() == {**first, "active": "2", "previous": "1"}
    assert answering(running, image) == "2"
    assert roll_back(running).json() == {**first, "active": "1", "previous": "2"}
    assert answering(running, image) == "1"
    assert roll_back(running).json()["active"] == "2"


def test_without_a_version_the_newest_on_disk_is_loaded_even_if_it_answers_already(
    running: LiveService,
) -> None:
    assert activate(running).json()["active"] == "3"
    assert activate(running).json() == {
        "name": "cifar10",
        "versions": ["1", "2", "3"],
        "active": "3",
        "previous": "1",
    }
    assert running.metric("rotulo_activations_total", model="cifar10", outcome="activated") == 2


def test_every_route_and_the_metrics_follow_the_switch(running: LiveService, make_image: ImageMaker) -> None:
    activate(running, "2")
    form = multipart(("file", make_image()))
    assert running.request("POST", "/predict", *form).json()["predictions"][0]["category_index"] == 2
    assert running.request("GET", "/v1/models/cifar10").json()["version"] == "2"
    assert running.request("GET", "/v2/models/cifar10").json()["versions"] == ["2"]
    assert running.request("GET", "/v2/models/cifar10/versions/1").status == 404
    assert running.request("GET", "/v2/models/cifar10/versions/2/ready").status == 200
    info = {"model": "cifar10", "engine": "test"}
    assert running.metric("rotulo_model_info", version="2", **info) == 1
    assert running.metric("rotulo_model_info", version="1", **info) == 0


def v2_body(image: bytes, count: int) -> tuple[bytes, dict[str, str]]:
    element = len(image).to_bytes(4, "little") + image
    parameters = {"binary_data_size": count * len(element)}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [count], "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + count * element, {"Inference-Header-Content-Length": str(len(head))}


def asked(live: LiveService, number: int, image: bytes) -> set[int]:
    """One request, of a kind that its number says; the versions that its answer speaks of."""
    several = multipart(("file", image), ("file", image), ("file", image))
    match number % 4:
        case 0:
            return {int(answering(live, image))}
        case 1:
            answer = live.request("POST", PREDICT, *several).json()
            return {int(answer["version"]), *(each["index"] for each in answer["predictions"])}
        case 2:
            answer = live.request("POST", "/predict", *several).json()
            return {each["category_index"] for each in answer["predictions"]}
        case _:
            answer = live.request("POST", "/v2/models/cifar10/infer", *v2_body(image, 3)).json()
            outputs = {output["name"]: output["data"] for output in answer["outputs"]}
            return {int(answer["model_version"]), *outputs["index"]}


def test_under_load_every_answer_is_of_one_version_and_none_is_lost(
    running: LiveService, make_image: ImageMaker
) -> None:
    image, enough = make_image(), threading.Event()

    def ask(first: int) -> list[set[int]]:
        answers: list[set[int]] = []
        while not enough.is_set() or len(answers) < 4:
            answers.append(asked(running, first + len(answers), image))
        return answers

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(ask, number) for number in range(8)]
        try:
            for version in ("2", "3", "1", "2"):
                assert activate(running, version).status == 200
        finally:
            enough.set()
        answers = [answer for caller in callers for answer in caller.result()]
    assert {len(answer) for answer in answers} == {1}
    assert {version for answer in answers for version in answer} <= {1, 2, 3}
    assert running.metric("rotulo_failed_total", model="cifar10", kind="BatchFailed") == 0


@pytest.fixture
def no_collections() -> Iterator[None]:
    """A service's process looks at its first versions in none: see `memory.py`."""
    gc.disable()
    yield
    gc.enable()


def natively(image: bytes) -> tuple[str, bytes, dict[str, str]]:
    return PREDICT, image, {}


def by_flask(image: bytes) -> tuple[str, bytes, dict[str, str]]:
    return "/predict", *multipart(("file", image))


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("asked", [natively, by_flask])
def test_a_request_that_began_before_the_switch_is_answered_by_the_old_version_which_then_goes(
    running: LiveService,
    make_image: ImageMaker,
    asked: Callable[[bytes], tuple[str, bytes, dict[str, str]]],
) -> None:
    image = make_image()
    path, body, headers = asked(image)
    assert activate(running, "2").status == 200
    old = weakref.ref(running.service.model("cifar10").predictor.engine)
    with closing(running.connection()) as slow:
        slow.putrequest("POST", path)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            slow.putheader(name, value)
        slow.endheaders(body[:10])
        for _ in range(5000):
            if running.service.intake.bytes_held:
                break
            running.request("GET", "/healthz")
        assert activate(running, "3").status == 200
        assert answering(running, image) == "3"
        assert old() is not None
        slow.send(body[10:])
        answer = json.loads(slow.getresponse().read())
        assert (
            answer["predictions"][0]["category_index"] if "predictions" in answer else answer["index"]
        ) == 2
    for _ in range(20):
        running.request("GET", "/healthz")
        if old() is None:
            return
    raise AssertionError("the old version is still in memory")


def bad_artifact() -> Predictor:
    raise BadArtifact("models/cifar10/2/weights.safetensors: the checksum differs")


def broken_engine() -> Predictor:
    raise RuntimeError("secret 0x7f00\nsecond line")


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (bad_artifact, "models/cifar10/2/weights.safetensors: the checksum differs"),
        (broken_engine, "it cannot be loaded: RuntimeError, see the log"),
        (lambda: predictor_of(2, Failing), "cifar10/2: fails as it warms up: no kernel"),
        (lambda: predictor_of(2, NotFinite), "cifar10/2: fails as it warms up: the network's output"),
    ],
)
def test_whatever_fails_the_old_version_stays_and_the_caller_reads_why(
    running: LiveService, shelf: Shelf, make_image: ImageMaker, load: Callable[[], Predictor], said: str
) -> None:
    shelf.loads["2"] = load
    refused = activate(running, "2")
    assert refused.status == 422
    assert refused.json()["type"] == "urn:rotulo:problem:unfit-version"
    assert refused.json()["detail"].startswith(said)
    assert answering(running, make_image()) == "1"
    assert running.metric("rotulo_activations_total", model="cifar10", outcome="unfit") == 1
    assert activate(running, "3").status == 200


def test_a_version_or_a_model_that_is_not_there_is_a_404_and_nothing_to_go_back_to_a_409(
    running: LiveService,
) -> None:
    assert activate(running, "7").status == 404
    for path in ("", "/activate", "/rollback"):
        method = "POST" if path else "GET"
        assert running.request(method, f"/admin/models/other{path}", headers=AUTHORISED).status == 404
    nothing = roll_back(running)
    assert nothing.status == 409
    assert nothing.json()["type"] == "urn:rotulo:problem:version-conflict"


@pytest.mark.parametrize("body", ["[]", "{", '{"version": 2}', '{"version": "../1"}', '{"versoin": "2"}'])
def test_a_body_that_names_no_version_is_a_400(running: LiveService, body: str) -> None:
    refused = running.request("POST", f"{ADMIN}/activate", body, AUTHORISED)
    assert refused.status == 400
    assert "version" in refused.json()["detail"]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/activate"), ("POST", "/rollback")])
def test_without_the_admin_token_nothing_is_told_or_done(
    running: LiveService, make_image: ImageMaker, method: str, path: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": TOKEN}):
        refused = running.request(method, ADMIN + path, headers=headers)
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    assert answering(running, make_image()) == "1"


class Held:
    """A load that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> Predictor:
        self.begun.set()
        assert self.go_on.wait(60)
        return predictor_of(2)


def test_of_two_activations_at_once_the_second_is_refused_and_callers_are_answered_meanwhile(
    running: LiveService, shelf: Shelf, make_image: ImageMaker
) -> None:
    shelf.loads["2"] = held = Held()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(activate, running, "2")
        try:
            assert held.begun.wait(60)
            assert activate(running, "3").status == 409
            assert answering(running, make_image()) == "1"
        finally:
            held.go_on.set()
        assert first.result().json()["active"] == "2"


def test_a_shutdown_does_not_wait_for_a_version_that_is_being_loaded(shelf: Shelf) -> None:
    shelf.loads["2"] = held = Held()
    try:
        with serve([predictor_of(1)], shelf) as live, ThreadPoolExecutor(1) as pool:
            loading = pool.submit(activate, live, "2")
            assert held.begun.wait(60)
            assert live.request("POST", "/shutdown", headers=AUTHORISED).status == 202
            assert loading.result().status == 503
            assert loading.result().json()["type"] == "urn:rotulo:problem:draining"
    finally:
        held.go_on.set()


@pytest.fixture
def on_disk(models_dir: Path, tmp_path: Path) -> Path:
    """Two versions of the real model."""
    for version in ("1", "2"):
        directory = tmp_path / "cifar10" / version
        shutil.copytree(models_dir / "cifar10" / "1", directory)
        manifest = json.loads((directory / "model.json").read_text())
        (directory / "model.json").write_text(json.dumps({**manifest, "version": version}))
    return tmp_path


def test_files_that_are_altered_or_deleted_while_they_are_served_harm_nobody(
    on_disk: Path, make_image: ImageMaker
) -> None:
    settings: dict[str, Any] = {"models_dir": on_disk, "engine": "torch", "threads": 1, "max_batch_size": 1}
    image = make_image()
    with serve([predictor_from(on_disk, "1")], **settings) as live:
        before = live.request("POST", PREDICT, image).json()
        weights = on_disk / "cifar10" / "2" / "weights.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        refused = activate(live)
        assert refused.status == 422
        assert str(weights) in refused.json()["detail"]
        data[-1] ^= 1
        weights.write_bytes(data)
        assert activate(live).json()["active"] == "2"
        shutil.rmtree(on_disk / "cifar10")
        assert live.request("POST", PREDICT, image).json() == {**before, "version": "2"}
        assert activate(live).status == roll_back(live).status == 404
        assert live.request("GET", ADMIN, headers=AUTHORISED).json()["versions"] == []
        assert live.request("POST", PREDICT, image).json() == {**before, "version": "2"}


def predictor_from(root: Path, version: str) -> Predictor:
    return Store(Settings(models_dir=root, engine="torch", threads=1)).load("cifar10", version)
