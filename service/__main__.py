"""`python -m service`: load the models, say how to ask them, answer until told to stop."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import RotuloModelError
from service import logs
from service.leaving import leave_at_signals
from service.memory import give_back_large_blocks
from service.settings import BadSettings, Settings, read_settings

if TYPE_CHECKING:
    from service.wiring import Service

SAMPLE = Path(__file__).parent.parent / "loadtest" / "samples" / "cat.jpg"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 after a drain, 2 where a setting or a model is unfit."""
    leave_at_signals()
    try:
        settings = read_settings(arguments)
        return _serve(settings)
    except (BadSettings, RotuloModelError) as error:
        print(f"rotulo: {error}", file=sys.stderr)
        return 2


def _serve(settings: Settings) -> int:
    _try_to_listen(settings)
    # After the settings are known to be good: these imports take seconds.
    from service.server import Server
    from service.store import Store
    from service.wiring import Service

    give_back_large_blocks()
    output = logs.Output()
    logs.configure(output, settings.log_level, settings.log_format)
    store = Store(settings)
    service = Service(settings, store.load_all(), store)
    say = logs.announce if settings.log_format == "json" else output.say
    Server(service, lambda url: say(greeting(service, url))).run()
    output.flush()
    return 0


def _try_to_listen(settings: Settings) -> None:
    """Before the models are loaded; the socket that serves is uvicorn's. Raises BadSettings."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:  # socket.gaierror is one
        where = f"{settings.host}:{settings.port}"
        raise BadSettings(f"--host, --port: cannot listen on {where}: {error.strerror}") from error


def greeting(service: Service, url: str) -> str:
    """What is served and how to ask it, as commands to copy."""
    lines = []
    for slot in service.models.values():
        predictor, manifest = slot.active.predictor, slot.active.predictor.manifest
        lines.append(f"serving {manifest.name}/{manifest.version} on {predictor.engine.name}")
        lines.append(f"  {predictor.engine_reason}")
    if service.admin_token.generated:
        lines.append(f"admin token, for this run: {service.admin_token.value}")
    key = ' -H "X-API-Key: $KEY"' if service.settings.api_keys_file else ""
    sample = shlex.quote(str(SAMPLE))
    lines.append("ask it:")
    lines += [
        f"  curl{key} --data-binary @{sample} {url}/v1/models/{name}/predict" for name in service.models
    ]
    if "cifar10" in service.models:
        lines.append(f"  curl{key} -F file=@{sample} {url}/predict")
    return "\n".join([*lines, f"  {url}/docs in a browser"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
