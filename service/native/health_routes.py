"""Liveness, readiness and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from service.errors import problem_of
from service.wiring import Service

_METRICS: dict[str, Any] = {"content": {"text/plain": {"example": 'rotulo_waiting{model="cifar10"} 0.0'}}}


def _says(status: str) -> dict[str, Any]:
    """An OpenAPI response."""
    return {"content": {"application/json": {"example": {"status": status}}}, "description": status}


def health_routes(service: Service) -> APIRouter:
    """`/healthz`, `/readyz` and `/metrics` over `service`."""
    router = APIRouter(tags=["health"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", responses={200: _says("alive")})
    async def alive() -> dict[str, str]:
        """200 while the event loop runs."""
        return {"status": "alive"}

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", responses={200: _says("ready"), 503: _says("draining")})
    async def ready() -> JSONResponse:
        """200 while requests are welcome; 503 while the engine hangs, and once the service is stopping."""
        reason = service.not_ready()
        if reason is not None:
            return JSONResponse({"status": problem_of(reason).kind}, status_code=503)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", response_class=PlainTextResponse, responses={200: _METRICS})
    async def metrics() -> Response:
        """Prometheus text format."""
        text = await service.peers.metrics_text(service.metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
