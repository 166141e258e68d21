"""Start the fake provider: ``python -m examples.provider --port 8088``."""

from __future__ import annotations

import argparse
import math
import sys

from examples.http_server import argument_parser, run
from examples.provider.server import ProviderServer


def main() -> int:
    """Parse the command line and serve."""
    parser = argument_parser("examples.provider", "A fake OpenAI-compatible provider.", port=8088)
    parser.add_argument("--seed", type=int, default=0, help="same seed, same answers (default %(default)s)")
    parser.add_argument(
        "--latency-scale", type=_scale, default=1.0, help="multiplies every latency; 0 answers at once (default 1)"
    )
    options = parser.parse_args()
    return run(
        "Fake provider",
        (options.host, options.port),
        lambda address: ProviderServer(address, options.seed, options.latency_scale),
    )


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return value


if __name__ == "__main__":
    sys.exit(main())
