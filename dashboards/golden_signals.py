"""The board for three in the morning: is anything wrong with our LLM calls, what, and show me one."""

from __future__ import annotations

from alert_rules import links
from alert_rules import queries as q
from alert_rules import recording as r
from alert_rules import thresholds as t
from dashboards.house import (
    About,
    Json,
    PromTarget,
    board,
    datasource_variable,
    label_variable,
    logs,
    spans,
    stat,
    table,
    timeseries,
)
from nightlight import conventions as c

NOW = "$__rate_interval"
SHOWN = "$__range"

OF_SERVICE = f'{c.SERVICE_LABEL}=~"$service"'
CHOSEN = (OF_SERVICE, f'{c.MODEL_LABEL}=~"$model"')

BY_FEATURE_AND_MODEL = (c.FEATURE_LABEL, c.MODEL_LABEL)
FEATURE_AND_MODEL = f"{{{{{c.FEATURE_LABEL}}}}} · {{{{{c.MODEL_LABEL}}}}}"
SERVICE_AND_MODEL = f"{{{{{c.SERVICE_LABEL}}}}} · {{{{{c.MODEL_LABEL}}}}}"


def chosen(recording: r.Recording, *where: str) -> str:
    """The recorded series of what the variables choose."""
    return f"{recording.name}{{{', '.join(where)}}}"


FIRING = stat(
    About(
        id=1,
        title="Firing alerts",
        question="Is anything on fire?",
        action="If red, open the panel below that carries the alert's runbook link, and follow the runbook.",
        no_value="None",
        limit=1,  # ALERTS is 1 for an alert that fires
    ),
    PromTarget('ALERTS{alertname=~"LLM.+", alertstate="firing"}', "{{alertname}} {{service_name}} {{model}}"),
    text="name",
)

UNPRICED = stat(
    About(
        id=2,
        title="Unpriced calls",
        question="Is the spend on this board all of it?",
        action=(
            "If red, it is a lower bound: calls of unknown cost, estimated over the time shown. Add the models' prices."
        ),
        unit="short",
        limit=t.UNPRICED_LIMIT_CALLS,
    ),
    PromTarget(q.unpriced_count(SHOWN, *CHOSEN), "calls"),
)

REQUESTS = timeseries(
    About(
        id=3,
        title="Request rate",
        question="Is traffic as usual?",
        action="A fall to nothing is an outage of the application or its telemetry: check the Collector first.",
        unit="reqps",
    ),
    PromTarget(q.request_rate(BY_FEATURE_AND_MODEL, NOW, *CHOSEN), FEATURE_AND_MODEL),
)

LATENCY = timeseries(
    About(
        id=4,
        title="Latency p50, p95, p99",
        question="How long do callers wait for an answer?",
        action="If it rises, click an exemplar (a dot) for a slow trace; p99 alone is a few calls, p50 is everyone.",
        unit="s",
        no_value="No answered calls",
    ),
    *(
        PromTarget(
            q.latency_quantile(quantile, (c.MODEL_LABEL,), NOW, *CHOSEN),
            f"p{100 * quantile:g} {{{{{c.MODEL_LABEL}}}}}",
            exemplar=quantile == t.LATENCY_QUANTILE,  # once; each target would draw the same dots
        )
        for quantile in (0.5, 0.95, 0.99)
    ),
)

FAILURES = timeseries(
    About(
        id=5,
        title="Errors and refusals by kind",
        question="Is it us or the provider?",
        action=(
            "rate_limit, quota, timeout and server point to the provider; auth, invalid_request and context_length to "
            "a change of ours; refused and filtered to the prompts."
        ),
        unit="reqps",
        no_value="None failed, or no calls",
    ),
    PromTarget(
        q.request_rate((c.OUTCOME_LABEL, c.ERROR_KIND_LABEL), NOW, q.NOT_ANSWERED_AS_ASKED, *CHOSEN),
        f"{{{{{c.OUTCOME_LABEL}}}}} {{{{{c.ERROR_KIND_LABEL}}}}}",
    ),
)

SPEND = timeseries(
    About(
        id=6,
        title="Spend per hour",
        question="Who is spending the money?",
        action="If a line climbs, compare it with its request rate, to tell more calls from dearer ones.",
        unit="currencyUSD",
        no_value="No priced calls",
    ),
    PromTarget(q.usd_per_hour(q.spend_rate(BY_FEATURE_AND_MODEL, NOW, *CHOSEN)), FEATURE_AND_MODEL),
)

ERROR_RATIO = timeseries(
    About(
        id=links.ERROR_RATIO_PANEL,
        title=f"Error ratio, {t.ERROR_WINDOW}",
        question="Are users failing?",
        action=f"If red, {c.ERROR_RATE_HIGH} fires as soon as chance is ruled out: find the kind of error above.",
        unit="percentunit",
        limit=t.ERROR_RATIO_LIMIT,
        runbook=links.runbook_url(c.ERROR_RATE_HIGH),
    ),
    PromTarget(chosen(r.ERROR_RATIO, *CHOSEN), SERVICE_AND_MODEL),
)

