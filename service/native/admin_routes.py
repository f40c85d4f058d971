"""The operator's routes: which version of a model answers, and the switch to another."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.manifest import Version
from service.errors import MalformedRequest
from service.openapi_parts import ModelName, example
from service.serving.slots import ModelSlot
from service.wiring import Service


class ActivationPayload(BaseModel):
    """Which version is to answer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": "2"}]})

    version: Version | None = Field(default=None, description="the newest on disk where none is given")


class VersionsPayload(BaseModel):
    """A model's versions."""

    model_config = example({"name": "cifar10", "versions": ["1", "2"], "active": "2", "previous": "1"})

    name: str
    versions: list[str] = Field(description="on disk, oldest first")
    active: str = Field(description="the one that answers")
    previous: str | None = Field(description="the one that answered before, where rollback leads")


_SECURED: dict[str, Any] = {"security": [{"AdminToken": []}]}
_ACTIVATION: dict[str, Any] = {
    **_SECURED,
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": ActivationPayload.model_json_schema(),
                "example": {"version": "2"},
            }
        },
    },
}


def admin_routes(service: Service) -> APIRouter:
    """The routes over `service`; each asks for the admin token before it looks at anything else."""

    router = APIRouter(
        prefix="/admin/models/{model}", tags=["admin"], dependencies=[Depends(service.admin_token.required)]
    )

    @router.get("", response_model=VersionsPayload, openapi_extra=_SECURED)
    async def versions(model: ModelName) -> VersionsPayload:
        """The versions on disk, the active one, and the one before it."""
        return _versions(service.slot(model))

    @router.post("/activate", response_model=VersionsPayload, openapi_extra=_ACTIVATION)
    async def activate(request: Request, model: ModelName) -> VersionsPayload:
        """Let a version answer, the newest on disk where none is named, once it is loaded, checked and warm.

        Answered when it does. Whatever fails, the version that was active stays.
        """
        service.peers.require_reach()
        slot = service.slot(model)
        async with service.intake.body(request.scope, request.receive) as body:
            wanted = _activation(body)
        await service.peers.activate(slot, wanted.version)
        return _versions(slot)

    @router.post("/rollback", response_model=VersionsPayload, openapi_extra=_SECURED)
    async def roll_back(model: ModelName) -> VersionsPayload:
        """Activate the version that was active before. Done twice, it changes nothing."""
        service.peers.require_reach()
        slot = service.slot(model)
        await service.peers.activate(slot, slot.before())
        return _versions(slot)

    return router


def _activation(body: bytes) -> ActivationPayload:
    try:
        return ActivationPayload.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise MalformedRequest(f'the body must be {{"version": "N"}} or empty: {first["msg"]}') from error


def _versions(slot: ModelSlot) -> VersionsPayload:
    return VersionsPayload(
        name=slot.name,
        versions=list(slot.versions()),
        active=slot.active.version,
        previous=slot.previous,
    )
