"""Starts, watches and stops the native servers. There is no daemon: the state directory says what runs."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stack import web
from stack.errors import StackError
from stack.native import build, process, render
from stack.native.process import Process
from stack.native.servers import GRAFANA, START_ORDER, Server
from stack.settings import PORTS, Settings

READY_SECONDS = 90.0
STOP_SECONDS = 20.0
LOG_LINES = 12

Say = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """What ``status`` knows of one server. ``state`` is ready, starting, dead or stopped."""

    server: str
    state: str
    pid: int | None
    memory_bytes: int | None
    url: str
    log: Path


@dataclass(frozen=True)
class _Plan:
    """One server, ready to be started."""

    server: Server
    command: tuple[str, ...]
    environment: Mapping[str, str]
    digest: str


def up(settings: Settings, say: Say) -> None:
    """Bring every server up and return when all are ready; servers that already run as configured are left alone.

    Raises StackError, with nothing of this call left running, when a build, a check, a port or a start fails.
    """
    _check_offset(settings)
    programs = build.programs(settings, say)
    with _locked(settings):
        render.files(settings)
        plans = [_plan(server, programs[server.program], settings) for server in START_ORDER]
        plans += _grafana(settings, say)
        to_start = [plan for plan in plans if not _runs_as_planned(plan, settings)]
        for plan in plans:
            if plan not in to_start:
                say(f"{plan.server.name} is running already")
        if not to_start:
            return
        _check_configuration(programs, settings)
        for plan in to_start:
            _end(plan.server.name, settings)  # an older one, with another configuration
        _check_ports([plan.server for plan in to_start], settings)
        _write_json(_run(settings) / "stack.json", {"port_offset": settings.port_offset})
        _start(to_start, settings, say)


def down(settings: Settings, say: Say) -> bool:
    """Stop every server, the Collector first so that it can still deliver; return whether any was running."""
    stopped = False
    with _locked(settings):
        for server in [GRAFANA, *reversed(START_ORDER)]:
            running = _recorded(server.name, settings)
            if running is not None and running.alive():
                stopped = True
                say(f"stopping {server.name}")
            _end(server.name, settings)
        (_run(settings) / "stack.json").unlink(missing_ok=True)
    return stopped


def status(settings: Settings) -> list[State]:
    """Return the state of every server that was started here."""
    servers = [*START_ORDER, *([GRAFANA] if _record(GRAFANA.name, settings).exists() else [])]
    return [_state(server, settings) for server in servers]


def recorded_offset(settings: Settings) -> int | None:
    """The --port-offset that the running stack was started with, or None when none was started."""
    try:
        return int(json.loads((_run(settings) / "stack.json").read_text())["port_offset"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cannot_listen(settings: Settings, port: int) -> str | None:
    """Why nothing can listen on a port of this machine, or None when it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.listen_address, port))
        except OSError as error:
            return error.strerror
    return None


def log_file(name: str, settings: Settings) -> Path:
    """Where a server's output is."""
    return settings.state / "logs" / f"{name}.log"


def last_lines(path: Path, count: int = LOG_LINES) -> list[str]:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65536))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


# --- starting --------------------------------------------------------------------------------------------------------


def _plan(server: Server, program: Path, settings: Settings, arguments: Sequence[str] | None = None) -> _Plan:
    command = (str(program), *(render.text(part, settings) for part in arguments or server.arguments))
    own = {name: render.text(value, settings) for name, value in server.environment.items()}
    own["LISTEN_ADDR"] = settings.listen_address
    configured = hashlib.sha256(repr((command, sorted(own.items()))).encode())
    for file in sorted(_configuration_of(server, settings)):
        configured.update(file.read_bytes())
    return _Plan(server, command, {**os.environ, **own}, configured.hexdigest())


