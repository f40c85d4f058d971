"""The admin token, asked for by whatever can stop or change the service."""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request

from service.errors import ForeignOrigin, NotAuthorized


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


def require_own_origin(origin: str | None, host: str | None) -> None:
    """No page of another site, nor one without a site (`null`), may stop the service; raises ForeignOrigin.

    What is no browser sends no Origin.
    """
    if origin is not None and origin.partition("://")[2].lower() != (host or "").lower():
        raise ForeignOrigin("this is not answered to a page of another site")
