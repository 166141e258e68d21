"""The servers, in the order in which they start. Their arguments are those of docker-compose.yml, word for word.

Arguments and configuration files speak of Compose's service names and of paths inside the containers;
render.py turns both into what they are on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Server:
    """One long-running program. ``ready`` is the path that answers 200 once it serves, on the port ``ready_port``."""

    name: str
    program: str
    arguments: tuple[str, ...]
    ready: str
    ready_port: str = "http"
    environment: Mapping[str, str] = field(default_factory=dict)


TEMPO = Server(
    "tempo",
    "tempo",
    ("-config.file=/etc/nightlight/stack/tempo/tempo.yaml", "-config.expand-env=true"),
    ready="/ready",
)
LOKI = Server(
    "loki",
    "loki",
    ("-config.file=/etc/nightlight/stack/loki/loki.yaml", "-config.expand-env=true"),
    ready="/ready",
)
ALERTMANAGER = Server(
    "alertmanager",
    "alertmanager",
    (
        "--config.file=/etc/nightlight/stack/alertmanager/alertmanager.yml",
        "--storage.path=/alertmanager",
        "--web.listen-address=0.0.0.0:9093",
        "--cluster.listen-address=",  # a single Alertmanager: no gossip port
    ),
    ready="/-/ready",
)
PROMETHEUS = Server(
    "prometheus",
    "prometheus",
    (
        "--config.file=/etc/nightlight/stack/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus",
        "--storage.tsdb.retention.time=45d",  # the spend baseline looks back four weeks
        "--web.listen-address=0.0.0.0:9090",
        "--web.enable-otlp-receiver",
        # Exemplars open traces; the second makes the first value of a new series count in increase(), the third lets
        # a report ask for exact totals: increase(x[1h] anchored).
        "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion,promql-extended-range-selectors",
    ),
    ready="/-/ready",
)
COLLECTOR = Server(
    "collector",
    "otelcol",
    ("--config=/etc/nightlight/collector/config.yaml",),
    ready="/",
    ready_port="health",
    environment={"GOMEMLIMIT": "1200MiB"},
)
GRAFANA = Server(
    "grafana",
    "grafana",
    ("server", "--homepath={grafana_home}", "--config=/etc/nightlight/stack/grafana/grafana.ini"),
    ready="/api/health",
)

# Stores first, so that the Collector finds them; the Collector last, so that what it accepts can be delivered.
START_ORDER = (TEMPO, LOKI, ALERTMANAGER, PROMETHEUS, COLLECTOR)
