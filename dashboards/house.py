"""The house style, and the only importer of grafanalib.

Functions that return grafanalib objects with our defaults; a board states only titles, questions, queries and
units. grafanalib 0.7.1 writes the JSON of Grafana 6, so ``modern`` keeps the keys that schema 42 knows and drops
the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import attr
from grafanalib import core
from grafanalib._gen import DashboardEncoder

Json = dict[str, Any]

METRICS: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
TRACES: Final[Json] = {"type": "tempo", "uid": "tempo"}
LOGS: Final[Json] = {"type": "loki", "uid": "loki"}

SCHEMA_VERSION: Final = 42  # the last of the classic model; Grafana 13 reads it without migrations

DASHBOARD_KEYS: Final = frozenset(
    {"annotations", "description", "editable", "graphTooltip", "links", "panels", "refresh", "schemaVersion", "tags"}
    | {"templating", "time", "timepicker", "timezone", "title", "uid"}
)
PANEL_KEYS: Final = frozenset(
    {"datasource", "description", "fieldConfig", "gridPos", "id", "links", "options", "targets", "title"}
    | {"transformations", "type"}
)
VARIABLE_KEYS: Final = frozenset(
    {"allValue", "current", "datasource", "hide", "includeAll", "label", "multi", "name", "options", "query"}
    | {"refresh", "regex", "sort", "type"}
)

# --- Targets: grafanalib's have no exemplars, no Tempo, no Loki, and all share one refId -----------------------------


@dataclass(frozen=True)
class PromTarget:
    """A PromQL query."""

    expr: str
    legend: str = ""
    ref_id: str = "A"
    exemplar: bool = False
    instant: bool = False
    format: str = "time_series"

    def to_json_data(self) -> Json:
        """The target as Grafana 13 writes it."""
        return {
            "datasource": METRICS,
            "editorMode": "code",
            "exemplar": self.exemplar,
            "expr": self.expr,
            "format": self.format,
            "instant": self.instant,
            "legendFormat": self.legend,
            "range": not self.instant,
            "refId": self.ref_id,
        }


@dataclass(frozen=True)
class TempoTarget:
    """A TraceQL search for spans."""

    query: str
    limit: int = 20

    def to_json_data(self) -> Json:
        """The target as Grafana 13 writes it."""
        return {
            "datasource": TRACES,
            "limit": self.limit,
            "query": self.query,
            "queryType": "traceql",
            "refId": "A",
            "tableType": "spans",
        }


@dataclass(frozen=True)
class LokiTarget:
    """A LogQL query for lines."""

    expr: str

    def to_json_data(self) -> Json:
        """The target as Grafana 13 writes it."""
        return {"datasource": LOGS, "editorMode": "code", "expr": self.expr, "queryType": "range", "refId": "A"}


# --- Panels ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What every panel says of itself. ``action`` is what to do about a bad answer to the question."""

    id: int
    title: str
    question: str
    action: str
    unit: str = "none"
    no_value: str = "No calls"
    limit: float | None = None  # red from here on: an alert's own constant
    runbook: str | None = None

    @property
    def arguments(self) -> Json:
        """What all of grafanalib's panels take."""
        return {
            "id": self.id,
            "title": self.title,
            "description": f"{self.question} {self.action}",
            "thresholds": steps(self.limit),
            "links": [{"title": "Runbook", "url": self.runbook, "targetBlank": True}] if self.runbook else [],
        }


def steps(limit: float | None) -> list[Json]:
    """Green, and red from the limit on."""
    green: Json = {"color": "green", "value": None}
    return [green] if limit is None else [green, {"color": "red", "value": limit}]


def lettered(targets: tuple[PromTarget, ...], **settings: Any) -> list[PromTarget]:
    """The targets with these settings, under the ids A, B, C and so on, without which Grafana runs only one."""
    return [replace(target, ref_id=chr(ord("A") + place), **settings) for place, target in enumerate(targets)]


def defaults(**settings: object) -> Json:
    """Field settings that grafanalib has no argument for."""
    return {"fieldConfig": {"defaults": settings}}


def timeseries(about: About, *targets: PromTarget) -> core.TimeSeries:
    """Lines over time; a limit is drawn as a red area."""
    return core.TimeSeries(
        **about.arguments,
        dataSource=METRICS,
        targets=lettered(targets),
        unit=about.unit,
        fillOpacity=10,
        showPoints="auto",  # a lone call is a point, and a line would not show it
        axisSoftMin=0,
        legendCalcs=["lastNotNull"],
        tooltipMode="multi",
        tooltipSort="desc",
        thresholdsStyleMode="off" if about.limit is None else "line+area",
        stacking={"mode": "none", "group": "A"},
        extraJson=defaults(noValue=about.no_value) | {"options": {"legend": {"showLegend": True}}},
    )


def stat(about: About, *targets: PromTarget, text: str = "value") -> core.Stat:
    """The value now, on a coloured ground. ``text`` is what to show: the value, or the name of the series."""
    return core.Stat(
        **about.arguments,
        dataSource=METRICS,
        targets=lettered(targets, instant=True),
        format=about.unit,
        noValue=about.no_value,
        reduceCalc="lastNotNull",
        colorMode="background",
        graphMode="none",
        textMode=text,
        extraJson=defaults(color={"mode": "thresholds"}),
    )


