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
        "prices.json": prices.text(table, prices.SOURCE),
        "overrides.json": prices.text(own, "collector/overrides.yaml"),
        "providers.json": prices.providers(),
        "prices.md": prices.report(table),
    }
