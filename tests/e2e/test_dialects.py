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
NO_USAGE: Mapping[str, Any] = {"tokens": {}, "cost": None, "unpriced": "no_usage"}

GAPS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "genai-openai": {},
    "traceloop": {},
    "openinference": {},
    "openlit": {},
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
        else:
            expected[name] |= instead
    assert measured == expected


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
    if re.search(r"NewConnectionError|NameResolutionError|ProxyError|ConnectTimeout|ReadTimeout", installed.stderr):
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
