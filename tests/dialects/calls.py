"""The scripted app: one call of every kind that ends in one of every way, under one instrumentation.

Runs in a virtual environment that holds the openai client (2.x or 3.x), the OpenTelemetry SDK and one instrumentation,
and knows nothing of Nightlight:

    python calls.py DIALECT http://127.0.0.1:8088

Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says. Standard output gets one JSON object per call: what the client saw of
it. That, and not what any instrumentation reports, is the truth that the test compares with.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

INSTRUMENTORS = {
    "genai-openai": ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    "traceloop": ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
    "openinference": ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
}

MINI, REASONER, EMBEDDER = "gpt-4o-mini", "o4-mini", "text-embedding-3-small"
INSTRUCTIONS = "You answer in one sentence."
MANUAL = (
    "The sensor blinks twice when it is paired. Hold its button for five seconds. " * 80
)  # long enough to be cached
PAIRING = "How do I pair a sensor?"
WEATHER = {"type": "object", "properties": {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
RESPONSES_TOOL: Any = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}
WITH_USAGE: Any = {"include_usage": True}
TIMEOUT_SECONDS = 0.5
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing answers

Usage = dict[str, int]


@dataclass(frozen=True)
class Clients:
    """The clients of an app: its usual one, one in asyncio, and three that are set up wrongly."""

    usual: OpenAI
    asynchronous: Callable[[], AsyncOpenAI]
    hasty: OpenAI
    wrong_key: OpenAI
    astray: OpenAI


@dataclass(frozen=True)
class Call:
    """A call and how it ends; ``run`` returns the usage that the client saw, if it saw any."""

    name: str
    run: Callable[[Clients], Usage | None]
    outcome: str = "success"
    error_kind: str | None = None
    operation: str = "chat"
    model: str = MINI
    incident: dict[str, float] = field(default_factory=dict)
    metered: bool = True


# --- Ways to call ----------------------------------------------------------------------------------------------------


def _messages(text: str) -> Any:
    return [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}]


def chat(text: str = PAIRING, model: str = MINI, **more: Any) -> Callable[[Clients], Usage | None]:
    return lambda clients: _usage(
        clients.usual.chat.completions.create(model=model, messages=_messages(text), **more).usage
    )


def chat_stream(text: str = PAIRING, model: str = MINI, **more: Any) -> Callable[[Clients], Usage | None]:
    def run(clients: Clients) -> Usage | None:
        stream = clients.usual.chat.completions.create(model=model, messages=_messages(text), stream=True, **more)
        return _usage(next((chunk.usage for chunk in list(stream) if chunk.usage), None))

    return run


def responses(text: str = PAIRING, model: str = MINI, **more: Any) -> Callable[[Clients], Usage | None]:
    return lambda clients: _usage(clients.usual.responses.create(model=model, input=text, **more).usage)


def responses_stream(text: str = PAIRING, model: str = MINI, **more: Any) -> Callable[[Clients], Usage | None]:
    def run(clients: Clients) -> Usage | None:
        events = list(clients.usual.responses.create(model=model, input=text, stream=True, **more))
        return _usage(events[-1].response.usage)

    return run


def embeddings(*texts: str, model: str = EMBEDDER) -> Callable[[Clients], Usage | None]:
    return lambda clients: _usage(clients.usual.embeddings.create(model=model, input=list(texts)).usage)


def by(client: str, text: str = PAIRING) -> Callable[[Clients], Usage | None]:
    return lambda clients: _usage(
        getattr(clients, client).chat.completions.create(model=MINI, messages=_messages(text)).usage
    )


def raw_chat(clients: Clients) -> Usage | None:
    """As LangChain calls: for the headers, with the body parsed later."""
    raw = clients.usual.chat.completions.with_raw_response.create(model=MINI, messages=_messages("And unpair it?"))
    return _usage(raw.parse().usage)


def raw_stream(clients: Clients) -> Usage | None:
    raw = clients.usual.chat.completions.with_raw_response.create(
        model=MINI, messages=_messages("And wash it?"), stream=True, stream_options=WITH_USAGE
    )
    return _usage(list(raw.parse())[-1].usage)


def helper_stream(clients: Clients) -> Usage | None:
    with clients.usual.chat.completions.stream(
        model=MINI, messages=_messages("And reset it?"), stream_options=WITH_USAGE
    ) as stream:
        return _usage(stream.get_final_completion().usage)


def closed_stream(clients: Clients) -> Usage | None:
    """A user who has read enough."""
    stream = clients.usual.chat.completions.create(model=MINI, messages=_messages("Tell me all."), stream=True)
    next(iter(stream))
    stream.close()
    return None


def abandoned_stream(clients: Clients) -> Usage | None:
    """A user who has gone: nobody closes the stream, the garbage collector finds it."""
    stream = clients.usual.chat.completions.create(model=MINI, messages=_messages("Tell me more."), stream=True)
    next(iter(stream))
    del stream
    gc.collect()
    return None


async def _ask(client: AsyncOpenAI, text: str) -> Usage | None:
    async with client:
        return _usage((await client.chat.completions.create(model=MINI, messages=_messages(text))).usage)


def async_chat(clients: Clients) -> Usage | None:
    return asyncio.run(_ask(clients.asynchronous(), "Does it float?"))


def async_stream(clients: Clients) -> Usage | None:
    async def run() -> Usage | None:
        async with clients.asynchronous() as client:
            stream = await client.chat.completions.create(
                model=MINI, messages=_messages("Does it fly?"), stream=True, stream_options=WITH_USAGE
            )
            return _usage([chunk async for chunk in stream][-1].usage)

    return asyncio.run(run())


def cancelled_task(clients: Clients) -> Usage | None:
    """A user hangs up while the provider thinks."""

    async def run() -> Usage | None:
        return await asyncio.wait_for(_ask(clients.asynchronous(), "Are you there?"), TIMEOUT_SECONDS)

    return asyncio.run(run())


def retrieved(clients: Clients) -> Usage | None:
    """A response fetched again: its tokens were paid for when it was made."""
    made = clients.usual.responses.create(model=MINI, input="Keep this.")
    with serving("retrieved"):
        clients.usual.responses.retrieve(made.id)
    return _usage(made.usage)


def _usage(given: Any) -> Usage | None:
    """The tokens of an answer, by the names of Nightlight's token types; chat and Responses name theirs differently."""
    if given is None:
        return None
    said = given.model_dump()
    read = said.get("prompt_tokens_details") or said.get("input_tokens_details") or {}
    written = said.get("completion_tokens_details") or said.get("output_tokens_details") or {}
    return {
        "input": said.get("prompt_tokens") or said.get("input_tokens") or 0,
        "output": said.get("completion_tokens") or said.get("output_tokens") or 0,
        "cache_read": read.get("cached_tokens") or 0,
        "reasoning": written.get("reasoning_tokens") or 0,
    }