def table(about: About, units: dict[str, str], *targets: PromTarget) -> core.Table:
    """One row per label set. ``units`` names a column for each target, in their order."""
    asked = lettered(targets, instant=True, format="table")
    columns = {f"Value #{target.ref_id}": column for target, column in zip(asked, units, strict=True)}
    return core.Table(
        **about.arguments,
        dataSource=METRICS,
        targets=asked,
        unit=about.unit,
        overrides=[
            {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "unit", "value": unit}]}
            for column, unit in units.items()
        ],
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": columns}},
        ],
        extraJson=defaults(noValue=about.no_value),
    )


def spans(about: About, query: str) -> core.Table:
    """The spans that a TraceQL query finds; a click opens the trace."""
    return core.Table(
        **about.arguments,
        dataSource=TRACES,
        targets=[TempoTarget(query)],
        unit=about.unit,
        extraJson=defaults(noValue=about.no_value),
    )


def logs(about: About, query: str) -> core.Logs:
    """The log lines that a LogQL query finds, newest first."""
    return core.Logs(
        **about.arguments,
        dataSource=LOGS,
        targets=[LokiTarget(query)],
        showTime=True,
        wrapLogMessages=True,
        enableLogDetails=True,  # where a line's trace id becomes a link
        extraJson=defaults(noValue=about.no_value),
    )


Rows = list[tuple[int, list[tuple[int, Any]]]]


def place(rows: Rows) -> list[Any]:
    """The panels on the grid, row under row. Rows are (height, [(width, panel), ...])."""
    placed = []
    top = 0
    for height, cells in rows:
        left = 0
        for width, panel in cells:
            placed.append(attr.evolve(panel, gridPos=core.GridPos(h=height, w=width, x=left, y=top)))
            left += width
        top += height
    return placed


# --- Variables -------------------------------------------------------------------------------------------------------


def datasource_variable() -> core.Template:
    """Which Prometheus to ask."""
    return core.Template(
        name="datasource", label="Metrics", type="datasource", query="prometheus", default="prometheus"
    )


def label_variable(name: str, series: str, label: str, everything: str) -> core.Template:
    """Which values of a label to show; all at first. ``everything`` is the regular expression that All stands for."""
    return core.Template(
        name=name,
        label=name.capitalize(),
        dataSource=METRICS,
        query=f"label_values({series}, {label})",
        default="$__all",
        includeAll=True,
        allValue=everything,
        multi=True,
        refresh=2,  # when the time range changes: the models of last week are not those of today
    )


# --- Board -----------------------------------------------------------------------------------------------------------


def board(uid: str, title: str, question: str, variables: list[core.Template], rows: Rows) -> Json:
    """The board as Grafana reads it."""
    return modern(
        core.Dashboard(
            uid=uid,
            title=title,
            description=f"{question} Generated by `make generate` from dashboards/. Do not edit.",
            tags=["nightlight", "generated"],
            editable=False,
            graphTooltip=core.GRAPH_TOOLTIP_MODE_SHARED_CROSSHAIR,
            panels=place(rows),
            refresh="30s",
            schemaVersion=SCHEMA_VERSION,
            templating=core.Templating(variables),
            time=core.Time("now-1h", "now"),  # shows an incident's onset; last night is one click away
            timezone="browser",
        )
    )


def modern(dashboard: core.Dashboard) -> Json:
    """The dashboard without the keys of older Grafanas."""
    raw = json.loads(json.dumps(dashboard, cls=DashboardEncoder))
    kept: Json = without_none(only(raw, DASHBOARD_KEYS))
    return kept | {
        "panels": [modern_panel(panel) for panel in kept["panels"]],
        "templating": {"list": [modern_variable(variable) for variable in kept["templating"]["list"]]},
        "timepicker": {},
    }


def modern_panel(panel: Json) -> Json:
    """The panel; a table's cells no longer have a display mode."""
    kept = only(panel, PANEL_KEYS)
    kept["fieldConfig"]["defaults"].get("custom", {}).pop("displayMode", None)
    return kept


def modern_variable(variable: Json) -> Json:
    """The variable, its current choice in today's form."""
    chosen = variable["current"]["value"]
    current = {"text": ["All"], "value": [chosen]} if variable["multi"] else {"text": chosen, "value": chosen}
    return only(variable, VARIABLE_KEYS) | {"current": current}


def only(mapping: Json, keys: frozenset[str]) -> Json:
    """The mapping with these keys alone."""
    return {key: value for key, value in mapping.items() if key in keys}


def without_none(value: Any) -> Any:
    """The value without unset keys, but for a threshold's lowest step, where null means minus infinity."""
    if isinstance(value, list):
        return [without_none(item) for item in value]
    if not isinstance(value, dict) or value.keys() == {"color", "value"}:
        return value
    return {key: without_none(item) for key, item in value.items() if item is not None}
