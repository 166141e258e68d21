"""One script of calls under each instrumentation: the same requests, tokens, cost, outcomes and kinds of error.

The truth is what the script's client saw. GAPS lists, by name, what a package does not tell; README.md repeats it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from examples.http_server import in_background
from examples.provider.server import ProviderServer
from nightlight import conventions as names
from stack import web
from stack.settings import REPOSITORY, Settings
from tests.conftest import Stack, wait_for
from tests.e2e import otlp

SCRIPT = REPOSITORY / "tests" / "dialects"
DIALECTS = ("genai-openai", "traceloop", "openinference", "openlit")
LATENCY_SCALE = 0.02
PRICES = {  # USD per million tokens, as OpenAI publishes them: input, cached input, output
    "gpt-4o-mini": (0.15, 0.075, 0.60),
    "o4-mini": (1.10, 0.275, 4.40),
    "text-embedding-3-small": (0.02, 0.02, 0.0),
}
NO_SPAN: Mapping[str, Any] = {}
NO_REASONING: Mapping[str, Any] = {"without": "reasoning"}
GUESSED: Mapping[str, Any] = {"tokens": {}, "cost": None, "unpriced": "unsupported"}
NO_USAGE: Mapping[str, Any] = {"tokens": {}, "cost": None, "unpriced": "no_usage"}


def _chat(outcome: str) -> tuple[Any, ...]:
    return (1.0, "openai", "gpt-4o-mini", "chat", outcome, None)


GAPS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "genai-openai": {},
    "traceloop": {
        "responses_truncated": NO_SPAN,  # only responses that are complete are recorded
        "task_cancelled": NO_SPAN,
        "stream_cut": {"requests": [_chat("cancelled")], "unpriced": "no_usage"},  # looks like one that was closed
        "stream_reasoning": NO_REASONING,
        "stream_raw_response": NO_USAGE,
    },
    "openinference": {
        "responses_stream_truncated": {"requests": [_chat("success")], **NO_USAGE},  # response.incomplete is not read
    },
    "openlit": {
        "stream_closed": NO_SPAN,
        "stream_without_usage": GUESSED,
        "stream_abandoned": NO_SPAN,
        "stream_cut": NO_SPAN,
        "stream_raw_response": NO_SPAN,
        "chat_reasoning": NO_REASONING,  # only the Responses API's reasoning tokens are recorded
        "stream_reasoning": NO_REASONING,
        "responses_stream_truncated": {"requests": [_chat("success")], **GUESSED},  # response.incomplete is not read
    },
}
"""Dialect -> call -> what is measured instead of the truth; NO_SPAN where the package records no span."""


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_script_of_calls_measures_the_same_under_every_instrumentation(
    stack: Stack, settings: Settings, dialect: str
) -> None:
    python = environment(settings, dialect)
    service = f"{dialect}-{uuid.uuid4().hex[:8]}"
    with in_background(ProviderServer(("127.0.0.1", 0), seed=7, latency_scale=LATENCY_SCALE)) as provider:
        made = run_script(python, dialect, provider, service, stack.url("collector", name="http"))

    measured = measure(stack, service)

    assert len(made) >= 25
    expected = {call["name"]: expectation(call) for call in made if call["metered"]}
    for name, instead in GAPS[dialect].items():
        if instead is NO_SPAN:
            del expected[name]
        elif instead is NO_REASONING:
            del expected[name]["tokens"]["reasoning"]
        else:
            expected[name] |= instead
    assert measured == expected


def test_the_readme_names_every_call_that_a_package_does_not_tell_of() -> None:
    text = (REPOSITORY / "README.md").read_text()
    _, _, section = text.partition("## Which instrumentations are understood")
    section, _, _ = section.partition("\n## ")

    for name in {name for gaps in GAPS.values() for name in gaps}:
        assert f"`{name}`" in section, name


LITELLM: dict[str, Any] = {
    "gen_ai.system": "azure",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "llm.request.type": "acompletion",
    "llm.is_streaming": "False",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.response.finish_reasons": '["stop"]',
}
OLD: dict[str, Any] = {
    "gen_ai.system": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.prompt_tokens": 1000,
    "gen_ai.usage.completion_tokens": 100,
    "gen_ai.response.finish_reasons": ["stop"],
}
AZURE = ("azure.ai.openai", "gpt-4o-mini", "chat")
OPENAI = ("openai", "gpt-4o-mini", "chat")
GOOD = ("success", None)
TOKENS = {"input": 1000, "output": 100}

SAID: Mapping[str, tuple[dict[str, Any], tuple[Any, ...], dict[str, int]]] = {
    "litellm": (LITELLM, (*AZURE, *GOOD), TOKENS),
    "litellm with messages": (LITELLM | {"gen_ai.operation.name": "acompletion"}, (*AZURE, *GOOD), TOKENS),
    "litellm, synchronous": (LITELLM | {"llm.request.type": "completion"}, (*AZURE, *GOOD), TOKENS),
    "litellm, embedding": (LITELLM | {"llm.request.type": "aembedding"}, (*AZURE[:2], "embeddings", *GOOD), TOKENS),
    "litellm, cut short": (
        LITELLM | {"gen_ai.response.finish_reasons": '["length"]'},
        (*AZURE, "truncated", None),
        TOKENS,
    ),
    "litellm, refused": (
        LITELLM | {"error.type": "RateLimitError", "error.code": "429"},
        (*AZURE, "error", "rate_limit"),
        TOKENS,
    ),
    "litellm, bad gateway": (
        LITELLM | {"error.type": "APIError", "error.code": "502"},
        (*AZURE, "error", "server"),
        TOKENS,
    ),
    "litellm, too long": (
        LITELLM | {"error.type": "ContextWindowExceededError"},
        (*AZURE, "error", "context_length"),
        TOKENS,
    ),
    "old": (OLD, (*OPENAI, *GOOD), TOKENS),
    "old azure": (OLD | {"gen_ai.system": "az.ai.openai"}, (*AZURE, *GOOD), TOKENS),
    "older still": (
        OLD | {"gen_ai.system": "OpenAI", "gen_ai.operation.name": None, "llm.request.type": "completion"},
        (*OPENAI[:2], "text_completion", *GOOD),
        TOKENS,
    ),
    "without operation": (OLD | {"gen_ai.operation.name": None}, (*OPENAI, *GOOD), TOKENS),
    "old parts": (
        OLD | {"gen_ai.usage.cache_read_input_tokens": 600, "gen_ai.usage.reasoning_tokens": 40},
        (*OPENAI, *GOOD),
        TOKENS | {"cache_read": 600, "reasoning": 40},
    ),
    "old refusal": (
        OLD | {"gen_ai.response.finish_reasons": ["refusal"]},
        (*OPENAI, "refused", None),
        TOKENS,
    ),
    "old safety": (
        OLD | {"gen_ai.system": "gemini", "gen_ai.response.finish_reasons": ["SAFETY"]},
        ("gcp.gemini", "gpt-4o-mini", "chat", "filtered", "content_filter"),
        TOKENS,
    ),
    "class": (OLD | {"error.type": "<class 'openai.RateLimitError'>"}, (*OPENAI, "error", "rate_limit"), TOKENS),
    "status": (OLD | {"error.type": "503"}, (*OPENAI, "error", "server"), TOKENS),
    "openrouter": (OLD | {"server.address": "openrouter.ai"}, ("openrouter", *OPENAI[1:], *GOOD), TOKENS),
    "azure by host": (OLD | {"server.address": "us-1.openai.azure.com"}, (*AZURE, *GOOD), TOKENS),
    "by address": (
        OLD | {"gen_ai.openai.api_base": "https://api.groq.com/openai/v1/"},
        ("groq", *OPENAI[1:], *GOOD),
        TOKENS,
    ),
    "unknown host": (OLD | {"server.address": "localhost"}, (*OPENAI, *GOOD), TOKENS),
}
"""What a span says -> the labels of its request, and its tokens."""

NOT_CALLS: tuple[dict[str, Any], ...] = (
    {"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": 9},
    {"gen_ai.operation.name": "fetch_response", "gen_ai.provider.name": "openai"},
    {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 9},
    {"openinference.span.kind": "CHAIN"},
    {"llm.request.type": "aimage_generation", "gen_ai.system": "openai"},
    {"llm.openai.model": "gpt-4o-mini", "llm.openai.usage": "{}"},  # LiteLLM's raw_gen_ai_request
    {"traceloop.span.kind": "workflow", "traceloop.entity.name": "answer"},
)


def test_what_others_say_is_measured_in_current_names_and_their_spans_around_calls_are_not(stack: Stack) -> None:
    service = f"said-{uuid.uuid4().hex[:8]}"
    base = stack.url("collector", name="http")

    for name, (said, _, _) in SAID.items():
        assert otlp.send(base, "traces", span(service, name, said)) == 200
    for said in NOT_CALLS:
        assert otlp.send(base, "traces", span(service, f"not a call: {said}", said)) == 200

    measured = {name: (call["requests"], call["tokens"]) for name, call in measure(stack, service).items()}
    assert measured == {name: ([(1.0, *labels)], tokens) for name, (_, labels, tokens) in SAID.items()}


def test_the_original_attributes_stay_on_the_stored_span(stack: Stack) -> None:
    service, trace = f"stored-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex

    assert otlp.send(stack.url("collector", name="http"), "traces", span(service, "old", OLD, trace)) == 200

    stored = str(wait_for(lambda: web.get_json(stack.url("tempo", f"/api/traces/{trace}")), 30, "the trace"))
    assert all(name in stored for name in (*OLD, names.PROVIDER_NAME, names.INPUT_TOKENS, names.OUTPUT_TOKENS))


def span(service: str, feature: str, said: Mapping[str, Any], trace: str | None = None) -> dict[str, Any]:
    """A span that says this and nothing else; one with an error's type has failed."""
    usual = (
        names.OPERATION_NAME,
        names.PROVIDER_NAME,
        names.REQUEST_MODEL,
        names.INPUT_TOKENS,
        names.OUTPUT_TOKENS,
        names.FINISH_REASONS,
    )
    payload = otlp.call(service, trace=trace, **(dict.fromkeys(usual) | {names.FEATURE: feature} | dict(said)))
    if names.ERROR_TYPE in said:
        payload["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"] = {"code": 2}
    return payload


