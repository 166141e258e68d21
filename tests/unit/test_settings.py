"""What .env may say, and what is said about it when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack import settings
from stack.errors import StackError
from stack.native import render
from stack.native.build import _check_pin
from stack.native.programs import BUILDS
from stack.settings import REPOSITORY, Settings

PINS = settings.parse_env(REPOSITORY / ".env")


def test_a_variable_of_the_environment_wins_over_the_file() -> None:
    found = settings.load({"BIND_ADDR": "0.0.0.0", "HOME": "/home/me"})

    assert found.listen_address == "0.0.0.0"
    assert found.address == "127.0.0.1"
    assert found.cache == Path("/home/me/.cache/nightlight")
    assert found.state == Path("/home/me/.local/state/nightlight")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("COLLECTOR_VERSION 0.158.0\n", "line 1 is not NAME=value: 'COLLECTOR_VERSION 0.158.0'"),
        ("# versions\nPROMETHEUS_VERSION=\n", "line 2 is not NAME=value"),
        ("export LOKI_VERSION=3.7.8\n", "line 1 is not NAME=value"),
        ("PYTHON_VERSION=3.12\n", "does not set COLLECTOR_VERSION, PROMETHEUS_VERSION"),
    ],
)
def test_a_malformed_env_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / ".env"
    file.write_text(text)

    with pytest.raises(StackError, match=r"\.env") as caught:
        settings.load({}, env_file=file)

    assert said in caught.value.problem
    assert "git checkout .env" in caught.value.remedy


def test_a_missing_env_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="cannot be read"):
        settings.load({}, env_file=tmp_path / ".env")


def test_a_version_that_the_native_pins_do_not_have_is_refused_with_the_way_to_move_them() -> None:
    (loki,) = [build for build in BUILDS if build.name == "loki"]

    with pytest.raises(StackError, match=r"LOKI_VERSION=3\.9\.0.* pins v3\.7\.8") as caught:
        _check_pin(loki, {**PINS, "LOKI_VERSION": "3.9.0"})

    assert "go get github.com/grafana/loki/v3@v3.9.0" in caught.value.remedy


def native(tmp_path: Path, offset: int = 100, **pins: str) -> Settings:
    return Settings({**PINS, **pins}, cache=tmp_path / "cache", state=tmp_path / "state", port_offset=offset)


@pytest.mark.parametrize(
    ("shared", "ours"),
    [
        ("http://prometheus:9090/api/v1/otlp", "http://127.0.0.1:9190/api/v1/otlp"),
        ("targets: [tempo:3200]", "targets: [127.0.0.1:3300]"),
        ("endpoint: ${env:LISTEN_ADDR:-127.0.0.1}:4317", "endpoint: ${env:LISTEN_ADDR:-127.0.0.1}:4417"),
        ("http_listen_port: 3100", "http_listen_port: 3200"),
        ("http_port = 3000", "http_port = 3100"),
        ("--web.listen-address=0.0.0.0:9090", "--web.listen-address=127.0.0.1:9190"),
        ("--cluster.listen-address=", "--cluster.listen-address="),
        ("dashboard_url: http://127.0.0.1:3000/d/x", "dashboard_url: http://127.0.0.1:3100/d/x"),
        ("path: /var/tempo/wal", "path: {state}/data/tempo/wal"),
        ("path_prefix: /loki", "path_prefix: {state}/data/loki"),
        ("--storage.tsdb.path=/prometheus", "--storage.tsdb.path={state}/data/prometheus"),
        ("$__file{/var/lib/grafana/admin_password}", "$__file{{state}/data/grafana/admin_password}"),
        (
            "file: /etc/nightlight/stack/prometheus/prometheus.yml",
            "file: {state}/config/stack/prometheus/prometheus.yml",
        ),
        # What only looks like an address or a path stays as it is.
        ("scrape_interval: 15s", "scrape_interval: 15s"),
        ("repeat: 93090", "repeat: 93090"),
        ("expr: rate(llm_requests_total[10m]) > 9090", "expr: rate(llm_requests_total[10m]) > 9090"),
        ("https://example.org/loki/docs", "https://example.org/loki/docs"),
    ],
)
def test_shared_configuration_becomes_this_machines(tmp_path: Path, shared: str, ours: str) -> None:
    settings = native(tmp_path)

    assert render.text(shared, settings) == ours.replace("{state}", str(settings.state), 1)


def test_the_address_for_alerts_is_a_file_that_only_this_user_reads(tmp_path: Path) -> None:
    secret = tmp_path / "webhook"
    secret.write_text("https://hooks.example.org/T0/token\n")
    settings = native(tmp_path, ALERT_WEBHOOK_URL_FILE=str(secret))

    render.files(settings)

    copy = settings.state / "secrets" / "alert_webhook_url"
    assert copy.read_text() == secret.read_text()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_missing_file_with_the_address_for_alerts_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"address for alerts cannot be read: .*nowhere"):
        render.files(native(tmp_path, ALERT_WEBHOOK_URL_FILE="/nowhere"))


def test_what_the_repository_no_longer_has_is_no_longer_configured(tmp_path: Path) -> None:
    settings = native(tmp_path)
    stale = render.files(settings) / "alert_rules" / "generated" / "old.rules.yaml"
    stale.write_text("groups: []\n")

    render.files(settings)

    assert not stale.exists()
    assert (stale.parent / "alerts.rules.yaml").exists()
