"""The price tables: current, sourced, dated, readable by the Collector, and a hand-kept file that cannot break them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import collector
import generate
from collector import overrides
from stack.settings import REPOSITORY

COLLECTOR = (REPOSITORY / "collector" / "config.yaml").read_text()
GENERATED = REPOSITORY / "collector" / "generated"
TEXTS = {file.name: file.read_text() for file in sorted(GENERATED.iterdir())}
TABLES: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in TEXTS.items() if name.endswith(".json")}
NEEDS_SOURCE = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="genai-prices, the source of the prices, needs Python 3.11"
)


def price(provider: str, name: str) -> Any:
    """What the Collector finds for a name that is spelt in the table."""
    return TABLES["prices.json"][provider][TABLES["models.json"][provider][name]]


@NEEDS_SOURCE
def test_the_committed_tables_are_what_their_source_gives() -> None:
    """If this fails: make generate."""
    assert collector.build() == TEXTS


def test_the_table_names_its_source_and_date() -> None:
    source = r"genai-prices \d+\.\d+\.\d+, pinned \d{4}-\d\d-\d\d, USD per million tokens"
    assert re.fullmatch(source, TABLES["prices.json"]["_source"])


def test_known_models_have_their_published_prices() -> None:
    """USD per million tokens, as their providers publish them."""
    standard = {"input": 0.15, "output": 0.6, "cache_read": 0.075}
    priority = {"input": 0.25, "output": 1, "cache_read": 0.125}
    tiers = {"fast": priority, "priority": priority}
    assert price("openai", "gpt-4o-mini") == {**standard, "service_tier": tiers}
    assert price("openai", "gpt-4o-mini-2024-07-18") == price("openai", "gpt-4o-mini")
    assert price("azure", "gpt-4o-mini-2024-07-18") == standard
    assert price("openai", "text-embedding-3-small") == {"input": 0.02}
    assert price("google", "gemini-2.5-pro") == {
        "input": 1.25,
        "output": 10,
        "cache_read": 0.125,
        "above": 200000,
        "then": {"input": 2.5, "output": 15, "cache_read": 0.25},
    }


def test_every_name_leads_to_a_price() -> None:
    for table in ("models.json", "patterns.json"):
        for provider, models in TABLES[table].items():
            assert provider.startswith("_") or set(models.values()) <= set(TABLES["prices.json"][provider]), provider


@NEEDS_SOURCE
def test_the_collector_writes_the_placeholders_that_the_patterns_have() -> None:
    from collector import names

    written = re.findall(r'replace_pattern\(span\.cache\["model"\], "[^"]+", "([^"]*yyyy[^"]*|[^"]*:\*)"\)', COLLECTOR)
    assert written == [f"$${{1}}{names.FINE_TUNE}", names.DASHED, f"$${{1}}{names.COMPACT[1:]}$${{2}}"]
    assert names.COMPACT[1:] == names.AT[1:]
    for provider, patterns in TABLES["patterns.json"].items():
        assert provider.startswith("_") or all(
            pattern.endswith(names.FINE_TUNE) or re.search(r"[-@](yyyymmdd(-v\d:\d)?|yyyy-mm-dd)$", pattern)
            for pattern in patterns
        )


@NEEDS_SOURCE
def test_no_two_models_of_a_provider_share_a_key() -> None:
    from genai_prices import data

    from collector import names, prices

    for provider in data.providers:
        assert len(prices.table()[provider.id]) == len(names.sold(provider)), provider.id


def levels(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A price, and the prices within it."""
    yield one
    for nested in (one.get("then"), *one.get("service_tier", {}).values()):
        if nested:
            yield from levels(nested)


def test_every_number_is_one_that_the_collectors_ottl_reads() -> None:
    """An exponent or a null would keep the Collector from starting."""
    known = {
        "input",
        "output",
        "cache_read",
        "cache_write",
        "reasoning",
        "above",
        "then",
        "service_tier",
        "unsupported",
    }
    for name in ("prices.json", "overrides.json"):
        assert not re.search(r": -?[\d.]+[eE]|: null", TEXTS[name])
        for provider in (value for value in TABLES[name].values() if isinstance(value, dict)):
            for model, whole in provider.items():
                for one in levels(whole):
                    assert set(one) <= known, model
                    assert all(value >= 0 for value in one.values() if isinstance(value, int | float)), model


