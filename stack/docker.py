"""The stack in containers: a thin layer over ``docker compose``, which does the work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from stack.errors import StackError
from stack.settings import PORTS, REPOSITORY, Settings

# The ports that docker-compose.yml publishes, and the variables by which they are moved.
PUBLISHED: Mapping[str, tuple[str, str]] = {
    "OTLP_GRPC_PORT": ("collector", "grpc"),
    "OTLP_HTTP_PORT": ("collector", "http"),
    "COLLECTOR_HEALTH_PORT": ("collector", "health"),
    "COLLECTOR_METRICS_PORT": ("collector", "metrics"),
    "PROMETHEUS_PORT": ("prometheus", "http"),
    "ALERTMANAGER_PORT": ("alertmanager", "http"),
    "TEMPO_PORT": ("tempo", "http"),
    "LOKI_PORT": ("loki", "http"),
    "GRAFANA_PORT": ("grafana", "http"),
    "PROVIDER_PORT": ("provider", "http"),
    "RECEIVER_PORT": ("receiver", "http"),
}


def why_not(settings: Settings, say: Callable[[str], None]) -> str | None:
    """Return why Docker cannot run the stack here, or None when it can: engine, Compose plugin and images.

    Images that are missing are pulled.
    """
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    if _ask(["docker", "compose", "version"], settings).returncode != 0:
        return "docker has no Compose plugin"
    if _ask(["docker", "info"], settings).returncode != 0:
        return "no Docker engine answers"
    images = _ask(["docker", "compose", "config", "--images"], settings).stdout.split()
    missing = [image for image in images if _ask(["docker", "image", "inspect", image], settings).returncode != 0]
    if missing:
        say(f"pulling {', '.join(sorted(missing))}")
        pull = subprocess.run(
            ["docker", "compose", "pull", "--policy", "missing"], check=False, cwd=REPOSITORY, env=environment(settings)
        )
        if pull.returncode != 0:
            return "the images are not here and cannot be pulled"
    return None


def running(settings: Settings) -> bool:
    """Whether any container of this stack exists."""
    return shutil.which("docker") is not None and bool(
        _ask(["docker", "compose", "ps", "-aq"], settings).stdout.strip()
    )


def up(settings: Settings, say: Callable[[str], None]) -> None:
    """Start the containers and return when all are healthy. Raises StackError with Compose's own words."""
    say("starting the containers: docker compose up -d --wait")
    _run(["docker", "compose", "up", "-d", "--wait", "--wait-timeout", "180"], settings)


def down(settings: Settings) -> None:
    """Stop and remove the containers; the volumes with the data stay."""
    _run(["docker", "compose", "--profile", "demo", "down"], settings)


def status(settings: Settings) -> list[dict[str, Any]]:
    """Return what Compose knows of each container: Service, State, Health."""
    output = _ask(["docker", "compose", "--profile", "demo", "ps", "-a", "--format", "json"], settings).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def logs(name: str, settings: Settings) -> None:
    """Print a container's log."""
    _run(["docker", "compose", "logs", "--no-log-prefix", "--tail", "200", name], settings)


def environment(settings: Settings) -> dict[str, str]:
    """What Compose needs to know of --port-offset: the published ports, and a project of its own."""
    variables = dict(os.environ)
    if settings.port_offset:
        variables["COMPOSE_PROJECT_NAME"] = f"nightlight-{settings.port_offset}"
        for variable, (server, name) in PUBLISHED.items():
            variables[variable] = str(PORTS[server][name] + settings.port_offset)
    return variables


def _ask(command: list[str], settings: Settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment(settings)
    )


def _run(command: list[str], settings: Settings) -> None:
    if subprocess.run(command, check=False, cwd=REPOSITORY, env=environment(settings)).returncode != 0:
        raise StackError(
            f"{' '.join(command)} failed; its own message is above.",
            "To run without Docker: nightlight up --runtime native",
        )
