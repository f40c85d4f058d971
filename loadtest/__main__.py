"""`python -m loadtest run SCENARIO` measures, `overload` goes beyond what is held, `plan` forecasts."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from loadtest import overload, plan, run
from loadtest.errors import LoadtestError
from loadtest.measuring import base_url


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 where an objective is missed, 2 where the run itself is not possible."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run.add_command(commands)
    plan.add_command(commands)
    overload.add_command(commands)
    options = parser.parse_args(arguments)
    try:
        if options.url is not None:
            options.url = base_url(options.url)
        return int(options.run(options))
    except LoadtestError as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    # A killed run still stops the server that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
