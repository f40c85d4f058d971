"""Exception -> HTTP, in one table; every error response of the service is made here.

ServiceError
├── MalformedRequest        400  the request cannot be understood
├── UnknownHost             400  the name in Host is not one of the service
├── NotAuthorized           401  no valid admin token
│   └── KeyRequired         401  no valid API key
├── ForeignOrigin           403  a page of another site asks for what only the operator may
├── RecordOff               404  no record of predictions is kept
├── SlowClient              408  the request did not arrive in time
├── BodyTooLarge            413  more bytes than the limit
├── OneOfSeveral            409  what all replicas would have to do, asked of one
├── VersionConflict         409  the versions of the model are not in a state for this
├── UnsupportedEncoding     415  a compressed body
├── UnfitVersion            422  a version of a model that must not be served
├── TooManyRequests         429  more than this caller may send
├── HeadersTooLarge         431  a request line or headers over the limit
├── ClientLeft              499  nobody is there to read the answer (for logs and metrics only)
├── Overloaded              503  a bound on memory or decoding is reached
├── RecordAway              503  the record's database does not answer
├── EngineHangs             503  the engine does not return from a call
└── Draining                503  the service is stopping

The errors of `batching` and `models` are in the table too; what is not in it is our fault and becomes a 500
that says nothing but the request's id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import batching.errors as queue
import models.errors as model


class ServiceError(Exception):
    """Base of the errors of this package; the message is written for the caller."""


class MalformedRequest(ServiceError):
    """The request is not of a form that we read."""


class UnknownHost(ServiceError):
    """The request is for a name that this service does not answer to."""


class NotAuthorized(ServiceError):
    """The credentials are missing or wrong; `challenge` is what WWW-Authenticate asks for."""

    challenge = "Bearer"


class KeyRequired(NotAuthorized):
    """Keys are on, and none that is valid was sent."""

    challenge = "ApiKey"


class ForeignOrigin(ServiceError):
    """A browser sent this for a page of another site."""


class RecordOff(ServiceError):
    """Predictions are not recorded here."""


class SlowClient(ServiceError):
    """The headers or the body took longer than they may."""


class BodyTooLarge(ServiceError):
    """The body exceeds the limit, announced or received."""


class VersionConflict(ServiceError):
    """An activation is under way, or there is no version to go back to."""


class OneOfSeveral(ServiceError):
    """What was asked for concerns all replicas, and a request reaches one of them."""


class UnfitVersion(ServiceError):
    """The version failed a check on its way to being served; the one that was active stays."""


class UnsupportedEncoding(ServiceError):
    """The body has a Content-Encoding."""


class TooManyRequests(ServiceError):
    """This caller has used up its rate."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class HeadersTooLarge(ServiceError):
    """The request line and the headers exceed the limit."""


class ClientLeft(ServiceError):
    """The client closed its connection before it was answered."""


class Overloaded(ServiceError):
    """A bound outside the waiting line is reached."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds  # None: not known


class RecordAway(ServiceError):
    """The record's database cannot be reached, or takes too long."""


class EngineHangs(ServiceError):
    """The engine has not returned from a call for longer than any should take."""


class Draining(ServiceError):
    """The service is stopping."""


@dataclass(frozen=True, slots=True)
class Problem:
    """How one kind of error is answered. `kind` is the stable end of RFC 9457's `type`."""

    status: int
    kind: str
    title: str
    hides_detail: bool = False  # True where the exception's text must not reach the caller
    closes: bool = False  # True where the connection cannot be used again


