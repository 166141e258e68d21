"""The generated rules: every alert is complete, every name known, every look-back within what is stored."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import alert_rules
from alert_rules import links, queries
from alert_rules import thresholds as t
from nightlight import conventions as c
from tests.unit.promql import selectors, unknown_names

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"

RULES: list[dict[str, Any]] = [
    rule for text in alert_rules.build().values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = [rule for rule in RULES if "record" in rule]

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule["alert"])
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])


def test_the_alerts_are_the_three_that_were_promised() -> None:
    """Their names are in other people's routes and silences."""
    assert {rule["alert"] for rule in ALERTS} == {c.LATENCY_DOUBLED, c.ERROR_RATE_HIGH, c.SPEND_SPIKE}


@each_alert
def test_an_alert_says_what_where_and_how_bad(alert: dict[str, Any]) -> None:
    """Someone reads it at three in the morning."""
    assert alert["labels"][c.SEVERITY_LABEL] in c.SEVERITIES
    assert alert["labels"][c.LAYER_LABEL] in c.LAYERS
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert alert["annotations"]["summary"].endswith(".")
    assert "$" not in alert["annotations"]["summary"], "grouped alerts share one summary"
    assert "$value" in alert["annotations"]["description"]
    assert f"$labels.{c.SERVICE_LABEL}" in alert["annotations"]["description"]


@each_alert
def test_an_alert_keeps_its_identity_while_it_fires(alert: dict[str, Any]) -> None:
    """A value in a label would make a new alert of every evaluation."""
    assert "{{" not in "".join(alert["labels"].values())


@each_alert
def test_an_alert_is_guarded(alert: dict[str, Any]) -> None:
    """A bare comparison pages for one failure of forty; each alert has a second condition."""
    assert "\nand " in alert["expr"]


@each_alert
def test_an_alert_opens_a_runbook_that_exists(alert: dict[str, Any]) -> None:
    """With the four parts of which none can be left out."""
    name = alert["alert"]

    assert alert["annotations"]["runbook_url"] == f"{links.RUNBOOKS}/{name}.md"
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^#+ (.+)$", text, re.MULTILINE) == [name, "Meaning", "Impact", "Diagnosis", "Mitigation"]


def test_every_runbook_has_an_alert() -> None:
    """A runbook of a removed alert misleads."""
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbooks_queries_run(path: Path) -> None:
    """They parse, and ask for series and labels that exist."""
    found = re.findall(r"```promql\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)

    assert found
    assert {query: unknown_names(query) for query in found} == {query: set() for query in found}


@each_alert
def test_an_alert_opens_a_panel_that_exists_and_draws_it(alert: dict[str, Any]) -> None:
    """The panel shows the first thing that the alert compares."""
    found = re.fullmatch(r".*/d/([\w-]+)\?viewPanel=(\d+)(.*)", alert["annotations"]["dashboard_url"])
    assert found
    uid, panel_id, variables = found.groups()

    board = json.loads((ROOT / "dashboards" / "generated" / f"{uid}.json").read_text(encoding="utf-8"))
    panels = {panel["id"]: panel for panel in board["panels"]}
    drawn = "".join(target["expr"] for target in panels[int(panel_id)]["targets"])

    assert str(selectors(alert["expr"])[0].name) in drawn
    assert set(re.findall(r"var-(\w+)=", variables)) <= {variable["name"] for variable in board["templating"]["list"]}


@each_alert
def test_an_alert_is_tested_to_fire_clear_and_stay_silent(alert: dict[str, Any]) -> None:
    """In promtool's cases, whose names are sentences that begin with the alert's name."""
    files = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "tests" / "rules").glob("*.test.yaml")
    ]
    names = " / ".join(
        case["name"] for file in files for case in file["tests"] if case["name"].split()[0] == alert["alert"]
    )

    for behaviour in ("fires", "clears", "is silent", "without data"):
        assert behaviour in names


@each_rule
def test_a_rule_names_only_what_exists(rule: dict[str, Any]) -> None:
    """Prometheus would answer a misspelt name with silence."""
    assert unknown_names(rule["expr"]) == set()


@each_rule
def test_a_rule_looks_back_no_further_than_prometheus_stores(rule: dict[str, Any]) -> None:
    """Two days of margin, for blocks are dropped whole."""
    furthest = max(selector.offset or timedelta() for selector in selectors(rule["expr"]))

    assert furthest <= timedelta(days=t.PROMETHEUS_RETENTION_DAYS - 2)


def test_prometheus_is_told_to_store_that_much() -> None:
    """The compose file repeats the number."""
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")

    assert f"--storage.tsdb.retention.time={t.PROMETHEUS_RETENTION_DAYS}d" in compose


@pytest.mark.parametrize("rule", RECORDED, ids=lambda rule: rule["record"])
def test_a_recorded_series_says_its_level_metric_and_operations(rule: dict[str, Any]) -> None:
    """Two colons, and the metric is one of ours."""
    level, metric, operations = rule["record"].split(":")

    assert level in {"model", "service"}
    assert metric in {known.series.removesuffix("_total") for known in c.METRICS}
    assert re.fullmatch(r"[a-z]\w+", operations)


def test_every_recorded_series_is_used() -> None:
    """By an alert or by another recording."""
    used = {selector.name for rule in RULES for selector in selectors(rule["expr"])}

    assert {rule["record"] for rule in RECORDED} - used == set()


def test_the_levels_are_the_labels_that_alerts_carry() -> None:
    """Services and environments are never mixed."""
    assert queries.BY_SERVICE == (c.SERVICE_LABEL, c.ENVIRONMENT_LABEL)
    assert queries.BY_MODEL == (c.SERVICE_LABEL, c.ENVIRONMENT_LABEL, c.MODEL_LABEL)
