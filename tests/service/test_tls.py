"""TLS by the service itself, where no proxy does it."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from service.settings import BadSettings, read_settings
from tests.certificate import OPENSSL
from tests.certificate import certificate as make_certificate
from tests.live import LiveService, responses, serve, until_closed
from tests.service.fakes import PixelEngine, predictor_on


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if OPENSSL is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    return make_certificate(tmp_path_factory.mktemp("tls"))


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def secured(live: LiveService, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", live.port), timeout=60)
    return context.wrap_socket(plain, server_hostname="localhost")


def test_a_client_that_trusts_the_certificate_is_answered_over_tls(certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    context = ssl.create_default_context(cafile=chain)
    with serve([], ssl_certfile=chain, ssl_keyfile=key) as live, secured(live, context) as client:
        client.sendall(HEALTH)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_slow_client_gets_its_408_over_tls_too(certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    context = ssl.create_default_context(cafile=chain)
    settings = {"ssl_certfile": chain, "ssl_keyfile": key, "header_timeout_seconds": 0.2}
    with serve([], **settings) as live, secured(live, context) as client:
        assert client.recv(65536).startswith(b"HTTP/1.1 408")


def test_who_sends_on_after_an_answer_that_ends_the_connection_can_read_it_over_tls_too(
    certificate: tuple[Path, Path],
) -> None:
    chain, key = certificate
    context = ssl.create_default_context(cafile=chain)
    head = b"POST /v1/models/cifar10/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    limits = {"max_body_bytes": 1024, "ssl_certfile": chain, "ssl_keyfile": key}
    with serve([predictor_on(PixelEngine())], **limits) as live, secured(live, context) as client:
        client.sendall(head)
        select.select([client], [], [], 60)
        for _ in range(10):
            client.sendall(bytes(1000))
            with secured(live, context) as another:
                another.sendall(HEALTH)
                assert another.recv(65536).startswith(b"HTTP/1.1 200")
        (answer,) = responses(until_closed(client))
        assert answer.status == 413


def test_plain_http_to_the_tls_port_is_closed_without_a_trace_in_the_log(
    certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = certificate
    with (
        caplog.at_level(logging.DEBUG),
        serve([], ssl_certfile=chain, ssl_keyfile=key) as live,
        closing(socket.create_connection(("127.0.0.1", live.port), timeout=60)) as client,
    ):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" not in client.recv(65536)
    assert not [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG]


def test_a_version_of_tls_that_is_too_old_is_refused_without_a_trace_in_the_log(
    certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = certificate
    context = ssl.create_default_context(cafile=chain)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        caplog.at_level(logging.DEBUG),
        serve([], ssl_certfile=chain, ssl_keyfile=key) as live,
        closing(socket.create_connection(("127.0.0.1", live.port), timeout=60)) as plain,
        pytest.raises(ssl.SSLEOFError),
    ):
        context.wrap_socket(plain, server_hostname="localhost")
    assert not [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG]


def test_a_certificate_that_cannot_be_used_stops_the_start(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    chain, key = map(str, certificate)
    for flags in (
        ["--ssl-keyfile", key],
        ["--ssl-certfile", chain],
        ["--ssl-certfile", key, "--ssl-keyfile", key],
        ["--ssl-certfile", str(tmp_path / "missing"), "--ssl-keyfile", key],
    ):
        with pytest.raises(BadSettings, match="--ssl-keyfile"):
            read_settings(flags)
    together = tmp_path / "together.pem"
    together.write_text(Path(chain).read_text() + Path(key).read_text())
    assert read_settings(["--ssl-certfile", str(together)]).ssl_certfile == together
