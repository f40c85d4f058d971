"""Whose key it is, from the file to every route."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Scope

from service.edge.access import access_of
from service.edge.keys import BadKeys, KeyFile, parse_keys
from service.settings import BadSettings, Settings
from tests.live import TOKEN, LiveService, multipart, serve
from tests.service.fakes import PixelEngine, predictor_on

ANA, BEN = "the-key-of-ana-0001", "the-key-of-ben-0002"
BEN_DIGEST = hashlib.sha256(BEN.encode()).hexdigest()
FILE = f"# who may ask\n\nana:{ANA}\nben:sha256:{BEN_DIGEST}\n"
NATIVE, FLASK = "/v1/models/cifar10/predict", "/predict"


# The file.


def test_a_file_replaced_while_it_is_read_for_the_first_time_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ana:{ANA}\n")
    read = Path.read_text

    def read_then_replaced(path: Path) -> str:
        text = read(path)
        monkeypatch.undo()
        file.write_text(f"# without Ana\nben:{BEN}\n")
        return text

    monkeypatch.setattr(Path, "read_text", read_then_replaced)
    keys = KeyFile(file)
    assert keys.keys(0.0).name_of(ANA.encode()) is None
    assert keys.keys(0.0).name_of(BEN.encode()) == "ben"


def test_a_key_is_given_plainly_or_as_its_digest() -> None:
    keys = parse_keys(FILE)
    assert keys.name_of(ANA.encode()) == "ana"
    assert keys.name_of(BEN.encode()) == "ben"


@pytest.mark.parametrize(
    "presented",
    ["", "ana", ANA[:-1], ANA + "x", ANA.upper(), BEN_DIGEST, f"sha256:{BEN_DIGEST}", "k" * 10_000],
)
def test_what_is_not_a_key_has_no_name(presented: str) -> None:
    assert parse_keys(FILE).name_of(presented.encode()) is None


def test_a_name_may_have_an_old_and_a_new_key() -> None:
    keys = parse_keys(f"ana:{ANA}\nana:{BEN}")
    assert keys.name_of(ANA.encode()) == keys.name_of(BEN.encode()) == "ana"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no key"),
        ("# nobody\n", "no key"),
        (f"# one\nana{ANA}", "line 2: a name"),
        (f":{ANA}", "line 1: a name"),
        (f"a b:{ANA}", "line 1: a name"),
        ("ana:too-short", "line 1: a key has"),
        (f"ana:{ANA}\u00e9", "line 1: a key has"),
        ("ana:sha256:abc", "line 1: a SHA-256"),
        (f"ana:{ANA}\nben:{ANA}", "twice"),
    ],
)
def test_an_unfit_file_is_refused_without_showing_a_key(text: str, says: str) -> None:
    with pytest.raises(BadKeys, match=says) as caught:
        parse_keys(text)
    assert ANA not in str(caught.value)


def rewrite(path: Path, text: str) -> None:
    """With another time on it, however coarse the file system's clock is."""
    path.write_text(text)
    changed = path.stat().st_mtime + 10
    os.utime(path, (changed, changed))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(FILE)
    return path


def test_a_changed_file_is_read_again_and_looked_at_once_a_second(key_file: Path) -> None:
    file = KeyFile(key_file)
    assert file.keys(now=0.0).name_of(ANA.encode()) == "ana"
    rewrite(key_file, f"ana:{BEN}")
    assert file.keys(now=0.9).name_of(ANA.encode()) == "ana"
    assert file.keys(now=1.0).name_of(ANA.encode()) is None
    assert file.keys(now=1.0).name_of(BEN.encode()) == "ana"


