"""Which names a price is looked up under, each proven to resolve as genai-prices itself resolves it.

genai-prices finds a model by clauses such as "starts with claude-opus-4-5". The Collector finds it by an exact key,
at a cost that does not grow with the table. So the keys are worked out here: the names that the clauses spell, and
patterns, in which a part that varies is replaced by a placeholder: ``claude-opus-4-5-yyyymmdd``. The Collector
rewrites a name that is no key to its pattern and looks again. A pattern is a key only where every probe of it
resolves to the same model; where one does not, the names stay what they are for genai-prices, known one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from genai_prices import data
from genai_prices.types import ClauseAnd, ClauseEquals, ClauseOr, MatchLogic, ModelInfo, Provider

PROVIDERS = {
    "anthropic": "anthropic",
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "groq": "groq",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "openai": "openai",
    "perplexity": "perplexity",
    "x_ai": "x-ai",
    # As LiteLLM spells them, in gen_ai.provider.name or before the slash of a model.
    "bedrock": "aws",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "mistralai": "mistral",
    "together_ai": "together",
    "vertex_ai": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
}
"""``gen_ai.provider.name`` -> the provider's id in genai-prices, where they differ or OpenTelemetry defines one."""

DASHED, COMPACT, AT, FINE_TUNE = "-yyyy-mm-dd", "-yyyymmdd", "@yyyymmdd", ":*"
"""What the Collector writes in place of the part that varies; collector/config.yaml repeats these."""

# Any of the names that a pattern stands for. Dates in the data are added, in case one has a price of its own.
_DATES = ("2023-01-01", "2024-12-31", "2026-06-15", "2029-10-10")
_ENDINGS = {"aws": ("-v1:0", "-v2:0")}
_FINE_TUNED = ("openai", "azure")
_FINE_TUNES = (":acme::9aBcD", ":acme:support-bot:A1b2C3")
_DATE = re.compile(r"20\d\d-?\d\d-?\d\d")
_WHOLE = re.compile(r"-latest$|:0$|[-.:@]$")  # nothing more is put behind such a name


def aliases() -> dict[str, str]:
    """Every provider name that has prices -> the id that the table has them under."""
    return dict(sorted({**{provider.id: provider.id for provider in data.providers}, **PROVIDERS}.items()))


def prefixes() -> dict[str, str]:
    """What may stand before the slash of a model of the same provider, as in ``openai/gpt-4o-mini``.

    Not where such names are the provider's own and mean something else without the prefix.
    """
    apart = {provider.id for provider in data.providers if not _the_same_without_prefix(provider)}
    return {name: provider for name, provider in aliases().items() if provider not in apart}


def _the_same_without_prefix(provider: Provider) -> bool:
    known = {**patterns(provider), **exact(provider)}
    parts = ((key.partition("/"), model) for key, model in known.items())
    return all(known.get(rest) is model for (prefix, _, rest), model in parts if aliases().get(prefix) == provider.id)


def exact(provider: Provider) -> dict[str, ModelInfo]:
    """Every name of a provider's models that the data spells."""
    return _exact(provider.id)


def patterns(provider: Provider) -> dict[str, ModelInfo]:
    """Every pattern of names, and the model that all of them stand for."""
    return _patterns(provider.id)


def sold(provider: Provider) -> list[ModelInfo]:
    """The models that a provider's names lead to."""
    return list({id(model): model for model in (*exact(provider).values(), *patterns(provider).values())}.values())


@cache  # by id, as a Provider has no hash
def _exact(provider_id: str) -> dict[str, ModelInfo]:
    return dict(sorted(_known(_provider(provider_id))))


@cache
def _patterns(provider_id: str) -> dict[str, ModelInfo]:
    provider, known = _provider(provider_id), _exact(provider_id)
    dates = _dates(known)
    dated = {
        key: model
        for name, model in known.items()
        if _matched_in_part(model) and not _WHOLE.search(name) and not _DATE.search(name)
        for key, probes in _dated(provider, name, dates)
        if all(find(provider, probe) is model for probe in probes)
    }
    fine_tuned = {
        f"ft:{name}{FINE_TUNE}": found[0]
        for name in known
        if provider.id in _FINE_TUNED and not name.startswith("ft:")
        for found in [[find(provider, f"ft:{name}{ending}") for ending in _FINE_TUNES]]
        if found[0] and all(one is found[0] for one in found)
    }
    return dict(sorted({**dated, **fine_tuned}.items()))


def _provider(provider_id: str) -> Provider:
    return next(one for one in data.providers if one.id == provider_id)


def _known(provider: Provider) -> Iterator[tuple[str, ModelInfo]]:
    """The names that the data spells, of this provider and of those whose models it sells."""
    sellers = [provider, *(one for one in data.providers if one.id in (provider.fallback_model_providers or ()))]
    spelt = {name for seller in sellers for model in seller.models for name in _spelt(model)}
    endings = _ENDINGS.get(provider.id, ("-latest",))
    forms = spelt | {f"{name}{ending}" for name in spelt if not _WHOLE.search(name) for ending in endings}
    for name in sorted(forms | {_compact(name) for name in forms}):
        if model := find(provider, name):
            yield name, model


def find(provider: Provider, name: str) -> ModelInfo | None:
    """The model that genai-prices takes a name for."""
    model: ModelInfo | None = provider.find_model(name, all_providers=data.providers)
    return model


def _spelt(model: ModelInfo) -> Iterator[str]:
    yield model.id.lower()
    for clause in _leaves(model.match):
        for kind, literal in vars(clause).items():
            if kind != "regex":
                yield literal.lower()
            elif name := _plain_start(literal):
                yield name


def _leaves(match: MatchLogic) -> Iterator[MatchLogic]:
    if isinstance(match, ClauseOr | ClauseAnd):
        for clause in match.or_ if isinstance(match, ClauseOr) else match.and_:
            yield from _leaves(clause)
    else:
        yield match


def _matched_in_part(model: ModelInfo) -> bool:
    """Whether a clause of the model leaves a part of the name open."""
    return any(not isinstance(clause, ClauseEquals) for clause in _leaves(model.match))


def _plain_start(regex: str) -> str:
    r"""What a regular expression such as ``^gpt-5\.6-luna-\d{4}`` begins with, as plain text."""
    found = re.match(r"\^((?:[\w/:@-]|\\[.\[\]])*?)-?(?:\\d|\[|\$|\()", regex)
    return found[1].replace("\\", "") if found else ""


def _compact(name: str) -> str:
    return re.sub(r"(20\d\d)-(\d\d)-(\d\d)$", r"\1\2\3", name)


def _dates(names: dict[str, ModelInfo]) -> list[str]:
    found = {date.replace("-", "") for name in names for date in _DATE.findall(name)}
    return [*_DATES, *sorted(f"{date[:4]}-{date[4:6]}-{date[6:]}" for date in found)]


def _dated(provider: Provider, name: str, dates: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The patterns of a name with a date behind it, and names that each stands for."""
    yield name + DASHED, [f"{name}-{date}" for date in dates]
    for mark, pattern in (("-", COMPACT), ("@", AT)):
        for ending in ("", *_ENDINGS.get(provider.id, ())):
            yield f"{name}{pattern}{ending}", [f"{name}{mark}{date.replace('-', '')}{ending}" for date in dates]