LATENCY_CHANGE = timeseries(
    About(
        id=links.LATENCY_CHANGE_PANEL,
        title=f"{r.QUANTILE_NAME} against the hour before",
        question="Is it slower than it was?",
        action=f"If red, {c.LATENCY_DOUBLED} fires: see whether all models of the provider are slow.",
        unit="suffix: times",
        no_value=f"Needs {t.LATENCY_MIN_CALLS} calls in {t.LATENCY_WINDOW}, and an hour before",
        limit=t.LATENCY_RATIO_LIMIT,
        runbook=links.runbook_url(c.LATENCY_DOUBLED),
    ),
    PromTarget(
        f"{chosen(r.LATENCY_CHANGE, *CHOSEN)} and {chosen(r.LATENCY_CALLS, *CHOSEN)} >= {t.LATENCY_MIN_CALLS}",
        SERVICE_AND_MODEL,
    ),
)

SPEND_AGAINST_USUAL = timeseries(
    About(
        id=links.SPEND_AGAINST_USUAL_PANEL,
        title="Spend per hour against the usual",
        question="Are we burning money?",
        action=(
            f"If a service stays above its limit for {t.SPEND_PERSISTENCE}, {c.SPEND_SPIKE} fires: find who spends in "
            "spend per hour. A service has no limit in its first week. All models."
        ),
        unit="currencyUSD",
        no_value="No priced calls",
        runbook=links.runbook_url(c.SPEND_SPIKE),
    ),
    PromTarget(q.usd_per_hour(chosen(r.SPEND, OF_SERVICE)), "{{service_name}}"),
    PromTarget(
        f"{t.SPEND_RATIO_LIMIT} * {q.usd_per_hour(chosen(r.USUAL_SPEND, OF_SERVICE))}", "{{service_name}} limit"
    ),
)

FEATURES = table(
    About(
        id=10,
        title="Features and models",
        question="Which feature and which model is it?",
        action="Averages over the time shown: sort by the column that is bad, then choose that model above.",
    ),
    {"Calls/s": "reqps", "p50": "s", "p95": "s", "p99": "s", "Errors": "percentunit", "USD/h": "currencyUSD"},
    PromTarget(q.request_rate(BY_FEATURE_AND_MODEL, SHOWN, *CHOSEN)),
    *(PromTarget(q.latency_quantile(quantile, BY_FEATURE_AND_MODEL, SHOWN, *CHOSEN)) for quantile in (0.5, 0.95, 0.99)),
    PromTarget(q.error_ratio(BY_FEATURE_AND_MODEL, SHOWN, *CHOSEN)),
    PromTarget(q.usd_per_hour(q.spend_rate(BY_FEATURE_AND_MODEL, SHOWN, *CHOSEN))),
)

FAILED_OR_SLOW = spans(
    About(
        id=11,
        title="Failed or slow calls",
        question="What does one look like?",
        action=f"Open a trace: each call failed or took over {t.SLOW_CALL_SECONDS} s.",
        no_value="None failed or slow",
    ),
    f'{{ span.{c.REQUEST_MODEL} =~ "${{model:pipe}}" && resource.{c.SERVICE_NAME} =~ "${{service:pipe}}"'
    f" && (status = error || duration > {t.SLOW_CALL_SECONDS}s) }}"
    f" | select(span.{c.REQUEST_MODEL}, span.{c.FEATURE}, span.{c.OUTCOME}, span.{c.ERROR_KIND})",
)

WARNINGS = logs(
    About(
        id=12,
        title="Warnings and errors logged",
        question="What did the application say?",
        action="Open a line for its trace.",
        no_value="Nothing logged",
    ),
    f'{{{c.SERVICE_LABEL}=~"$service"}} | severity_text=~"ERROR|WARN.*"',
)


def build() -> Json:
    """The board."""
    return board(
        links.GOLDEN_SIGNALS,
        "LLM golden signals",
        "Do our LLM calls work, how fast, and what do they cost?",
        [
            datasource_variable(),
            label_variable("service", c.REQUESTS.series, c.SERVICE_LABEL, ".+"),  # Loki refuses .*
            label_variable("model", c.REQUESTS.series, c.MODEL_LABEL, ".*"),  # a call that names no model counts too
        ],
        # 22 units of height fit a 1080p screen below Grafana's own bars.
        [
            (3, [(18, FIRING), (6, UNPRICED)]),
            (6, [(6, REQUESTS), (6, LATENCY), (6, FAILURES), (6, SPEND)]),
            (6, [(8, ERROR_RATIO), (8, LATENCY_CHANGE), (8, SPEND_AGAINST_USUAL)]),
            (7, [(10, FEATURES), (7, FAILED_OR_SLOW), (7, WARNINGS)]),
        ],
    )
