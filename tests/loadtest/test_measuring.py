"""`--url`, the same for every command: what is not honoured is not accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.measuring import address, base_url
from loadtest.traffic import Target
from tests.loadtest.fakes import fake_server
from tests.loadtest.rotulo import rotulo


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "localhost:8000",
        "https://localhost",
        "http://",
        "http://localhost:0",
        "http://localhost:65536",
        "http://localhost:x",
        "http://localhost/prefix",
        "http://localhost/?a=1",
        "http://me:secret@localhost",
        "http://a host",
    ],
)
@pytest.mark.parametrize("command", [["plan"], ["run", "steady"], ["overload"]])
def test_a_url_of_more_or_less_than_host_and_port_is_refused_in_one_line(
    command: list[str],
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--url", wrong]) == 2
    assert capsys.readouterr().err == f"loadtest: --url {wrong}: not http://HOST or http://HOST:PORT\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://server", "server", 80, "server:80"),
        ("http://10.0.0.1:8000", "10.0.0.1", 8000, "10.0.0.1:8000"),
        ("http://[::1]:8000", "::1", 8000, "[::1]:8000"),
    ],
)
def test_a_url_is_a_host_and_a_port_with_or_without_a_slash(
    url: str, host: str, port: int, authority: str
) -> None:
    assert base_url(url) == base_url(f"{url}/") == url
    assert address(url) == (host, port)
    assert Target(*address(url), "cifar10", []).authority == authority


def test_a_plan_asks_a_url_with_a_slash_without_it(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        options = ["--rate", "50", "--seconds", "1", "--html", str(tmp_path / "plan.html")]
        assert main(["plan", "--url", f"{server.url}/", *options]) == 0
    assert [each.path for each in server.received] == ["/v1/models/cifar10"]
