"""The Collector's configuration: config.yaml by hand, the price table generated."""


def build() -> dict[str, str]:
    """The generated files: name -> text. Needs genai-prices, hence Python 3.11 or newer."""
    from collector import prices  # here, so that other Pythons can import the folder

    return {"prices.json": prices.table()}