# --- The script ------------------------------------------------------------------------------------------------------

CALLS = (
    Call("chat", chat()),
    Call("chat_parameters", chat("Is it waterproof?", temperature=0.2, top_p=0.9, seed=5)),
    Call("chat_fresh_prompt", chat(MANUAL + PAIRING)),
    Call("chat_cached_prompt", chat(MANUAL + "When does it blink?")),
    Call("chat_reasoning", chat(model=REASONER), model=REASONER),
    Call("chat_tool_call", chat("What is the weather?", tools=[CHAT_TOOL], tool_choice="required")),
    Call("chat_truncated", chat("Explain it all.", max_tokens=5), outcome="truncated"),
    Call(
        "chat_filtered",
        chat("Something foul."),
        outcome="filtered",
        error_kind="content_filter",
        incident={"filtered": 1},
    ),
    Call("chat_raw_response", raw_chat),
    Call("chat_async", async_chat),
    Call("stream_without_usage", chat_stream("How long does the battery last?")),
    Call("stream", chat_stream("How heavy is it?", stream_options=WITH_USAGE)),
    Call("stream_cached_prompt", chat_stream(MANUAL + "Once more?", stream_options=WITH_USAGE)),
    Call("stream_reasoning", chat_stream(model=REASONER, stream_options=WITH_USAGE), model=REASONER),
    Call(
        "stream_tool_call",
        chat_stream("And the weather?", tools=[CHAT_TOOL], tool_choice="required", stream_options=WITH_USAGE),
    ),
    Call("stream_truncated", chat_stream("All of it.", max_tokens=5, stream_options=WITH_USAGE), outcome="truncated"),
    Call(
        "stream_filtered",
        chat_stream("Foul again.", stream_options=WITH_USAGE),
        outcome="filtered",
        error_kind="content_filter",
        incident={"filtered": 1},
    ),
    Call("stream_raw_response", raw_stream),
    Call("stream_helper", helper_stream),
    Call("stream_async", async_stream),
    Call("stream_closed", closed_stream, outcome="cancelled"),
    Call("stream_abandoned", abandoned_stream, outcome="cancelled"),
    Call(
        "stream_cut",
        chat_stream("What is in the box?"),
        outcome="error",
        error_kind="stream_cut",
        incident={"cut_streams": 1},
    ),
    Call(
        "stream_rate_limited", chat_stream("Now?"), outcome="error", error_kind="rate_limit", incident={"rate_limit": 1}
    ),
    Call("embeddings", embeddings("a sensor"), operation="embeddings", model=EMBEDDER),
    Call("embeddings_batch", embeddings("a sensor", "a button", "a battery"), operation="embeddings", model=EMBEDDER),
    Call(
        "embeddings_rate_limited",
        embeddings("a lamp"),
        outcome="error",
        error_kind="rate_limit",
        operation="embeddings",
        model=EMBEDDER,
        incident={"rate_limit": 1},
    ),
    Call("responses", responses()),
    Call("responses_cached_prompt", responses(MANUAL + "What blinks?", instructions=INSTRUCTIONS)),
    Call("responses_reasoning", responses(model=REASONER), model=REASONER),
    Call("responses_tool_call", responses("What is the weather?", tools=[RESPONSES_TOOL], tool_choice="required")),
    Call("responses_truncated", responses("Explain.", max_output_tokens=16), outcome="truncated"),
    Call("responses_made", retrieved),
    Call("retrieved", lambda _: None, metered=False),
    Call("responses_stream", responses_stream("How tall is it?")),
    Call("responses_stream_truncated", responses_stream("Explain more.", max_output_tokens=16), outcome="truncated"),
    Call("responses_quota", responses("Anyone?"), outcome="error", error_kind="quota", incident={"quota": 1}),
    Call("rate_limited", chat("Busy?"), outcome="error", error_kind="rate_limit", incident={"rate_limit": 1}),
    Call("quota", chat("Broke?"), outcome="error", error_kind="quota", incident={"quota": 1}),
    Call("server_error", chat("Broken?"), outcome="error", error_kind="server", incident={"errors": 1}),
    Call("wrong_key", by("wrong_key"), outcome="error", error_kind="auth"),
    Call("unknown_model", chat(model="gpt-0"), outcome="error", error_kind="invalid_request", model="gpt-0"),
    Call("bad_parameter", chat("Hm?", max_tokens=-1), outcome="error", error_kind="invalid_request"),
    Call("too_long", chat("word " * 130_000), outcome="error", error_kind="context_length"),
    Call("timeout", by("hasty", "Slow?"), outcome="error", error_kind="timeout", incident={"timeouts": 1}),
    Call("unreachable", by("astray"), outcome="error", error_kind="connection"),
    Call("task_cancelled", cancelled_task, outcome="cancelled", incident={"timeouts": 1}),
)

