"""The main job, shown end to end: an app, an incident, and the notification that a person gets.

Started by ``make demo``. Every link is asked for its own proof, and the one that fails is named.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from examples.receiver import notification
from nightlight import conventions as names
from stack import web
from stack.errors import StackError
from stack.native import process, supervisor
from stack.native.process import Process
from stack.settings import REPOSITORY, Settings

SERVICE = "assistant"
ENVIRONMENT = "demo"
QUESTIONS_PER_SECOND = 4
"""Enough calls to each model for the alert's quick reset, see alert_rules/thresholds.py."""
FAILING_SHARE = 0.6
"""Of the provider's answers during the incident: a brown-out, not an outage."""

ARRIVE_SECONDS = 90
FIRE_SECONDS = 300
RESOLVE_SECONDS = 600
REPORT_SECONDS = 15

Say = Callable[[str], None]


@dataclass
class _Run:
    """What one demo has seen; times are those of ``time.time``."""

    settings: Settings
    say: Say
    begun: float = field(default_factory=time.time)
    incident: float = 0.0
    mended: float = 0.0
    fired: dict[str, Any] = field(default_factory=dict)
    resolved: dict[str, Any] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)


def run(settings: Settings, say: Say) -> None:
    """Run the demo and print its report. Raises StackError naming the link that failed.

    The servers stay up for a look around; only if the demo fails or is interrupted are those it started stopped.
    """
    running_before = any(state.pid for state in supervisor.status(settings))
    _check_ports_of_the_demo(settings)
    supervisor.up(settings, say)
    try:
        with _processes(settings, say):
            demo = _Run(settings, say)
            _wait_for_telemetry(demo)
            _cause_an_incident(demo)
            _mend_it(demo)
            report = _report(demo)
    except BaseException:
        if not running_before:
            say("stopping what was started")
            supervisor.down(settings, lambda _: None)
        raise
    print(report, flush=True)


# --- the app, its provider, and the person ---------------------------------------------------------------------------


def _commands(settings: Settings) -> dict[str, tuple[list[str | Path], dict[str, str]]]:
    """What the demo runs beside the servers: name -> command and environment, all as a user would start them."""
    python, scripts = sys.executable, Path(sys.executable).parent
    serving = ["--host", settings.listen_address]
    return {
        "receiver": ([python, "-m", "examples.receiver", *serving, "--port", str(settings.port("receiver"))], {}),
        "provider": ([python, "-m", "examples.provider", *serving, "--port", str(settings.port("provider"))], {}),
        SERVICE: (
            [
                *(scripts / "opentelemetry-instrument", python, "examples/assistant/app.py"),
                *("--rate", str(QUESTIONS_PER_SECOND), "--concurrency", "12"),
            ],
            {
                "OTEL_SERVICE_NAME": SERVICE,
                "OTEL_EXPORTER_OTLP_ENDPOINT": settings.url("collector", name="grpc"),
                "OTEL_RESOURCE_ATTRIBUTES": f"{names.ENVIRONMENT}={ENVIRONMENT}",
                "OPENAI_BASE_URL": settings.url("provider", "/v1"),
                "OPENAI_API_KEY": "sk-demo",
            },
        ),
    }


@contextlib.contextmanager
def _processes(settings: Settings, say: Say) -> Iterator[None]:
    """Run the app, its provider and the receiver, and end them whatever happens."""
    started: list[Process] = []
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_"))}
    try:
        for name, (command, variables) in _commands(settings).items():
            log = supervisor.log_file(name, settings)
            environment = {**clean, "PYTHONUNBUFFERED": "1", **variables}
            started.append(process.start(command, log=log, environment=environment, directory=REPOSITORY))
            if name != SERVICE:
                _await_answer(name, started[-1], settings)
            say(f"{name} is running, log {log}")
        yield
    finally:
        for running in reversed(started):
            running.stop(grace_seconds=10)


def _check_ports_of_the_demo(settings: Settings) -> None:
    for name in ("provider", "receiver"):
        if supervisor.cannot_listen(settings, settings.port(name)):
            raise StackError(
                f"Port {settings.port(name)}, which the demo's {name} needs, is in use.",
                "Stop what uses it (another demo?), or use other ports:\n"
                '  make demo ARGS="--port-offset 100 --state-dir /tmp/nightlight-100"',
            )


def _await_answer(name: str, running: Process, settings: Settings) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and running.alive():
        if web.get(settings.url(name, "/health"), timeout=2)[0] == 200:
            return
        time.sleep(0.1)
    log = supervisor.log_file(name, settings)
    said = "\n".join(f"  {line}" for line in supervisor.last_lines(log))
    raise StackError(f"The demo's {name} did not start.", f"Its log is {log} and ends:\n{said}")


