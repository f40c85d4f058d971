"""The socket that the service listens on, bound before models are loaded: a wrong address shows at once."""

from __future__ import annotations

import socket

from service.settings import BadSettings, Settings


def bound(settings: Settings, *, shared: bool = False) -> socket.socket:
    """Bound to the first address of `--host`, and not listening; raises BadSettings.

    `shared`: others that ask for the same may be bound there too, and new connections are dealt out among
    those that listen.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:  # socket.gaierror is one
        where = f"{settings.host}:{settings.port}"
        raise BadSettings(f"--host, --port: cannot listen on {where}: {error.strerror}") from error
    return listener


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """Where it can be asked."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
