"""Grafana dashboards, generated. To add one, write a module with a `build` and list it here."""

from __future__ import annotations

import json

from dashboards import golden_signals

BOARDS = [golden_signals]


def build() -> dict[str, str]:
    """The dashboard files by name: a board's uid, so that file, link and board agree."""
    boards = [module.build() for module in BOARDS]
    return {f"{board['uid']}.json": json.dumps(board, indent=2, sort_keys=True) + "\n" for board in boards}
