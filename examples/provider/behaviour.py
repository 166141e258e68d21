"""What the provider does with a request: how it ends, what it answers, how long it takes. Pure functions.

Every choice comes from dice made of the seed and the request itself, never from the clock or from what other requests
do, so that the same requests get the same answers in whatever order threads run. Each purpose has dice of its own:
switching an incident on changes which requests fail, not what the others answer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from random import Random

from examples.provider import errors
from examples.provider.errors import ApiError
from examples.provider.incidents import Incidents
from examples.provider.language import compose, count_tokens, fill_arguments, truncate
from examples.provider.models import Model
from examples.provider.prompts import EmbeddingRequest, Prompt

_ANSWER_TOKENS = 90  # median
_REASONING_TOKENS = 256  # median
_REASONING_STEP = 64  # the real API reports multiples of it
_ERROR_SECONDS = 0.05  # median time to refuse
_RETRY_AFTER_SECONDS = (0.3, 2.0)
_PROMPT_TOKENS_DOUBLING_WAIT = 20_000  # a prompt this long doubles the wait for the first token


@dataclass(frozen=True)
class Fate:
    """How a request ends. At most one of ``hang`` and ``error`` is set; ``cut_at`` is a share of the stream."""

    hang: bool = False
    error: ApiError | None = None
    cut_at: float | None = None
    filtered: bool = False


@dataclass(frozen=True)
class ToolCall:
    """A call the model asks for; ``arguments`` is JSON."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """Tokens: ``cached`` is a part of ``input``, ``reasoning`` is a part of ``output``."""

    input: int
    cached: int
    output: int
    reasoning: int


@dataclass(frozen=True)
class Generation:
    """What the model generates and when, in seconds after the request came in."""

    prompt: Prompt
    text: str  # empty when there is a tool call
    tool_call: ToolCall | None
    truncated: bool  # by the request's limit on tokens
    filtered: bool  # stopped halfway by the content filter
    usage: Usage
    first_token_at: float
    last_token_at: float


def dice(request_id: str, purpose: str) -> Random:
    """Dice that fall the same way for the same request, whose id comes of the seed, and the same purpose."""
    return Random(f"{request_id}/{purpose}")  # noqa: S311 - repeatable on purpose, no secret


def decide_fate(incidents: Incidents, model: Model, latency_scale: float, rolls: Random) -> Fate:
    """Let the incidents of the moment strike or spare a request."""
    # All dice are thrown whatever is on, so that one incident does not shift the chances of another.
    timeouts, rate_limit, quota, broken, cut = (rolls.random() for _ in range(5))
    retry_after = rolls.uniform(*_RETRY_AFTER_SECONDS) * latency_scale
    cut_at = rolls.uniform(0.1, 0.9)
    kind_of_error = errors.server_error if rolls.random() < 0.7 else errors.overloaded
    filtered = rolls.random()
    if timeouts < incidents.timeouts:
        return Fate(hang=True)
    if rate_limit < incidents.rate_limit:
        return Fate(error=errors.rate_limited(model, retry_after))
    if quota < incidents.quota:
        return Fate(error=errors.quota_exceeded())
    if broken < incidents.errors:
        return Fate(error=kind_of_error())
    return Fate(cut_at=cut_at if cut < incidents.cut_streams else None, filtered=filtered < incidents.filtered)


def generate(
    prompt: Prompt,
    cached_tokens: int,
    incidents: Incidents,
    latency_scale: float,
    rolls: Random,
    *,
    filtered: bool = False,
) -> Generation:
    """Answer a prompt, only half of it when the content filter steps in."""
    reasoning = _reasoning_tokens(prompt.model, incidents.expensive, rolls)
    wanted = round(_around(_ANSWER_TOKENS, 0.35, rolls) * incidents.expensive)
    tool_call, text = None, ""
    if prompt.call:
        arguments = fill_arguments(prompt.call.schema, prompt.question, rolls)
        tool_call = ToolCall(prompt.call.name, json.dumps(arguments, ensure_ascii=False))
        visible = count_tokens(tool_call.name + tool_call.arguments)
    else:
        text = compose(prompt.context, prompt.question, wanted, rolls)
        visible = count_tokens(text)
    filtered = filtered and tool_call is None
    if filtered:
        visible //= 2
        text = truncate(text, visible)

    truncated = prompt.max_tokens is not None and reasoning + visible > prompt.max_tokens
    if truncated and prompt.max_tokens is not None:  # the second half is for the type checker
        reasoning = min(reasoning, prompt.max_tokens)
        visible = prompt.max_tokens - reasoning
        text = truncate(text, visible)
        tool_call = ToolCall(tool_call.name, truncate(tool_call.arguments, visible)) if tool_call else None

    first, last = _timing(prompt, reasoning, visible, incidents, rolls)
    scale = latency_scale * incidents.slow
    usage = Usage(prompt.tokens, min(cached_tokens, prompt.tokens), reasoning + visible, reasoning)
    return Generation(prompt, text, tool_call, truncated, filtered, usage, first * scale, last * scale)


def embedding_seconds(request: EmbeddingRequest, incidents: Incidents, latency_scale: float, rolls: Random) -> float:
    """How long embedding takes."""
    median = request.model.first_token_seconds * (1 + request.tokens / _PROMPT_TOKENS_DOUBLING_WAIT)
    return _around(median, 0.3, rolls) * latency_scale * incidents.slow


def error_seconds(incidents: Incidents, latency_scale: float, rolls: Random) -> float:
    """How long it takes to refuse a request."""
    return _around(_ERROR_SECONDS, 0.5, rolls) * latency_scale * incidents.slow


def _timing(prompt: Prompt, reasoning: int, visible: int, incidents: Incidents, rolls: Random) -> tuple[float, float]:
    model = prompt.model
    # The expensive incident writes more tokens in the same time: it is meant to look like money, not like slowness.
    per_token = _around(model.seconds_per_token, 0.15, rolls) / incidents.expensive
    wait = _around(model.first_token_seconds * (1 + prompt.tokens / _PROMPT_TOKENS_DOUBLING_WAIT), 0.3, rolls)
    first = wait + reasoning * per_token
    return first, first + visible * per_token


def _reasoning_tokens(model: Model, factor: float, rolls: Random) -> int:
    if not model.reasons:
        return 0
    return math.ceil(_around(_REASONING_TOKENS, 0.5, rolls) * factor / _REASONING_STEP) * _REASONING_STEP


def _around(median: float, sigma: float, rolls: Random) -> float:
    """A log-normal number: what latencies and lengths look like in life, with its long tail to the right."""
    return median * math.exp(rolls.gauss(0, sigma))
