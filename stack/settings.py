"""Where things are: the pins in .env, the cache, the state directory, the ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

REPOSITORY = Path(__file__).resolve().parent.parent

PORTS: Mapping[str, Mapping[str, int]] = {
    "collector": {"grpc": 4317, "http": 4318, "health": 13133, "metrics": 8888, "meter": 14319},
    "prometheus": {"http": 9090},
    "alertmanager": {"http": 9093},
    "tempo": {"http": 3200, "grpc": 13200, "otlp": 14317},
    "loki": {"http": 3100, "grpc": 13100},
    "grafana": {"http": 3000},
    "provider": {"http": 8088},
    "receiver": {"http": 8089},
}
"""Every port of the stack. ``--port-offset N`` adds N to each of them."""

HIGHEST_OFFSET = 65535 - max(port for ports in PORTS.values() for port in ports.values())

_LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(\S.*?)?\s*$")
_REQUIRED = (
    *(f"{name}_VERSION" for name in ("COLLECTOR", "PROMETHEUS", "ALERTMANAGER", "TEMPO", "LOKI", "GRAFANA")),
    "TEMPO_MODULE_VERSION",
    "BIND_ADDR",
    "ALERT_WEBHOOK_URL_FILE",
)


@dataclass(frozen=True)
class Settings:
    """One stack on this machine: its pins, its directories, its addresses."""

    pins: Mapping[str, str]
    cache: Path
    state: Path
    port_offset: int = 0

    @property
    def listen_address(self) -> str:
        """The address that servers bind to."""
        return self.pins["BIND_ADDR"]

    @property
    def address(self) -> str:
        """The address at which this machine reaches them."""
        return "127.0.0.1" if self.listen_address in ("0.0.0.0", "::") else self.listen_address  # noqa: S104

    def port(self, server: str, name: str = "http") -> int:
        """The port of a server, the offset included."""
        return PORTS[server][name] + self.port_offset

    def url(self, server: str, path: str = "", name: str = "http") -> str:
        """The address of a server's interface, as a person on this machine would type it."""
        return f"http://{self.address}:{self.port(server, name)}{path}"


def load(
    environment: Mapping[str, str],
    *,
    state_dir: str | None = None,
    port_offset: int = 0,
    env_file: Path = REPOSITORY / ".env",
) -> Settings:
    """Read the settings; a variable of the environment wins over .env, as in Docker Compose.

    Raises StackError for a malformed .env and for an offset that leaves the range of ports.
    """
    if not 0 <= port_offset <= HIGHEST_OFFSET:
        raise StackError(
            f"--port-offset {port_offset} is out of range.", f"Choose a number from 0 to {HIGHEST_OFFSET}."
        )
    pins = parse_env(env_file)
    pins.update({name: environment[name] for name in pins if environment.get(name)})
    home = Path(environment.get("HOME") or Path.home())
    return Settings(
        pins=pins,
        cache=Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "nightlight",
        state=Path(state_dir).expanduser().absolute()
        if state_dir
        else Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state") / "nightlight",
        port_offset=port_offset,
    )


def parse_env(path: Path) -> dict[str, str]:
    """Read NAME=value lines. Raises StackError with the line's number when one is anything else, or one is missing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{path} cannot be read: {error}.", "Restore it with: git checkout .env") from error
    pins: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None or match[2] is None:
            raise StackError(
                f"{path}, line {number} is not NAME=value: {line.strip()[:60]!r}.",
                "Correct the line, or restore the file with: git checkout .env",
            )
        pins[match[1]] = match[2].strip("\"'")
    missing = [name for name in _REQUIRED if name not in pins]
    if missing:
        raise StackError(f"{path} does not set {', '.join(missing)}.", "Restore the file with: git checkout .env")
    return pins
