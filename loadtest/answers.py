"""What came back, told apart: an answer, a refusal, an answer too late, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import IntEnum
from typing import Any


class Outcome(IntEnum):
    """How a request ended. Only ERROR and UNREACHED are the server's fault."""

    ANSWERED = 0  # what was asked for, well-formed
    REFUSED = 1  # 429, or 503 with Retry-After: come back later
    EXPIRED = 2  # 504: the deadline passed in the line
    LEFT = 3  # we hung up before the answer, on purpose
    REJECTED = 4  # a hostile image, told so with the right status
    UNREACHED = 5  # nobody took the connection: nothing was sent
    ERROR = 6  # anything else


# The parsed JSON of a 200 -> what is wrong with it, or None.
Check = Callable[[Any], str | None]
# Status, whether there is a Retry-After, body -> the outcome, and what is wrong in case of an error.
Judge = Callable[[int, bool, bytes], tuple[Outcome, str]]


def judge(check: Check, status: int, has_retry_after: bool, body: bytes) -> tuple[Outcome, str]:
    """The outcome of a complete response, and in case of an error its description."""
    if status == 200:
        fault = _fault(body, check)
        return (Outcome.ERROR, fault) if fault else (Outcome.ANSWERED, "")
    if status in {429, 503} and has_retry_after:
        return Outcome.REFUSED, ""
    if status == 504:
        return Outcome.EXPIRED, ""
    return Outcome.ERROR, f"status {status}"


def judge_hostile(status: int, has_retry_after: bool, body: bytes) -> tuple[Outcome, str]:
    """The same for an image that cannot be classified: 413, 415 and 422 are right, an answer is not."""
    if status in {413, 415, 422}:
        return Outcome.REJECTED, ""
    if status == 200:
        return Outcome.ERROR, "an answer to a hostile image"
    return judge(native_answer, status, has_retry_after, body)


def native_answer(document: Any) -> str | None:
    """`POST /v1/models/{model}/predict` with one image."""
    return _labelled(document, "label")


def native_answers(count: int) -> Check:
    """The same with ``count`` images: every one has its label."""
    return _listed("label", count)


def flask_answers(count: int = 1) -> Check:
    """`POST /predict` with ``count`` files."""
    return _listed("category", count)


def bottle_answer(document: Any) -> str | None:
    """`POST /classificar`."""
    if not isinstance(document, dict) or document.get("status") not in {"aberta", "fechada"}:
        return "status is neither aberta nor fechada"
    confidence = document.get("confidence")
    is_share = isinstance(confidence, int | float) and 0 <= confidence <= 1
    return None if is_share else "confidence is no share"


def _listed(key: str, count: int) -> Check:
    def check(document: Any) -> str | None:
        predictions = document.get("predictions") if isinstance(document, dict) else None
        if not isinstance(predictions, list) or len(predictions) != count:
            return f"not {count} predictions"
        return next((fault for each in predictions if (fault := _labelled(each, key))), None)

    return check


def _labelled(document: Any, key: str) -> str | None:
    label = document.get(key) if isinstance(document, dict) else None
    return None if isinstance(label, str) and label else f"no {key} in the answer"


def _fault(body: bytes, check: Check) -> str | None:
    try:
        document = json.loads(body)
    except ValueError:
        return "the answer is not JSON"
    return check(document)
