"""A stand-in for the whole service, as much of it as a load test sees; knows an image by its bytes."""

from __future__ import annotations

import itertools

from loadtest.images import load_images
from tests.loadtest.fakes import FLASK, NATIVE, Behaviour, Received, Reply

# 4 ms and 1 ms an image: at most 32 / 36 ms = 889 images/s.
CURVE = tuple((size, 0.004 + 0.001 * size, 0.004 + 0.001 * size) for size in (1, 2, 4, 8, 16, 32))
TIMING = {"Server-Timing": 'decode;dur=0.50, queue;dur=1.00, infer;dur=5.00, batch;desc="2"'}
TOKEN = "the-admin-token-of-the-tests"
_IMAGES = {image.data for image in load_images()}


def description(name: str) -> dict[str, object]:
    """`GET /v1/models/{model}`; the model named slow takes a hundred times as long, and so holds little."""
    factor = 100 if name == "slow" else 1
    return {
        "name": name,
        "version": "7",
        "engine": "torch cpu fp32",
        "latency_target_ms": 1000.0,
        "max_batch_size": 32,
        "max_waiting": 1024,
        "latency": [
            {"size": n, "typical_seconds": t * factor, "p99_seconds": p * factor} for n, t, p in CURVE
        ],
    }


def rotulo(*models: str, reloads: bool = True) -> Behaviour:
    """Serves these models; a request for another is a 404."""
    pages = itertools.count(1)

    def behaviour(request: Received) -> Reply:
        path = request.path
        if path == "/metrics":
            return Reply(document=_metrics(next(pages)))
        if path == "/v1/models":
            return Reply(document={"models": [description(name) for name in models]})
        if path.startswith("/admin/"):
            return _admin(request, reloads)
        name = path.removeprefix("/v1/models/").removesuffix("/predict")
        if path == f"/v1/models/{name}" and name in models:
            return Reply(document=description(name))
        if path in {"/predict", "/classificar"} or name in models:
            return _predicted(request)
        return Reply(404)

    return behaviour


def _admin(request: Received, reloads: bool) -> Reply:
    if not reloads:
        return Reply(404)
    return Reply(200 if request.headers.get("authorization") == f"Bearer {TOKEN}" else 401, {})


def _predicted(request: Received) -> Reply:
    if request.path == "/classificar":
        return Reply(document={"status": "aberta", "confidence": 0.8}, headers=TIMING)
    if request.path == "/predict":
        return Reply(document=FLASK, headers=TIMING)
    if request.headers.get("x-timeout-ms") == "1":
        return Reply(503, headers={"Retry-After": "1"})
    if request.headers["content-type"].startswith("multipart/"):
        files = request.body.count(b'name="file"')
        return Reply(document={"predictions": [NATIVE] * files}, headers=TIMING)
    return Reply(document=NATIVE, headers=TIMING) if request.body in _IMAGES else Reply(422)


def _metrics(turn: int) -> str:
    """A page on which everything grows with every scrape."""
    lines = [
        f"process_resident_memory_bytes {100e6 + turn}",
        f"process_cpu_seconds_total {turn / 10}",
        'rotulo_waiting{model="cifar10"} 3',
        f'rotulo_refused_total{{model="cifar10",reason="full"}} {turn * 7}',
        f'rotulo_abandoned_total{{model="cifar10",stage="left"}} {turn}',
        f'rotulo_batches_closed_total{{model="cifar10",reason="full"}} {turn}',
        *(f'rotulo_batch_size_bucket{{model="cifar10",le="{le}"}} {turn}' for le in ("2.0", "+Inf")),
    ]
    return "\n".join(lines) + "\n"