PROBLEMS: Mapping[type[Exception], Problem] = {
    MalformedRequest: Problem(400, "malformed-request", "The request could not be understood"),
    UnknownHost: Problem(400, "unknown-host", "Not a name of this service"),
    NotAuthorized: Problem(401, "not-authorized", "Credentials are missing or wrong"),
    KeyRequired: Problem(401, "not-authorized", "Credentials are missing or wrong"),
    ForeignOrigin: Problem(403, "foreign-origin", "Not from another site"),
    model.UnknownModel: Problem(404, "unknown-model", "No such model"),
    RecordOff: Problem(404, "record-off", "No record is kept"),
    SlowClient: Problem(408, "slow-client", "The request took too long to arrive", closes=True),
    VersionConflict: Problem(409, "version-conflict", "Not possible at this moment"),
    OneOfSeveral: Problem(409, "one-of-several", "Not possible on one replica of several"),
    BodyTooLarge: Problem(413, "body-too-large", "The request body is too large", closes=True),
    model.ImageTooLarge: Problem(413, "image-too-large", "The image has too many pixels"),
    UnsupportedEncoding: Problem(415, "unsupported-encoding", "The body's encoding is not supported"),
    model.UnsupportedImage: Problem(415, "unsupported-image", "The image type is not supported"),
    model.UndecodableImage: Problem(422, "undecodable-image", "The image cannot be decoded"),
    UnfitVersion: Problem(422, "unfit-version", "The version must not be served"),
    TooManyRequests: Problem(429, "too-many-requests", "The caller's rate is used up"),
    HeadersTooLarge: Problem(431, "headers-too-large", "The request headers are too large", closes=True),
    ClientLeft: Problem(499, "client-left", "The client left"),
    Overloaded: Problem(503, "overloaded", "Too much work at once"),
    queue.QueueFull: Problem(503, "overloaded", "Too much work at once", hides_detail=True),
    queue.OutOfMemory: Problem(503, "overloaded", "Too much work at once", hides_detail=True),
    MemoryError: Problem(503, "overloaded", "Too much work at once", hides_detail=True),
    RecordAway: Problem(503, "record-away", "The record cannot be read"),
    EngineHangs: Problem(503, "engine-hangs", "The engine does not answer"),
    Draining: Problem(503, "draining", "The service is stopping"),
    queue.BatcherClosed: Problem(503, "draining", "The service is stopping", hides_detail=True),
    queue.DeadlineExceeded: Problem(504, "deadline-exceeded", "The deadline passed", hides_detail=True),
    model.BadOutput: Problem(500, "internal-error", "Internal error", hides_detail=True),
    queue.BatchFailed: Problem(500, "internal-error", "Internal error", hides_detail=True),
    queue.WrongResultCount: Problem(500, "internal-error", "Internal error", hides_detail=True),
}
INTERNAL_ERROR = Problem(500, "internal-error", "Internal error", hides_detail=True)

COME_BACK = (429, 503)  # the statuses that say when
DEFAULT_RETRY_AFTER_SECONDS = 1.0


def problem_of(error: BaseException) -> Problem:
    """The entry for this error or the nearest of its base classes; INTERNAL_ERROR where there is none."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return INTERNAL_ERROR


def detail_of(error: BaseException) -> str:
    """What the caller may read about the error."""
    problem = problem_of(error)
    return problem.title if problem.hides_detail else str(error)


def headers_of(error: BaseException) -> dict[str, str]:
    """Headers that belong to the status: Retry-After in whole seconds, the challenge, the closing."""
    problem = problem_of(error)
    headers = {}
    if problem.status in COME_BACK:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_seconds(error))))
    if isinstance(error, NotAuthorized):
        headers["WWW-Authenticate"] = error.challenge
    if problem.closes:
        headers["Connection"] = "close"
    return headers


def retry_after_seconds(error: BaseException) -> float:
    """When to come back, as the waiting line computed it where it did."""
    computed: float | None = getattr(error, "retry_after_seconds", None)
    return DEFAULT_RETRY_AFTER_SECONDS if computed is None else computed


def forget_frames(error: BaseException) -> None:
    """Let go of what the tracebacks of an error, and of those it came from, hold: bodies, images, a model.

    For an error that has been answered. Where one came through a future or a task, its frames lead back to
    it, and all that they hold would stay until a collection of garbage.
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            left += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]


def problem_body(error: BaseException, request_id: str) -> dict[str, Any]:
    """An RFC 9457 problem document."""
    problem = problem_of(error)
    body = {
        **plain_problem(problem.status, problem.title, detail_of(error), request_id),
        "type": f"urn:rotulo:problem:{problem.kind}",
    }
    if problem.status in COME_BACK:
        body["retry_after_ms"] = round(retry_after_seconds(error) * 1000)
    return body


def plain_problem(status: int, title: str, detail: str, request_id: str) -> dict[str, Any]:
    """A problem document for what HTTP itself names: 404, 405."""
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
