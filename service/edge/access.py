"""Who may ask, by which name and how often: from the path, the headers and the peer, before anything else."""

from __future__ import annotations

from starlette.types import Scope

from service.edge.hosts import AllowedHosts
from service.edge.keys import BadKeys, KeyFile
from service.edge.rates import MovingWindows, Rate, peer_name
from service.errors import KeyRequired, TooManyRequests
from service.settings import BadSettings, Settings

HEADER = b"x-api-key"

# What a load balancer or an orchestrator asks must be answered, whatever else this service is busy refusing.
PROBES = frozenset({"/healthz", "/readyz"})
METRICS = "/metrics"
# These ask for the admin token, which is more than a key; below /admin/ too.
OF_THE_ADMIN = frozenset({"/shutdown", "/v1/predictions"})
ADMIN = "/admin/"


class Access:
    """The check of every request. Without hosts, keys and a rate it lets everybody in."""

    def __init__(
        self, keys: KeyFile | None, rate: Rate | None, metrics_need_key: bool, hosts: str = ""
    ) -> None:
        self._hosts = AllowedHosts(hosts)
        self._keys = keys
        self._windows = MovingWindows(rate) if rate else None
        self._metrics_need_key = metrics_need_key

    def admit(self, scope: Scope, now: float) -> None:
        """Puts the name of the caller's key, never the key, into the scope's state.

        A wrong key counts against the rate of its sender's address. Raises UnknownHost, TooManyRequests or
        KeyRequired.
        """
        path = scope["path"]
        if path in PROBES:
            return
        self._hosts.require(scope["headers"])
        open_to_all = path == METRICS and not self._metrics_need_key
        if open_to_all or (self._keys is None and self._windows is None):
            return
        name = scope["state"]["api_key_name"] = self._key_name(scope, now)
        if self._windows is not None:
            self._count(self._windows, f"key {name}" if name else f"peer {peer_name(scope['client'])}", now)
        if self._keys is not None and name is None and not (path in OF_THE_ADMIN or path.startswith(ADMIN)):
            raise KeyRequired("send a valid key in the header X-API-Key")

    def _key_name(self, scope: Scope, now: float) -> str | None:
        presented = [value for name, value in scope["headers"] if name == HEADER]
        if self._keys is None or len(presented) != 1:
            return None
        return self._keys.keys(now).name_of(presented[0])

    @staticmethod
    def _count(windows: MovingWindows, caller: str, now: float) -> None:
        wait = windows.hit(caller, now)
        if wait > 0:
            raise TooManyRequests("more requests than this caller may send", retry_after_seconds=wait)


def access_of(settings: Settings) -> Access:
    """Raises BadSettings where the key file cannot be used."""
    try:
        keys = KeyFile(settings.api_keys_file) if settings.api_keys_file else None
    except BadKeys as error:
        raise BadSettings(f"--api-keys-file: {settings.api_keys_file}: {error}") from error
    rate = Rate.parse(settings.rate_limit) if settings.rate_limit else None
    return Access(keys, rate, settings.metrics_need_key, settings.allowed_hosts)
