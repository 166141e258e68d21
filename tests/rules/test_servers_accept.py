"""Each server's own checker accepts what it will be given; promtool runs the alerts' unit tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stack import settings as stack_settings
from stack.native import render
from stack.settings import REPOSITORY

TESTS = sorted((REPOSITORY / "tests" / "rules").glob("*.test.yaml"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration as the native servers read it."""
    state = tmp_path_factory.mktemp("rendered")
    return render.files(stack_settings.load(os.environ, state_dir=str(state)))


def run(*command: str | Path) -> str:
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=REPOSITORY
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.partition(".")[0])
def test_the_alerts_fire_clear_and_stay_silent_as_described(programs: dict[str, Path], file: Path) -> None:
    assert "SUCCESS" in run(programs["promtool"], "test", "rules", file)


def test_promtool_accepts_the_rules_and_the_configuration(programs: dict[str, Path], rendered: Path) -> None:
    rules = sorted((REPOSITORY / "alert_rules" / "generated").glob("*.yaml"))

    run(programs["promtool"], "check", "rules", "--lint=all", "--lint-fatal", *rules)
    run(programs["promtool"], "check", "config", rendered / "stack/prometheus/prometheus.yml")


def test_amtool_accepts_the_configuration_and_routes_a_page(programs: dict[str, Path], rendered: Path) -> None:
    file = rendered / "stack/alertmanager/alertmanager.yml"

    run(programs["amtool"], "check-config", file)
    routed = run(programs["amtool"], "config", "routes", "test", f"--config.file={file}", "severity=critical")

    assert "webhook" in routed.splitlines()


def test_the_collector_accepts_its_configuration(programs: dict[str, Path], rendered: Path) -> None:
    run(programs["otelcol"], "validate", f"--config={rendered / 'collector/config.yaml'}")


def test_tempo_and_loki_accept_theirs(programs: dict[str, Path], rendered: Path) -> None:
    run(
        programs["tempo"], "-config.verify", "-config.expand-env", f"-config.file={rendered / 'stack/tempo/tempo.yaml'}"
    )
    run(programs["loki"], "-verify-config", "-config.expand-env", f"-config.file={rendered / 'stack/loki/loki.yaml'}")
