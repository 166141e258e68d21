"""Recording rules: what the alerts compare, computed once.

Names read `level:metric:operations`. Level `model` is by service, environment and model; level `service` is by
service and environment.
"""

from __future__ import annotations

from dataclasses import dataclass

from alert_rules import queries as q
from alert_rules import thresholds as t
from nightlight import conventions as c


@dataclass(frozen=True)
class Recording:
    """One recorded series: its name and the query behind it."""

    name: str
    expr: str


def name(level: str, metric: c.Metric, operations: str) -> str:
    """The recorded name; a rate or an increase is no longer a `_total`."""
    return f"{level}:{metric.series.removesuffix('_total')}:{operations}"


REQUESTS = Recording(
    name("model", c.REQUESTS, f"increase{t.ERROR_WINDOW}"),
    q.request_count(q.BY_MODEL, t.ERROR_WINDOW),
)
ERRORS = Recording(
    name("model", c.REQUESTS, f"errors_increase{t.ERROR_WINDOW}"),
    q.error_count(q.BY_MODEL, t.ERROR_WINDOW),
)
ERROR_RATIO = Recording(
    name("model", c.REQUESTS, f"error_ratio{t.ERROR_WINDOW}"),
    q.ratio(ERRORS.name, REQUESTS.name),
)
RESET_REQUESTS = Recording(
    name("model", c.REQUESTS, f"increase{t.ERROR_RESET_WINDOW}"),
    q.request_count(q.BY_MODEL, t.ERROR_RESET_WINDOW),
)
RESET_ERROR_RATIO = Recording(
    name("model", c.REQUESTS, f"error_ratio{t.ERROR_RESET_WINDOW}"),
    q.ratio(q.error_count(q.BY_MODEL, t.ERROR_RESET_WINDOW), RESET_REQUESTS.name),
)

QUANTILE_NAME = f"p{100 * t.LATENCY_QUANTILE:g}"
LATENCY = Recording(
    name("model", c.REQUEST_DURATION, f"{QUANTILE_NAME}_{t.LATENCY_WINDOW}"),
    q.latency_quantile(t.LATENCY_QUANTILE, q.BY_MODEL, t.LATENCY_WINDOW),
)
LATENCY_CALLS = Recording(
    name("model", c.REQUEST_DURATION, f"count{t.LATENCY_WINDOW}"),
    q.answered_count(q.BY_MODEL, t.LATENCY_WINDOW),
)
BASELINE_LATENCY = Recording(
    name("model", c.REQUEST_DURATION, f"{QUANTILE_NAME}_{t.LATENCY_BASELINE_WINDOW}"),
    q.latency_quantile(t.LATENCY_QUANTILE, q.BY_MODEL, t.LATENCY_BASELINE_WINDOW),
)
BASELINE_LATENCY_CALLS = Recording(
    name("model", c.REQUEST_DURATION, f"count{t.LATENCY_BASELINE_WINDOW}"),
    q.answered_count(q.BY_MODEL, t.LATENCY_BASELINE_WINDOW),
)
LATENCY_CHANGE = Recording(
    name("model", c.REQUEST_DURATION, f"{QUANTILE_NAME}_{t.LATENCY_WINDOW}_to_{t.LATENCY_BASELINE_WINDOW}_ratio"),
    # The offset keeps an incident out of its own baseline.
    f"{LATENCY.name} / ({BASELINE_LATENCY.name} offset {t.LATENCY_BASELINE_OFFSET})",
)

WEEKLY_SPEND_NAME = name("service", c.COST, f"rate{t.SPEND_BASELINE_WINDOW}_avg1w")
IDLE_IS_ZERO = f"or 0 * ({WEEKLY_SPEND_NAME} > 0)"
"""A service that spent anything in the last week and is idle now spends 0, which counts in means and minima."""

SPEND = Recording(
    name("service", c.COST, f"rate{t.SPEND_WINDOW}"),
    f"{q.spend_rate(q.BY_SERVICE, t.SPEND_WINDOW)}\n{IDLE_IS_ZERO}",
)
HOURLY_SPEND = Recording(
    name("service", c.COST, f"rate{t.SPEND_BASELINE_WINDOW}"),
    f"{q.spend_rate(q.BY_SERVICE, t.SPEND_BASELINE_WINDOW)}\n{IDLE_IS_ZERO}",
)
USUAL_SPEND = Recording(
    name("service", c.COST, f"rate{t.SPEND_BASELINE_WINDOW}_same_hour_median{t.SPEND_BASELINE_WEEKS}w"),
    f"{q.same_hour_median(HOURLY_SPEND.name, q.BY_SERVICE, t.SPEND_BASELINE_WEEKS)}\n"
    f"# Nothing is usual yet in a service's first week.\n"
    f"and {HOURLY_SPEND.name} offset {t.SPEND_MIN_HISTORY}",
)
WEEKLY_SPEND = Recording(WEEKLY_SPEND_NAME, f"avg_over_time({HOURLY_SPEND.name}[1w])")

GROUPS: dict[str, tuple[str, tuple[Recording, ...]]] = {
    # Within a group rules run in order, so what others build on comes first.
    "llm.windows": (
        t.WINDOW_INTERVAL,
        (REQUESTS, ERRORS, ERROR_RATIO, RESET_REQUESTS, RESET_ERROR_RATIO, LATENCY, LATENCY_CALLS, LATENCY_CHANGE),
    ),
    "llm.baselines": (
        t.BASELINE_INTERVAL,
        (BASELINE_LATENCY, BASELINE_LATENCY_CALLS, WEEKLY_SPEND, SPEND, HOURLY_SPEND, USUAL_SPEND),
    ),
}
RECORDINGS = tuple(recording for _, recordings in GROUPS.values() for recording in recordings)


def groups() -> list[dict[str, object]]:
    """The recording rules as Prometheus reads them."""
    return [
        {"name": group, "interval": interval, "rules": [{"record": r.name, "expr": r.expr} for r in recordings]}
        for group, (interval, recordings) in GROUPS.items()
    ]
