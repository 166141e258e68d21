"""What is built: one small Go module per project, because their pins conflict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.settings import REPOSITORY

MODULES = REPOSITORY / "stack" / "native" / "modules"


@dataclass(frozen=True)
class Build:
    """One Go module, under modules/ unless it names its folder, and the programs that come of it.

    ``packages`` maps a program's name to its Go package. ``pin`` is the module whose version .env decides,
    ``version_symbol`` the Go variable in which the program keeps its own.
    """

    name: str
    packages: Mapping[str, str]
    pin: str
    version_symbol: str
    tags: str = ""
    folder: Path | None = None

    @property
    def directory(self) -> Path:
        """Where go.mod and go.sum are."""
        return self.folder or MODULES / self.name

    @property
    def version_variable(self) -> str:
        """The variable in .env with the version of the server."""
        return f"{self.name.upper()}_VERSION"


BUILDS = (
    Build("collector", {"otelcol": "."}, "go.opentelemetry.io/collector/otelcol", "main.version"),
    Build(
        "prometheus",
        {
            "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
            "promtool": "github.com/prometheus/prometheus/cmd/promtool",
        },
        "github.com/prometheus/prometheus",
        "github.com/prometheus/common/version.Version",
        tags="remove_all_sd,netgo",  # no cloud service discovery: it doubles the size and nothing here uses it
    ),
    Build(
        "alertmanager",
        {
            "alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager",
            "amtool": "github.com/prometheus/alertmanager/cmd/amtool",
        },
        "github.com/prometheus/alertmanager",
        "github.com/prometheus/common/version.Version",
    ),
    Build("tempo", {"tempo": "github.com/grafana/tempo/cmd/tempo"}, "github.com/grafana/tempo", "main.Version"),
    Build(
        "loki",
        {"loki": "github.com/grafana/loki/v3/cmd/loki"},
        "github.com/grafana/loki/v3",
        "github.com/grafana/loki/v3/pkg/util/build.Version",
    ),
)


def module_version(build: Build, pins: Mapping[str, str]) -> str:
    """The version of the Go module that belongs to the server version in .env.

    Prometheus 3.15.0 is module v0.315.0 (its module path never got a /v3); Tempo has no module for its releases,
    so .env names a commit of its main branch; everyone else uses the server's own version.
    """
    version = pins[build.version_variable]
    if build.name == "prometheus":
        major, minor, patch = version.split(".")
        return f"v0.{major}{int(minor):02d}.{patch}"
    if build.name == "tempo":
        return pins["TEMPO_MODULE_VERSION"]
    return f"v{version}"
