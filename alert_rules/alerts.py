"""The alerts. Each pages a person, so each needs an action, a runbook and a panel; code adds what all must have."""

from __future__ import annotations

from dataclasses import dataclass

from alert_rules import links
from alert_rules import queries as q
from alert_rules import recording as r
from alert_rules import thresholds as t
from nightlight import conventions as c

SERVICE = f"{{{{ $labels.{c.SERVICE_LABEL} }}}} ({{{{ $labels.{c.ENVIRONMENT_LABEL} }}}})"
MODEL = f"{{{{ $labels.{c.MODEL_LABEL} }}}}"


@dataclass(frozen=True)
class Alert:
    """What differs between alerts. ``by`` are the labels of the expression's answer."""

    name: str
    layer: str
    by: tuple[str, ...]
    expr: str
    keep_firing_for: str
    summary: str
    description: str
    panel_id: int
    severity: str = "critical"


ERROR_RATE_HIGH = Alert(
    name=c.ERROR_RATE_HIGH,
    layer="availability",
    by=q.BY_MODEL,
    expr=f"""\
# Over the limit by more than chance explains, given how many calls there were (binomial).
{r.ERROR_RATIO.name} > {t.ERROR_RATIO_LIMIT} + {t.ERROR_CONFIDENCE_SIGMAS} * sqrt({t.ERROR_RATIO_LIMIT} * (1 - {t.ERROR_RATIO_LIMIT}) / {r.REQUESTS.name})
and {r.ERRORS.name} >= {t.ERRORS_MIN_COUNT}
# The long window gives confidence, the short one a quick reset: over as soon as enough recent calls are fine.
unless ({r.RESET_ERROR_RATIO.name} <= {t.ERROR_RATIO_LIMIT} and {r.RESET_REQUESTS.name} >= {t.ERROR_RESET_MIN_CALLS})""",  # noqa: E501 - one comparison, one line
    keep_firing_for=t.ERROR_KEEP_FIRING_FOR,
    summary=f"LLM calls fail more often than the limit of {t.ERROR_RATIO_LIMIT:.0%}.",
    description=(
        f"{{{{ $value | humanizePercentage }}}} of the calls from {SERVICE} to {MODEL} failed in the last "
        f"{t.ERROR_WINDOW}; the limit is {t.ERROR_RATIO_LIMIT:.0%}. Look at errors by kind: rate_limit, quota, timeout "
        "and server point to the provider; auth, invalid_request and context_length point to a change of ours."
    ),
    panel_id=links.ERROR_RATIO_PANEL,
)

LATENCY_DOUBLED = Alert(
    name=c.LATENCY_DOUBLED,
    layer="latency",
    by=q.BY_MODEL,
    expr=f"""\
{r.LATENCY_CHANGE.name} > {t.LATENCY_RATIO_LIMIT}
# A quantile of few calls is noise, on either side of the comparison.
and {r.LATENCY_CALLS.name} >= {t.LATENCY_MIN_CALLS}
and ({r.BASELINE_LATENCY_CALLS.name} offset {t.LATENCY_BASELINE_OFFSET}) >= {t.LATENCY_BASELINE_MIN_CALLS}""",
    keep_firing_for=t.LATENCY_KEEP_FIRING_FOR,
    summary="LLM calls take about twice as long as an hour ago.",
    description=(
        f"The {r.QUANTILE_NAME} latency of the calls from {SERVICE} to {MODEL} is {{{{ $value | humanize }}}} times "
        f"that of the hour before (limit {t.LATENCY_RATIO_LIMIT}). Look at whether all models of the provider are "
        "slow, and whether prompts or answers have grown; the exemplars on the latency panel open slow traces."
    ),
    panel_id=links.LATENCY_CHANGE_PANEL,
)

SPEND_SPIKE = Alert(
    name=c.SPEND_SPIKE,
    layer="cost",
    by=q.BY_SERVICE,
    expr=f"""\
# In USD per hour. Every slice of the last {t.SPEND_PERSISTENCE} is high, so one expensive call is no spike.
{q.usd_per_hour(f"min_over_time({r.SPEND.name}[{t.SPEND_PERSISTENCE}])")} > {t.SPEND_RATIO_LIMIT} * {q.usd_per_hour(r.USUAL_SPEND.name)}
# Three times nothing is nothing: the excess also matters against what the service spends in a week.
and ({r.SPEND.name} - {r.USUAL_SPEND.name}) > {t.SPEND_EXCESS_LIMIT} * {r.WEEKLY_SPEND.name}""",  # noqa: E501
    keep_firing_for=t.SPEND_KEEP_FIRING_FOR,
    summary=f"LLM spend is more than {t.SPEND_RATIO_LIMIT} times what is usual at this hour of the week.",
    description=(
        f"{SERVICE} has spent at least {{{{ $value | humanize }}}} USD per hour throughout the last "
        f"{t.SPEND_PERSISTENCE}, more than {t.SPEND_RATIO_LIMIT} times the median of this hour in the last "
        f"{t.SPEND_BASELINE_WEEKS} weeks. Look at spend by feature and model: more calls, longer prompts, or a dearer "
        "model?"
    ),
    panel_id=links.SPEND_AGAINST_USUAL_PANEL,
)

ALERTS = (LATENCY_DOUBLED, ERROR_RATE_HIGH, SPEND_SPIKE)


def rule(alert: Alert) -> dict[str, object]:
    """The alert as Prometheus reads it, with the links no alert may lack."""
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "keep_firing_for": alert.keep_firing_for,
        "labels": {c.SEVERITY_LABEL: alert.severity, c.LAYER_LABEL: alert.layer},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": links.runbook_url(alert.name),
            "dashboard_url": links.dashboard_url(alert.panel_id, alert.by),
        },
    }


def groups() -> list[dict[str, object]]:
    """The alerting rules as Prometheus reads them."""
    return [{"name": "llm.alerts", "interval": t.ALERT_INTERVAL, "rules": [rule(alert) for alert in ALERTS]}]
