"""`python -m ui`: the page on a port, asking a service that runs; or with one of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ui.settings import API_KEY, DEFAULT_URL, URL, BadSettings, read_settings
from ui.together import run_together

PAGE = Path(__file__).parent / "page.py"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 after a stop, 2 where a setting is unfit."""
    options = _parser().parse_args(arguments)
    try:
        environment = _environment(options, os.environ)
    except BadSettings as error:
        print(f"ui: {error}", file=sys.stderr)
        return 2
    page = _page(options)
    if options.with_service is None:
        # In this one's place, so that a signal reaches Streamlit itself.
        os.execve(page[0], page, environment)  # noqa: S606
    service = [sys.executable, "-m", "service", "--port", str(options.with_service)]
    # The service refuses variables that it does not know, and these are the page's.
    own = {name: value for name, value in os.environ.items() if name not in (URL, API_KEY)}
    return asyncio.run(run_together([service, page], [own, environment]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ui",
        description=f"{__doc__} The API key, where the service asks for one, is read from {API_KEY}.",
    )
    parser.add_argument("--url", help=f"the service ({URL}); default {DEFAULT_URL}")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default %(default)s")
    parser.add_argument("--port", type=int, default=8501, help="port to listen on; default %(default)s")
    parser.add_argument(
        "--with-service", type=int, metavar="PORT", help="start a service on this port too; both end together"
    )
    return parser


def _environment(options: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, str]:
    """The page's own; raises BadSettings."""
    url = options.url
    if options.with_service is not None:
        if url is not None:
            raise BadSettings("--url, --with-service: one or the other")
        url = f"http://127.0.0.1:{options.with_service}"
    changed = {**environment, **({URL: url} if url else {})}
    read_settings(changed)
    return changed


def _page(options: argparse.Namespace) -> list[str]:
    """Streamlit's own command; what is not set here is in .streamlit/config.toml beside the page."""
    flags = [f"--server.address={options.host}", f"--server.port={options.port}"]
    return [sys.executable, "-m", "streamlit", "run", str(PAGE), *flags]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
