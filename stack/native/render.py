"""Turns the shared configuration files into this machine's: the same text with other addresses and paths.

The files are written for Compose: servers by service name, data under container paths. Two substitutions make them
native, and nothing else differs between the two runtimes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from stack.errors import StackError
from stack.settings import PORTS, REPOSITORY, Settings

CONFIGURATION = ("stack", "collector", "alert_rules/generated", "dashboards/generated")
"""The folders of the repository that the containers mount under /etc/nightlight."""

_SUFFIXES = {".yaml", ".yml", ".json", ".ini"}
_DATA = {
    "/var/lib/otelcol": "collector",
    "/prometheus": "prometheus",
    "/alertmanager": "alertmanager",
    "/var/tempo": "tempo",
    "/loki": "loki",
    "/var/lib/grafana": "grafana",
}

_numbers = "|".join(str(port) for ports in PORTS.values() for port in ports.values())
_ADDRESS = re.compile(rf"\b({'|'.join(PORTS)}|0\.0\.0\.0|127\.0\.0\.1):({_numbers})\b")
_PORT = re.compile(rf"(port(?:: | = )|\}}:)({_numbers})\b")  # http_listen_port: 3200, ${env:LISTEN_ADDR:-...}:4317
_PATH = re.compile(rf"(?<![\w/.-])(/etc/nightlight|/run/secrets|{'|'.join(_DATA)})(?=[/\s\"'}}]|$)", re.MULTILINE)


def text(source: str, settings: Settings) -> str:
    """Return a configuration text, or an argument, for this machine."""
    source = _ADDRESS.sub(lambda match: f"{_host(match[1], settings)}:{int(match[2]) + settings.port_offset}", source)
    source = _PORT.sub(lambda match: f"{match[1]}{int(match[2]) + settings.port_offset}", source)
    return _PATH.sub(lambda match: str(_path(match[1], settings)), source)


def files(settings: Settings) -> Path:
    """Write the configuration into the state directory and return where it is. What the repository lost goes too."""
    target = configuration(settings)
    sources = [
        file for folder in CONFIGURATION for file in (REPOSITORY / folder).rglob("*") if file.suffix in _SUFFIXES
    ]
    copies = {target / source.relative_to(REPOSITORY): source for source in sources}
    for copy, source in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text(source.read_text(encoding="utf-8"), settings), encoding="utf-8")
    for left_over in set(filter(Path.is_file, target.rglob("*"))) - set(copies):
        left_over.unlink()
    _secret("alert_webhook_url", settings.pins["ALERT_WEBHOOK_URL_FILE"], settings)
    return target


def configuration(settings: Settings) -> Path:
    """Where the rendered configuration is."""
    return settings.state / "config"


def data(server: str, settings: Settings) -> Path:
    """Where a server keeps its data."""
    return settings.state / "data" / server


def _host(name: str, settings: Settings) -> str:
    return settings.listen_address if name == "0.0.0.0" else settings.address  # noqa: S104 - a word in a file


def _path(path: str, settings: Settings) -> Path:
    if path == "/etc/nightlight":
        return configuration(settings)
    if path == "/run/secrets":
        return settings.state / "secrets"
    return data(_DATA[path], settings)


def _secret(name: str, file: str, settings: Settings) -> None:
    """Copy a secret to where the servers look for it, readable by this user alone."""
    source = REPOSITORY / Path(file).expanduser()
    target = settings.state / "secrets" / name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        content = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(
            f"The file with the address for alerts cannot be read: {source}: {getattr(error, 'strerror', 'not text')}.",
            "Correct ALERT_WEBHOOK_URL_FILE in .env.",
        ) from error
    target.unlink(missing_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as secret:
        secret.write(text(content, settings))
