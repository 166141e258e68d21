"""Processes that outlive the command which started them: found again by number and start time, never by name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A running program. ``started`` tells it from a later process that was given the same number."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _started(self.pid) == self.started

    def memory_bytes(self) -> int | None:
        """Resident memory, or None when the process is gone."""
        return _resident(self.pid) if self.alive() else None

    def stop(self, grace_seconds: float) -> None:
        """Ask it to end, and end it when it has not after ``grace_seconds``."""
        for number, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
            if not self.alive():
                return
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + patience
            while self.alive() and time.monotonic() < deadline:
                time.sleep(0.05)


def start(command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str], directory: Path) -> Process:
    """Start a program in a session of its own, its output appended to ``log``. Raises OSError when it cannot start."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
    # It outlives this object on purpose; without this, Python would warn about it when the object goes.
    child.returncode = 0
    return Process(child.pid, _started(child.pid) or "")


def _started(pid: int) -> str | None:
    """When the process started, or None when there is none or only its remains."""
    if Path("/proc/self").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        if fields[0] in ("Z", "X"):
            _reap(pid)
            return None
        return fields[19]
    state, _, started = _ps(pid, "stat=,lstart=").strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        return  # not a child of this process


def _resident(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        kilobytes = _ps(pid, "rss=").strip()
    else:
        kilobytes = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), "")
    return int(kilobytes) * 1024 if kilobytes.isdigit() else None


def _ps(pid: int, columns: str) -> str:
    """The way of systems without /proc."""
    try:
        return subprocess.run(["ps", "-o", columns, "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