def environment(settings: Settings, dialect: str) -> Path:
    """The Python of a virtual environment with the pinned packages of a dialect, kept in the user's cache."""
    requirements = SCRIPT / f"{dialect}.txt"
    version = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = settings.cache / "dialects" / f"{dialect}-{version}"
    python, complete = place / "bin" / "python", place / "complete"
    if complete.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
    command: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        requirements,
    ]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if re.search(r"from versions: none|NewConnectionError|NameResolutionError|ProxyError|Timeout", installed.stderr):
        pytest.skip(f"PyPI cannot be reached, so {dialect} cannot be installed")
    assert installed.returncode == 0, installed.stderr
    complete.touch()
    return python


def run_script(python: Path, dialect: str, provider: str, service: str, collector: str) -> list[dict[str, Any]]:
    """Run the script as an app of its own, which knows nothing of this repository; tells what its client saw."""
    ours = ("PYTHON", "OTEL_", "OPENAI_")
    result = subprocess.run(
        [python, SCRIPT / "calls.py", dialect, provider],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=python.parent,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith(ours)}
        | {"OTEL_SERVICE_NAME": service, "OTEL_EXPORTER_OTLP_ENDPOINT": collector},
    )
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-2000:]
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def expectation(call: Mapping[str, Any]) -> dict[str, Any]:
    """What a call that the client saw so should measure."""
    usage = call["usage"]
    return {
        "requests": [(1.0, "openai", call["model"], call["operation"], call["outcome"], call["error_kind"])],
        "tokens": {kind: count for kind, count in usage.items() if count} if usage else {},
        "cost": pytest.approx(cost(call["model"], usage), rel=1e-9) if usage else None,
        "unpriced": None if usage or call["outcome"] == "error" else "no_usage",
    }


