"""What a request leaves for the record, and the rows that are made of it."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from models.images import Pixels
from models.manifest import Manifest
from service.serving.served import Classified

Row = dict[str, Any]  # the columns of `schema.py`, by name

MAX_IMAGE_BYTES = 4_194_304  # a larger image is not kept, only its hash
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Noted(NamedTuple):
    """One request's answers. `time_ns` since 1970; an image is as it was sent, or pixels of `/v2`."""

    time_ns: int
    request_id: str
    api_key: str | None
    route: str
    manifest: Manifest
    answers: list[tuple[bytes | Pixels, Classified]]

    @property
    def image_bytes(self) -> int:
        return sum(len(image) if isinstance(image, bytes) else image.nbytes for image, _ in self.answers)


class RowMaker:
    """Hashes are made here, in the writer's thread. Pure but for the order of its calls."""

    def __init__(self, keep_images: bool, process: str | None = None) -> None:
        """`process`: 12 hexadecimal digits that no other process has."""
        self._keep_images = keep_images
        self._process = process or secrets.token_hex(6)
        self._count = itertools.count()

    def rows(self, noted: Noted) -> list[Row]:
        """A row for each answer, in order."""
        return [self._row(noted, image, classified) for image, classified in noted.answers]

    def _row(self, noted: Noted, image: bytes | Pixels, classified: Classified) -> Row:
        prediction, answered = classified.prediction, classified.answered
        content = image if isinstance(image, bytes) else image.tobytes()
        microseconds = noted.time_ns // 1000
        return {
            "id": f"{id_at(microseconds)}{next(self._count) % 0x10000:04x}{self._process}",
            "time": time_at(microseconds),
            "request_id": noted.request_id,
            "api_key": noted.api_key,
            "route": noted.route,
            "model": storable(noted.manifest.name),
            "version": storable(noted.manifest.version),
            "image_sha256": hashlib.sha256(content).hexdigest(),
            "image_bytes": len(content),
            "width": classified.width,
            "height": classified.height,
            "label": storable(noted.manifest.classes[prediction.index]),
            "index": prediction.index,
            "confidence": round(prediction.confidence, 6),
            "uncertain": bool(prediction.uncertain),
            "decode_seconds": round(classified.decode_seconds, 6),
            "queue_seconds": round(answered.queue_seconds, 6),
            "infer_seconds": round(answered.batch_seconds, 6),
            "batch_size": answered.batch_size,
            "cache": classified.cache,
            "image": content if self._keep_images and len(content) <= MAX_IMAGE_BYTES else None,
        }


def id_at(microseconds: int) -> str:
    """How the ids of that moment begin: they sort as their times do, and so does every prefix of them."""
    return f"{max(0, microseconds):016x}"


def time_at(microseconds: int) -> datetime:
    """Aware, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds_of(moment: datetime) -> int:
    """Since 1970; a moment without a zone is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=1024)  # nearly always one of a few names and labels
def storable(text: str) -> str:
    """What every database takes as text: PostgreSQL has no NUL, and UTF-8 no lone surrogates."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
