"""The prices that a person wrote down in overrides.yaml, checked line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

import yaml

FIELDS = ("input", "output", "cache_read", "cache_write")


class OverridesError(ValueError):
    """What is wrong with the overrides, and on which line."""


def read(text: str, file: str, aliases: Mapping[str, str]) -> dict[str, dict[str, dict[str, Decimal]]]:
    """Provider -> model -> price. Names are lower-case and providers spelt as the price table has them."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise OverridesError(f"{file}:{line}: {error.problem}") from error
    if root is None:
        return {}
    found: dict[str, dict[str, dict[str, Decimal]]] = {}
    for provider, models, _ in _members(root, file, "providers"):
        prices = found.setdefault(aliases.get(provider, provider), {})
        for model, fields, line in _members(models, file, "models"):
            if model in prices:
                raise OverridesError(f"{file}:{line}: {model} has a price already")
            prices[model] = _price(fields, file, line)
    return found


def _price(fields: yaml.Node, file: str, line: int) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for field, value, at in _members(fields, file, f"prices ({', '.join(FIELDS)})"):
        if field not in FIELDS:
            raise OverridesError(f"{file}:{at}: unknown field {field}; known are {', '.join(FIELDS)}")
        if field in found:
            raise OverridesError(f"{file}:{at}: {field} is given twice")
        found[field] = _number(value, file, at, field)
    if "input" not in found:
        raise OverridesError(f"{file}:{line}: input is missing; 0 is a price")
    return found


def _number(node: yaml.Node, file: str, line: int, field: str) -> Decimal:
    said = node.value if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    try:
        value = Decimal(said) if plain else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite():
        raise OverridesError(f"{file}:{line}: {field} is not a number but {said!r}")
    if value < 0:
        raise OverridesError(f"{file}:{line}: {field} is negative: {said}")
    return value


def _members(node: yaml.Node, file: str, what: str) -> Iterator[tuple[str, yaml.Node, int]]:
    """The members of a mapping, with lower-case names and the line each is on."""
    if not isinstance(node, yaml.MappingNode):
        raise OverridesError(f"{file}:{node.start_mark.line + 1}: here must be {what}, each a name and a colon")
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or set('"\\$') & set(key.value):
            raise OverridesError(
                f"{file}:{key.start_mark.line + 1}: a name must be text without quotes, backslashes or $"
            )
        yield key.value.lower(), value, key.start_mark.line + 1
