"""What Alertmanager sends, read and laid out for a person. Pure functions.

The body is that of Alertmanager's webhook, version 4: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, TypedDict

_WIDTH = 88
_INDENT = "  "
_LINKS = {"runbook_url": "Runbook", "dashboard_url": "Dashboard"}
_SHOWN_ELSEWHERE = ("alertname", "severity")


class MalformedNotificationError(Exception):
    """The body is not what Alertmanager sends; the message is a sentence that says why."""


class Alert(TypedDict):
    """One alert; times are RFC 3339, ``endsAt`` is in year 1 while the alert fires."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str
    endsAt: str
    fingerprint: str


class Notification(TypedDict):
    """One notification; ``received_at`` is in epoch seconds."""

    received_at: float
    status: str
    receiver: str
    alerts: list[Alert]


def read(body: object, received_at: float) -> Notification:
    """Take a notification from a webhook body. Raises MalformedNotificationError."""
    if not isinstance(body, Mapping):
        raise MalformedNotificationError("Send a JSON object as Alertmanager's webhook does.")
    alerts = body.get("alerts")
    if not isinstance(alerts, Sequence) or isinstance(alerts, str) or not alerts:
        raise MalformedNotificationError("The body needs 'alerts', a list with at least one alert.")
    return {
        "received_at": received_at,
        "status": str(body.get("status", "firing")),
        "receiver": str(body.get("receiver", "")),
        "alerts": [_read_alert(alert) for alert in alerts],
    }


def render(notification: Notification) -> str:
    """The notification as a person would read it, firing alerts first."""
    alerts = sorted(notification["alerts"], key=lambda alert: alert["status"] != "firing")
    at = datetime.fromtimestamp(notification["received_at"], timezone.utc)
    title = f"{_count(alerts)} to {notification['receiver'] or 'nobody'}"
    rule = "-" * _WIDTH
    head = f"{_printable(title).ljust(_WIDTH - 12)}{at:%H:%M:%S} UTC"
    return "\n".join([rule, head, *("\n" + _render_alert(alert, at) for alert in alerts), rule])


def _read_alert(alert: object) -> Alert:
    if not isinstance(alert, Mapping):
        raise MalformedNotificationError("Every alert is a JSON object.")
    return {
        "status": str(alert.get("status", "firing")),
        "labels": _texts(alert, "labels"),
        "annotations": _texts(alert, "annotations"),
        "startsAt": str(alert.get("startsAt", "")),
        "endsAt": str(alert.get("endsAt", "")),
        "fingerprint": str(alert.get("fingerprint", "")),
    }


def _texts(alert: Mapping[str, Any], name: str) -> dict[str, str]:
    value = alert.get(name) or {}
    if not isinstance(value, Mapping):
        raise MalformedNotificationError(f"An alert's '{name}' is an object of texts.")
    return {str(key): str(text) for key, text in value.items()}


def _count(alerts: Sequence[Alert]) -> str:
    """What the title counts: "FIRING" for one alert, "2 FIRING, 1 RESOLVED" for several."""
    states = [alert["status"].upper() for alert in alerts]
    if len(states) == 1:
        return states[0]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _render_alert(alert: Alert, now: datetime) -> str:
    labels, annotations = alert["labels"], alert["annotations"]
    name = labels.get("alertname", "(alert without a name)")
    severity = f" ({labels['severity']})" if "severity" in labels else ""
    lines = [f"{alert['status'].upper()} {name}{severity}"]
    lines += [annotations[text] for text in ("summary", "description") if annotations.get(text)]
    lines.append(f"{'Since':<11}{_when(alert, now)}")
    where = ", ".join(f"{label}={value}" for label, value in sorted(labels.items()) if label not in _SHOWN_ELSEWHERE)
    if where:
        lines.append(f"{'Where':<11}{where}")
    lines += [f"{word:<11}{annotations[key]}" for key, word in _LINKS.items() if annotations.get(key)]
    first, *rest = [_printable(line) for line in lines]
    return "\n".join([first, *(_wrapped(line) for line in rest)])


def _when(alert: Alert, now: datetime) -> str:
    start = _parse_time(alert["startsAt"])
    if start is None:
        return "unknown"
    resolved = alert["status"] == "resolved"
    end = (_parse_time(alert["endsAt"]) if resolved else None) or now
    ago = _duration((end - start).total_seconds())
    return f"{start:%Y-%m-%d %H:%M:%S} UTC ({f'lasted {ago}' if resolved else f'{ago} ago'})"


def _parse_time(text: str) -> datetime | None:
    """An RFC 3339 time in UTC; Go writes up to nine decimals and a Z, which Python 3.10 does not read."""
    parts = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if parts is None:
        return None
    try:
        return datetime.fromisoformat(parts[1] + parts[2].replace("Z", "+00:00")).astimezone(timezone.utc)
    except (ValueError, OverflowError):  # the 31st of February; year 1 east of Greenwich
        return None


def _duration(seconds: float) -> str:
    seconds = max(0, round(seconds))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _wrapped(line: str) -> str:
    # Links stay in one piece, so that a terminal lets people click them.
    return textwrap.fill(
        line,
        _WIDTH,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _printable(text: str) -> str:
    """The text without control characters: labels may hold what an attacker chose, and this goes to a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
