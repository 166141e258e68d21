"""The price table: current, sourced, dated, and readable by the Collector."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

import collector
from stack.settings import REPOSITORY

TEXT = (REPOSITORY / "collector" / "generated" / "prices.json").read_text()
TABLE: dict[str, Any] = json.loads(TEXT)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="genai-prices, the source of the prices, needs Python 3.11")
def test_the_committed_table_is_what_its_source_gives() -> None:
    """If this fails: make generate."""
    assert collector.build() == {"prices.json": TEXT}


def test_the_table_names_its_source_and_date() -> None:
    assert re.fullmatch(r"genai-prices \d+\.\d+\.\d+, pinned \d{4}-\d\d-\d\d", TABLE["_source"])


def test_known_models_have_their_published_prices() -> None:
    """USD per million tokens, as OpenAI and Anthropic publish them."""
    assert TABLE["openai"]["gpt-4o-mini"] == {"input": 0.15, "output": 0.6, "cache_read": 0.075}
    assert TABLE["openai"]["gpt-4o-mini-2024-07-18"] == TABLE["openai"]["gpt-4o-mini"]
    assert TABLE["openai"]["text-embedding-3-small"] == {"input": 0.02}


def test_every_number_is_one_that_the_collectors_ottl_reads() -> None:
    """An exponent or a null would keep the Collector from starting."""
    assert not re.search(r": -?[\d.]+[eE]|: null", TEXT)
    for provider in (value for value in TABLE.values() if isinstance(value, dict)):
        for model, price in provider.items():
            assert set(price) <= {"input", "output", "cache_read", "cache_write"}, model
            assert all(number >= 0 for number in price.values()), model
