"""What an app sends arrives in the right store, under the names that boards and rules use."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from nightlight import conventions as names
from stack import web
from stack.native import supervisor
from tests.conftest import Stack, wait_for
from tests.e2e import otlp


def metered(stack: Stack, service: str) -> float:
    """How many calls of a service the meter has counted."""
    return stack.value(f'sum({names.REQUESTS.series}{{{names.SERVICE_LABEL}="{service}"}})') or 0.0


def test_a_call_is_stored_as_a_trace_and_metered_under_every_common_label(stack: Stack) -> None:
    service, trace = f"call-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    payload = otlp.call(
        service,
        trace=trace,
        gen_ai__usage__input_tokens=1200,
        gen_ai__usage__output_tokens=340,
        gen_ai__usage__cache_read__input_tokens=1024,
        gen_ai__request__stream=True,
        gen_ai__response__time_to_first_chunk=0.25,
        nightlight__feature="answers",
    )

    assert otlp.send(stack.url("collector", name="http"), "traces", payload) == 200

    wait_for(lambda: metered(stack, service), 30, "llm_requests_total")
    common = {
        "service_name": service,
        "deployment_environment_name": "test",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "operation": "chat",
        "feature": "answers",
    }
    selector = f'{{{names.SERVICE_LABEL}="{service}"}}'
    for metric in set(names.METRICS) - {names.UNPRICED_REQUESTS, names.UNPRICED_TOKENS}:
        found = wait_for(lambda metric=metric: stack.query(metric.series + selector), 30, metric.series)  # type: ignore[misc]
        labels = found[0]["metric"]
        assert common.items() <= labels.items(), metric.series
        assert set(labels) <= {"__name__", "job", *common, *metric.labels}, metric.series
    tokens = {one["metric"]["type"]: float(one["value"][1]) for one in stack.query(names.TOKENS.series + selector)}
    assert tokens == {"input": 1200, "output": 340, "cache_read": 1024}
    # gpt-4o-mini: 176 fresh at 0.15, 1024 cached at 0.075, 340 out at 0.60 USD per million
    assert stack.value(names.COST.series + selector) == pytest.approx(0.0003072, rel=1e-12)
    duration = stack.query(names.REQUEST_DURATION.series + selector)[0]
    assert duration["histogram"][1]["count"] == "1"
    assert duration["metric"]["prompt_size"] == "1k-2k"
    assert duration["metric"]["streaming"] == "true"
    # One second, of which a quarter passed before the first of 340 tokens.
    (pace,) = stack.query(names.TIME_PER_OUTPUT_TOKEN.series + selector)
    assert float(pace["histogram"][1]["sum"]) == pytest.approx(0.75 / 339)

    stored = wait_for(lambda: web.get_json(stack.url("tempo", f"/api/traces/{trace}")), 30, "the trace")
    assert "nightlight.cost.usd" in str(stored)


def test_the_first_value_of_a_new_series_counts(stack: Stack) -> None:
    service = f"first-{uuid.uuid4().hex[:8]}"

    assert otlp.send(stack.url("collector", name="http"), "traces", otlp.call(service)) == 200

    wait_for(lambda: metered(stack, service), 30, "llm_requests_total")
    rise = f'increase({names.REQUESTS.series}{{{names.SERVICE_LABEL}="{service}"}}[5m] anchored)'
    assert wait_for(lambda: stack.value(rise), 30, rise) == 1


def test_a_duration_has_an_exemplar_that_names_its_trace(stack: Stack) -> None:
    service, trace = f"exemplar-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    begun = time.time()

    assert otlp.send(stack.url("collector", name="http"), "traces", otlp.call(service, trace=trace)) == 200

    query = quote(f'{names.REQUEST_DURATION.series}{{{names.SERVICE_LABEL}="{service}"}}')
    url = stack.url("prometheus", f"/api/v1/query_exemplars?query={query}&start={begun - 60}&end={begun + 120}")
    found = wait_for(lambda: web.get_json(url)["data"], 30, "an exemplar")
    assert found[0]["exemplars"][0]["labels"]["trace_id"] == trace


def test_a_log_line_keeps_its_trace_id_and_an_apps_own_metric_is_stored(stack: Stack) -> None:
    service, trace = f"log-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    base = stack.url("collector", name="http")

    assert otlp.send(base, "logs", otlp.log(service, "the answer was empty", trace)) == 200
    assert otlp.send(base, "metrics", otlp.counter(service, "my.jobs", 3)) == 200

    query = quote(f'{{service_name="{service}"}} | trace_id="{trace}"')
    url = stack.url("loki", f"/loki/api/v1/query_range?query={query}")
    streams = wait_for(lambda: web.get_json(url)["data"]["result"], 30, "the log line")
    assert streams[0]["values"][0][1] == "the answer was empty"
    assert wait_for(lambda: stack.value(f'my_jobs_total{{service_name="{service}"}}'), 30, "the metric") == 3


@pytest.mark.parametrize(
    ("said", "reported", "kind"),
    [
        ("openai.RateLimitError", "Error code: 429 - Rate limit reached for gpt-4o-mini", "rate_limit"),
        ("openai.RateLimitError", "Error code: 429 - insufficient_quota: You exceeded your current quota", "quota"),
        ("openai.APITimeoutError", "Request timed out.", "timeout"),
        ("openai.APIConnectionError", "Connection error.", "connection"),
        ("openai.AuthenticationError", "Error code: 401 - Incorrect API key provided", "auth"),
        ("openai.BadRequestError", "Error code: 400 - context_length_exceeded", "context_length"),
        ("openai.BadRequestError", "Error code: 400 - Unknown parameter", "invalid_request"),
        ("openai.InternalServerError", "Error code: 500 - The server had an error", "server"),
        ("ValueError", "something else", "other"),
    ],
)
def test_a_failed_call_is_an_error_of_its_kind(stack: Stack, said: str, reported: str, kind: str) -> None:
    service = f"error-{uuid.uuid4().hex[:8]}"
    payload = otlp.call(
        service, error=reported, error__type=said, gen_ai__usage__input_tokens=None, gen_ai__usage__output_tokens=None
    )

    assert otlp.send(stack.url("collector", name="http"), "traces", payload) == 200

    wait_for(lambda: metered(stack, service), 30, "llm_requests_total")
    (found,) = stack.query(f'{names.REQUESTS.series}{{{names.SERVICE_LABEL}="{service}"}}')
    assert (found["metric"]["outcome"], found["metric"]["error_kind"]) == ("error", kind)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"gen_ai__response__finish_reasons": ["length"]}, "truncated"),
        ({"gen_ai__response__finish_reasons": ["content_filter"]}, "filtered"),
        ({"error__type": "asyncio.exceptions.CancelledError"}, "cancelled"),
    ],
)
def test_an_ending_that_is_no_error_is_not_counted_as_one(stack: Stack, changes: dict[str, Any], outcome: str) -> None:
    service = f"ending-{uuid.uuid4().hex[:8]}"

    assert otlp.send(stack.url("collector", name="http"), "traces", otlp.call(service, **changes)) == 200

    wait_for(lambda: metered(stack, service), 30, "llm_requests_total")
    (found,) = stack.query(f'{names.REQUESTS.series}{{{names.SERVICE_LABEL}="{service}"}}')
    assert found["metric"]["outcome"] == outcome


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gen_ai__request__model": "no-such-model"}, "unknown_model"),
        ({"gen_ai__usage__input_tokens": None, "gen_ai__usage__output_tokens": None}, "no_usage"),
    ],
)
def test_a_call_whose_cost_is_unknown_is_unpriced_and_never_0(
    stack: Stack, changes: dict[str, Any], reason: str
) -> None:
    service = f"unpriced-{uuid.uuid4().hex[:8]}"

    assert otlp.send(stack.url("collector", name="http"), "traces", otlp.call(service, **changes)) == 200

    wait_for(lambda: metered(stack, service), 30, "llm_requests_total")
    selector = f'{{{names.SERVICE_LABEL}="{service}"}}'
    found = wait_for(lambda: stack.query(names.UNPRICED_REQUESTS.series + selector), 30, "llm_unpriced_requests_total")
    assert found[0]["metric"]["reason"] == reason
    tokens = stack.value(f"sum({names.UNPRICED_TOKENS.series}{selector})")
    assert tokens == (1100 if reason == "unknown_model" else None)
    assert stack.query(names.COST.series + selector) == []


def test_spans_without_required_attributes_are_stored_and_do_no_harm(stack: Stack) -> None:
    service, trace = f"bare-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    base = stack.url("collector", name="http")
    bare = otlp.call(service, trace=trace, gen_ai__provider__name=None, gen_ai__request__model=None)
    unrelated = otlp.traces(
        service, [{"traceId": trace, "spanId": uuid.uuid4().hex[:16], "name": "GET /", "startTimeUnixNano": "1"}]
    )

    assert otlp.send(base, "traces", bare) == 200
    assert otlp.send(base, "traces", unrelated) == 200

    wait_for(lambda: metered(stack, service), 30, "llm_requests_total")
    (found,) = stack.query(f'{names.REQUESTS.series}{{{names.SERVICE_LABEL}="{service}"}}')
    assert (found["metric"]["provider"], found["metric"]["model"], found["value"][1]) == ("unknown", "unknown", "1")


def test_what_is_no_otlp_is_refused_and_the_next_call_is_counted(stack: Stack) -> None:
    service = f"after-{uuid.uuid4().hex[:8]}"
    base = stack.url("collector", name="http")

    status, said = web.send_json(f"{base}/v1/traces", {"resourceSpans": "no list"})

    assert status == 400, said
    assert otlp.send(base, "traces", otlp.call(service)) == 200
    wait_for(lambda: metered(stack, service), 30, "the next call")


def test_a_prompt_of_5_mb_is_bounded_and_the_next_call_is_counted(stack: Stack) -> None:
    service, trace = f"long-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    base = stack.url("collector", name="http")

    assert otlp.send(base, "traces", otlp.call(service, trace=trace, gen_ai__input__messages="x" * 5_000_000)) == 200
    assert otlp.send(base, "traces", otlp.call(service)) == 200

    wait_for(lambda: metered(stack, service) == 2, 30, "both calls")
    stored = wait_for(lambda: web.get_json(stack.url("tempo", f"/api/traces/{trace}")), 30, "the trace")
    # Tempo keeps the beginning of an attribute and counts that it cut one.
    assert 100_000 < len(str(stored)) < 200_000
    assert stack.nightlight("status").returncode == 0


def test_a_clock_that_is_wrong_spoils_no_count(stack: Stack) -> None:
    service = f"clock-{uuid.uuid4().hex[:8]}"
    base = stack.url("collector", name="http")
    for days in (1, -10, 3650, 0):
        payload = otlp.call(service)
        (span,) = payload["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for end in ("startTimeUnixNano", "endTimeUnixNano"):
            span[end] = str(int(span[end]) + days * 86400 * otlp.NANOSECONDS)
        assert otlp.send(base, "traces", payload) == 200
    backwards = otlp.call(service)
    (span,) = backwards["resourceSpans"][0]["scopeSpans"][0]["spans"]
    span["startTimeUnixNano"], span["endTimeUnixNano"] = span["endTimeUnixNano"], span["startTimeUnixNano"]
    assert otlp.send(base, "traces", backwards) == 200

    selector = f'{{{names.SERVICE_LABEL}="{service}"}}'
    wait_for(lambda: metered(stack, service) == 5, 30, "five calls")
    durations = f"histogram_count(sum({names.REQUEST_DURATION.series}{selector}))"
    wait_for(lambda: stack.value(durations) == 5, 30, "five durations")
    assert stack.value(f"histogram_sum(sum({names.REQUEST_DURATION.series}{selector}))") == pytest.approx(4)


def test_a_request_of_100_mb_is_refused_and_the_next_call_is_counted(stack: Stack) -> None:
    service = f"huge-{uuid.uuid4().hex[:8]}"
    base = stack.url("collector", name="http")

    assert otlp.send(base, "traces", otlp.call(service, note="x" * 100_000_000)) != 200
    assert otlp.send(base, "traces", otlp.call(service)) == 200

    wait_for(lambda: metered(stack, service) == 1, 30, "the next call")


def test_the_collector_is_quiet_about_spans_that_are_unlike_each_other(stack: Stack) -> None:
    """A warning for each span would fill a disk, and hide the one that matters."""
    service = f"quiet-{uuid.uuid4().hex[:8]}"
    base = stack.url("collector", name="http")
    log = supervisor.log_file("collector", stack.settings)
    before = log.read_text()
    for payload in (
        otlp.call(service, gen_ai__response__finish_reasons=None),
        otlp.call(service, gen_ai__response__finish_reasons="stop"),
        otlp.call(service, gen_ai__usage__input_tokens="many", gen_ai__usage__output_tokens=None),
        otlp.call(service, gen_ai__usage__input_tokens=None, gen_ai__usage__output_tokens=None),
        otlp.call(service, error="", error__type=7),
        otlp.call(service, gen_ai__request__model=None, gen_ai__provider__name=None),
        otlp.traces(service, [{"traceId": uuid.uuid4().hex, "spanId": uuid.uuid4().hex[:16], "name": "GET /"}]),
        otlp.call(service, gen_ai__provider__name=None, gen_ai__system=7, gen_ai__is_streaming="maybe"),
        otlp.call(service, gen_ai__operation__name=None, llm__request__type="no-such-type", server__address=True),
        otlp.call(service, openinference__span__kind="LLM", llm__invocation_parameters="{broken", output__value=1.5),
        otlp.call(service, openinference__span__kind=["LLM"], gen_ai__openai__api_base="no url"),
    ):
        assert otlp.send(base, "traces", payload) == 200

    wait_for(lambda: metered(stack, service) == 9, 30, "nine calls")
    assert log.read_text() == before
