"""Which rows of the record are asked for, and in which form."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.openapi_parts import Probability

Text = Annotated[str, Field(max_length=300)]


class Filters(BaseModel):
    """Every one given must hold. An unknown one is refused: a misspelt filter would show everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Text | None = None
    version: Text | None = None
    label: Text | None = None
    uncertain: bool | None = None
    min_confidence: Probability | None = Field(default=None, description="this, or more")
    max_confidence: Probability | None = Field(default=None, description="this, or less")
    since: datetime | None = Field(default=None, description="then or later; without a zone, in UTC")
    until: datetime | None = Field(default=None, description="before then; without a zone, in UTC")
    request_id: Text | None = Field(default=None, description="as in the header X-Request-Id")
    image_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="of the image's bytes as they were sent"
    )


class Asked(Filters):
    """The query of `GET /v1/predictions`."""

    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="rows: 100 where not given, 1,000 at most; as CSV all, and 1,000,000 at most",
    )
    cursor: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = Field(
        default=None, description="`next` of the page before, or the id of the last row seen"
    )
    format: Literal["json", "csv"] | None = Field(
        default=None, description="where not given, the header Accept decides"
    )
