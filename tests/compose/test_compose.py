"""docker-compose.yml on a Docker engine: it comes up, takes in telemetry, keeps it, and says when a part is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from examples.http_server import in_background
from examples.provider.server import ProviderServer
from nightlight import conventions as names
from stack import docker, web
from stack.settings import REPOSITORY, Settings
from tests.compose import engine as own_engine
from tests.compose import images
from tests.compose.engine import Engine
from tests.conftest import wait_for

lacking = own_engine.missing()
pytestmark = pytest.mark.skipif(lacking is not None, reason=f"docker-compose.yml was not run: {lacking}")

PORT_OFFSET = 30000
QUESTIONS = 5
ONE_SHOT = "collector-volume"


@dataclass(frozen=True)
class Deployment:
    """The services of docker-compose.yml but Grafana, which has no stand-in, on an engine of their own."""

    engine: Engine
    settings: Settings

    def compose(self, *arguments: str) -> str:
        """Run a ``docker compose`` command in the repository."""
        return self.engine.docker("compose", *arguments)

    def up(self) -> None:
        """Start every service but Grafana and return when all are healthy."""
        try:
            self.compose("up", "-d", "--wait", "--wait-timeout", "180", *self.services())
        except AssertionError:
            print(self.compose("ps", "-a"), self.compose("logs", "--tail", "20"))
            raise

    def services(self) -> list[str]:
        """The names of all services but Grafana's."""
        return [name for name in self.compose("config", "--services").split() if name != "grafana"]

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each service's container."""
        found = json.loads(self.engine.docker("inspect", *self.compose("ps", "-aq").split()))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def health(self, services: Collection[str]) -> set[str]:
        """What the health checks of the services say: healthy, unhealthy, starting."""
        containers = self.containers()
        return {str(containers[service]["State"]["Health"]["Status"]) for service in services}

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        url = self.settings.url("prometheus", f"/api/v1/query?query={quote(promql)}")
        return list(web.get_json(url)["data"]["result"])


