"""The price table that the Collector reads, generated from the genai-prices package.

The Collector looks a price up as ``table[provider][model]``. A model that is not in the table is *unknown* and its
calls are counted as unpriced; it never costs 0. Run ``make generate`` to renew the table after moving the package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

from genai_prices import __version__ as package_version
from genai_prices import data
from genai_prices.types import ClauseEquals, ClauseOr, ModelInfo, ModelPrice

# gen_ai.provider.name -> provider id in genai-prices
PROVIDERS = {"openai": "openai", "anthropic": "anthropic"}

# The snapshot carries no date of its own; this is the day its version was pinned here.
PINNED_ON = "2026-11-21"

# Key in the table -> field of genai-prices, all in USD per million tokens.
FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}


def table() -> str:
    """Return the price table as JSON, one price a line, so that a changed price is a changed line."""
    models = {provider.id: provider.models for provider in data.providers}
    prices: dict[str, object] = {
        "_generated": "by `make generate` from collector/prices.py. Do not edit. USD per million tokens.",
        "_source": f"genai-prices {package_version}, pinned {PINNED_ON}",
    }
    for name, provider_id in sorted(PROVIDERS.items()):
        prices[name] = dict(sorted(entry for model in models[provider_id] for entry in _entries(model)))
    return json.dumps(prices, indent=1) + "\n"


def _entries(model: ModelInfo) -> Iterator[tuple[str, dict[str, float | int]]]:
    """Every exact name of a model with its price. Tiered and dated prices have no single figure and are left out."""
    if not isinstance(model.prices, ModelPrice):
        return
    prices = {key: getattr(model.prices, field) for key, field in FIELDS.items()}
    known = {key: price for key, price in prices.items() if price is not None}
    if "input" not in known or not all(isinstance(price, Decimal) for price in known.values()):
        return
    for name in {model.id, *_exact_names(model)}:
        yield name, {key: _number(price) for key, price in known.items()}


def _exact_names(model: ModelInfo) -> list[str]:
    clauses = model.match.or_ if isinstance(model.match, ClauseOr) else [model.match]
    return [clause.equals for clause in clauses if isinstance(clause, ClauseEquals)]


def _number(price: Decimal) -> float | int:
    # A smaller number would be written with an exponent, which the Collector's OTTL does not read.
    assert price == 0 or price >= Decimal("0.0001"), price
    return int(price) if price == price.to_integral_value() else float(price)