def test_a_price_depends_on_the_input_only_above_at_most_two_thresholds() -> None:
    """As often as collector/config.yaml looks for a next one."""
    for provider in (value for value in TABLES["prices.json"].values() if isinstance(value, dict)):
        for model, whole in provider.items():
            assert "then" not in whole.get("then", {}).get("then", {}), model


# --- The hand-kept file ----------------------------------------------------------------------------------------------


@NEEDS_SOURCE
def test_own_prices_have_fields_of_the_table() -> None:
    from collector import prices

    assert set(overrides.FIELDS) < set(prices.FIELDS)


def test_own_prices_are_read_exactly_under_the_provider_and_name_that_are_looked_up() -> None:
    text = "Azure.AI.OpenAI:\n  Our-GPT: {input: 2.10, output: 3e-7}\nollama:\n  llama3.2:\n    input: 0\n"

    assert overrides.read(text, "o.yaml", {"azure.ai.openai": "azure"}) == {
        "azure": {"our-gpt": {"input": Decimal("2.10"), "output": Decimal("3e-7")}},
        "ollama": {"llama3.2": {"input": Decimal(0)}},
    }


def test_the_file_as_shipped_has_no_prices_but_an_example_that_is_right() -> None:
    shipped = collector.OVERRIDES.read_text()
    example = "\n".join(re.findall(r"^# ((?:[a-z.]+:| +).*)$", shipped, re.MULTILINE))
    in_readme = re.findall(r"```yaml\n(azure.+?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[0]

    assert overrides.read(shipped, "o.yaml", {}) == {}
    for text in (example, in_readme):
        assert overrides.read(text, "o.yaml", {})["ollama"]["llama3.2"] == {"input": 0, "output": 0}


@NEEDS_SOURCE
def test_a_number_is_written_without_an_exponent() -> None:
    from collector import prices

    assert [prices.number(Decimal(one)) for one in ("3e-7", "1E3", "0.150", "0")] == ["0.0000003", "1000", "0.15", "0"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  b: {input: 1}\n  c: {inputs: 2}\n", "o.yaml:3: unknown field inputs; known are input, output,"),
        ("a:\n  b:\n    input: -1\n", "o.yaml:3: input is negative: -1"),
        ("a:\n  b:\n    input: 1\n    output: '2'\n", "o.yaml:4: output is not a number but '2'"),
        ("a:\n  b: {input: .nan}\n", "o.yaml:2: input is not a number but '.nan'"),
        ("a:\n  b: {input: inf}\n", "o.yaml:2: input is not a number but 'inf'"),
        ("a:\n  b: {input: }\n", "o.yaml:2: input is not a number but ''"),
        ("a:\n  b: {input: [1]}\n", "o.yaml:2: input is not a number but 'a list or a mapping'"),
        ("a:\n  b: {output: 1}\n", "o.yaml:2: input is missing; 0 is a price"),
        ("a:\n  b: {input: 1}\n  B: {input: 2}\n", "o.yaml:3: b has a price already"),
        ("a:\n  b: 3\n", "o.yaml:2: here must be prices (input, output, cache_read, cache_write)"),
        ("- a\n", "o.yaml:1: here must be providers, each a name and a colon"),
        ("a:\n  $b: {input: 1}\n", "o.yaml:2: a name must be text without quotes, backslashes or $"),
        ("a:\n  b: {input: 1\n", "o.yaml:3: expected ',' or '}'"),
        ('a:\n  "b\\"": {input: 1}\n', "o.yaml:2: a name must be text without quotes, backslashes or $"),
    ],
)
def test_a_mistake_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(overrides.OverridesError, match=re.escape(said)):
        overrides.read(text, "o.yaml", {})


@NEEDS_SOURCE
def test_a_mistake_fails_make_check_and_make_generate(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "overrides.yaml"
    wrong.write_text("a:\n  b: {input: -1}\n")
    monkeypatch.setattr(collector, "OVERRIDES", wrong)

    assert (generate.main(["--check"]), generate.main([])) == (1, 1)

    assert capsys.readouterr().err == 2 * "collector/overrides.yaml:2: input is negative: -1\n"