@pytest.fixture(scope="module")
def plugin(settings: Settings, request: pytest.FixtureRequest) -> Path | None:
    """The Compose plugin, built if neither docker nor the cache has it; the long work shows."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)

    return own_engine.compose_plugin(settings, say)


@pytest.fixture(scope="module")
def engine(plugin: Path | None, programs: dict[str, Path]) -> Iterator[Engine]:
    """An engine that ends with this module. Whatever needs the network must be there before: the engine has none."""
    with own_engine.running(plugin) as engine:
        yield engine


@pytest.fixture(scope="module")
def deployment(engine: Engine, settings: Settings, programs: dict[str, Path]) -> Iterator[Deployment]:
    ours = replace(settings, port_offset=PORT_OFFSET)
    ports = {name: value for name, value in docker.environment(ours).items() if os.environ.get(name) != value}
    deployment = Deployment(Engine({**engine.environment, **ports}), ours)
    services = json.loads(deployment.compose("config", "--format", "json"))["services"]
    images.make(engine, {name: service["image"] for name, service in services.items() if "image" in service}, programs)
    try:
        deployment.up()
        yield deployment
    finally:
        deployment.compose("down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="module")
def told(deployment: Deployment) -> str:
    """The name of a service that has told the deployment all it did: the demo app, once through its questions."""
    service = f"compose-{uuid.uuid4().hex[:8]}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_"))}
    python = Path(sys.executable)
    with in_background(ProviderServer(("127.0.0.1", 0), seed=1, latency_scale=0.01)) as provider:
        result = subprocess.run(
            [
                *(python.with_name("opentelemetry-instrument"), python, "examples/assistant/app.py"),
                *("--questions", str(QUESTIONS), "--rate", "20"),
            ],
            env=clean
            | {
                "OTEL_SERVICE_NAME": service,
                "OTEL_EXPORTER_OTLP_ENDPOINT": deployment.settings.url("collector", name="grpc"),
                "OTEL_RESOURCE_ATTRIBUTES": f"{names.ENVIRONMENT}=test",
                "OPENAI_BASE_URL": f"{provider}/v1",
                "OPENAI_API_KEY": "sk-test",
            },
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert f"{QUESTIONS} answered" in result.stdout, result.stdout + result.stderr
    return service


def test_every_service_is_running_and_healthy(deployment: Deployment) -> None:
    containers = deployment.containers()
    assert sorted(containers) == sorted(deployment.services())
    assert containers.pop(ONE_SHOT)["State"]["ExitCode"] == 0
    for service, container in containers.items():
        state = container["State"]
        assert (state["Status"], container["RestartCount"]) == ("running", 0), service
        # The Collector and Tempo have no shell in their images: a companion checks them.
        checked = container if "Health" in state else containers[f"{service}-health"]
        assert checked["State"]["Health"]["Status"] == "healthy", service


def test_only_this_machine_reaches_the_ports(deployment: Deployment) -> None:
    published = {
        (service, int(binding["HostPort"])): binding["HostIp"]
        for service, container in deployment.containers().items()
        for bindings in container["HostConfig"]["PortBindings"].values()
        for binding in bindings
    }
    wanted = {(server, deployment.settings.port(server, name)) for server, name in docker.PUBLISHED.values()}
    assert set(published) == {one for one in wanted if one[0] in images.LAYOUTS}
    assert set(published.values()) == {"127.0.0.1"}


def test_containers_may_do_no_more_than_they_need(deployment: Deployment) -> None:
    for service, container in deployment.containers().items():
        host = container["HostConfig"]
        assert not host["Privileged"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["Memory"] > 0, service
        if service == ONE_SHOT:
            assert (container["Config"]["User"], host["NetworkMode"]) == ("root", "none")
            assert host["CapAdd"] in (["CHOWN"], ["CAP_CHOWN"])
            continue
        assert container["Config"]["User"].split(":")[0] in ("10001", "nobody"), service
        assert host["CapAdd"] is None, service
        assert host["ReadonlyRootfs"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service


def test_the_webhook_address_can_be_read_by_alertmanager(deployment: Deployment) -> None:
    address = deployment.compose("exec", "-T", "alertmanager", "cat", "/run/secrets/alert_webhook_url")
    assert address == (REPOSITORY / deployment.settings.pins["ALERT_WEBHOOK_URL_FILE"]).read_text()


def test_what_the_demo_app_tells_arrives_in_every_store(deployment: Deployment, told: str) -> None:
    wait_for(lambda: _calls(deployment, told) == QUESTIONS, 60, "llm_requests_total")
    wait_for(lambda: _chat_spans(deployment, told) == QUESTIONS, 60, "the spans in Tempo")
    wait_for(lambda: _log_lines(deployment, told) >= QUESTIONS, 60, "the log lines in Loki")


def test_prometheus_reaches_every_part_and_has_the_rules(deployment: Deployment) -> None:
    def all_up() -> bool:
        up = {one["metric"]["job"]: one["value"][1] for one in deployment.query("up")}
        return up == dict.fromkeys(images.LAYOUTS, "1")

    wait_for(all_up, 60, "up == 1 of every server")
    groups = web.get_json(deployment.settings.url("prometheus", "/api/v1/rules"))["data"]["groups"]
    rules = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert names.ERROR_RATE_HIGH in rules
    found = web.get_json(deployment.settings.url("prometheus", "/api/v1/alertmanagers"))["data"]["activeAlertmanagers"]
    assert [one["url"] for one in found] == ["http://alertmanager:9093/api/v2/alerts"]


def test_a_health_check_says_when_its_server_does_not_serve(deployment: Deployment) -> None:
    frozen = ("collector", "prometheus", "alertmanager", "loki")
    checks = ("collector-health", "prometheus", "alertmanager", "tempo-health", "loki")

    deployment.compose("kill", "--signal", "STOP", *frozen)
    deployment.compose("stop", "tempo")
    try:
        # Three times the interval and the time-out of a check, and a slow machine.
        wait_for(lambda: deployment.health(checks) == {"unhealthy"}, 3 * (5 + 4) + 30, "every check fails")
    finally:
        deployment.compose("kill", "--signal", "CONT", *frozen)
        deployment.compose("start", "tempo")
    wait_for(lambda: deployment.health(checks) == {"healthy"}, 90, "every check is well again")


def test_the_data_survives_down_and_up(deployment: Deployment, told: str) -> None:
    wait_for(lambda: _calls(deployment, told) == QUESTIONS, 60, "llm_requests_total")

    deployment.compose("stop")
    killed = [name for name, container in deployment.containers().items() if container["State"]["ExitCode"] == 137]
    assert not killed, "these did not end within their grace period"
    deployment.compose("down")
    volumes = deployment.engine.docker("volume", "ls", "--quiet").split()
    assert all(volume.startswith("nightlight-") for volume in volumes), "an unnamed volume is left behind"
    deployment.up()

    assert _calls(deployment, told) == QUESTIONS
    wait_for(lambda: _chat_spans(deployment, told) == QUESTIONS, 60, "the spans in Tempo")
    wait_for(lambda: _log_lines(deployment, told) >= QUESTIONS, 60, "the log lines in Loki")


def _calls(deployment: Deployment, service: str) -> float:
    selector = f'{{{names.SERVICE_LABEL}="{service}",{names.OPERATION_LABEL}="chat"}}'
    found = deployment.query(f"sum(last_over_time({names.REQUESTS.series}{selector}[1h]))")
    return float(found[0]["value"][1]) if found else 0


def _chat_spans(deployment: Deployment, service: str) -> int:
    query = f'{{resource.{names.SERVICE_NAME}="{service}" && span.{names.OPERATION_NAME}="chat"}}'
    now = int(time.time())
    url = deployment.settings.url("tempo", f"/api/search?q={quote(query)}&start={now - 3600}&end={now + 60}&limit=100")
    return sum(trace["spanSets"][0]["matched"] for trace in web.get_json(url)["traces"])


def _log_lines(deployment: Deployment, service: str) -> int:
    query = quote(f'{{{names.SERVICE_LABEL}="{service}"}} | trace_id != ""')
    url = deployment.settings.url("loki", f"/loki/api/v1/query_range?query={query}")
    return sum(len(stream["values"]) for stream in web.get_json(url)["data"]["result"])
