"""The Collector charges what genai-prices charges, for every model, or says that it cannot.

The real Collector, with the processors of collector/config.yaml and nothing behind them but this test.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from nightlight import conventions as names
from stack.settings import REPOSITORY
from tests.conftest import wait_for

genai_prices = pytest.importorskip("genai_prices", reason="the source of the prices needs Python 3.11")

from genai_prices import data  # noqa: E402 - only where the line above found it

from collector import names as model_names  # noqa: E402 - likewise
from collector import overrides, prices  # noqa: E402 - likewise

USAGES = 20
BATCH = 1000
SEED = 20261121
TIERS = (None, None, "default", "auto", "flex", "priority", "fast", "scale")

OWN_PRICES = """
ollama:
  Llama3.2: {input: 0, output: 0}
azure.ai.openai:
  our-deployment: {input: 2.1, output: 8.4, cache_read: 1.05, cache_write: 3e-7}
"""

Attributes = dict[str, Any]


class Pricer:
    """A Collector that does nothing but price, with our own prices if there are any."""

    def __init__(self, program: Path, folder: Path, own_prices: str = "") -> None:
        self.priced: dict[bytes, Attributes] = {}
        self._sink = ThreadingHTTPServer(("127.0.0.1", 0), _keeping(self.priced))
        threading.Thread(target=self._sink.serve_forever, daemon=True).start()
        self._port, health = _free_ports(2)
        config = folder / "config.yaml"
        tables = _tables(folder, own_prices)
        config.write_text(_only_pricing(tables, self._port, health, self._sink.server_port))
        begun = time.monotonic()
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen([program, "--config", config], stdout=self._log, stderr=subprocess.STDOUT)
        wait_for(lambda: _get(f"http://127.0.0.1:{health}/"), 60, "the Collector")
        self.seconds_to_start = time.monotonic() - begun

    def price(self, spans: list[Attributes]) -> list[Attributes]:
        """The attributes of the spans after they went through the Collector, in the same order."""
        ids = [index.to_bytes(8, "big") for index in range(1, len(spans) + 1)]
        self.priced.clear()
        for start in range(0, len(spans), BATCH):
            body = _request(ids[start : start + BATCH], spans[start : start + BATCH])
            request = urllib.request.Request(
                f"http://127.0.0.1:{self._port}/v1/traces", body, {"Content-Type": "application/x-protobuf"}
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                assert response.status == 200
        wait_for(lambda: len(self.priced) == len(spans), 60, "all spans")
        return [self.priced[one] for one in ids]

    def memory(self) -> int:
        """Resident memory in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    def stop(self) -> None:
        """End the Collector and the sink."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
        self._sink.shutdown()
        self._sink.server_close()


def _tables(folder: Path, own_prices: str) -> Path:
    """A copy of the generated tables, with other overrides."""
    generated = shutil.copytree(REPOSITORY / "collector" / "generated", folder / "collector" / "generated")
    own = overrides.read(own_prices, "overrides.yaml", model_names.aliases())
    (generated / "overrides.json").write_text(prices.text(own, "a test"))
    return folder


def _only_pricing(tables: Path, port: int, health: int, sink: int) -> str:
    text = (REPOSITORY / "collector" / "config.yaml").read_text()
    processors = yaml.safe_load(text.replace("/etc/nightlight", str(tables)))["processors"]
    used = ["transform/outcome", "transform/price"]
    return yaml.safe_dump(
        {
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
            "processors": {name: processors[name] for name in used},
            "exporters": {
                "otlp_http": {
                    "endpoint": f"http://127.0.0.1:{sink}",
                    "compression": "none",
                    "sending_queue": {"enabled": False},
                }
            },
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "processors": used, "exporters": ["otlp_http"]}},
            },
        }
    )


def _keeping(kept: dict[bytes, Attributes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        kept[span.span_id] = {one.key: _value(one.value) for one in span.attributes}
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


def _request(ids: list[bytes], spans: list[Attributes]) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for one, attributes in zip(ids, spans, strict=True):
        span = scope.spans.add(trace_id=one * 2, span_id=one, name="chat")
        for key, value in attributes.items():
            kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
            setattr(span.attributes.add(key=key).value, kind, value)
    return bytes(request.SerializeToString())


def _free_ports(count: int) -> list[int]:
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) for _ in range(count)]
    for server in servers:
        server.server_close()
    return [server.server_port for server in servers]


def _get(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)


@pytest.fixture(scope="module")
def pricer(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pricer]:
    """One Collector for all tests here."""
    ours = Pricer(programs["otelcol"], tmp_path_factory.mktemp("pricer"), OWN_PRICES)
    yield ours
    ours.stop()


def call(provider: str, model: str, input_tokens: Any = 1000, output_tokens: Any = 100, **more: Any) -> Attributes:
    """The attributes of a call; keyword names with ``__`` for dots."""
    return {
        names.OPERATION_NAME: "chat",
        names.PROVIDER_NAME: provider,
        names.REQUEST_MODEL: model,
        names.INPUT_TOKENS: input_tokens,
        names.OUTPUT_TOKENS: output_tokens,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


# --- Every model, many usages ----------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """What was compared, and how far apart the two were at most."""

    spans: int = 0
    models: set[str] = field(default_factory=set)
    error: float = 0.0
    unsupported: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def test_every_model_of_genai_prices_costs_what_genai_prices_says(pricer: Pricer, capsys: Any) -> None:
    begun = time.monotonic()
    cases = list(_cases(random.Random(SEED)))
    found = Comparison()

    for (model, name, why, spent), priced in zip(cases, pricer.price([_span(one[3]) for one in cases]), strict=True):
        _compare(found, model, name, why, spent, priced)

    with capsys.disabled():
        print(
            f"\n{len(found.models)} models, {found.spans} spans, largest relative error {found.error:.1e}; "
            f"Collector up in {pricer.seconds_to_start:.1f} s, {pricer.memory()} MB; {time.monotonic() - begun:.0f} s"
        )
        for why, count in Counter(found.unsupported.values()).most_common():
            print(f"  {count} models unsupported: {why}")
    assert found.wrong == []
    assert found.error < 1e-9
    assert len(found.models) + len(found.unsupported) == sum(len(one.models) for one in data.providers)


@dataclass
class Usage:
    """One call: who was asked, for what, and what it used."""

    provider: str
    name: str
    input: int
    output: int
    read: int
    write: int
    reasoning: int
    tier: str | None


Case = tuple[str, str, str, Usage]


def _cases(dice: random.Random) -> Iterator[Case]:
    """At least so many usages of every model, under each of its names at least once."""
    aliases: dict[str, list[str]] = {}
    for alias, owner in model_names.aliases().items():
        aliases.setdefault(owner, []).append(alias)
    seen: set[str] = set()
    for provider in data.providers:
        keys: dict[str, list[str]] = {}
        models = {**model_names.exact(provider), **model_names.patterns(provider)}
        for key, model in models.items():
            keys.setdefault(_label(model), []).append(key)
        by_label = {_label(model): model for model in models.values()}
        for label, known in keys.items():
            price = prices.price(provider, by_label[label])
            why = str(price.get("unsupported", ""))
            for turn in range(max(len(known), 1 if why else USAGES)):
                usage = _usage(
                    dice, dice.choice(aliases[provider.id]), _spelling(dice, known[turn % len(known)]), price
                )
                yield label, provider.id, why, usage
        seen |= keys.keys()
    assert len(seen) == sum(len(one.models) for one in data.providers)


_LABELS = {
    id(model): f"{one.id}/{model.id}#{index}" for one in data.providers for index, model in enumerate(one.models)
}


def _label(model: object) -> str:
    return _LABELS[id(model)]


def _spelling(dice: random.Random, key: str) -> str:
    """A name that a key stands for."""
    year, month, day = dice.randint(2022, 2031), dice.randint(1, 12), dice.randint(1, 28)
    name = (
        key.replace("yyyy-mm-dd", f"{year}-{month:02}-{day:02}")
        .replace("yyyymmdd", f"{year}{month:02}{day:02}")
        .replace(":*", f":org-{dice.randrange(10**6)}::A{dice.randrange(10**6)}")
    )
    return name.upper() if dice.random() < 0.1 else name


def _usage(dice: random.Random, provider: str, name: str, price: prices.Price) -> Usage:
    above = price.get("above")
    near = [int(above) + step for step in (-1, 0, 1)] if isinstance(above, int) else []
    total = dice.choice([dice.randrange(2000), dice.randrange(600_000), *near])
    read = dice.choice([0, dice.randint(0, total)])
    write = dice.choice([0, dice.randint(0, total - read)])
    output = dice.choice([0, dice.randrange(100), dice.randrange(64_000)])
    return Usage(
        provider, name, total, output, read, write, dice.choice([0, dice.randint(0, output)]), dice.choice(TIERS)
    )


def _span(usage: Usage) -> Attributes:
    optional = {
        names.CACHE_READ_TOKENS: usage.read,
        names.CACHE_WRITE_TOKENS: usage.write,
        names.REASONING_TOKENS: usage.reasoning,
        names.RESPONSE_SERVICE_TIER: usage.tier,
    }
    return {
        **call(usage.provider, usage.name, usage.input, usage.output),
        **{key: value for key, value in optional.items() if value},
    }


def _compare(found: Comparison, model: str, provider: str, why: str, usage: Usage, priced: Attributes) -> None:
    if why:
        found.unsupported[model] = why
        if priced.get(names.UNPRICED) != "unsupported" or names.COST_USD in priced:
            found.wrong.append(f"{usage}: {priced}")
        return
    found.spans += 1
    found.models.add(model)
    expected = float(
        genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input,
                output_tokens=usage.output,
                cache_read_tokens=usage.read,
                cache_write_tokens=usage.write,
                output_reasoning_tokens=usage.reasoning,
            ),
            usage.name,
            provider_id=provider,
            genai_request_timestamp=prices.NOON,
            price_context={"service_tier": usage.tier} if usage.tier else None,
        ).total_price
    )
    charged = priced.get(names.COST_USD)
    if charged is None or names.UNPRICED in priced:
        found.wrong.append(f"{usage}: unpriced, {priced.get(names.UNPRICED)}")
        return
    error = abs(charged - expected) / expected if expected else abs(charged)
    found.error = max(found.error, error)
    if error > 1e-9:
        found.wrong.append(f"{usage}: {charged}, and it should be {expected}")


# --- Which price a name gets -----------------------------------------------------------------------------------------

GPT_4O_MINI = (1000 * 0.15 + 100 * 0.6) / 1e6


@pytest.mark.parametrize(
    ("spent", "cost"),
    [
        pytest.param(call("openai", "gpt-4o-mini"), GPT_4O_MINI, id="by its name"),
        pytest.param(call("OpenAI", "GPT-4o-mini"), GPT_4O_MINI, id="in any case"),
        pytest.param(call("openai", "openai/gpt-4o-mini"), GPT_4O_MINI, id="with its provider as a prefix"),
        pytest.param(call("azure.ai.openai", "azure/gpt-4o-mini"), GPT_4O_MINI, id="with a prefix of another spelling"),
        pytest.param(call("litellm", "openai/gpt-4o-mini"), GPT_4O_MINI, id="behind LiteLLM"),
        pytest.param(
            call("openai", "gpt-4o", gen_ai__response__model="gpt-4o-mini-2024-07-18"),
            GPT_4O_MINI,
            id="of who answered",
        ),
        pytest.param(
            call("openai", "ft:gpt-4o-mini-2024-07-18:acme::9aBc"), (1000 * 0.3 + 100 * 1.2) / 1e6, id="fine-tuned"
        ),
        pytest.param(
            call("anthropic", "claude-opus-4-5-20251101"), (1000 * 5 + 100 * 25) / 1e6, id="dated, by its pattern"
        ),
        pytest.param(
            call("openai", "gpt-5.5", openai__request__service_tier="priority"),
            (1000 * 12.5 + 100 * 75) / 1e6,
            id="of the tier that was asked for",
        ),
        pytest.param(
            call("openai", "gpt-5.5", openai__request__service_tier="flex", openai__response__service_tier="default"),
            (1000 * 5 + 100 * 30) / 1e6,
            id="of the tier that was served",
        ),
        pytest.param(call("ollama", "llama3.2"), 0.0, id="of our own, at 0"),
        pytest.param(
            call("azure.ai.openai", "Our-Deployment", gen_ai__response__model="gpt-4o-mini-2024-07-18"),
            (1000 * 2.1 + 100 * 8.4) / 1e6,
            id="of our own, before the table",
        ),
        pytest.param(
            call("azure.ai.openai", "our-deployment", 1000, 0, gen_ai__usage__cache_write__input_tokens=1000),
            0.0003 / 1e6,
            id="of our own, written with an exponent",
        ),
    ],
)
def test_a_call_is_priced(pricer: Pricer, spent: Attributes, cost: float) -> None:
    (priced,) = pricer.price([spent])

    assert priced.get(names.COST_USD) == pytest.approx(cost, rel=1e-12), priced
    assert names.UNPRICED not in priced
    parts = (names.COST_USD_INPUT, names.COST_USD_OUTPUT, names.COST_USD_CACHE_READ, names.COST_USD_CACHE_WRITE)
    assert priced[names.COST_USD] == sum(priced[part] for part in parts)


@pytest.mark.parametrize(
    ("spent", "reason"),
    [
        pytest.param(call("openai", "no-such-model"), "unknown_model", id="unknown model"),
        pytest.param(call("nobody", "gpt-4o-mini"), "unknown_model", id="unknown provider"),
        pytest.param(call("openai", "gpt-4o-mini-2031-01-01"), "unknown_model", id="a date that no clause covers"),
        pytest.param(call("openai", "gpt-4o-mini-turbo"), "unknown_model", id="no more than a beginning in common"),
        pytest.param(call("openai", "anthropic/claude-opus-4-5"), "unknown_model", id="another provider's prefix"),
        pytest.param(
            call("openai", "gpt-4o", gen_ai__response__model="gpt-9"), "unknown_model", id="an unknown model answered"
        ),
        pytest.param(call("deepseek", "deepseek-chat"), "unsupported", id="priced by the time of day"),
        pytest.param(call("perplexity", "sonar"), "unsupported", id="a fee per request"),
        pytest.param(
            call("openai", "gpt-4o-mini", gen_ai__usage__cache_read__input_tokens=1001),
            "unsupported",
            id="part > whole",
        ),
        pytest.param(call("openai", "gpt-4o-mini", -5), "unsupported", id="negative input"),
        pytest.param(call("openai", "gpt-4o-mini", 1000, -5), "unsupported", id="negative output"),
        pytest.param(
            call("openai", "gpt-4o-mini", gen_ai__usage__cache_write__input_tokens=-5),
            "unsupported",
            id="negative part",
        ),
        pytest.param(call("openai", "gpt-4o-mini", float("nan")), "unsupported", id="NaN"),
        pytest.param(call("openai", "gpt-4o-mini", 1000, float("inf")), "unsupported", id="infinity"),
        pytest.param(call("openai", "gpt-4o-mini", 2**62), "unsupported", id="huge"),
        pytest.param(call("openai", "gpt-4o-mini", "many"), "unsupported", id="words"),
        pytest.param(call("openai", "gpt-4o-mini", 1000, "many"), "unsupported", id="words in the output"),
        pytest.param(
            call("openai", "gpt-4o-mini", gen_ai__usage__cache_read__input_tokens="many"),
            "unsupported",
            id="words in a part",
        ),
    ],
)
def test_a_call_is_unpriced_and_its_neighbour_is_not(pricer: Pricer, spent: Attributes, reason: str) -> None:
    unpriced, neighbour = pricer.price([spent, call("openai", "gpt-4o-mini")])

    assert unpriced[names.UNPRICED] == reason, unpriced
    assert not [key for key in unpriced if key.startswith(names.COST_USD)]
    assert neighbour[names.COST_USD] == pytest.approx(GPT_4O_MINI, rel=1e-12)


@pytest.mark.parametrize("broken", ['"input": 1e-7', '"input": }', '"input": null', '"input": 1,'])
def test_the_collector_refuses_a_malformed_table(programs: dict[str, Path], tmp_path: Path, broken: str) -> None:
    table = _tables(tmp_path, "") / "collector/generated/prices.json"
    assert '"input": 0.15' in table.read_text()
    table.write_text(table.read_text().replace('"input": 0.15', broken, 1))
    config = tmp_path / "config.yaml"
    config.write_text(_only_pricing(tmp_path, 1, 1, 1))

    done = subprocess.run(
        [programs["otelcol"], "validate", "--config", config], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1, done
    assert "transform/price" in done.stderr