# --- the story -------------------------------------------------------------------------------------------------------


def _wait_for_telemetry(demo: _Run) -> None:
    """Each store must hold something of this run before the incident begins."""
    demo.say(f"{SERVICE} answers {QUESTIONS_PER_SECOND} questions a second; waiting for its telemetry in each store")
    for link, probe in (
        ("metrics in Prometheus", _calls_in_prometheus),
        ("a trace in Tempo", _traces_in_tempo),
        ("log lines in Loki", _lines_in_loki),
    ):
        found = _wait(demo, link, lambda probe=probe: probe(demo), ARRIVE_SECONDS)  # type: ignore[misc]
        demo.held[link] = found
        demo.say(f"{link}: {found}")


def _cause_an_incident(demo: _Run) -> None:
    demo.say(f"incident on: {FAILING_SHARE:.0%} of the provider's answers are now errors; waiting for the notification")
    _control(demo, {"errors": FAILING_SHARE})
    demo.incident = time.time()
    demo.fired = _wait(
        demo,
        f"the notification that {names.ERROR_RATE_HIGH} fires",
        lambda: _notification(demo, "firing", demo.incident),
        FIRE_SECONDS,
    )
    demo.say(f"delivered {demo.fired['received_at'] - demo.incident:.0f} s after the incident began:")
    print(notification.render(demo.fired), flush=True)  # type: ignore[arg-type]


def _mend_it(demo: _Run) -> None:
    demo.say("incident off; waiting for the resolve")
    _control(demo, {"clear": True})
    demo.mended = time.time()
    demo.resolved = _wait(
        demo,
        f"the notification that {names.ERROR_RATE_HIGH} is resolved",
        lambda: _notification(demo, "resolved", demo.mended),
        RESOLVE_SECONDS,
    )
    demo.say(f"resolved {demo.resolved['received_at'] - demo.mended:.0f} s after the incident ended:")
    print(notification.render(demo.resolved), flush=True)  # type: ignore[arg-type]


def _wait(demo: _Run, link: str, probe: Callable[[], Any], seconds: float) -> Any:
    """Ask until the answer is true, saying every REPORT_SECONDS what is known; name the link when it stays away."""
    begun = reported = time.monotonic()
    while time.monotonic() - begun < seconds:
        try:
            found = probe()
        except OSError:
            found = None  # not there yet, or gone: the deadline decides
        if found:
            return found
        if time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            demo.say(f"  {reported - begun:.0f} s: {_situation(demo)}")
        time.sleep(0.5)
    down = [state.server for state in supervisor.status(demo.settings) if state.state != "ready"]
    raise StackError(
        f"This link failed: {link} did not arrive within {seconds:.0f} s; {_situation(demo)}.",
        (f"Not ready: {', '.join(down)}. " if down else "") + f"The logs are in {demo.settings.state / 'logs'}.",
    )


def _situation(demo: _Run) -> str:
    selector = _selector()
    errors = f'sum(increase({names.REQUESTS.series}{{{selector},{names.OUTCOME_LABEL}="error"}}[2m] anchored))'
    calls = f"sum(increase({names.REQUESTS.series}{{{selector}}}[2m] anchored))"
    ratio = _number(demo, f"({errors} or vector(0)) / {calls}")
    alerts = {
        one["labels"]["alertname"]: one["state"]
        for one in _or_empty(lambda: web.get_json(demo.settings.url("prometheus", "/api/v1/alerts"))["data"]["alerts"])
    }
    state = alerts.get(names.ERROR_RATE_HIGH, "inactive")
    return f"{_percent(ratio)} of the calls of the last 2 minutes failed, {names.ERROR_RATE_HIGH} is {state}"


# --- asking the stores -----------------------------------------------------------------------------------------------


def _calls_in_prometheus(demo: _Run) -> str | None:
    calls = _total(demo, names.REQUESTS.series)
    return f"{calls:.0f} calls counted" if calls else None


def _traces_in_tempo(demo: _Run) -> str | None:
    query = f'{{resource.{names.SERVICE_NAME}="{SERVICE}" && span.{names.OPERATION_NAME}="chat"}}'
    window = f"start={int(demo.begun) - 60}&end={int(time.time()) + 60}&limit=20"
    found = web.get_json(demo.settings.url("tempo", f"/api/search?q={quote(query)}&{window}"))["traces"]
    if not found:
        return None
    demo.held["trace id"] = found[0]["traceID"]
    return f"trace {found[0]['traceID']}"


