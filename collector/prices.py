"""The price table that the Collector reads, generated from the genai-prices package and a hand-kept file.

The Collector looks up which model a name stands for (names.py), then ``table[provider][model]``. A name that leads to
no model is *unknown* and its calls are counted as unpriced; a model whose price cannot be told from a span is in the
table as *unsupported*, with the reason. Neither ever costs 0. Run ``make generate`` to renew the table after moving the
package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timezone
from decimal import Decimal
from functools import cache
from typing import Union

from genai_prices import __version__ as package_version
from genai_prices import data
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from collector import names

PINNED_ON = date(2026, 11, 21)
"""The day the package was pinned here, as the snapshot carries no date of its own. Prices are those of this day."""

# A price by kind of token, "above" a number of input tokens with "then" another price for the whole call, and by
# "service_tier" another price altogether. Or why there is none, under "unsupported".
Price = dict[str, Union[Decimal, int, str, "Price", dict[str, "Price"]]]

FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}
"""Key in the table -> field of genai-prices: USD per million of the tokens that spans count."""

UNSEEN = {
    "web_searches_kcount",
    "storage_searches_kcount",
    "cache_write_1h_mtok",
    "input_audio_mtok",
    "input_image_mtok",
    "input_video_mtok",
    "cache_audio_read_mtok",
    "cache_image_read_mtok",
}
"""What a model may charge for beside text, but no span counts: a call is priced by its tokens, as if all were text.

Whatever else a model charges for belongs to each of its calls, so that without it there is no price.
"""

SOURCE = f"genai-prices {package_version}, pinned {PINNED_ON}"

NOON = datetime.combine(PINNED_ON, time(12), timezone.utc)


@cache
def table() -> dict[str, dict[str, Price]]:
    """Every price: provider -> model -> price."""
    return {
        provider.id: {model_id(provider, model): price(provider, model) for model in names.sold(provider)}
        for provider in _providers()
    }


def model_id(provider: Provider, model: ModelInfo) -> str:
    """How the table calls a model that a provider sells, its own or another's."""
    if any(one is model for one in provider.models):
        return str(model.id)
    return next(f"{one.id}/{model.id}" for one in data.providers if any(model is other for other in one.models))


def _providers() -> list[Provider]:
    return sorted(data.providers, key=lambda one: str(one.id))


def price(provider: Provider, model: ModelInfo) -> Price:
    """A model's price when bought from a provider."""
    if any(isinstance(constraint, TimeOfDateConstraint) for constraint in _constraints(model)):
        return {"unsupported": "its price depends on the time of day"}
    standard = _by_tokens(model.get_prices(NOON))
    # genai-prices knows other service tiers only where the provider sells the model as its own.
    tiers = _service_tiers(model) if any(one is model for one in provider.models) else []
    others = {tier: _by_tokens(model.get_prices(NOON, {"service_tier": tier})) for tier in tiers}
    different = {tier: other for tier, other in others.items() if other != standard}
    return {**standard, "service_tier": different} if different else standard


def changes() -> dict[str, list[date]]:
    """The models whose prices change after the pinned day, and when: renew the table then."""
    found = {
        f"{provider.id}/{model.id}": sorted(
            {
                constraint.start_date
                for constraint in _constraints(model)
                if isinstance(constraint, StartDateConstraint) and constraint.start_date > PINNED_ON
            }
        )
        for provider in data.providers
        for model in provider.models
    }
    return {model: dates for model, dates in sorted(found.items()) if dates}


def _constraints(model: ModelInfo) -> Iterator[object]:
    if not isinstance(model.prices, ModelPrice):
        yield from (conditional.constraint for conditional in model.prices)
    for variant in model.price_variants or ():
        if "service_tier" in variant.when:
            yield variant.constraint


def _service_tiers(model: ModelInfo) -> list[str]:
    return sorted(
        {
            variant.when["service_tier"]
            for variant in model.price_variants or ()
            if len(variant.when) == 1 and "service_tier" in variant.when
        }
    )


