"""The sockets that the service listens on, bound before models are loaded: a wrong address shows at once."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from service.settings import BadSettings, Settings

# libuv takes one connection from a listener each time round its loop, so that under load, with 5 ms a round,
# callers who come anew waited for seconds: 500 of them 2.7 s, and with 16 duplicates of the listener 0.2 s.
ACCEPTED_AT_ONCE = 16


def bound(settings: Settings, *, shared: bool = False) -> socket.socket:
    """Bound to the first address of `--host`, and not listening; raises BadSettings.

    `shared`: others that ask for the same may be bound there too, and new connections are dealt out among
    those that listen.
    """
    return _bound(settings, _addresses(settings)[:1], shared)[0]


def bound_everywhere(settings: Settings) -> list[socket.socket]:
    """One for each address of `--host` (`localhost` may have two), not listening; raises BadSettings."""
    return _bound(settings, _addresses(settings), shared=False)


def duplicated(listeners: Iterable[socket.socket]) -> list[socket.socket]:
    """Each of them `ACCEPTED_AT_ONCE` times, for the loop to take as many connections each time round."""
    return [copy for each in listeners for copy in (each, *(each.dup() for _ in range(ACCEPTED_AT_ONCE - 1)))]


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """Where it can be asked."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def unfit(settings: Settings, error: OSError) -> BadSettings:
    """What to say where the system refuses the address; socket.gaierror is an OSError too."""
    where = f"{settings.host}:{settings.port}"
    return BadSettings(f"--host, --port: cannot listen on {where}: {error.strerror}")


def _addresses(settings: Settings) -> list[tuple[int, tuple[object, ...]]]:
    """(family, address) of each, in the system's order; none is named twice."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise unfit(settings, error) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(
    settings: Settings, addresses: Iterable[tuple[int, tuple[object, ...]]], shared: bool
) -> list[socket.socket]:
    """All of them, or none."""
    listeners = []
    try:
        for family, address in addresses:
            listeners.append(socket.socket(family, socket.SOCK_STREAM))
            _bind(listeners[-1], address, shared)
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise unfit(settings, error) from error
    return listeners


def _bind(listener: socket.socket, address: tuple[object, ...], shared: bool) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(address)
