"""Where an alert sends the person who reads it: its runbook, and the panel that draws it."""

from __future__ import annotations

from typing import Final

from nightlight import conventions as c

RUNBOOKS: Final = "https://github.com/nightlight/nightlight/blob/main/docs/runbooks"
GRAFANA: Final = "http://127.0.0.1:3000"

GOLDEN_SIGNALS: Final = "llm-golden-signals"  # the board's uid
VARIABLES: Final = {"service": c.SERVICE_LABEL, "model": c.MODEL_LABEL}  # the board's variables and their labels

# The panel ids that alerts open. Fixed, because links in old notifications must keep working.
ERROR_RATIO_PANEL: Final = 7
LATENCY_CHANGE_PANEL: Final = 8
SPEND_AGAINST_USUAL_PANEL: Final = 9


def runbook_url(alert: str) -> str:
    """The page about this alert."""
    return f"{RUNBOOKS}/{alert}.md"


def dashboard_url(panel_id: int, labels: tuple[str, ...]) -> str:
    """The panel that draws the alert, narrowed to what the alert is about. A Prometheus template."""
    narrowed = "".join(
        f"&var-{variable}={{{{ $labels.{label} | urlquery }}}}"
        for variable, label in VARIABLES.items()
        if label in labels
    )
    return f"{GRAFANA}/d/{GOLDEN_SIGNALS}?viewPanel={panel_id}{narrowed}"
