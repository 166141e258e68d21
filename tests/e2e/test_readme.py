"""The README's commands do what it says: the main job, and every curl."""

from __future__ import annotations

import re
import shutil
import subprocess
import time

import pytest

from nightlight import conventions as names
from stack.settings import REPOSITORY, parse_env
from tests.conftest import Stack, new_settings

README = (REPOSITORY / "README.md").read_text()
CURLS = re.findall(r"```bash\n(curl .+?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def curl() -> str:
    found = shutil.which("curl")
    if found is None:
        pytest.skip("curl is not installed (apt install curl)")
    return found


@pytest.mark.parametrize("command", CURLS, ids=lambda text: re.search(r"127\.0\.0\.1:(\S+)", text)[1])  # type: ignore[index]
def test_every_curl_answers(stack: Stack, curl: str, command: str) -> None:
    deadline = time.monotonic() + 30
    while True:  # what was sent a moment ago takes a moment to be found
        result = subprocess.run(
            ["sh", "-ec", stack.here(command)], capture_output=True, text=True, timeout=60, check=False
        )
        if result.returncode == 0 and '"traces":[]' not in result.stdout and '"result":[]' not in result.stdout:
            break
        assert time.monotonic() < deadline, f"{command}\n{result.stdout}{result.stderr}"
        time.sleep(0.5)

    assert result.stdout.strip()


def test_the_readme_has_a_curl_for_every_interface() -> None:
    text = "".join(CURLS)

    for path in ("/v1/traces", "/v1/metrics", "/v1/logs", "/api/v1/query", "/api/traces/", "/api/search"):
        assert path in text
    for path in ("query_range", "/api/v2/alerts", ":13133/", ":9090/-/ready", ":9093/-/ready", ":3200/ready"):
        assert path in text


def test_the_readme_names_the_versions_that_run() -> None:
    pins = parse_env(REPOSITORY / ".env")

    for server in ("Collector", "Prometheus", "Alertmanager", "Tempo", "Loki", "Grafana"):
        (named,) = re.findall(rf"^\| {server} \| ([\d.]+) \|", README, re.MULTILINE)
        assert f"{pins[f'{server.upper()}_VERSION']}.".startswith(f"{named}."), server


def test_the_readme_names_every_series_label_alert_and_outcome() -> None:
    for metric in names.METRICS:
        row = next(line for line in README.splitlines() if line.startswith(f"| `{metric.series}`"))
        assert all(f"`{label}`" in row for label in metric.labels)
    for word in (*names.CALL_LABELS, *names.RESOURCE_LABELS, names.ERROR_RATE_HIGH, names.SPEND_SPIKE):
        assert f"`{word}`" in README
    assert all(outcome in README for outcome in names.OUTCOMES)


@pytest.mark.usefixtures("programs")
def test_the_demo_delivers_the_alert_and_its_resolve(
    tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    """The README's command for the main job, on ports of its own. It takes about six minutes, so its progress shows."""
    demo = Stack(new_settings(tmp_path_factory.mktemp("demo")))
    said = []
    try:
        with demo.start("demo") as process, capfd.disabled():
            assert process.stdout is not None
            print()
            for line in process.stdout:
                said.append(line)
                if line.startswith("["):
                    print(f"  demo {line}", end="", flush=True)
        output = "".join(said)
        assert process.returncode == 0, output[-3000:]
        for link in (
            "metrics in Prometheus: ",
            "a trace in Tempo: ",
            "log lines in Loki: ",
            f"FIRING {names.ERROR_RATE_HIGH} (critical)",
            f"RESOLVED {names.ERROR_RATE_HIGH} (critical)",
            "The demo passed.",
        ):
            assert link in output
        # The servers are left running for a look around.
        assert demo.nightlight("status").returncode == 0
    finally:
        demo.nightlight("down")
