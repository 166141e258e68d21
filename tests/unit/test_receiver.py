"""The notification receiver: what a person would be sent, and what the demo may ask for."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from examples.http_server import in_background
from examples.receiver.notification import read, render
from examples.receiver.server import ReceiverServer

RECEIVED_AT = 1_795_262_400.0  # 2026-11-21 12:00:00 UTC

FIRING: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "LLMErrorRateHigh", "severity": "critical", "service_name": "assistant", "model": "gpt-4o"},
    "annotations": {
        "summary": "34 % of the calls to gpt-4o fail",
        "description": "Usually 1 % fail.",
        "runbook_url": "https://example.test/runbooks/error-rate",
        "dashboard_url": "http://127.0.0.1:3000/d/overview",
    },
    "startsAt": "2026-11-21T11:55:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "b5d4045c3f466fa9",
}
RESOLVED: dict[str, Any] = {
    **FIRING,
    "status": "resolved",
    "labels": {"alertname": "LLMLatencyDoubled", "severity": "warning"},
    "annotations": {},
    "endsAt": "2026-11-21T12:58:00+01:00",
}


def webhook(*alerts: object) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "receiver": "pager", "alerts": list(alerts)}


def text_of(*alerts: object) -> str:
    return render(read(webhook(*alerts), RECEIVED_AT))


@pytest.fixture
def address() -> Iterator[str]:
    with in_background(ReceiverServer(("127.0.0.1", 0))) as address:
        yield address


def call(method: str, url: str, body: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_firing_alert_says_what_how_bad_since_when_and_where_to_look() -> None:
    rule = "-" * 88
    assert text_of(FIRING).splitlines() == [
        rule,
        "FIRING to pager".ljust(76) + "12:00:00 UTC",
        "",
        "FIRING LLMErrorRateHigh (critical)",
        "  34 % of the calls to gpt-4o fail",
        "  Usually 1 % fail.",
        "  Since      2026-11-21 11:55:00 UTC (5 min ago)",
        "  Where      model=gpt-4o, service_name=assistant",
        "  Runbook    https://example.test/runbooks/error-rate",
        "  Dashboard  http://127.0.0.1:3000/d/overview",
        rule,
    ]


def test_a_resolved_alert_says_how_long_it_lasted() -> None:
    text = text_of(RESOLVED)
    assert "RESOLVED LLMLatencyDoubled (warning)" in text
    assert "(lasted 3 min)" in text


def test_a_group_is_counted_and_shows_what_still_fires_first() -> None:
    text = text_of(RESOLVED, FIRING, FIRING)
    assert "2 FIRING, 1 RESOLVED to pager" in text
    assert text.index("LLMErrorRateHigh") < text.index("LLMLatencyDoubled")


def test_an_alert_without_anything_is_still_shown() -> None:
    assert "FIRING (alert without a name)\n  Since      unknown" in text_of({"startsAt": "yesterday"})


def test_control_characters_do_not_reach_the_terminal() -> None:
    alert = {**FIRING, "labels": {"alertname": "\x1b[2JHa\nha"}}
    assert "\x1b" not in text_of(alert)
    assert "FIRING  [2JHa ha" in text_of(alert)


def test_notifications_are_printed_and_kept_in_order_until_emptied(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = time.time()
    for path, alert in (("/", FIRING), ("/any/path", RESOLVED)):
        assert call("POST", address + path, json.dumps(webhook(alert)).encode())[0] == 200
    first, second = call("GET", f"{address}/notifications")[1]
    assert before <= first.pop("received_at") <= second["received_at"] <= time.time()
    assert first == {"status": "firing", "receiver": "pager", "alerts": [FIRING]}
    assert second["alerts"] == [RESOLVED]
    printed = capsys.readouterr().out
    assert printed.index("LLMErrorRateHigh") < printed.index("LLMLatencyDoubled")

    assert call("DELETE", f"{address}/notifications")[0] == 200
    assert call("GET", f"{address}/notifications") == (200, [])
    assert call("GET", f"{address}/health") == (200, {"status": "ok"})


def test_only_the_last_thousand_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with ReceiverServer(("127.0.0.1", 0)) as server:
        for number in range(1001):
            server.take(read(webhook({}), float(number)))
        kept = server.notifications()
    assert [kept[0]["received_at"], len(kept)] == [1, 1000]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"alerts": "all"}',
        b'{"alerts": []}',
        b'{"alerts": [1]}',
        b'{"alerts": [{"labels": [1]}]}',
    ],
)
def test_a_malformed_notification_is_refused_with_a_sentence(address: str, body: bytes) -> None:
    status, answer = call("POST", f"{address}/", body)
    assert status == 400
    assert answer["error"].endswith(".")
    assert call("GET", f"{address}/notifications") == (200, [])


def test_other_paths_are_not_there(address: str) -> None:
    assert call("GET", f"{address}/nothing")[0] == 404
    assert call("DELETE", f"{address}/nothing")[0] == 404
