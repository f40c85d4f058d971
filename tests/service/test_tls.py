"""TLS by the service itself, where no proxy does it."""

from __future__ import annotations

import logging
import socket
import ssl
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from service.settings import BadSettings, read_settings
from tests.certificate import OPENSSL
from tests.certificate import certificate as make_certificate
from tests.live import serve


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if OPENSSL is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_a_client_that_trusts_the_certificate_is_answered_over_tls(certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    context = ssl.create_default_context(cafile=chain)
    with (
        serve([], ssl_certfile=chain, ssl_keyfile=key) as live,
        closing(socket.create_connection(("127.0.0.1", live.port), timeout=60)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_slow_client_gets_its_408_over_tls_too(certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    context = ssl.create_default_context(cafile=chain)
    with (
        serve([], ssl_certfile=chain, ssl_keyfile=key, header_timeout_seconds=0.2) as live,
        closing(socket.create_connection(("127.0.0.1", live.port), timeout=60)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        assert client.recv(65536).startswith(b"HTTP/1.1 408")


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
