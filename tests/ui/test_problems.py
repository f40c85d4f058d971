"""What went wrong, in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.client import Refused, Unexpected, Unreachable
from ui.problems import plain, problem_of
from ui.words import LANGUAGES

EN, PT = LANGUAGES["en"], LANGUAGES["pt"]
URL = "http://127.0.0.1:8000"
OVERLOADED = Refused(
    503,
    title="Too much work at once",
    kind="overloaded",
    detail="the line is full",
    request_id="abc",
    retry_after_seconds=1.2,
)


def test_a_refusal_says_why_and_when_to_come_back_and_what_to_quote() -> None:
    problem = problem_of(OVERLOADED, URL, EN)
    assert problem.title == "The service has too much to do at this moment"
    assert problem.sentences == (
        "The service says: the line is full",
        "Status 503",
        "It asks to come back in 2\u00a0s.",
        "Request id: abc",
    )


def test_a_refusal_is_told_in_portuguese() -> None:
    problem = problem_of(OVERLOADED, URL, PT)
    assert problem.title == "O serviço está sobrecarregado neste momento"
    assert "Ele pede para voltar em 2\u00a0s." in problem.sentences


def test_a_problem_that_is_not_known_here_is_told_in_the_service_s_own_words() -> None:
    problem = problem_of(Refused(418, title="I'm a teapot", kind="teapot", detail="I'm a teapot"), URL, EN)
    assert problem.title == "I'm a teapot"
    assert problem.sentences == ("Status 418",)


@pytest.mark.parametrize("error", [Unreachable(), Unexpected()])
def test_where_nobody_answers_the_address_is_named(error: Unreachable | Unexpected) -> None:
    for language in (EN, PT):
        (sentence,) = problem_of(error, URL, language).sentences
        assert URL in sentence


@given(st.text("ab*_`[](){}<>#$:!~|\\-+.&1", max_size=30))
def test_other_people_s_text_is_shown_and_not_interpreted(text: str) -> None:
    escaped = plain(text)
    assert escaped.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\") == text
    assert len(escaped) == len(text) + sum(not character.isalnum() for character in text)
