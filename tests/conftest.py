"""What all tests share: the native programs, built once, and a stack of the tests' own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stack import settings as stack_settings
from stack import web
from stack.native import build, render, supervisor
from stack.settings import HIGHEST_OFFSET, PORTS, REPOSITORY, Settings

Answer = TypeVar("Answer")
NIGHTLIGHT = Path(sys.executable).with_name("nightlight")


@pytest.fixture(scope="session", autouse=True)
def _end_servers_when_terminated() -> None:
    """A terminated test run still stops what it started: pytest ends as it would by itself, finalizers included."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The pins and the cache of this machine's user; nothing of it is written but the cache."""
    return stack_settings.load(os.environ)


@pytest.fixture(scope="session")
def programs(settings: Settings, request: pytest.FixtureRequest) -> dict[str, Path]:
    """The real servers and their tools, built if the cache lacks them; the long work shows."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    begun = time.monotonic()

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n[{time.monotonic() - begun:4.0f} s] {text}", end="", flush=True)

    return build.programs(settings, say)


@dataclass(frozen=True)
class Stack:
    """A native stack that belongs to the tests: its own ports, its own state directory."""

    settings: Settings

    def nightlight(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a ``nightlight`` command on this stack, as a person would."""
        return run_nightlight(*arguments, *self._place, timeout=timeout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a ``nightlight`` command on this stack, its output and errors in one pipe."""
        return subprocess.Popen(
            [NIGHTLIGHT, *arguments, *self._place],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
        )

    @property
    def _place(self) -> tuple[str, ...]:
        return ("--state-dir", str(self.settings.state), "--port-offset", str(self.settings.port_offset))

    def url(self, server: str, path: str = "", name: str = "http") -> str:
        """The address of a server's interface."""
        return self.settings.url(server, path, name)

    def here(self, text: str) -> str:
        """A text with the addresses that the documentation names, on this stack's ports."""
        return render.text(text, self.settings)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        from urllib.parse import quote

        result: list[dict[str, Any]] = web.get_json(self.url("prometheus", f"/api/v1/query?query={quote(promql)}"))[
            "data"
        ]["result"]
        return result

    def value(self, promql: str) -> float | None:
        """The only value of an instant query, or None when there is none."""
        result = self.query(promql)
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None


@pytest.fixture(scope="session")
def stack(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack, up before the first test that asks for it, and down after the last, whatever happens."""
    with running(tmp_path_factory.mktemp("stack")) as ours:
        yield ours


@contextlib.contextmanager
def running(state: Path) -> Iterator[Stack]:
    """A native stack that is up inside the block."""
    ours = Stack(new_settings(state))
    try:
        result = ours.nightlight("up", "--runtime", "native")
        assert result.returncode == 0, result.stdout + result.stderr
        yield ours
    finally:
        supervisor.down(ours.settings, lambda _: None)


def new_settings(state: Path) -> Settings:
    """Settings for one more stack on this machine."""
    return replace(stack_settings.load(os.environ, state_dir=str(state)), port_offset=free_offset())


def free_offset() -> int:
    """An offset at which every port of the stack is free."""
    ports = {port for server in PORTS.values() for port in server.values()}
    first = 15000 + os.getpid() % 50 * 97  # two test runs on one machine should not look in the same place at once
    for offset in range(first, HIGHEST_OFFSET, 97):
        if all(_free(port + offset) for port in ports):
            return offset
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def run_nightlight(
    *arguments: str, timeout: float = 600, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the ``nightlight`` command in the repository."""
    return subprocess.run(
        [NIGHTLIGHT, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=REPOSITORY,
        env=environment,
        check=False,
    )


def wait_for(probe: Callable[[], Answer | None], seconds: float, what: str) -> Answer:
    """Ask until the answer is true or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = probe()
        except OSError:
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.3)
