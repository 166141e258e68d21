"""Every call is counted once, whatever happens around the Collector."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nightlight import conventions as names
from stack.native import render, supervisor
from stack.native.servers import COLLECTOR
from tests.conftest import Stack, running, wait_for
from tests.e2e import otlp

SENDERS = 8
PRICES = {"gpt-4o-mini": (0.15, 0.6), "gpt-4o": (2.5, 10.0)}  # USD per million tokens, in and out


@pytest.fixture(scope="module")
def own(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that the tests here may break."""
    with running(tmp_path_factory.mktemp("exactness")) as ours:
        yield ours


@dataclass
class Truth:
    """What was acknowledged, summed by the sender itself."""

    service: str
    calls: int = 0
    refused: int = 0
    tokens: int = 0
    cost: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, calls: int, tokens: int, cost: float) -> None:
        with self.lock:
            self.calls += calls
            self.tokens += tokens
            self.cost += cost

    def query(self, series: str) -> str:
        return f'sum({series}{{{names.SERVICE_LABEL}="{self.service}"}})'

    def counted(self, stack: Stack) -> float:
        return stack.value(self.query(names.REQUESTS.series)) or 0.0


def batch(service: str, size: int, seed: int, padding: str = "") -> tuple[dict[str, object], int, float]:
    """A trace payload of ``size`` calls, their tokens and their cost by a computation of the test's own."""
    random_ = random.Random(seed)
    tokens, cost, spans = 0, 0.0, []
    for _ in range(size):
        model, read, written = random_.choice(sorted(PRICES)), random_.randrange(1, 3000), random_.randrange(1, 500)
        tokens += read + written
        cost += (read * PRICES[model][0] + written * PRICES[model][1]) / 1e6
        payload = otlp.call(
            service,
            gen_ai__request__model=model,
            gen_ai__usage__input_tokens=read,
            gen_ai__usage__output_tokens=written,
            app__note=padding or None,
        )
        spans += payload["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return otlp.traces(service, spans), tokens, cost


def send_all(stack: Stack, truth: Truth, batches: int, size: int, padding: str = "") -> None:
    """Send from SENDERS threads, each batch again and again until it is acknowledged, as an SDK's exporter does."""

    def work(number: int) -> None:
        for count in range(batches // SENDERS):
            payload, tokens, cost = batch(truth.service, size, number * 100_000 + count, padding)
            while otlp.send(stack.url("collector", name="http"), "traces", payload) != 200:
                truth.refused += 1
                time.sleep(0.1)
            truth.add(size, tokens, cost)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def assert_exact(stack: Stack, truth: Truth) -> None:
    wait_for(lambda: truth.counted(stack) >= truth.calls, 60, f"{truth.calls} calls counted")
    print(f"{truth.calls} calls sent, {truth.counted(stack):.0f} counted, {truth.refused} refusals retried")
    assert truth.counted(stack) == truth.calls
    tokens = stack.value(
        f'sum({names.TOKENS.series}{{{names.SERVICE_LABEL}="{truth.service}",{names.TOKEN_TYPE_LABEL}=~"input|output"}})'
    )
    assert tokens == truth.tokens
    assert stack.value(truth.query(names.COST.series)) == pytest.approx(truth.cost, rel=1e-9)


def test_concurrent_senders_lose_nothing_and_nothing_is_counted_twice(own: Stack) -> None:
    truth = Truth(f"load-{uuid.uuid4().hex[:8]}")

    send_all(own, truth, batches=160, size=100)

    assert_exact(own, truth)


def pid(stack: Stack, server: str) -> int:
    (found,) = [state.pid for state in supervisor.status(stack.settings) if state.server == server]
    assert found is not None
    return found


def up(stack: Stack) -> None:
    result = stack.nightlight("up", "--runtime", "native")
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_was_acknowledged_before_prometheus_died_is_counted_when_it_is_back(own: Stack) -> None:
    truth = Truth(f"prometheus-{uuid.uuid4().hex[:8]}")
    os.kill(pid(own, "prometheus"), signal.SIGKILL)

    send_all(own, truth, batches=80, size=50)
    up(own)

    assert_exact(own, truth)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_the_collector_acknowledged_before_it_ended_is_counted_when_it_is_back(
    own: Stack, how: signal.Signals
) -> None:
    truth = Truth(f"collector-{uuid.uuid4().hex[:8]}")
    # With Prometheus away, all of it is still on the Collector's disk when the Collector ends.
    os.kill(pid(own, "prometheus"), signal.SIGKILL)
    send_all(own, truth, batches=80, size=50)
    if how is signal.SIGKILL:
        os.kill(pid(own, "collector"), signal.SIGKILL)
    else:
        # It waits for Prometheus, so its patience ends as that of a service manager does.
        supervisor._end(COLLECTOR.name, own.settings)
    up(own)

    assert_exact(own, truth)


def test_traces_that_cannot_be_kept_are_dropped_and_counted_and_no_call_is_counted_twice(
    own: Stack, programs: dict[str, Path]
) -> None:
    """The largest trap of all: a refusal because of a full trace queue makes senders send, and meters count, again."""
    _restart_collector(own, programs, lambda text: text.replace("queue_size: 2147483648", "queue_size: 2000000"))
    os.kill(pid(own, "tempo"), signal.SIGKILL)
    truth = Truth(f"full-{uuid.uuid4().hex[:8]}")
    dropped = 'otelcol_exporter_sent_spans_total{exporter="debug/dropped_traces"} or ' + (
        'otelcol_exporter_sent_spans{exporter="debug/dropped_traces"}'
    )

    send_all(own, truth, batches=160, size=20, padding="x" * 2000)  # 6 MB for a queue of 2

    assert_exact(own, truth)
    assert truth.refused == 0
    lost = wait_for(lambda: own.value(f"sum({dropped})"), 40, "the count of what was dropped")
    print(f"{lost:.0f} of {truth.calls} spans dropped and counted")
    assert 0 < lost < truth.calls


def _restart_collector(stack: Stack, programs: dict[str, Path], change: Callable[[str], str]) -> None:
    """Run the Collector with one setting changed, as no user would, to reach in seconds what takes days."""
    file = render.configuration(stack.settings) / "collector" / "config.yaml"
    text = file.read_text()
    assert change(text) != text
    file.write_text(change(text))
    supervisor._end(COLLECTOR.name, stack.settings)
    supervisor._launch(supervisor._plan(COLLECTOR, programs[COLLECTOR.program], stack.settings), stack.settings)
    supervisor._await_ready(COLLECTOR, stack.settings)
