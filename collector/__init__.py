"""The Collector's configuration: config.yaml and overrides.yaml by hand, the prices generated."""

from pathlib import Path

from collector.overrides import OverridesError

__all__ = ["OVERRIDES", "OverridesError", "build"]

OVERRIDES = Path(__file__).with_name("overrides.yaml")


def build() -> dict[str, str]:
    """The generated files: name -> text. Needs genai-prices, hence Python 3.11 or newer."""
    from collector import names, overrides, prices  # here, so that other Pythons can import the folder

    table = prices.table()
    own = overrides.read(OVERRIDES.read_text(encoding="utf-8"), "collector/overrides.yaml", names.aliases())
    return {
        "providers.json": prices.text({"names": names.aliases(), "prefixes": names.prefixes()}, prices.SOURCE),
        "models.json": prices.text(prices.models_by_name(), prices.SOURCE),
        "patterns.json": prices.text(prices.models_by_pattern(), prices.SOURCE),
        "prices.json": prices.text(table, f"{prices.SOURCE}, USD per million tokens"),
        "overrides.json": prices.text(own, "collector/overrides.yaml, USD per million tokens"),
        "prices.md": prices.report(table),
    }
