"""What PromQL refers to, for the tests of rules, boards and runbooks."""

from __future__ import annotations

import promql_parser

from alert_rules import recording
from nightlight import conventions as c

KNOWN_SERIES = {metric.series for metric in c.METRICS} | {r.name for r in recording.RECORDINGS} | {"ALERTS"}

KNOWN_LABELS = {
    *c.RESOURCE_LABELS,
    *c.CALL_LABELS,
    *(label for metric in c.METRICS for label in metric.labels),
    *("alertname", "alertstate"),
}

KNOWN_VALUES = {c.OUTCOME_LABEL: c.OUTCOMES, c.ERROR_KIND_LABEL: c.ERROR_KINDS, c.TOKEN_TYPE_LABEL: c.TOKEN_TYPES}


def selectors(expr: str) -> list[promql_parser.VectorSelector]:
    """Every selector in a query; raises if Prometheus could not read it."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def unknown_names(expr: str) -> set[str]:
    """The series, labels and label values in a query that nothing produces."""
    matchers = [matcher for selector in selectors(expr) for matcher in selector.matchers.matchers]
    series = {selector.name for selector in selectors(expr)} - KNOWN_SERIES
    labels = {matcher.name for matcher in matchers} - KNOWN_LABELS
    values = {
        value
        for matcher in matchers
        for value in matcher.value.split("|")
        if value not in KNOWN_VALUES.get(matcher.name, (value,))
    }
    return {str(name) for name in series | labels | values}
