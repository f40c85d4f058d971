"""What counts as an answer, a refusal, or an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtest.answers import Outcome, flask_answers, judge, judge_hostile, native_answer, native_answers


def outcome(status: int, document: Any = None, *, retry_after: bool = False) -> Outcome:
    return judge(native_answer, status, retry_after, json.dumps(document).encode())[0]


def test_a_label_is_an_answer() -> None:
    assert outcome(200, {"label": "cat"}) is Outcome.ANSWERED


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_that_says_when_to_come_back_is_no_error(status: int) -> None:
    assert outcome(status, retry_after=True) is Outcome.REFUSED


def test_an_unavailable_server_that_does_not_say_when_is_an_error() -> None:
    assert outcome(503) is Outcome.ERROR


def test_a_passed_deadline_is_told_apart() -> None:
    assert outcome(504) is Outcome.EXPIRED


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422, 500, 502])
def test_every_other_status_is_an_error_that_names_it(status: int) -> None:
    assert judge(native_answer, status, False, b"") == (Outcome.ERROR, f"status {status}")


def test_a_200_that_is_not_json_is_an_error() -> None:
    assert judge(native_answer, 200, False, b"<html>") == (Outcome.ERROR, "the answer is not JSON")


@pytest.mark.parametrize("document", [{}, [], None, {"label": ""}, {"label": 3}])
def test_a_200_without_a_label_is_an_error(document: Any) -> None:
    assert outcome(200, document) is Outcome.ERROR


def test_of_several_images_each_must_have_its_label() -> None:
    check = native_answers(2)
    assert check({"predictions": [{"label": "cat"}, {"label": "dog"}]}) is None
    assert check({"predictions": [{"label": "cat"}]}) == "not 2 predictions"
    assert check({"predictions": [{"label": "cat"}, {"error": {}}]}) == "no label in the answer"


def test_the_old_route_answers_with_categories() -> None:
    assert flask_answers()({"predictions": [{"category": "cat"}]}) is None
    assert flask_answers()({"predictions": [{"label": "cat"}]}) == "no category in the answer"


def test_a_hostile_image_must_be_turned_down_with_the_right_status() -> None:
    assert judge_hostile(422, False, b"")[0] is Outcome.REJECTED
    assert judge_hostile(500, False, b"") == (Outcome.ERROR, "status 500")
    assert judge_hostile(503, True, b"")[0] is Outcome.REFUSED
    assert judge_hostile(200, False, b'{"label": "cat"}')[0] is Outcome.ERROR
