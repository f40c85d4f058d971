"""The listener, as uvloop takes connections from it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import uvloop

from service.process.listening import ACCEPTED_AT_ONCE, bound_everywhere, duplicated
from service.settings import Settings


class Caller(asyncio.Protocol):
    """Counted when it is taken in."""

    taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Caller.taken += 1
        transport.close()


def test_callers_who_come_together_are_taken_in_together() -> None:
    async def take() -> int:
        loop = asyncio.get_running_loop()
        (listener,) = bound_everywhere(Settings(port=0))
        servers = [await loop.create_server(Caller, sock=each) for each in duplicated([listener])]
        with ExitStack() as stack:
            for _ in range(4 * ACCEPTED_AT_ONCE):
                stack.enter_context(socket.create_connection(servers[0].sockets[0].getsockname()))
            for _ in range(8):
                await asyncio.sleep(0)  # once round the loop
            for server in servers:
                server.close()
                await server.wait_closed()
        return Caller.taken

    assert uvloop.run(take()) == 4 * ACCEPTED_AT_ONCE


def test_no_address_of_a_name_is_bound_twice() -> None:
    listeners = bound_everywhere(Settings(host="localhost", port=0))
    addresses = [listener.getsockname()[0] for listener in listeners]
    for listener in listeners:
        listener.close()
    assert "127.0.0.1" in addresses
    assert len(addresses) == len(set(addresses))
