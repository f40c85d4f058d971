"""`python -m service`: load the models, say how to ask them, answer until told to stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

from models.errors import RotuloModelError
from service.process import logs
from service.process.leaving import end, leave_at_signals
from service.process.listening import bound, bound_everywhere
from service.process.memory import give_memory_back, leave_out_of_collections
from service.settings import BadSettings, Settings, read_settings

Say = Callable[[str], None]


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 after a drain, 2 where a setting or a model is unfit."""
    leave_at_signals()
    try:
        settings = read_settings(arguments)
        output = logs.configure(settings.log_level, settings.log_format)
        say = logs.announce if settings.log_format == "json" else output.say
        return _serve(settings, say) if settings.workers == 1 else _supervise(settings, arguments, say)
    except (BadSettings, RotuloModelError) as error:
        print(f"rotulo: {error}", file=sys.stderr)
        return 2


def _serve(settings: Settings, say: Say) -> int:
    for each in bound_everywhere(settings):
        each.close()  # to know before the models are loaded; the server binds its own
    # After the settings are known to be good: these imports take seconds.
    from service.greeting import greeting
    from service.server import Server
    from service.serving.store import Store
    from service.wiring import Service

    give_memory_back()
    store = Store(settings)
    service = Service(settings, store.load_all(), store)
    token = service.admin_token.value if service.admin_token.generated else None

    def listening(url: str) -> None:
        leave_out_of_collections()
        say(greeting(service, url, token))

    Server(service, listening).run()
    return 0


def _supervise(settings: Settings, arguments: Sequence[str], say: Say) -> int:
    from service.workers.supervisor import StartFailed, Supervisor

    bound(settings).close()  # which a service that shares its port with its workers would let pass
    with bound(settings, shared=True) as listener:
        supervisor = Supervisor(settings, arguments, listener, say)
        try:
            return asyncio.run(supervisor.run())
        except StartFailed as error:
            print(f"rotulo: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    end(main(sys.argv[1:]))