def _lines_in_loki(demo: _Run) -> str | None:
    query = quote(f'{{{names.SERVICE_LABEL}="{SERVICE}"}} | trace_id != ""')
    window = f"start={int(demo.begun)}000000000&limit=100"
    answer = web.get_json(demo.settings.url("loki", f"/loki/api/v1/query_range?query={query}&{window}"))
    lines = [line for stream in answer["data"]["result"] for line in stream["values"]]
    return f"{len(lines)} lines with a trace id, such as {lines[0][1][:60]!r}" if lines else None


def _notification(demo: _Run, status: str, since: float) -> dict[str, Any] | None:
    """The first notification that carries our alert in this state and came after ``since``."""
    received = web.get_json(demo.settings.url("receiver", "/notifications"))
    for one in received:
        states = {(alert["labels"].get("alertname"), alert["status"]) for alert in one["alerts"]}
        if one["received_at"] >= since and (names.ERROR_RATE_HIGH, status) in states and one["status"] == status:
            return dict(one)
    return None


def _control(demo: _Run, change: dict[str, Any]) -> None:
    status, body = web.send_json(demo.settings.url("provider", "/control"), change)
    if status != 200:
        raise StackError(f"The demo's provider refused {change}: {status} {body[:200]}")


def _selector() -> str:
    return f'{names.SERVICE_LABEL}="{SERVICE}",{names.ENVIRONMENT_LABEL}="{ENVIRONMENT}"'


def _total(demo: _Run, series: str, matchers: str = "") -> float | None:
    """What a counter rose by since the demo began, exactly: ``anchored`` does not extrapolate."""
    selector = ",".join(filter(None, (_selector(), matchers)))
    seconds = int(time.time() - demo.begun) + 1
    return _number(demo, f"sum(increase({series}{{{selector}}}[{seconds}s] anchored))")


def _number(demo: _Run, query: str) -> float | None:
    """The value of an instant query, or None when Prometheus has none."""
    url = demo.settings.url("prometheus", f"/api/v1/query?query={quote(query)}")
    result = _or_empty(lambda: web.get_json(url)["data"]["result"])
    value = float(result[0]["value"][1]) if result else None
    return None if value is None or value != value else value


def _or_empty(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except OSError:
        return []


# --- the report ------------------------------------------------------------------------------------------------------


def _report(demo: _Run) -> str:
    """What was seen, every figure asked from the store that holds it. Unknown is a dash, not 0."""
    failed = _total(demo, names.REQUESTS.series, f'{names.OUTCOME_LABEL}="error"')
    tokens = {
        kind: _total(demo, names.TOKENS.series, f'{names.TOKEN_TYPE_LABEL}="{kind}"') for kind in ("input", "output")
    }
    cost = _total(demo, names.COST.series)
    p95 = _number(
        demo,
        f"histogram_quantile(0.95, sum(rate({names.REQUEST_DURATION.series}"
        f'{{{_selector()},{names.OUTCOME_LABEL}!="error"}}[{int(time.time() - demo.begun)}s])))',
    )
    url = demo.settings.url
    trace = demo.held.pop("trace id", "")
    grafana = next((one.url for one in supervisor.status(demo.settings) if one.server == "grafana"), None)
    board = f"{url('grafana')}/d/llm-golden-signals" if grafana else "needs Grafana: docker compose up -d"
    rows = [
        ("calls", f"{_count(_total(demo, names.REQUESTS.series))}, of which {_count(failed)} failed"),
        ("tokens", f"{_count(tokens['input'])} in, {_count(tokens['output'])} out"),
        ("cost", "-" if cost is None else f"${cost:.4f}"),
        ("p95", "-" if p95 is None else f"{p95:.2f} s, of the calls that did not fail"),
        *((link, found) for link, found in demo.held.items()),
        (
            names.ERROR_RATE_HIGH,
            f"delivered {demo.fired['received_at'] - demo.incident:.0f} s after the incident began",
        ),
        ("", f"resolved {demo.resolved['received_at'] - demo.mended:.0f} s after it ended"),
    ]
    look = [
        ("the board", board),
        ("a trace", f"curl -s {url('tempo', f'/api/traces/{trace}')}"),
        ("the series", f"curl -s '{url('prometheus', f'/api/v1/query?query={names.REQUESTS.series}')}'"),
        ("what runs", "make status, and to stop it: make down"),
    ]
    return "\n".join(
        [
            "",
            "The demo passed.",
            *(f"  {name:24} {text}" for name, text in rows),
            "",
            "Where to look next (the servers keep running):",
            *(f"  {name:24} {text}" for name, text in look),
        ]
    )


def _count(value: float | None) -> str:
    return "-" if value is None else f"{round(value):,}"


def _percent(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.0%}"
