"""The negative control: a server that leaks and answers 500, so that the checks can be seen to fail.

`python -m tests.torture.bad_server --port 0 --leak-bytes 200000 --fail-every 50`
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

LEAK: list[object] = []


def handler(leak_bytes: int, fail_every: int) -> type[BaseHTTPRequestHandler]:
    """Answers like the service to whoever looks no closer than the checks do."""
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200, {"status": "alive"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            number = next(numbers)
            if leak_bytes:
                LEAK.append(b"x" * leak_bytes)
            failed = fail_every and number % fail_every == 0
            self._answer(500 if failed else 200, {"label": "cat", "confidence": 0.9})

        def log_message(self, *_: object) -> None: ...

        def _answer(self, status: int, document: dict[str, object]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--leak-bytes", type=int, default=0, help="kept of every POST")
    parser.add_argument("--fail-every", type=int, default=0, help="every so many POSTs get a 500")
    given = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), handler(given.leak_bytes, given.fail_every))
    print(f"http://127.0.0.1:{server.server_address[1]}/docs", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
