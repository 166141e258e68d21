"""What the example servers share: JSON over HTTP, silence when a client leaves, a clean end on Ctrl-C or SIGTERM.

The standard library's threading server is deliberate: a fake provider must be able to cut a TCP connection in the
middle of a stream or to leave a client waiting, which frameworks work hard to prevent.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

MAX_BODY_BYTES = 32 * 1024 * 1024
IDLE_SECONDS = 120  # how long a kept-alive connection may stay silent


class UnreadableBodyError(Exception):
    """The request's body cannot be read or is not JSON; the message is a sentence for the client."""


class QuietServer(ThreadingHTTPServer):
    """One daemon thread per connection; a client that goes away is not an error."""

    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without the reverse DNS look-up of HTTPServer: it can take seconds, and nothing here uses its result."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong in a handler, unless the client merely left."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class JsonHandler(BaseHTTPRequestHandler):
    """Reads bodies and replies with JSON; writes no access log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # small stream events must leave at once
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Write nothing."""

    def read_body(self) -> bytes:
        """The request's body, empty if there is none. Raises UnreadableBodyError."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True  # the unread body must not be taken for the next request
            raise UnreadableBodyError(f"Send a Content-Length of at most {MAX_BODY_BYTES} bytes.")
        return self.rfile.read(int(length))

    def reply(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        """Send ``value`` as JSON."""
        body = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)


def parse_json(body: bytes) -> Any:
    """The value in ``body``. Raises UnreadableBodyError if it is not JSON in UTF-8."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8
        raise UnreadableBodyError(f"The body is not JSON: {error}.") from error


def argument_parser(module: str, description: str | None, port: int) -> argparse.ArgumentParser:
    """A parser with the two options every server has: --host and --port."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=_port, default=port, help="port to listen on, 0 for any (default %(default)s)")
    return parser


def run(name: str, address: tuple[str, int], make_server: Callable[[tuple[str, int]], QuietServer]) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code is 0, or 1 if ``address`` cannot be had."""
    # Set both: a shell starts background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with make_server(address) as server:
            host, port = server.server_address[:2]
            print(f"{name} listens on http://{host!s}:{port}", flush=True)
            server.serve_forever()
    except OSError as error:
        print(f"{name} cannot listen on {address[0]}:{address[1]}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


@contextmanager
def in_background(server: QuietServer) -> Iterator[str]:
    """Serve in a thread while the block runs; gives the address, as in ``http://127.0.0.1:8088``."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    with server:
        thread.start()
        host, port = server.server_address[:2]
        try:
            yield f"http://{host!s}:{port}"
        finally:
            server.shutdown()
            thread.join()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)
