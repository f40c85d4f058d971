"""What the descriptions of several routes share in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import ConfigDict, Field

ModelName = Annotated[str, Path(description="a name from GET /v1/models")]
Probability = Annotated[float, Field(ge=0, le=1)]

# One pixel, so that the examples of the API page are answered as they stand.
EXAMPLE_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mM4UaEBAAN0AWn1BwN7AAAAAElFTkSuQmCC"


def example(value: dict[str, Any]) -> ConfigDict:
    """A payload's `model_config`, with an example for the API page."""
    return ConfigDict(json_schema_extra={"examples": [value]})
