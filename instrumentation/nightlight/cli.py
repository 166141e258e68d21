"""The ``nightlight`` command. It runs the stack of a clone; nothing here is loaded into users' apps."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.native.supervisor import State
    from stack.settings import Settings

Say = Callable[[str], None]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 failed (said why), 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        from stack.errors import StackError
    except ModuleNotFoundError:
        print(
            "nightlight: this command runs the servers from a clone of the Nightlight repository, and this is the "
            "package alone.\nClone the repository and run `make up` in it; your app needs nothing but the package.",
            file=sys.stderr,
        )
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code: int = options.run(options)
    except StackError as error:
        print(f"\nnightlight: {error.problem}", file=sys.stderr)
        if error.remedy:
            print(error.remedy, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nnightlight: interrupted", file=sys.stderr)
        return 130
    return code


def _interrupt(*_: object) -> None:
    """Being terminated ends a command as Ctrl-C does: what it started is stopped first."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nightlight", description="Run the servers that store, draw and watch an LLM application's telemetry."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--runtime", choices=("docker", "native"), help="default: docker when it can, else native")
    common.add_argument("--state-dir", metavar="DIR", help="where data and logs are kept (native)")
    common.add_argument("--port-offset", metavar="N", type=int, help="add N to every port")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("up", _up, "start the servers and wait until they are ready"),
        ("down", _down, "stop the servers; what they stored stays"),
        ("status", _status, "say what runs, how much memory it takes, and where its log is"),
        ("logs", _logs, "print the end of one server's log"),
        ("demo", _demo, "show an incident from the first failed call to the delivered notification"),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".", parents=[common])
        command.set_defaults(run=run)
        if name == "status":
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "logs":
            command.add_argument("name", metavar="NAME", help="a server, such as collector")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """The settings for this command; without --port-offset those of the stack that runs."""
    from stack import settings
    from stack.native import supervisor

    found = settings.load(os.environ, state_dir=options.state_dir, port_offset=options.port_offset or 0)
    recorded = supervisor.recorded_offset(found)
    if options.port_offset is None and recorded is not None:
        return dataclasses.replace(found, port_offset=recorded)
    return found


def _up(options: argparse.Namespace) -> int:
    from stack import docker
    from stack.native import supervisor

    found, say = _settings(options), _sayer()
    runtime = options.runtime or ("native" if supervisor.recorded_offset(found) is not None else None)
    if runtime is None:
        reason = docker.why_not(found, say)
        runtime = "docker" if reason is None else "native"
        if reason:
            say(f"running natively, because {reason}")
    if runtime == "docker":
        docker.up(found, say)
    else:
        supervisor.up(found, say)
    print(_where_next(found), flush=True)
    return 0


def _down(options: argparse.Namespace) -> int:
    from stack import docker
    from stack.native import supervisor

    found, say = _settings(options), _sayer()
    if _runtime(options, found) == "docker":
        docker.down(found)
    elif not supervisor.down(found, say):
        say("nothing was running")
    return 0


def _status(options: argparse.Namespace) -> int:
    from stack import docker
    from stack.native import supervisor

    found = _settings(options)
    if _runtime(options, found) == "docker":
        containers = docker.status(found)
        healthy = [one.get("Health") in ("", "healthy") and one.get("State") == "running" for one in containers]
        if options.json:
            print(json.dumps(containers, indent=2))
        for one in containers if not options.json else []:
            print(f"  {one.get('Service', '?'):18} {one.get('State', '?'):10} {one.get('Health') or '-'}")
        return 0 if containers and all(healthy) else 1
    states = supervisor.status(found)
    if options.json:
        print(json.dumps([dataclasses.asdict(state) for state in states], indent=2, default=str))
    else:
        print(_table(states))
    return 0 if all(state.state == "ready" for state in states) else 1


def _table(states: list[State]) -> str:
    lines = [f"  {'server':13} {'state':9} {'memory':>8}  {'answers at':34} log"]
    lines += [
        f"  {one.server:13} {one.state:9} {_megabytes(one.memory_bytes):>8}  {one.url:34} {one.log}" for one in states
    ]
    known = [one.memory_bytes for one in states if one.memory_bytes is not None]
    lines.append(f"  {'together':13} {'':9} {_megabytes(sum(known)) if known else '-':>8}")
    for one in states:
        if one.state == "dead":
            from stack.native.supervisor import last_lines

            lines += ["", f"{one.server} is dead. Its log is {one.log} and ends:"]
            lines += [f"  {line[:200]}" for line in last_lines(one.log)]
            lines += ["Start it again with: nightlight up --runtime native", "What the Collector holds for it is kept."]
    return "\n".join(lines)


def _megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.0f} MB"


def _logs(options: argparse.Namespace) -> int:
    from stack import docker
    from stack.errors import StackError
    from stack.native import supervisor

    found = _settings(options)
    if _runtime(options, found) == "docker":
        docker.logs(options.name, found)
        return 0
    known = sorted(path.stem for path in supervisor.log_file("x", found).parent.glob("*.log"))
    if options.name not in known:
        raise StackError(
            f"There is no log of {options.name!r}.", f"There are logs of: {', '.join(known) or 'nothing yet'}"
        )
    print("\n".join(supervisor.last_lines(supervisor.log_file(options.name, found), 200)))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from examples import demo
    from stack.errors import StackError

    if options.runtime == "docker":
        raise StackError("The demo runs natively.", "In containers: docker compose --profile demo up -d")
    demo.run(_settings(options), _sayer())
    return 0


def _runtime(options: argparse.Namespace, found: Settings) -> str:
    """Which of the two a command without --runtime means: the one that runs."""
    from stack import docker
    from stack.native import supervisor

    if options.runtime:
        return str(options.runtime)
    if supervisor.recorded_offset(found) is None and docker.running(found):
        return "docker"
    return "native"


def _where_next(found: Settings) -> str:
    return f"""
Nightlight is up. Point an app at it:
  export OTEL_SERVICE_NAME=my-app
  export OTEL_EXPORTER_OTLP_ENDPOINT={found.url("collector", name="grpc")}
  export OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=dev
  opentelemetry-instrument python app.py"""


def _sayer() -> Say:
    begun = time.monotonic()

    def say(text: str) -> None:
        seconds = int(time.monotonic() - begun)
        print(f"[{seconds // 60:02d}:{seconds % 60:02d}] {text}", flush=True)

    return say
