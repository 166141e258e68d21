"""Start the receiver: ``python -m examples.receiver --port 8089``."""

from __future__ import annotations

import sys

from examples.http_server import argument_parser, run
from examples.receiver.server import ReceiverServer


def main() -> int:
    """Parse the command line and serve."""
    parser = argument_parser("examples.receiver", "Prints the notifications Alertmanager sends.", port=8089)
    options = parser.parse_args()
    return run("Notification receiver", (options.host, options.port), ReceiverServer)


if __name__ == "__main__":
    sys.exit(main())
