"""`locust -f loadtest/locustfile.py --host http://127.0.0.1:8000`

Callers of the native and of the Flask route, as many of one as of the other; name a class to have only that:
`locust -f loadtest/locustfile.py FlaskUser --headless -u 64 -r 64 -t 60s --host ...`
`locust -f loadtest/locustfile.py ScheduledNativeUser --rate 200 --headless -u 1 -t 60s --host ...`
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # Locust may run where nothing of ours is installed

from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.scheduled_users import ScheduledFlaskUser, ScheduledNativeUser
from loadtest.users import FlaskUser, NativeUser

__all__ = ["FlaskUser", "NativeUser", "ScheduledFlaskUser", "ScheduledNativeUser"]


@events.init.add_listener  # type: ignore[untyped-decorator]
def _scheduled_only_by_name(environment: Environment, **_: Any) -> None:
    """Those who ask as fast as they are answered would drown those who keep a schedule."""
    options = environment.parsed_options
    if options and not options.user_classes and not isinstance(environment.runner, WorkerRunner):
        environment.user_classes = [NativeUser, FlaskUser]
