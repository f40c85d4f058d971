"""Several processes that live and end together: the service, and the page that asks it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_together(commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]]) -> int:
    """Run until one of them ends or a signal comes, then end the others; returns the first exit code.

    Each is in a process group of its own: Ctrl-C reaches this process alone, which tells each of them once.
    A second signal to a service that drains would cut its callers off.
    """
    told = asyncio.Event()
    for number in STOPPING:
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    processes = [
        await asyncio.create_subprocess_exec(*command, env=environment, process_group=0)
        for command, environment in zip(commands, environments, strict=True)
    ]
    ends = [asyncio.create_task(process.wait()) for process in processes]
    stop = asyncio.create_task(told.wait())
    done, _ = await asyncio.wait([*ends, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    for process in processes:
        if process.returncode is None:
            process.terminate()
    await asyncio.wait(ends)
    return 0 if told.is_set() else next(end.result() for end in ends if end in done)