def _by_tokens(prices: ModelPrice) -> Price:
    charged = {field: value for field, value in vars(prices).items() if value is not None}
    if not charged:
        return {"unsupported": "the source has no price for it"}
    if beside := sorted(set(charged) - set(FIELDS.values()) - UNSEEN):
        return {"unsupported": f"it also charges {', '.join(beside)}"}
    known = {key: charged[field] for key, field in FIELDS.items() if field in charged}
    starts = sorted({tier.start for value in known.values() if isinstance(value, TieredPrices) for tier in value.tiers})
    return _levels(known, [-1, *starts])


def _levels(known: Mapping[str, Decimal | TieredPrices], starts: list[int]) -> Price:
    """The price from the first of the starts on; those of the later ones are nested."""
    here: Price = {key: _at(value, starts[0]) for key, value in known.items()}
    return {**here, "above": starts[1], "then": _levels(known, starts[1:])} if starts[1:] else here


def _at(value: Decimal | TieredPrices, start: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= start]
    return reached[-1] if reached else value.base


# --- What is written -------------------------------------------------------------------------------------------------


def text(members: Mapping[str, Mapping[str, object]], source: str) -> str:
    """A table as JSON, one entry a line, so that a changed price is a changed line."""
    parts = {name: _object(_lines(of)) for name, of in members.items()}
    head = {"_generated": '"By `make generate` from collector/. Do not edit."', "_source": f'"{source}"'}
    return _object([f'"{name}": {value}' for name, value in {**head, **parts}.items()]) + "\n"


def models_by_name() -> dict[str, dict[str, str]]:
    """Provider -> name -> model."""
    return {one.id: {name: model_id(one, model) for name, model in names.exact(one).items()} for one in _providers()}


def models_by_pattern() -> dict[str, dict[str, str]]:
    """Provider -> pattern -> model."""
    found = {
        one.id: {name: model_id(one, model) for name, model in names.patterns(one).items()} for one in _providers()
    }
    return {provider: patterns for provider, patterns in found.items() if patterns}


def _lines(members: Mapping[str, object]) -> list[str]:
    assert not set('"\\$') & set("".join(members)), "a name that OTTL or the Collector's configuration reads otherwise"
    return [f'"{name}": {_json(value)}' for name, value in members.items()]


def _object(members: list[str]) -> str:
    return "{\n" + ",\n".join(members) + "\n}" if members else "{}"


def _json(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {_json(one)}' for key, one in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else number(value)


def report(prices: dict[str, dict[str, Price]]) -> str:
    """What the table covers and what it does not, as a page of the documentation."""
    models = [(provider, model, price(provider, model)) for provider in data.providers for model in provider.models]
    reasons = {
        f"{provider.id}/{model.id}": str(one["unsupported"]) for provider, model, one in models if "unsupported" in one
    }
    by_reason = Counter(reasons.values()).most_common()
    return "\n".join(
        [
            "<!-- Generated by `make generate` from collector/prices.py. Do not edit. -->",
            "# Prices: what is covered",
            "",
            f"Source: genai-prices {package_version}, the prices of {PINNED_ON}. {len(models)} models of",
            f"{len(prices)} providers, {len(models) - len(reasons)} of them priced.",
            "",
            "## Models whose price changes later",
            "",
            "The table has the price of the day above. After these dates, renew it.",
            "",
            *(f"- {model}: {', '.join(map(str, dates))}" for model, dates in changes().items()),
            "",
            "## Models that cannot be priced from a span",
            "",
            "Their calls are counted as unpriced, reason `unsupported`.",
            *(
                line
                for reason, count in by_reason
                for line in [
                    "",
                    f"### {count}: {reason}",
                    "",
                    *(f"- {one}" for one, why in reasons.items() if why == reason),
                ]
            ),
            "",
        ]
    )


def number(value: object) -> str:
    """A number as OTTL reads it: without an exponent. As a double it is still the number that was meant."""
    exact = Decimal(str(value))
    assert exact >= 0 and Decimal(repr(float(exact))) == exact, value
    plain = format(exact, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


if __name__ == "__main__":  # `make generate` for this folder alone
    import collector

    for file, content in collector.build().items():
        collector.OVERRIDES.with_name("generated").joinpath(file).write_text(content, encoding="utf-8")
