"""The incidents that ``POST /control`` switches on and off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

_SHARES = ("errors", "rate_limit", "quota", "timeouts", "cut_streams", "filtered")
_FACTORS = ("slow", "expensive")
_MAX_FACTOR = 100

ALLOWED = (
    f"{', '.join(_SHARES)} (a share of requests, 0 to 1), {', '.join(_FACTORS)} (a factor, 1 to {_MAX_FACTOR}), "
    "clear (true)"
)


class IncidentError(Exception):
    """A change that is not possible; the message names what is allowed."""


@dataclass(frozen=True)
class Incidents:
    """What is wrong at the moment. Shares go from 0 (off) to 1 (every request), factors from 1 (off) to 100."""

    errors: float = 0.0  # of requests answered 500 or 503
    rate_limit: float = 0.0  # of requests answered 429, worth a retry
    quota: float = 0.0  # of requests answered 429, money has run out
    timeouts: float = 0.0  # of requests never answered
    cut_streams: float = 0.0  # of streams whose connection breaks in the middle
    filtered: float = 0.0  # of answers stopped halfway by the content filter
    slow: float = 1.0  # times the usual latency
    expensive: float = 1.0  # times the usual output tokens

    def changed(self, change: object) -> Incidents:
        """These incidents with ``change`` applied, ``clear`` first. Raises IncidentError."""
        if not isinstance(change, Mapping):
            raise IncidentError(f"Send a JSON object. Allowed: {ALLOWED}.")
        for name, value in change.items():
            if not _valid(name, value):
                raise IncidentError(f"{name}={value!r} is not allowed. Allowed: {ALLOWED}.")
        start = Incidents() if "clear" in change else self
        return replace(start, **{name: float(value) for name, value in change.items() if name != "clear"})

    def as_dict(self) -> dict[str, float]:
        """Every incident with its value, also those that are off."""
        return asdict(self)


def _valid(name: object, value: object) -> bool:
    if name == "clear":
        return value is True
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (name in _SHARES and 0 <= value <= 1) or (name in _FACTORS and 1 <= value <= _MAX_FACTOR)
