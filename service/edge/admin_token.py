"""The admin token, asked for by whatever can stop or change the service."""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request

from service.errors import NotAuthorized


class AdminToken:
    """One bearer token. Where the operator sets none, one is generated and printed once at start."""

    def __init__(self, configured: str | None) -> None:
        self.generated = configured is None
        self.value = configured or secrets.token_urlsafe(32)

    def require(self, authorization: str | None) -> None:
        """Check an `Authorization: Bearer ...` header in constant time; raises NotAuthorized."""
        scheme, _, token = (authorization or "").partition(" ")
        same = hmac.compare_digest(token.strip().encode(), self.value.encode())
        if scheme.lower() != "bearer" or not same:
            raise NotAuthorized("a valid admin token is required")

    async def required(self, request: Request) -> None:
        """The same as a dependency of routes."""
        self.require(request.headers.get("authorization"))
