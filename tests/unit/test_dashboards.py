"""The generated boards: they fit the screen, ask about series that exist, and agree with the alerts."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

import dashboards
from alert_rules import links
from alert_rules import thresholds as t
from tests.unit.promql import unknown_names

BOARDS: list[dict[str, Any]] = [json.loads(text) for text in dashboards.build().values()]
PANELS: list[dict[str, Any]] = [panel for board in BOARDS for panel in board["panels"]]
GOLDEN = next(board for board in BOARDS if board["uid"] == links.GOLDEN_SIGNALS)
BY_ID: dict[int, dict[str, Any]] = {panel["id"]: panel for panel in GOLDEN["panels"]}

COLUMNS = 24
SCREEN_UNITS = 22  # of 38 pixels: what 1080 leave below the browser's bars and Grafana's
MOST_PANELS = 12

# Of Grafana's units, those in use; it takes any text and shows it as it is.
UNITS = {"none", "short", "reqps", "s", "percentunit", "currencyUSD", "suffix: times"}
DATASOURCES = {
    ("prometheus", "${datasource}"): "prometheus",
    ("tempo", "tempo"): "tempo",
    ("loki", "loki"): "loki",
}

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def limits(panel: dict[str, Any]) -> list[float]:
    """From where on the panel is red."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [step["value"] for step in steps if step["color"] == "red"]


def covers(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The cells of the grid that a panel takes."""
    place = panel["gridPos"]
    return {
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    }


@each_board
def test_a_board_is_modern_and_shares_its_crosshair(board: dict[str, Any]) -> None:
    """No keys of old Grafanas, so no migration on load; a cursor on one panel shows on all."""
    assert board["schemaVersion"] == 42
    assert board["graphTooltip"] == 1
    assert board["editable"] is False
    assert board.keys().isdisjoint({"rows", "style", "hideControls", "sharedCrosshair", "__inputs", "gnetId", "id"})
    assert "make generate" in board["description"]


@each_board
def test_a_board_fits_one_screen(board: dict[str, Any]) -> None:
    """At three in the morning nobody scrolls."""
    cells = set[tuple[int, int]]().union(*map(covers, board["panels"]))

    assert len(board["panels"]) <= MOST_PANELS
    assert max(x for x, _ in cells) < COLUMNS
    assert max(y for _, y in cells) < SCREEN_UNITS


@each_board
def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    """Grafana would push one down, off the screen."""
    assert [
        (one["title"], other["title"]) for one, other in combinations(board["panels"], 2) if covers(one) & covers(other)
    ] == []


@each_board
def test_panel_ids_are_given_once(board: dict[str, Any]) -> None:
    """Links lead to them."""
    ids = [panel["id"] for panel in board["panels"]]

    assert sorted(set(ids)) == sorted(ids)


@each_board
def test_a_board_has_one_model_variable_with_all_and_a_choice_of_data_source(board: dict[str, Any]) -> None:
    """The model variable takes several models."""
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}

    assert variables["datasource"]["type"] == "datasource"
    assert variables["model"]["query"] == "label_values(llm_requests_total, model)"
    assert variables["model"]["multi"]
    assert variables["model"]["includeAll"]


@each_panel
def test_a_panel_asks_a_question_and_says_what_to_do(panel: dict[str, Any]) -> None:
    """And says something when there is nothing to show."""
    assert re.fullmatch(r"[A-Z][^?]+\? .+\.", panel["description"])
    assert not panel["title"].endswith("?")
    assert panel["fieldConfig"]["defaults"]["noValue"]


@each_panel
def test_a_panel_has_units(panel: dict[str, Any]) -> None:
    """A table has one for each column of numbers; spans and log lines bring their own."""
    if panel["type"] == "logs" or panel["datasource"]["type"] == "tempo":
        return
    overrides = panel["fieldConfig"]["overrides"]
    columns = [setting["value"] for override in overrides for setting in override["properties"]]

    assert {panel["fieldConfig"]["defaults"]["unit"], *columns} <= UNITS
    if panel["type"] == "table":
        assert len(columns) == len(panel["targets"])


@each_panel
def test_a_panel_has_targets_on_a_known_data_source(panel: dict[str, Any]) -> None:
    """With an id each, without which Grafana runs only one."""
    refs = [target["refId"] for target in panel["targets"]]

    assert refs
    assert len(set(refs)) == len(refs)
    for holder in (panel, *panel["targets"]):
        assert (holder["datasource"]["type"], holder["datasource"]["uid"]) in DATASOURCES


@each_panel
def test_a_panels_queries_ask_for_what_exists(panel: dict[str, Any]) -> None:
    """They parse, once Grafana has put in its intervals, and name known series, labels and values."""
    if panel["datasource"]["type"] != "prometheus":
        return
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h")
        assert unknown_names(expr) == set()


@each_panel
def test_a_panel_that_rates_uses_grafanas_interval(panel: dict[str, Any]) -> None:
    """A fixed one would leave holes, or blur, when the time range changes."""
    for target in panel["targets"]:
        windows = re.findall(r"\[(.+?)\]", target.get("expr", ""))
        assert set(windows) <= {"$__rate_interval", "$__range"}


def test_red_on_the_board_is_where_the_alerts_are() -> None:
    """The same constants, so that nobody asks which one is right."""
    assert limits(BY_ID[links.ERROR_RATIO_PANEL]) == [t.ERROR_RATIO_LIMIT]
    assert limits(BY_ID[links.LATENCY_CHANGE_PANEL]) == [t.LATENCY_RATIO_LIMIT]
    drawn = [target["expr"] for target in BY_ID[links.SPEND_AGAINST_USUAL_PANEL]["targets"]]
    assert drawn[1].startswith(f"{t.SPEND_RATIO_LIMIT} * ")


def test_latency_has_exemplars_once() -> None:
    """Each target with exemplars would draw the same dots again."""
    [latency] = [panel for panel in GOLDEN["panels"] if panel["title"].startswith("Latency")]

    assert [target["exemplar"] for target in latency["targets"]] == [False, True, False]


def test_what_is_unknown_is_not_shown_as_zero() -> None:
    """Unpriced calls are counted; and without any call there is no number at all."""
    [unpriced] = [panel for panel in GOLDEN["panels"] if panel["title"] == "Unpriced calls"]

    assert "vector(0)" not in json.dumps(GOLDEN)
    assert limits(unpriced) == [t.UNPRICED_LIMIT_CALLS]
