"""Settings come from flags, then the environment, then defaults; nonsense is named."""

from __future__ import annotations

import pytest

from service.edge.admin_token import AdminToken
from service.settings import PREFIX, BadSettings, Settings, flag, read_settings


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTULO_PORT", "9001")
    assert read_settings([]).port == 9001
    assert read_settings(["--port", "9002"]).port == 9002


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described_and_refuses_nonsense_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert Settings.model_fields[name].description
    if Settings.model_fields[name].annotation in (int, float):
        monkeypatch.setenv(PREFIX + name.upper(), "nonsense")
        with pytest.raises(BadSettings, match=f"{flag(name)} .*{PREFIX}{name.upper()}"):
            read_settings([])


def test_an_unknown_variable_with_our_prefix_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTULO_MAX_BATCHSIZE", "8")
    with pytest.raises(BadSettings, match="ROTULO_MAX_BATCHSIZE"):
        read_settings([])


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "600001", "1,2", "a=1,a=2", "=1", "a=", "a", "a=1;2"])
def test_a_latency_target_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadSettings, match=r"^--latency-target-ms \(ROTULO_LATENCY_TARGET_MS\): .+$"):
        read_settings([f"--latency-target-ms={text}"])


def test_a_line_that_cannot_hold_the_largest_request_is_refused() -> None:
    assert read_settings(["--max-waiting", "8", "--max-images", "8"]).max_images == 8
    with pytest.raises(BadSettings, match=r"^--max-images .*must be at most max_waiting, .+$"):
        read_settings(["--max-waiting", "8", "--max-images", "9"])


def test_the_admin_token_does_not_show_when_the_settings_are_printed() -> None:
    settings = read_settings(["--admin-token", "a-long-enough-secret"])
    assert "a-long-enough-secret" not in repr(settings)
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "a-long-enough-secret"


TOKEN = "a-long-enough-secret"


@pytest.mark.parametrize(
    "token", [f"{TOKEN}\n", f" {TOKEN}", f"{TOKEN}\t", f"{TOKEN}\xe9", f"a\r\n{TOKEN}", " " * 16]
)
def test_an_admin_token_that_no_header_could_match_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("ROTULO_ADMIN_TOKEN", token)
    with pytest.raises(
        BadSettings, match=r"^--admin-token \(ROTULO_ADMIN_TOKEN\): .*printable ASCII.*$"
    ) as refused:
        read_settings([])
    assert TOKEN not in str(refused.value)


def test_an_admin_token_may_be_any_that_a_header_can_carry() -> None:
    token = "".join(map(chr, range(0x21, 0x7F))) + " and a space"
    read = read_settings([f"--admin-token={token}"]).admin_token
    assert read is not None
    AdminToken(read.get_secret_value()).require(f"Bearer {token}")
