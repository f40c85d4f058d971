"""Which service, and with which key."""

from __future__ import annotations

import pytest

from ui.settings import BadSettings, read_settings


def test_without_settings_the_page_asks_the_service_of_this_machine() -> None:
    settings = read_settings({"ROTULO_URL": "", "ROTULO_API_KEY": ""})
    assert (settings.url, settings.api_key) == ("http://127.0.0.1:8000", None)


def test_an_address_may_have_a_path_and_loses_its_last_slash() -> None:
    assert read_settings({"ROTULO_URL": "https://example.org/rotulo/"}).url == "https://example.org/rotulo"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:port"])
def test_an_address_that_is_none_is_one_clear_line(url: str) -> None:
    with pytest.raises(BadSettings, match="ROTULO_URL"):
        read_settings({"ROTULO_URL": url})


def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadSettings, match="ROTULO_API_KEY") as caught:
        read_settings({"ROTULO_API_KEY": "ségredo\n"})
    assert "gredo" not in str(caught.value)


@pytest.mark.parametrize(("text", "key"), [(" secret\r\n", "secret"), (" \n", None)])
def test_blanks_around_a_key_are_no_part_of_it(text: str, key: str | None) -> None:
    assert read_settings({"ROTULO_API_KEY": text}).api_key == key


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(read_settings({"ROTULO_API_KEY": "secret"}))
