"""What a running service says of a model: `GET /v1/models/{model}`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from loadtest.api_key import API_KEY, key_headers
from loadtest.errors import NoServer


@dataclass(frozen=True, slots=True)
class Described:
    """A served model. ``latency`` is the learnt curve: (batch size, typical seconds, p99 seconds)."""

    name: str
    version: str
    engine: str
    latency_target_seconds: float
    max_batch_size: int
    max_waiting: int
    latency: tuple[tuple[int, float, float], ...]


def describe(url: str, model: str) -> Described:
    """Ask the service; raises NoServer."""
    document = get_json(f"{url}/v1/models/{model}")
    try:
        return Described(
            document["name"],
            document["version"],
            document["engine"],
            document["latency_target_ms"] / 1000,
            document["max_batch_size"],
            document["max_waiting"],
            tuple((row["size"], row["typical_seconds"], row["p99_seconds"]) for row in document["latency"]),
        )
    except (KeyError, TypeError) as error:
        raise NoServer(f"{url}: what it says of {model!r} is not understood: {error}") from error


def served_models(url: str) -> list[str]:
    """Names, in the order the service lists them; raises NoServer."""
    document = get_json(f"{url}/v1/models")
    try:
        return [str(model["name"]) for model in document["models"]]
    except (KeyError, TypeError) as error:
        raise NoServer(f"{url}/v1/models: not a list of models") from error


def get_json(url: str) -> Any:
    """A JSON document; raises NoServer."""
    try:
        return json.loads(get(url))
    except ValueError as error:
        raise NoServer(f"{url}: the answer is not JSON") from error


def get(url: str, timeout_seconds: float = 10.0) -> bytes:
    """A body; raises NoServer for anything but a 200, BadOptions where the key is none."""
    headers = key_headers()
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:  # noqa: S310
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise NoServer(f"{url}: {_refusal(error, bool(headers))}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise NoServer(f"{url}: {error}") from error


def _refusal(error: urllib.error.HTTPError, has_key: bool) -> str:
    if error.code != 401:
        return str(error)
    return f"the key in {API_KEY} is not taken" if has_key else f"it asks for a key: set {API_KEY}"
