"""Every query of every board runs on the real stores, and none is empty when there is something to show."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any
from urllib.parse import urlencode

import pytest

from stack import web
from stack.settings import REPOSITORY
from tests.conftest import Stack, wait_for
from tests.e2e import otlp

BOARDS = sorted((REPOSITORY / "dashboards" / "generated").glob("*.json"))
PANELS = [(board.stem, panel) for board in BOARDS for panel in json.loads(board.read_text())["panels"]]

# These show nothing when all is well, or need more history than a test has; that they run is all that is asked.
MAY_BE_EMPTY = {"Firing alerts", "p95 against the hour before", "Spend per hour against the usual"}

CALLS = 12


@pytest.fixture(scope="module")
def service(stack: Stack) -> str:
    """A service with calls that succeed and fail, fast and slow, and a warning in its log."""
    name, base = f"board-{uuid.uuid4().hex[:8]}", stack.url("collector", name="http")
    for number in range(CALLS):
        trace = uuid.uuid4().hex
        failed = {"error": "Error code: 500 - server_error", "error__type": "openai.InternalServerError"}
        assert otlp.send(base, "traces", otlp.call(name, trace=trace, **(failed if number % 3 == 0 else {}))) == 200
        assert otlp.send(base, "logs", otlp.log(name, "a call failed", trace, severity="WARN")) == 200
        time.sleep(1.1)  # a rate needs samples that are apart: the Collector batches for a second
    return name


def _ask(stack: Stack, target: dict[str, Any], service: str) -> list[Any]:
    """The rows that a target gives, with the variables as Grafana would fill them in."""
    query = str(target.get("expr") or target["query"])
    for variable, value in (
        ("$__rate_interval", "1m"),
        ("$__range", "1h"),
        ("${service:pipe}", service),
        ("${model:pipe}", ".*"),
        ("$service", service),
        ("$model", ".*"),
    ):
        query = query.replace(variable, value)
    assert "$" not in query, query
    source, now = target["datasource"]["type"], time.time()
    if source == "prometheus":
        return stack.query(query)
    if source == "tempo":
        parameters = urlencode({"q": query, "start": int(now) - 3600, "end": int(now) + 60})
        found: list[Any] = web.get_json(stack.url("tempo", f"/api/search?{parameters}"))["traces"]
        return found
    assert source == "loki"
    parameters = urlencode({"query": query})
    lines: list[Any] = web.get_json(stack.url("loki", f"/loki/api/v1/query_range?{parameters}"))["data"]["result"]
    return lines


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{board}: {panel['title']}" for board, panel in PANELS])
def test_a_panel_shows_what_there_is(stack: Stack, service: str, board: str, panel: dict[str, Any]) -> None:
    assert panel["targets"], board
    for target in panel["targets"]:
        if panel["title"] in MAY_BE_EMPTY:
            _ask(stack, target, service)
        else:
            rows = wait_for(lambda target=target: _ask(stack, target, service), 60, f"rows of {target}")  # type: ignore[misc]
            assert rows