# --- Running it ------------------------------------------------------------------------------------------------------

_serving: ContextVar[str] = ContextVar("serving")


@contextmanager
def serving(name: str) -> Iterator[None]:
    token = _serving.set(name)
    try:
        yield
    finally:
        _serving.reset(token)


class NameTheCall(SpanProcessor):
    """Writes the call's name on its spans, as the product feature, so that the series can be told apart by call."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002 - named by the base class
        span.set_attribute("nightlight.feature", _serving.get("none"))


def instrument(dialect: str) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(NameTheCall())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    if dialect == "openlit":
        with tempfile.NamedTemporaryFile("w", suffix=".json") as prices:  # without a list of prices it fetches one
            prices.write("{}")
            prices.flush()
            importlib.import_module("openlit").init(disable_metrics=True, pricing_json=prices.name)
    else:
        module, name = INSTRUMENTORS[dialect]
        getattr(importlib.import_module(module), name)().instrument()
    return provider


def set_incident(provider: str, incident: dict[str, float]) -> None:
    body = json.dumps({"clear": True, **incident}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{provider}/control", body), timeout=5).close()


def connect(provider: str) -> Clients:
    def client(base: str = provider, key: str = "sk-test", timeout: float = 30) -> OpenAI:
        return OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, timeout=timeout)

    return Clients(
        usual=client(),
        asynchronous=lambda: AsyncOpenAI(base_url=f"{provider}/v1", api_key="sk-test", max_retries=0, timeout=30),
        hasty=client(timeout=TIMEOUT_SECONDS),
        wrong_key=client(key="sk-invalid"),
        astray=client(NOWHERE),
    )


def make(call: Call, clients: Clients) -> dict[str, Any]:
    """Make one call and tell how the client saw it end."""
    usage, failed = None, False
    with serving(call.name):
        try:
            usage = call.run(clients)
        except (openai.OpenAIError, asyncio.TimeoutError, OSError) as error:
            failed = True
            said = repr(error)
        except Exception as error:  # openai 2.x lets the errors of its HTTP client through when a stream is cut
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2"):
                raise
            failed = True
            said = repr(error)
    if failed != (call.outcome == "error" or call.name == "task_cancelled"):
        raise SystemExit(f"{call.name} went another way than scripted: {said if failed else 'no error'}")
    return {
        "name": call.name,
        "operation": call.operation,
        "model": call.model,
        "outcome": call.outcome,
        "error_kind": call.error_kind,
        "usage": usage,
        "metered": call.metered,
    }


def main() -> None:
    dialect, provider = sys.argv[1:]
    tracing = instrument(dialect)
    clients = connect(provider)
    for call in CALLS:
        set_incident(provider, call.incident)
        print(json.dumps(make(call, clients)), flush=True)
    gc.collect()
    tracing.shutdown()


if __name__ == "__main__":
    main()
