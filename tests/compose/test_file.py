"""docker-compose.yml, read without an engine: it says what .env, the native runtime and the house rules say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from stack.docker import PUBLISHED
from stack.native.servers import START_ORDER, Server
from stack.settings import PORTS, REPOSITORY, parse_env

TEXT = (REPOSITORY / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
PINS = parse_env(REPOSITORY / ".env")
ONE_SHOT = "collector-volume"
LONG_RUNNING = {name: service for name, service in SERVICES.items() if name != ONE_SHOT}

PORT = re.compile(r"\$\{BIND_ADDR\}:\$\{(?P<variable>\w+):-(?P<default>\d+)\}:(?P<inside>\d+)")


def bind_mounts(service: dict[str, Any]) -> Iterator[list[str]]:
    """Source, target and mode of what a service sees of the repository."""
    for volume in service.get("volumes", []):
        if isinstance(volume, str) and volume.startswith("."):
            yield volume.split(":")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_by_the_env_file(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert service["build"]["args"] == {"PYTHON_VERSION": "${PYTHON_VERSION}"}
        assert (REPOSITORY / service["build"]["dockerfile"]).is_file()
        return
    pinned = re.fullmatch(r"[a-z][a-z/-]*:v?\$\{(\w+_VERSION)\}(-slim)?", service["image"])
    assert pinned, service["image"]
    assert re.fullmatch(r"\d+(\.\d+)+", PINS[pinned[1]])


def test_nothing_is_the_latest() -> None:
    assert "latest" not in TEXT


def test_ports_are_published_where_bind_addr_says_and_moved_by_the_runtimes_variables() -> None:
    published: dict[str, tuple[str, int, int]] = {}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            match = PORT.fullmatch(port)
            assert match, port
            published[match["variable"]] = (name, int(match["default"]), int(match["inside"]))
    assert published == {
        variable: (server, PORTS[server][port], PORTS[server][port]) for variable, (server, port) in PUBLISHED.items()
    }
    assert PINS["BIND_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("server", START_ORDER, ids=lambda server: server.name)
def test_a_server_is_started_as_the_native_runtime_starts_it(server: Server) -> None:
    service = SERVICES[server.name]
    assert service["command"] == list(server.arguments)
    assert "entrypoint" not in service
    environment = service.get("environment", {})
    assert environment == {**server.environment, **({"LISTEN_ADDR": "0.0.0.0"} if "LISTEN_ADDR" in environment else {})}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert "mem_limit" in service
    assert service["cap_drop"] == ["ALL"]
    assert not {"privileged", "devices", "pid", "ipc"} & set(service)
    for source, target, mode in bind_mounts(service):
        assert mode == "ro", source
        assert (REPOSITORY / source).is_dir(), source
        assert target in (f"/etc/nightlight/{source[2:]}", f"/nightlight/{source[2:]}")
    if name == ONE_SHOT:  # it is root in order to give a volume away, and can do nothing else
        assert (service["cap_add"], service["network_mode"]) == (["CHOWN"], "none")
        return
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user") not in ("root", "0")
    assert "cap_add" not in service
    assert "network_mode" not in service


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_runs_on_is_restarted_and_what_serves_is_checked(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "30s"
    if "ports" in service:
        checked = service if "healthcheck" in service else SERVICES[f"{name}-health"]
        check = checked["healthcheck"]
        assert check["test"][0] == "CMD"  # the images have no common shell
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)
        if name != "loki":  # which has no shell, but a command of its own for this
            address = re.search(r"http://([\w.-]+):(\d+)", " ".join(check["test"]))
            assert address, "it asks the server"
            assert address[1] == ("127.0.0.1" if checked is service else name)
            assert int(address[2]) in PORTS[name].values()


def test_every_volume_is_named_and_used() -> None:
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if isinstance(volume, str) and not volume.startswith(".")
    }
    assert used == set(FILE["volumes"])


def test_secrets_come_from_files_only() -> None:
    assert FILE["secrets"] == {"alert_webhook_url": {"file": "${ALERT_WEBHOOK_URL_FILE}"}}
    secret = re.compile("password|secret|token|api_key|credential", re.IGNORECASE)
    for name, service in SERVICES.items():
        known = {variable for variable in service.get("environment", {}) if secret.search(variable)}
        # The demo's provider is a fake one that takes any key.
        assert known == ({"OPENAI_API_KEY"} if name == "assistant" else set()), name
    assert SERVICES["assistant"]["environment"]["OPENAI_API_KEY"] == "sk-demo"


def test_the_demos_parts_start_only_when_asked_for() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {
        "provider",
        "receiver",
        "assistant",
    }