def _configuration_of(server: Server, settings: Settings) -> list[Path]:
    """The rendered files whose change means a restart."""
    root = render.configuration(settings)
    folders = {
        "collector": ("collector",),
        "prometheus": ("stack/prometheus", "alert_rules/generated"),
        "grafana": ("stack/grafana",),
    }
    return [
        file
        for folder in folders.get(server.name, (f"stack/{server.name}",))
        for file in (root / folder).rglob("*")
        if file.is_file()
    ]


def _grafana(settings: Settings, say: Say) -> list[_Plan]:
    """Grafana has no build from a module; one that is installed is used."""
    program = shutil.which("grafana")
    if program is None:
        say(
            "Grafana is not on PATH: install it from grafana.com/grafana/download to see the dashboards; the rest works"
        )
        return []
    around = Path(program).resolve().parent.parent
    home = next((path for path in (around, Path("/usr/share/grafana")) if (path / "public").is_dir()), None)
    if home is None:
        say(f"Grafana at {program} has no home directory beside it and is left out; the rest works")
        return []
    _make_password(render.data(GRAFANA.name, settings) / "admin_password", say)
    arguments = [part.format(grafana_home=home) for part in GRAFANA.arguments]
    return [_plan(GRAFANA, Path(program), settings, arguments)]


def _make_password(path: Path, say: Say) -> None:
    """Give Grafana an admin password of its own before its first start, readable by this user alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(18))
        say(f"Grafana shows boards to anyone who reaches it; the password of its user admin is in {path}")


def _start(plans: Sequence[_Plan], settings: Settings, say: Say) -> None:
    """Start in order, each stage awaited before the next: the stores at once, then the Collector, then Grafana."""
    started: list[str] = []
    try:
        for stage in _stages(plans):
            for plan in stage:
                started.append(plan.server.name)
                _launch(plan, settings)
            for plan in stage:
                seconds = _await_ready(plan.server, settings)
                say(f"{plan.server.name} is ready after {seconds:.0f} s at {_ready_url(plan.server, settings)}")
    except BaseException:
        for name in reversed(started):
            _end(name, settings)
        raise


def _stages(plans: Sequence[_Plan]) -> list[list[_Plan]]:
    late = ("collector", "grafana")
    stages = [[plan for plan in plans if plan.server.name not in late]]
    stages += [[plan for plan in plans if plan.server.name == name] for name in late]
    return [stage for stage in stages if stage]


def _launch(plan: _Plan, settings: Settings) -> None:
    name = plan.server.name
    directory = render.data(name, settings)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        child = process.start(
            plan.command, log=log_file(name, settings), environment=plan.environment, directory=directory
        )
    except OSError as error:
        raise StackError(f"{name} cannot be started: {plan.command[0]}: {error.strerror}.") from error
    _write_json(_record(name, settings), {**asdict(child), "digest": plan.digest})


def _await_ready(server: Server, settings: Settings) -> float:
    begun = time.monotonic()
    while time.monotonic() - begun < READY_SECONDS:
        running = _recorded(server.name, settings)
        if running is None or not running.alive():
            raise StackError(f"{server.name} ended while it was starting.", _explain(server.name, settings))
        if web.get(_ready_url(server, settings), timeout=2)[0] == 200:
            return time.monotonic() - begun
        time.sleep(0.2)
    raise StackError(
        f"{server.name} was not ready within {READY_SECONDS:.0f} s at {_ready_url(server, settings)}.",
        _explain(server.name, settings),
    )


def _explain(name: str, settings: Settings) -> str:
    lines = last_lines(log_file(name, settings))
    return "\n".join([f"Its log is {log_file(name, settings)} and ends:", *(f"  {line[:300]}" for line in lines)])


def _check_configuration(programs: Mapping[str, Path], settings: Settings) -> None:
    """Ask each server's own checker before anything is started or stopped."""
    root = render.configuration(settings)
    for command in (
        (programs["promtool"], "check", "config", root / "stack/prometheus/prometheus.yml"),
        (programs["amtool"], "check-config", root / "stack/alertmanager/alertmanager.yml"),
        (programs["tempo"], "-config.verify", "-config.expand-env", f"-config.file={root / 'stack/tempo/tempo.yaml'}"),
        (programs["loki"], "-verify-config", "-config.expand-env", f"-config.file={root / 'stack/loki/loki.yaml'}"),
        (programs["otelcol"], "validate", f"--config={root / 'collector/config.yaml'}"),
    ):
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=root
        )
        if result.returncode != 0:
            said = "\n".join(f"  {line[:300]}" for line in result.stdout.strip().splitlines()[-LOG_LINES:])
            raise StackError(
                f"{command[0].name} refuses the configuration:\n{said}",
                f"Correct the file in the repository; {root} holds copies. Nothing was started or stopped.",
            )


