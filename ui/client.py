"""The service's HTTP API as calls with typed answers; everything that can go wrong is a ClientError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from ui.settings import Settings
from ui.timing import Timing, read_timing

TOP_K = 5
# Asked at the same time, so that the service can put them into one batch.
AT_ONCE = 8
# A local service answers within its latency target; this is for one that does not answer at all.
TIMEOUT = httpx.Timeout(60, connect=3)
RETRYABLE = frozenset({408, 429, 503, 504})
UNKNOWN = "unknown"
RENDERED_RECIPE = "bottle"

Wanted = Mapping[str, str | int | bool]  # a query

_Payload = TypeVar("_Payload", bound=BaseModel)


class ClientError(Exception):
    """The service gave no answer; `retryable` where the same request may succeed later."""

    retryable = True


class Unreachable(ClientError):
    """Nobody answers at the service's address."""


class Unexpected(ClientError):
    """Something answers there, and it is not this service."""

    retryable = False


class Refused(ClientError):
    """The service said no. `kind` is the last word of the problem's type, and "" where it has none."""

    def __init__(
        self,
        status: int,
        *,
        title: str,
        kind: str = "",
        detail: str = "",
        request_id: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title}")
        self.status = status
        self.title = title
        self.kind = kind
        self.detail = detail
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.retryable = status in RETRYABLE


class ClassProbability(BaseModel):
    """One class and how likely it is, 0 to 1."""

    label: str
    confidence: float


class Answer(BaseModel):
    """What the model says of one image."""

    model: str
    version: str
    label: str
    confidence: float
    uncertain: bool
    top: list[ClassProbability]
    timing: Timing | None = None

    @property
    def cannot_tell(self) -> bool:
        """Unsure, or sure that it is none of the others, as the bottle model's third class says."""
        return self.uncertain or self.label == UNKNOWN


class Measured(BaseModel):
    """What was measured on one set of images; shares are 0 to 1. Older artifacts have fewer of them."""

    images: int | None = None
    accuracy: float | None = None
    ece: float | None = None
    coverage: float | None = None
    precision: float | None = None
    per_class_accuracy: dict[str, float] = {}


class Calibration(BaseModel):
    """An answer with less confidence than `uncertain_below` is marked as uncertain."""

    temperature: float = 1.0
    uncertain_below: float = 0.0


class Model(BaseModel):
    """A model that is being served."""

    name: str
    version: str
    classes: list[str]
    input_size: int
    engine: str
    engine_reason: str
    latency_target_ms: float
    max_batch_size: int
    calibration: Calibration
    metrics: dict[str, Any]
    training: dict[str, Any] = {}

    @property
    def rendered(self) -> bool:
        """Trained and measured on rendered images, and so without a word on photographs."""
        recipe = self.training.get("recipe")
        return isinstance(recipe, dict) and recipe.get("name") == RENDERED_RECIPE

    def measured(self, split: str) -> Measured | None:
        """`test` or `validation`; None where it was not measured, or not in a form that is known here."""
        try:
            return Measured.model_validate(self.metrics.get(split))
        except ValidationError:
            return None


class _Models(BaseModel):
    models: list[Model]


class Recorded(BaseModel):
    """One image that was answered, as the record has it."""

    time: datetime
    request_id: str
    api_key: str | None
    version: str
    image_sha256: str
    width: int
    height: int
    label: str
    confidence: float
    uncertain: bool
    decode_seconds: float
    queue_seconds: float
    infer_seconds: float

    @property
    def seconds(self) -> float:
        """What the answer took: decoding, waiting, and the batch."""
        return self.decode_seconds + self.queue_seconds + self.infer_seconds


class RecordPage(BaseModel):
    """Newest first; `next` is None where nothing older matches."""

    predictions: list[Recorded]
    next: str | None


class ServiceClient:
    """One service. Its methods may be called from several threads at once; each raises ClientError."""

    def __init__(self, settings: Settings) -> None:
        headers = {"X-API-Key": settings.api_key} if settings.api_key else {}
        self.url = settings.url
        self._http = httpx.Client(base_url=settings.url, headers=headers, timeout=TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def models(self) -> list[Model]:
        """Every model that is being served."""
        return _parsed(_Models, self._send("GET", "/v1/models")).models

    def metrics(self) -> str:
        """The page of metrics, in Prometheus' text format."""
        return self._send("GET", "/metrics").text

    def classify(self, model: str, image: bytes) -> Answer:
        """The likeliest classes of one encoded image."""
        path = f"/v1/models/{quote(model, safe='')}/predict"
        response = self._send("POST", path, params={"top_k": TOP_K}, content=image)
        answer = _parsed(Answer, response)
        return answer.model_copy(update={"timing": read_timing(response.headers.get("Server-Timing", ""))})

    def classify_all(self, model: str, images: Sequence[bytes]) -> list[Answer | ClientError]:
        """One request for each image, several at a time: what befalls one is no other's concern."""

        def ask(image: bytes) -> Answer | ClientError:
            try:
                return self.classify(model, image)
            except ClientError as error:
                return error

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(ask, images))

    def predictions(self, token: str, wanted: Wanted) -> RecordPage:
        """The newest rows of the record that match; `token` is the service's admin token."""
        return _parsed(RecordPage, self._record(token, wanted))

    def predictions_csv(self, token: str, wanted: Wanted) -> bytes:
        """The same as a file for spreadsheets."""
        return self._record(token, {**wanted, "format": "csv"}).content

    def _record(self, token: str, wanted: Wanted) -> httpx.Response:
        # In bytes: a header is ASCII to httpx, and people type what they like.
        headers = [(b"Authorization", b"Bearer " + token.encode())]
        return self._send("GET", "/v1/predictions", params=dict(wanted), headers=headers)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.RequestError as error:
            raise Unreachable(self.url) from error
        if not response.is_success:
            raise _refusal(response)
        return response


def _parsed(payload: type[_Payload], response: httpx.Response) -> _Payload:
    try:
        return payload.model_validate_json(response.content)
    except ValidationError as error:
        raise Unexpected(str(response.url)) from error


def _refusal(response: httpx.Response) -> Refused:
    problem = _problem(response)
    return Refused(
        response.status_code,
        title=str(problem.get("title") or response.reason_phrase),
        kind=str(problem.get("type", "")).removeprefix("urn:rotulo:problem:").removeprefix("about:blank"),
        detail=str(problem.get("detail", "")),
        request_id=str(problem.get("request_id") or response.headers.get("X-Request-Id", "")),
        retry_after_seconds=_retry_after(problem.get("retry_after_ms"), response.headers),
    )


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document (RFC 9457), or {} where a proxy or another server answers."""
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _retry_after(milliseconds: object, headers: httpx.Headers) -> float | None:
    if isinstance(milliseconds, int | float):
        return milliseconds / 1000
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isascii() and seconds.isdigit() else None  # or a date: RFC 9110, 10.2.3
