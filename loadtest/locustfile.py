"""`locust -f loadtest/locustfile.py --host http://127.0.0.1:8000`

Callers of the native and of the Flask route, as many of one as of the other; name a class to have only that:
`locust -f loadtest/locustfile.py FlaskUser --headless -u 64 -r 64 -t 60s --host ...`
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # Locust may run where nothing of ours is installed

from loadtest.users import FlaskUser, NativeUser

__all__ = ["FlaskUser", "NativeUser"]
