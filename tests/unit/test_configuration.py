"""Hand-written configuration repeats names; each must be one that conventions.py owns."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from alert_rules import links, thresholds
from nightlight import conventions as names
from stack.native.programs import BUILDS, MODULES, module_version
from stack.native.servers import PROMETHEUS, START_ORDER
from stack.settings import PORTS, REPOSITORY, parse_env

COLLECTOR = (REPOSITORY / "collector" / "config.yaml").read_text()
CONFIG: dict[str, Any] = yaml.safe_load(COLLECTOR)
NORMALISE: dict[str, Any] = CONFIG["processors"]["transform/normalise"]
DATA_SOURCES = (REPOSITORY / "stack/grafana/provisioning/datasources/nightlight.yaml").read_text()
PINS = parse_env(REPOSITORY / ".env")

ATTRIBUTES = {
    value
    for name, value in vars(names).items()
    if name.isupper() and isinstance(value, str) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", value)
}
LABELS = {value for name, value in vars(names).items() if name.endswith("_LABEL")}


def test_the_collector_reads_and_sets_only_attributes_that_the_conventions_name() -> None:
    used = set(re.findall(r'attributes\["([a-z_]+(?:\.[a-z_]+)+)"\]', COLLECTOR))

    assert used - ATTRIBUTES == set(names.OLDER_NAMES)
    assert set(names.OLDER_NAMES.values()) <= used
    assert {names.OUTCOME, names.ERROR_KIND, names.COST_USD, names.UNPRICED} <= used


def test_the_collectors_tables_are_those_of_the_conventions() -> None:
    tables = [json.loads(text) for text in re.findall(r"Coalesce\(\[(\{.*?\})\]\)", str(NORMALISE))]

    assert tables == [names.OLDER_OPERATIONS, names.OLDER_PROVIDERS, names.PROVIDERS_BY_HOST]
    assert set(names.OLDER_OPERATIONS.values()) <= set(names.LEAF_OPERATIONS)


def test_what_is_normalised_is_done_only_for_spans_that_ask_for_it() -> None:
    """A block without a condition would cost CPU for every span of every app."""
    assert all(block["conditions"] for block in NORMALISE["trace_statements"])


def test_the_meters_spans_carry_only_known_labels() -> None:
    statements = str(CONFIG["processors"]["transform/labels"])
    used = set(re.findall(r'span\.attributes\["([a-z_]+)"\]', statements))

    assert used <= LABELS | {"time_per_output_token"}  # a number on its way into a histogram


def test_the_collector_derives_every_metric_with_exactly_its_labels_unit_and_note() -> None:
    derived: dict[str, dict[str, Any]] = {}
    for one in CONFIG["connectors"]["signal_to_metrics"]["spans"]:
        kind = "counter" if "sum" in one else "histogram"
        labels = tuple(attribute["key"] for attribute in one["attributes"])
        found = {"unit": one["unit"], "note": one["description"], "kind": kind, "labels": labels}
        assert derived.setdefault(one["name"], found) == found
        assert kind == "histogram" or one["sum"]["monotonic"] is True
    durations = CONFIG["connectors"]["span_metrics"]
    derived[f"{durations['namespace']}.duration"] = {
        "unit": durations["histogram"]["unit"],
        "note": names.REQUEST_DURATION.note,
        "kind": "histogram",
        "labels": tuple(dimension["name"] for dimension in durations["dimensions"]),
    }

    assert derived == {
        metric.name: {
            "unit": metric.unit,
            "note": metric.note,
            "kind": metric.kind,
            "labels": (*names.CALL_LABELS, *metric.labels),
        }
        for metric in names.METRICS
    }


def test_every_token_type_is_counted_from_its_own_attribute() -> None:
    counted = {
        attribute["default_value"]: re.findall(r'"(.+)"', one["sum"]["value"])
        for one in CONFIG["connectors"]["signal_to_metrics"]["spans"]
        if one["name"] == names.TOKENS.name
        for attribute in one["attributes"]
        if attribute["key"] == names.TOKEN_TYPE_LABEL
    }

    assert counted == {
        "input": [names.INPUT_TOKENS],
        "output": [names.OUTPUT_TOKENS],
        "cache_read": [names.CACHE_READ_TOKENS],
        "cache_write": [names.CACHE_WRITE_TOKENS],
        "reasoning": [names.REASONING_TOKENS],
    }
    assert tuple(counted) == names.TOKEN_TYPES


def test_the_collector_gives_only_known_outcomes_kinds_reasons_and_sizes() -> None:
    for attribute, allowed in (
        (names.OUTCOME, names.OUTCOMES),
        (names.ERROR_KIND, names.ERROR_KINDS),
        (names.UNPRICED, names.UNPRICED_REASONS),
        (names.PROMPT_SIZE_LABEL, names.PROMPT_SIZES),
    ):
        given = set(re.findall(rf'set\(span\.attributes\["{re.escape(attribute)}"\], "([^"]*)"\)', COLLECTOR))
        assert given, attribute
        assert given <= set(allowed), attribute


def test_only_leaf_operations_are_metered() -> None:
    assert f"^({'|'.join(names.LEAF_OPERATIONS)})$$" in COLLECTOR


def test_the_feature_of_an_unattributed_call_has_its_name() -> None:
    assert f'Coalesce([span.attributes["{names.FEATURE}"], "{names.UNATTRIBUTED}"])' in COLLECTOR


def test_every_exporter_retries_forever_and_queues_on_disk() -> None:
    for name, exporter in CONFIG["exporters"].items():
        if name == "debug/dropped_traces":  # keeps nothing, on purpose
            continue
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0, name
        # The one without a queue has the meter's queue in front of it.
        durable = exporter["sending_queue"].get("storage") == "file_storage/queues"
        assert durable or name == "otlp_http/prometheus_meter", name


def test_the_memory_limiter_is_first_in_every_pipeline_that_receives_from_outside() -> None:
    for name, pipeline in CONFIG["service"]["pipelines"].items():
        if "otlp" in pipeline["receivers"]:
            assert pipeline["processors"][0] == "memory_limiter", name


def test_prometheus_promotes_the_resource_attributes_that_become_labels() -> None:
    config = yaml.safe_load((REPOSITORY / "stack/prometheus/prometheus.yml").read_text())
    promoted = config["otlp"]["promote_resource_attributes"]

    assert {names.SERVICE_NAME, names.ENVIRONMENT} <= set(promoted)
    assert tuple(name.replace(".", "_") for name in (names.SERVICE_NAME, names.ENVIRONMENT)) == names.RESOURCE_LABELS
    assert config["otlp"]["translation_strategy"] == "UnderscoreEscapingWithSuffixes"


def test_prometheus_keeps_what_the_baselines_look_back_to() -> None:
    assert f"--storage.tsdb.retention.time={thresholds.PROMETHEUS_RETENTION_DAYS}d" in PROMETHEUS.arguments


def test_prometheus_scrapes_every_part_of_the_stack() -> None:
    config = yaml.safe_load((REPOSITORY / "stack/prometheus/prometheus.yml").read_text())

    assert {job["job_name"] for job in config["scrape_configs"]} == {server.name for server in START_ORDER}


def test_data_sources_have_the_uids_and_names_that_boards_use() -> None:
    sources = {source["uid"]: source for source in yaml.safe_load(DATA_SOURCES)["datasources"]}

    assert set(sources) == {"prometheus", "tempo", "loki"}
    assert names.REQUEST_DURATION.series in DATA_SOURCES
    assert f"key: {names.REQUEST_MODEL}, value: {names.MODEL_LABEL}" in DATA_SOURCES
    assert f"key: {names.SERVICE_NAME}, value: {names.SERVICE_LABEL}" in DATA_SOURCES


def test_alerts_link_to_the_grafana_that_the_stack_runs() -> None:
    assert f"http://127.0.0.1:{PORTS['grafana']['http']}" == links.GRAFANA


def test_every_address_in_the_configuration_is_one_that_the_native_runtime_moves() -> None:
    """A new port that PORTS does not know would stay where it is when --port-offset moves the rest."""
    known = {str(port) for ports in PORTS.values() for port in ports.values()}
    for file in [REPOSITORY / "collector/config.yaml", *sorted((REPOSITORY / "stack").glob("*/*.y*ml"))]:
        text = re.sub(r"#.*", "", file.read_text())
        assert set(re.findall(r":(\d{4,5})\b", text)) <= known, file
        assert set(re.findall(r"port(?:: | = )(\d+)", text)) <= known, file


def test_native_pins_are_those_of_the_env_file() -> None:
    for build in BUILDS:
        assert f"{build.pin} {module_version(build, PINS)}\n" in (MODULES / build.name / "go.mod").read_text()


def test_every_native_module_has_its_sums() -> None:
    for build in BUILDS:
        assert (MODULES / build.name / "go.sum").stat().st_size > 0, build.name