def test_a_broken_new_file_keeps_the_old_keys_and_says_so_once(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = KeyFile(key_file)
    rewrite(key_file, f"{ANA}\n")
    with caplog.at_level(logging.WARNING):
        for second in range(5):
            assert file.keys(now=second).name_of(ANA.encode()) == "ana"
        (record,) = caplog.records
        key_file.unlink()
        assert file.keys(now=9).name_of(ANA.encode()) == "ana"
    assert "line 1" in record.getMessage()
    assert ANA not in caplog.text
    rewrite(key_file, f"ana:{BEN}")
    assert file.keys(now=20).name_of(ANA.encode()) is None


def as_new(path: Path, mode: int, mtime: int) -> None:
    """Give it this mode and time, until the file system's clock has moved since it was last touched."""
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        path.chmod(mode)
        os.utime(path, ns=(mtime, mtime))


def test_a_copy_in_place_of_the_same_size_and_time_is_read(key_file: Path) -> None:
    file, mtime = KeyFile(key_file), key_file.stat().st_mtime_ns
    key_file.write_text(FILE.replace(ANA, ANA[::-1]))
    as_new(key_file, 0o600, mtime)
    assert file.keys(now=1.0).name_of(ANA[::-1].encode()) == "ana"


def test_a_file_that_could_not_be_read_is_read_once_it_can(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(key_file)
    rewrite(key_file, f"ana:{BEN}")
    mtime = key_file.stat().st_mtime_ns
    as_new(key_file, 0o000, mtime)

    def refused(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as as_another_user:  # root may read everything
        as_another_user.setattr(Path, "read_text", refused)
        assert file.keys(now=1.0).name_of(ANA.encode()) == "ana"
    as_new(key_file, 0o600, mtime)
    assert file.keys(now=2.0).name_of(BEN.encode()) == "ana"


def test_a_service_does_not_start_with_a_file_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, says in (("empty", "no key"), ("missing", "No such file")):
        with pytest.raises(BadSettings, match=f"--api-keys-file: .*{name}: .*{says}"):
            access_of(Settings(api_keys_file=tmp_path / name))


# Every route.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(FILE)
    with serve([predictor_on(PixelEngine())], api_keys_file=path) as running:
        yield running


@pytest.mark.parametrize("key", [ANA, BEN])
@pytest.mark.parametrize("path", [NATIVE, FLASK])
def test_a_valid_key_reaches_the_route(guarded: LiveService, path: str, key: str) -> None:
    body, headers = multipart(("file", b"not an image"))
    assert guarded.request("POST", path, body, {**headers, "X-API-Key": key}).status == 415


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": "wrong"}, {"Authorization": ANA}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", NATIVE),
        ("POST", f"{NATIVE}?x-api-key={ANA}&X-API-Key={ANA}&api_key={ANA}"),
        ("GET", "/v1/models"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("OPTIONS", "/v1/models"),
        ("GET", "/nothing/here"),
        ("GET", "/healthz/"),
        ("GET", "//healthz"),
        ("GET", "/%2e%2e/v1/models"),
        ("GET", "http://evil/v1/models"),
    ],
)
def test_without_one_every_native_path_answers_a_401_problem(
    guarded: LiveService, method: str, path: str, headers: dict[str, str]
) -> None:
    response = guarded.request(method, path, b"x" if method == "POST" else None, headers)
    assert response.status == 401
    assert response.json()["type"] == "urn:rotulo:problem:not-authorized"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert response.headers["www-authenticate"] == "ApiKey"


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    ("path", "says"),
    [
        (FLASK, "send a valid key in the header X-API-Key"),
        ("/classificar", "As credenciais faltam ou estão erradas"),
        ("/v2", "send a valid key in the header X-API-Key"),
        ("/v2/models/cifar10/infer", "send a valid key in the header X-API-Key"),
    ],
)
def test_without_one_every_other_mount_answers_a_401_in_its_clients_shape(
    guarded: LiveService, method: str, path: str, says: str
) -> None:
    response = guarded.request(method, path, headers={"X-API-Key": "wrong"})
    assert response.status == 401
    assert response.json() == {"error": says}
    assert response.headers["www-authenticate"] == "ApiKey"


def test_two_keys_are_none(guarded: LiveService) -> None:
    connection = guarded.connection()
    connection.putrequest("GET", "/v1/models")
    connection.putheader("X-API-Key", ANA)
    connection.putheader("X-API-Key", BEN)
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_and_metrics_need_no_key(guarded: LiveService, path: str) -> None:
    assert guarded.request("GET", path).status == 200


def test_metrics_need_one_where_that_is_asked_for(key_file: Path) -> None:
    with serve([], api_keys_file=key_file, metrics_need_key=True) as live:
        assert live.request("GET", "/metrics").status == 401
        assert live.request("GET", "/metrics", headers={"X-API-Key": ANA}).status == 200
        assert live.request("GET", "/healthz").status == 200


def test_shutdown_asks_for_the_admin_token_and_not_for_a_key(key_file: Path) -> None:
    with serve([], api_keys_file=key_file, drain_grace_seconds=60.0) as live:
        assert live.request("POST", "/shutdown", headers={"X-API-Key": ANA}).status == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert live.request("POST", "/shutdown", headers=bearer).status == 202


def test_the_state_of_a_request_has_the_name_and_never_the_key(key_file: Path) -> None:
    scope: Scope = {"path": "/", "headers": [(b"x-api-key", ANA.encode())], "client": None, "state": {}}
    access_of(Settings(api_keys_file=key_file)).admit(scope, now=0.0)
    assert scope["state"] == {"api_key_name": "ana"}


def test_no_answer_allows_another_origin(live: LiveService) -> None:
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method, path in (("OPTIONS", NATIVE), ("POST", NATIVE), ("GET", "/v1/models"), ("OPTIONS", FLASK)):
        response = live.request(method, path, headers=origin)
        assert not [name for name in response.headers if name.startswith("access-control-")]
