"""What is done to a server under load: stop it, reload a model. And when, and what came of it."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loadtest.errors import NoServer, NotOffered
from loadtest.serving import Served

RELOAD_TIMEOUT_SECONDS = 120.0
_MISSING = {404, 405, 501}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done, in seconds from the start of the load."""

    second: float
    what: str
    ok: bool = True


Disturbance = Callable[
    [Served, str], tuple[str, bool]
]  # the server and a model -> what came of it, and if well


def stop(served: Served, model: str) -> tuple[str, bool]:  # noqa: ARG001
    """SIGTERM, as an operator or an orchestrator sends it."""
    served.begin_stop()
    return "stop", True


def reload(served: Served, model: str) -> tuple[str, bool]:
    """The newest version of the model, by the admin route; waits until it serves."""
    started = time.monotonic()
    status = activate(served, model)
    took = time.monotonic() - started
    return f"reload: {status or 'no answer'} after {took:.1f} s", status == 200


def require_reload(served: Served, model: str) -> None:
    """Raises NotOffered, before any load, where the server cannot reload or refuses us; NoServer."""
    status = activate(served, model)
    if status in _MISSING:
        raise NotOffered(f"{served.url} has no POST {_path(model)} ({status}): it cannot reload under load")
    if status in {401, 403}:
        raise NotOffered(f"{served.url} does not take the admin token: give it with --admin-token")
    if status != 200:
        raise NoServer(f"{served.url}: POST {_path(model)} answers {status or 'nothing'}")


def activate(served: Served, model: str) -> int:
    """`POST /admin/models/{model}/activate` with an empty body: load the newest version. 0: no answer."""
    headers = {"Authorization": f"Bearer {served.admin_token}"}
    request = urllib.request.Request(  # noqa: S310
        f"{served.url}{_path(model)}", data=b"", headers=headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=RELOAD_TIMEOUT_SECONDS) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def _path(model: str) -> str:
    return f"/admin/models/{model}/activate"


@dataclass(slots=True)
class Timetable:
    """The disturbances of one run, each in a thread of its own: the sender has no time to wait for one."""

    served: Served
    model: str
    due: Sequence[tuple[float, Disturbance]]  # ascending seconds
    events: list[Event] = field(default_factory=list)
    _begun: list[threading.Thread] = field(default_factory=list)

    def __call__(self, elapsed: float) -> None:
        """Begin what is due."""
        while len(self._begun) < len(self.due) and self.due[len(self._begun)][0] <= elapsed:
            thread = threading.Thread(target=self._do, args=(elapsed, self.due[len(self._begun)][1]))
            self._begun.append(thread)
            thread.start()

    def join(self) -> list[Event]:
        """Wait for all of it; in the order of their seconds."""
        for thread in self._begun:
            thread.join()
        return sorted(self.events, key=lambda event: event.second)

    def _do(self, second: float, disturbance: Disturbance) -> None:
        what, ok = disturbance(self.served, self.model)
        self.events.append(Event(second, what, ok))
