"""The JSON of the native routes: its documentation, and the functions that make it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from batching import Answered, BatchPolicy, LatencyPoint
from models.predictor import Prediction, Predictor
from service.openapi_parts import Probability, example

_DIGITS = 6
_PREDICTION = {
    "label": "cat",
    "index": 3,
    "confidence": 0.97,
    "uncertain": False,
    "top": [{"label": "cat", "index": 3, "confidence": 0.97}],
}
_MODEL = {
    "name": "cifar10",
    "version": "1",
    "classes": ["airplane", "automobile"],
    "input_size": 32,
    "resize": "stretch",
    "engine": "openvino cpu int8",
    "engine_reason": "loses 0.20 points of accuracy in validation",
    "latency_target_ms": 1000.0,
    "max_batch_size": 32,
    "max_waiting": 1024,
    "latency": [{"size": 1, "typical_seconds": 0.002, "p99_seconds": 0.004}],
    "calibration": {"temperature": 1.1, "exponent": 1.0, "uncertain_below": 0.6},
    "metrics": {"accuracy": 0.9},
    "training": {"seed": 1},
    "weights_sha256": "0" * 64,
}


class ClassProbability(BaseModel):
    """One class and how likely it is."""

    label: str
    index: int
    confidence: Probability


class PredictionPayload(BaseModel):
    """One image's answer."""

    label: str = Field(description="the likeliest class")
    index: int = Field(description="its position among the model's classes")
    confidence: Probability = Field(description="its calibrated probability")
    uncertain: bool = Field(description="true where the confidence is below the model's threshold")
    top: list[ClassProbability] = Field(description="the likeliest classes, likeliest first")


class AnswerPayload(PredictionPayload):
    """The answer to a request with one image."""

    model_config = example({"model": "cifar10", "version": "1", **_PREDICTION})

    model: str
    version: str


class FailedPayload(BaseModel):
    """An image, among several, that could not be classified."""

    error: dict[str, Any] = Field(description="an RFC 9457 problem document")


class AnswersPayload(BaseModel):
    """The answer to a request with several images, in their order."""

    model_config = example({"model": "cifar10", "version": "1", "predictions": [_PREDICTION]})

    model: str
    version: str
    predictions: list[PredictionPayload | FailedPayload]


class LatencyPayload(BaseModel):
    """How long a batch of this size takes."""

    size: int
    typical_seconds: float
    p99_seconds: float


class ModelPayload(BaseModel):
    """A model that is being served."""

    model_config = example(_MODEL)

    name: str
    version: str
    classes: tuple[str, ...]
    input_size: int = Field(description="side of the square input, in pixels")
    resize: str
    engine: str = Field(description="what runs the network, where and how precisely")
    engine_reason: str = Field(description="why this engine and this precision")
    latency_target_ms: float
    max_batch_size: int
    max_waiting: int
    latency: list[LatencyPayload] = Field(description="seconds of a batch, as learnt so far")
    calibration: dict[str, Any]
    metrics: dict[str, Any] = Field(description="measured after training, on the stored weights")
    training: dict[str, Any]
    weights_sha256: str


class ModelsPayload(BaseModel):
    """Every model that is being served."""

    model_config = example({"models": [_MODEL]})

    models: list[ModelPayload]


def prediction_payload(prediction: Prediction, classes: tuple[str, ...], top_k: int) -> dict[str, Any]:
    """A `PredictionPayload` as a dict; built by hand, since validation would cost more than the answer."""
    return {
        "label": classes[prediction.index],
        "index": prediction.index,
        "confidence": round(prediction.confidence, _DIGITS),
        "uncertain": prediction.uncertain,
        "top": [
            {"label": classes[index], "index": index, "confidence": round(probability, _DIGITS)}
            for index, probability in prediction.top(top_k)
        ],
    }


def model_payload(predictor: Predictor, policy: BatchPolicy, latency: Iterable[LatencyPoint]) -> ModelPayload:
    """What `GET /v1/models/{model}` answers."""
    manifest = predictor.manifest
    return ModelPayload(
        name=manifest.name,
        version=manifest.version,
        classes=manifest.classes,
        input_size=manifest.preprocessing.size,
        resize=manifest.preprocessing.resize,
        engine=predictor.engine.name,
        engine_reason=predictor.engine_reason,
        latency_target_ms=policy.latency_target_seconds * 1000,
        max_batch_size=policy.max_batch_size,
        max_waiting=policy.max_waiting,
        latency=[
            LatencyPayload(size=point.size, typical_seconds=point.typical, p99_seconds=point.p99)
            for point in latency
        ],
        calibration=predictor.calibration.model_dump(),
        metrics=manifest.metrics,
        training=manifest.training,
        weights_sha256=manifest.weights.sha256,
    )


def server_timing(decode_seconds: float, answered: Answered[Any]) -> str:
    """A `Server-Timing` header: milliseconds, and the size of the batch that the image ran in."""
    return (
        f"decode;dur={decode_seconds * 1000:.2f}, "
        f"queue;dur={answered.queue_seconds * 1000:.2f}, "
        f"infer;dur={answered.batch_seconds * 1000:.2f}, "
        f'batch;desc="{answered.batch_size}"'
    )
