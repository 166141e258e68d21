"""The models on offer. Latencies are medians in the range the real ones show, not measurements of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A model: what it is asked for as, what it answers as, how much it reads and how fast it is."""

    name: str
    snapshot: str  # the response's model
    context_tokens: int
    first_token_seconds: float
    seconds_per_token: float = 0.0
    reasons: bool = False
    embeds: bool = False
    requests_per_minute: int = 10_000
    tokens_per_minute: int = 2_000_000


MODELS = (
    Model("gpt-4o-mini", "gpt-4o-mini-2024-07-18", 128_000, 0.35, 0.007),
    Model("gpt-4o", "gpt-4o-2024-08-06", 128_000, 0.45, 0.010),
    Model("o4-mini", "o4-mini-2025-04-16", 200_000, 0.60, 0.006, reasons=True),
    Model("gpt-5-mini", "gpt-5-mini-2025-08-07", 400_000, 0.55, 0.007, reasons=True),
    Model("text-embedding-3-small", "text-embedding-3-small", 8_192, 0.08, embeds=True),
)

BY_NAME = {name: model for model in MODELS for name in (model.name, model.snapshot)}
