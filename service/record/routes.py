"""`GET /v1/predictions`: the record, for whoever holds the admin token."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.types import Send

from service.errors import MalformedRequest, RecordAway
from service.openapi_parts import Probability, example
from service.record.filters import Asked
from service.wiring import Service

logger = logging.getLogger("rotulo")

DEFAULT_LIMIT, MAX_LIMIT, MAX_CSV_LIMIT = 100, 1000, 1_000_000
CSV = "text/csv"

_ROW: dict[str, Any] = {
    "id": "00065be1f0a4c8d200013f2a9c77d1e0",
    "time": "2026-11-25T09:12:17.201362Z",
    "request_id": "0b9c3f0e6f5c4c0f9d8d1f6f6f3a2b1c",
    "api_key": "mobile",
    "route": "v1",
    "model": "cifar10",
    "version": "1",
    "image_sha256": "0" * 64,
    "image_bytes": 1024,
    "width": 32,
    "height": 32,
    "label": "cat",
    "index": 3,
    "confidence": 0.97,
    "uncertain": False,
    "decode_seconds": 0.0001,
    "queue_seconds": 0.0,
    "infer_seconds": 0.002,
    "batch_size": 1,
    "cache": "miss",
}


class RowPayload(BaseModel):
    """One image that was answered."""

    id: str = Field(description="sorts as the times do")
    time: datetime = Field(description="of the answer, in UTC")
    request_id: str
    api_key: str | None = Field(description="the name of the caller's key, never the key")
    route: str = Field(description="v1, flask or v2")
    model: str
    version: str
    image_sha256: str = Field(description="of the image's bytes as sent; of pixels where those were")
    image_bytes: int
    width: int = Field(description="in pixels, as sent")
    height: int
    label: str = Field(description="the likeliest class")
    index: int
    confidence: Probability
    uncertain: bool
    decode_seconds: float
    queue_seconds: float
    infer_seconds: float = Field(description="of the batch that the image ran in")
    batch_size: int
    cache: str | None = Field(description="hit, coalesced or miss, where answers are kept")


class PagePayload(BaseModel):
    """A page of the record, newest first."""

    model_config = example({"predictions": [_ROW], "next": _ROW["id"]})

    predictions: list[RowPayload]
    next: str | None = Field(description="the `cursor` of the page that follows; null at the end")


_CSV_DESCRIPTION = {
    "schema": {"type": "string"},
    "example": f"{','.join(_ROW)}\r\n{','.join(map(str, _ROW.values()))}\r\n",
}


class CsvResponse(StreamingResponse):
    """Pieces of CSV. Where the rest cannot be read it is cut off, so that nobody takes it for whole."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self._rest = rest
        headers = {"Content-Disposition": 'attachment; filename="predictions.csv"'}
        super().__init__(self._pieces(first), media_type=CSV, headers=headers)

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._rest):
            try:
                await super().stream_response(send)
            except RecordAway as error:
                logger.warning("a CSV of the record is cut off: %s", error)

    async def _pieces(self, first: bytes) -> AsyncGenerator[bytes, None]:
        yield first
        async for piece in self._rest:
            yield piece


def record_routes(service: Service) -> APIRouter:
    """The route over `service`; it asks for the admin token, since it shows what other callers asked."""

    router = APIRouter(prefix="/v1", tags=["record"], dependencies=[Depends(service.admin_token.required)])

    @router.get(
        "/predictions",
        responses={200: {"model": PagePayload, "content": {CSV: _CSV_DESCRIPTION}}},
        openapi_extra={"security": [{"AdminToken": []}]},
    )
    async def predictions(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        """What was answered, newest first: a page; or all, as CSV (`format=csv`, or `Accept: text/csv`)."""
        reader = service.record.reader
        if _wants_csv(request, asked):
            pieces = reader.csv(asked, asked.cursor, asked.limit or MAX_CSV_LIMIT)
            return CsvResponse(await anext(pieces), pieces)
        limit = asked.limit or DEFAULT_LIMIT
        if limit > MAX_LIMIT:
            raise MalformedRequest(f"limit: {MAX_LIMIT} rows in a page at most; as CSV, {MAX_CSV_LIMIT:,}")
        page = await reader.page(asked, asked.cursor, limit)
        return Response(page, media_type="application/json")

    return router


def _wants_csv(request: Request, asked: Asked) -> bool:
    if asked.format is not None:
        return asked.format == "csv"
    return CSV in request.headers.get("accept", "").lower()
