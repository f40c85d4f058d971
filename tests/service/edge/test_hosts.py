"""By which names the service may be asked."""

from __future__ import annotations

import pytest

from service.edge.hosts import AllowedHosts
from service.errors import UnknownHost
from service.settings import BadSettings, read_settings
from tests.live import serve

NAMES = "rotulo.example.com, *.Internal.example.com,127.0.0.1,[::1]"


@pytest.mark.parametrize(
    "host",
    [
        "rotulo.example.com",
        "Rotulo.Example.Com:8000",
        "a.b.internal.example.com:80",
        "127.0.0.1:8000",
        "[::1]:8000",
    ],
)
def test_a_name_that_is_listed_is_answered_with_any_port(host: str) -> None:
    AllowedHosts(NAMES).require([(b"host", host.encode())])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "rotulo.example.com.evil.example",
        "evil.rotulo.example.com",
        "internal.example.com",
        "evilinternal.example.com",
        "127.0.0.1:80@evil.example",
        "[::2]",
        "*",
        "\xe9",
        "",
    ],
)
def test_only_the_names_that_are_listed_are_answered(host: str) -> None:
    with pytest.raises(UnknownHost):
        AllowedHosts(NAMES).require([(b"host", host.encode("latin-1"))])
    AllowedHosts("").require([(b"host", host.encode("latin-1"))])


def test_names_are_set_by_comma_in_one_flag() -> None:
    assert read_settings(["--allowed-hosts", NAMES]).allowed_hosts == NAMES


def test_a_request_without_a_host_names_none() -> None:
    with pytest.raises(UnknownHost):
        AllowedHosts(NAMES).require([])


@pytest.mark.parametrize(
    "names", ["example.com:80", "http://example.com", "a.*.example.com", "a b", "*", "::1"]
)
def test_what_is_no_name_is_refused_at_the_start(names: str) -> None:
    with pytest.raises(BadSettings, match="--allowed-hosts"):
        read_settings(["--allowed-hosts", names])


def test_another_name_in_host_is_refused_on_every_mount_and_the_probes_answer() -> None:
    with serve([], allowed_hosts="localhost") as live:
        rebound, own = {"Host": f"evil.example:{live.port}"}, {"Host": f"localhost:{live.port}"}
        for path in ("/v1/models", "/metrics", "/docs", "/openapi.json", "/nothing", "/admin/models/cifar10"):
            response = live.request("GET", path, headers=rebound)
            assert (response.status, response.json()["type"]) == (400, "urn:rotulo:problem:unknown-host")
        for method, path in (
            ("GET", "/v2"),
            ("POST", "/predict"),
            ("POST", "/classificar"),
            ("POST", "/shutdown"),
        ):
            response = live.request(method, path, headers=rebound)
            assert (response.status, list(response.json())) == (400, ["error"])
        assert [live.request("GET", path, headers=rebound).status for path in ("/healthz", "/readyz")] == [
            200
        ] * 2
        assert live.request("GET", "/v1/models", headers=own).status == 200