def _check_ports(servers: Sequence[Server], settings: Settings) -> None:
    taken = [
        f"port {settings.port(server.name, name)} ({server.name} {name}): {reason}"
        for server in servers
        for name in PORTS[server.name]
        if (reason := cannot_listen(settings, settings.port(server.name, name)))
    ]
    if taken:
        raise StackError(
            f"Cannot listen on {settings.listen_address}:\n" + "\n".join(f"  {line}" for line in taken),
            "Stop what uses it, or move the whole stack:\n  nightlight up --port-offset 100",
        )


def _check_offset(settings: Settings) -> None:
    recorded = recorded_offset(settings)
    running = any(state.pid for state in status(settings))
    if recorded is not None and running and recorded != settings.port_offset:
        raise StackError(
            f"A stack with --port-offset {recorded} runs from {settings.state} already.",
            "Stop it first with: nightlight down\nOr give the second stack a directory of its own: --state-dir DIR",
        )


# --- the state directory ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Keep two commands from starting or stopping the same stack at once."""
    try:
        _run(settings).mkdir(parents=True, exist_ok=True)
        file = (_run(settings) / "lock").open("w")
    except OSError as error:
        raise StackError(
            f"The state directory {settings.state} cannot be written: {error.strerror}.",
            "Choose another one: --state-dir DIR",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(
                f"Another nightlight command is starting or stopping the stack in {settings.state}.",
                "Wait until it is done and run this again.",
            ) from error
        yield


def _run(settings: Settings) -> Path:
    return settings.state / "run"


def _record(name: str, settings: Settings) -> Path:
    return _run(settings) / f"{name}.json"


def _read_record(name: str, settings: Settings) -> dict[str, object]:
    try:
        record: dict[str, object] = json.loads(_record(name, settings).read_text())
    except (OSError, ValueError):
        return {}
    return record


def _recorded(name: str, settings: Settings) -> Process | None:
    record = _read_record(name, settings)
    if not record:
        return None
    return Process(int(str(record["pid"])), str(record["started"]))


def _runs_as_planned(plan: _Plan, settings: Settings) -> bool:
    running = _recorded(plan.server.name, settings)
    same = _read_record(plan.server.name, settings).get("digest") == plan.digest
    return running is not None and running.alive() and same


def _end(name: str, settings: Settings) -> None:
    running = _recorded(name, settings)
    if running is not None:
        running.stop(STOP_SECONDS)
    _record(name, settings).unlink(missing_ok=True)


def _state(server: Server, settings: Settings) -> State:
    running = _recorded(server.name, settings)
    alive = running is not None and running.alive()
    if running is None:
        word = "stopped"
    elif not alive:
        word = "dead"
    else:
        word = "ready" if web.get(_ready_url(server, settings), timeout=2)[0] == 200 else "starting"
    return State(
        server=server.name,
        state=word,
        pid=running.pid if running and alive else None,
        memory_bytes=running.memory_bytes() if running and alive else None,
        url=_ready_url(server, settings),
        log=log_file(server.name, settings),
    )


def _ready_url(server: Server, settings: Settings) -> str:
    return settings.url(server.name, server.ready, server.ready_port)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write whole or not at all: a reader never sees half a record."""
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(content) + "\n")
    scratch.replace(path)