def cost(model: str, usage: Mapping[str, int]) -> float:
    """The price of a call in USD."""
    fresh, cached, written = PRICES[model]
    read = usage["cache_read"]
    return ((usage["input"] - read) * fresh + read * cached + usage["output"] * written) / 1_000_000


def measure(stack: Stack, service: str) -> dict[str, dict[str, Any]]:
    """What Prometheus has of a service's calls, by call: the script writes a call's name where the feature goes."""
    # The meter is one queue: when a later call is counted, all of the script's are.
    last = otlp.call(service, nightlight__feature="last")
    assert otlp.send(stack.url("collector", name="http"), "traces", last) == 200
    selector = f'{{{names.SERVICE_LABEL}="{service}",{names.FEATURE_LABEL}!="last"}}'
    end = f'{names.REQUESTS.series}{{{names.SERVICE_LABEL}="{service}",{names.FEATURE_LABEL}="last"}}'
    wait_for(lambda: stack.query(end), 60, "the last call")

    calls: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"requests": [], "tokens": {}, "cost": None, "unpriced": None}
    )
    for labels, value in _series(stack, names.REQUESTS.series + selector):
        told = tuple(labels.get(name) for name in ("provider", "model", "operation", "outcome", "error_kind"))
        calls[labels["feature"]]["requests"].append((value, *told))
    for labels, value in _series(stack, names.TOKENS.series + selector):
        if value:
            calls[labels["feature"]]["tokens"][labels["type"]] = value
    for labels, value in _series(stack, names.COST.series + selector):
        calls[labels["feature"]]["cost"] = value
    for labels, _ in _series(stack, names.UNPRICED_REQUESTS.series + selector):
        calls[labels["feature"]]["unpriced"] = labels["reason"]
    return dict(calls)


def _series(stack: Stack, promql: str) -> list[tuple[dict[str, str], float]]:
    return [(one["metric"], float(one["value"][1])) for one in stack.query(promql)]
