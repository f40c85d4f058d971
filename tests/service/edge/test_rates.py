"""How often a caller may ask, and who a caller is."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.types import Scope

from service.edge.access import Access
from service.edge.keys import KeyFile
from service.edge.rates import MovingWindows, Rate, peer_name
from service.errors import KeyRequired, TooManyRequests
from service.settings import BadSettings, read_settings
from tests.live import LiveService, serve

KEYS = ("the-key-of-ana-0001", "the-key-of-ben-0002")


# The window.


def test_the_window_moves_with_each_request() -> None:
    windows = MovingWindows(Rate(2, seconds=10))
    assert windows.hit("ana", now=0) == 0
    assert windows.hit("ana", now=6) == 0
    assert windows.hit("ana", now=7) == 3
    assert windows.hit("ana", now=10) == 0
    assert windows.hit("ana", now=10) == 6
    assert windows.hit("ana", now=16) == 0


def test_a_refused_request_does_not_count() -> None:
    windows = MovingWindows(Rate(1, seconds=10))
    assert windows.hit("ana", now=0) == 0
    for now in range(1, 10):
        assert windows.hit("ana", now=now) == 10 - now
    assert windows.hit("ana", now=10) == 0


def test_a_request_that_says_it_came_long_ago_gives_nobody_a_new_window() -> None:
    windows = MovingWindows(Rate(3, seconds=10))
    for now in (20, 21):
        assert windows.hit("ana", now=now) == 0
    assert windows.hit("ana", now=5) == 0
    assert windows.hit("ben", now=22) == 0
    assert windows.hit("ana", now=5) == windows.hit("ana", now=22) == 8


def test_callers_do_not_share_a_window() -> None:
    windows = MovingWindows(Rate(1, seconds=10))
    assert windows.hit("ana", now=0) == windows.hit("ben", now=0) == 0
    assert windows.hit("ana", now=1) == 9


def test_callers_are_forgotten_once_their_requests_no_longer_count() -> None:
    windows = MovingWindows(Rate(5, seconds=10))
    for number in range(1000):
        windows.hit(f"caller {number}", now=number / 1000)
    windows.hit("caller 0", now=5)
    assert len(windows) == 1000
    windows.hit("last", now=11)
    assert len(windows) == 2


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/second", Rate(100, 1)),
        ("600/minute", Rate(600, 60)),
        ("1/hour", Rate(1, 3600)),
        ("1000/15 minutes", Rate(1000, 900)),
        (" 5/10Seconds ", Rate(5, 10)),
    ],
)
def test_a_rate_is_written_as_it_is_said(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["", "100", "0/second", "5/0 minutes", "-1/second", "5/day", "5/second; 1/hour"]
)
def test_a_rate_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be like"):
        Rate.parse(text)
    with pytest.raises(BadSettings, match="--rate-limit"):
        read_settings(["--rate-limit", text])


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 80), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.1", 80), "192.0.2.1"),
        (None, "None"),
    ],
)
def test_a_peer_is_an_address_or_a_network_of_one_owner(client: tuple[str, int] | None, name: str) -> None:
    assert peer_name(client) == name


# Who is counted.


def request(key: str | None = None, peer: str = "192.0.2.1", path: str = "/v1/models") -> Scope:
    headers = [(b"x-api-key", key.encode())] if key else []
    return {"path": path, "headers": headers, "client": (peer, 1), "state": {}}


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    path = tmp_path / "keys"
    path.write_text(f"ana:{KEYS[0]}\nben:{KEYS[1]}\n")
    return KeyFile(path)


def test_a_key_is_one_caller_wherever_it_comes_from(keys: KeyFile) -> None:
    access = Access(keys, Rate(1, seconds=10), metrics_need_key=False)
    access.admit(request(KEYS[0], "192.0.2.1"), now=0)
    access.admit(request(KEYS[1], "192.0.2.1"), now=0)
    with pytest.raises(TooManyRequests) as caught:
        access.admit(request(KEYS[0], "192.0.2.2"), now=4)
    assert caught.value.retry_after_seconds == 6


def test_guesses_at_keys_count_against_the_address(keys: KeyFile) -> None:
    access = Access(keys, Rate(1, seconds=10), metrics_need_key=False)
    with pytest.raises(KeyRequired):
        access.admit(request("guess one"), now=0)
    with pytest.raises(TooManyRequests):
        access.admit(request("guess two"), now=1)
    access.admit(request(KEYS[0]), now=1)


def test_probes_are_never_refused() -> None:
    access = Access(None, Rate(1, seconds=10), metrics_need_key=False)
    for _ in range(3):
        access.admit(request(path="/healthz"), now=0)
    access.admit(request(), now=0)


# Over HTTP.

ONE_AN_HOUR = {"rate_limit": "1/hour"}


def forwarded(live: LiveService, *addresses: str) -> list[int]:
    return [
        live.request("GET", "/v1/models", headers={"X-Forwarded-For": address}).status
        for address in addresses
    ]


def test_a_caller_over_its_rate_gets_a_429_that_says_when_to_come_back() -> None:
    with serve([], **ONE_AN_HOUR) as live:
        assert live.request("GET", "/v1/models").status == 200
        native, flask = live.request("GET", "/v1/models"), live.request("POST", "/predict")
    assert native.status == flask.status == 429
    assert 3000 < int(native.headers["retry-after"]) <= 3600
    assert native.json()["type"] == "urn:rotulo:problem:too-many-requests"
    assert native.json()["retry_after_ms"] <= 3_600_000
    assert flask.json() == {"error": "more requests than this caller may send"}


def test_without_a_rate_nobody_is_counted(live: LiveService) -> None:
    assert [live.request("GET", "/v1/models").status for _ in range(50)] == [200] * 50


def test_a_forwarded_address_is_not_believed_from_just_anybody() -> None:
    with serve([], **ONE_AN_HOUR) as live:
        assert forwarded(live, "192.0.2.1", "192.0.2.2") == [200, 429]


def test_a_forwarded_address_is_believed_from_a_trusted_proxy() -> None:
    with serve([], **ONE_AN_HOUR, trusted_proxies="10.0.0.0/8, 127.0.0.1") as live:
        assert forwarded(live, "192.0.2.1", "192.0.2.2", "192.0.2.1") == [200, 200, 429]
        assert forwarded(live, "6.6.6.6, 192.0.2.2") == [429]  # only the proxy's own entry counts


@pytest.mark.parametrize("proxies", ["*", "localhost", "10.0.0.1/8", "10.0.0.0/8;10.1.1.1"])
def test_a_proxy_that_is_no_address_is_refused(proxies: str) -> None:
    with pytest.raises(BadSettings, match="--trusted-proxies"):
        read_settings(["--trusted-proxies", proxies])
