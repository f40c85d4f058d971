"""What a worker is told at its start, on its standard input: everybody on the machine sees a command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Versions:
    """Which version of a model answers, and which did before it."""

    active: str
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """`number` is from 1 to `workers`.

    `arguments` are the service's own, `port` what it listens on even where they leave it open;
    `generated_token` is the run's admin token where none is set.
    """

    number: int
    workers: int
    arguments: list[str]
    port: int
    generated_token: str | None
    versions: dict[str, Versions]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(text: bytes) -> Assignment:
        told: dict[str, Any] = json.loads(text)
        versions = {name: Versions(**told_of) for name, told_of in told.pop("versions").items()}
        return Assignment(**told, versions=versions)
