"""Response bodies and stream events as the real API sends them. Pure functions.

A stream is a sequence of (seconds after the request came in, event), in order of time.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from examples.provider.behaviour import Generation, ToolCall, Usage
from examples.provider.language import embedding
from examples.provider.models import MODELS, Model
from examples.provider.prompts import EmbeddingRequest

Json = dict[str, Any]
TimedEvents = Iterator[tuple[float, Json]]

_MOST_DELTAS = 80  # longer answers come in larger pieces: keeps a demo's laptop cool
_FINGERPRINT = "fp_b376dfbbd5"
_SNAPSHOT_CREATED = 1_721_172_741


# --- Chat completions ------------------------------------------------------------------------------------------------


def chat_completion(generation: Generation, request_id: str, created: int) -> Json:
    """The body of a chat completion."""
    message: Json = {"role": "assistant", "content": generation.text or None, "refusal": None, "annotations": []}
    if generation.tool_call:
        message["tool_calls"] = [_chat_tool_call(generation.tool_call, request_id)]
    return {
        **_chat_head(generation, request_id, created, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(generation)}],
        "usage": _chat_usage(generation.usage),
    }


def chat_events(generation: Generation, request_id: str, created: int) -> TimedEvents:
    """The chunks of a streamed chat completion; usage comes last, if asked for."""
    with_usage = generation.prompt.include_usage
    head = _chat_head(generation, request_id, created, "chat.completion.chunk")

    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**head, "choices": [choice], **({"usage": None} if with_usage else {})}

    start: Json = {"role": "assistant", "content": None if generation.tool_call else "", "refusal": None}
    if generation.tool_call:
        call = _chat_tool_call(generation.tool_call, request_id)
        start["tool_calls"] = [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]
    yield generation.first_token_at, chunk(start)
    for at, piece in _paced_pieces(generation):
        if generation.tool_call:
            yield at, chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        else:
            yield at, chunk({"content": piece})
    yield generation.last_token_at, chunk({}, _finish_reason(generation))
    if with_usage:
        yield generation.last_token_at, {**head, "choices": [], "usage": _chat_usage(generation.usage)}


def _chat_head(generation: Generation, request_id: str, created: int, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{request_id[:29]}",
        "object": kind,
        "created": created,
        "model": generation.prompt.model.snapshot,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def _chat_tool_call(call: ToolCall, request_id: str) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{request_id[:24]}", "type": "function", "function": function}


def _finish_reason(generation: Generation) -> str:
    if generation.truncated:
        return "length"
    if generation.filtered:
        return "content_filter"
    return "tool_calls" if generation.tool_call else "stop"


def _chat_usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


# --- Responses -------------------------------------------------------------------------------------------------------


def response(generation: Generation, request_id: str, created: int) -> Json:
    """The body of a finished response."""
    return {
        **_response_head(generation, request_id, created),
        "status": _status(generation),
        "incomplete_details": _incomplete_details(generation),
        "output": [*_reasoning_items(generation, request_id), _answer_item(generation, request_id)],
        "usage": _response_usage(generation.usage),
    }


def response_events(generation: Generation, request_id: str, created: int) -> TimedEvents:
    """The events of a streamed response, from ``response.created`` to ``response.completed``."""
    for number, (at, event) in enumerate(_response_events(generation, request_id, created)):
        yield at, {**event, "sequence_number": number}


def _response_events(generation: Generation, request_id: str, created: int) -> TimedEvents:
    first, last = generation.first_token_at, generation.last_token_at
    begun = {**_response_head(generation, request_id, created), "status": "in_progress"}
    accepted = first / 4  # the real API acknowledges a response well before its first token
    yield accepted, {"type": "response.created", "response": begun}
    yield accepted, {"type": "response.in_progress", "response": begun}

    reasoning = _reasoning_items(generation, request_id)
    for item in reasoning:
        yield accepted, {"type": "response.output_item.added", "output_index": 0, "item": item}
        yield first, {"type": "response.output_item.done", "output_index": 0, "item": item}

    item = _answer_item(generation, request_id)
    here = {"output_index": len(reasoning), "item_id": item["id"]}
    call = generation.tool_call
    empty: Json = {"arguments": ""} if call else {"content": []}
    added = {**item, "status": "in_progress", **empty}
    yield first, {"type": "response.output_item.added", "output_index": len(reasoning), "item": added}
    yield from _tool_call_events(generation, call, here) if call else _text_events(generation, here, item)
    yield last, {"type": "response.output_item.done", "output_index": len(reasoning), "item": item}

    ended = response(generation, request_id, created)
    yield last, {"type": f"response.{ended['status']}", "response": ended}


def _text_events(generation: Generation, here: Json, item: Json) -> TimedEvents:
    here = {**here, "content_index": 0}
    part = item["content"][0]
    yield generation.first_token_at, {"type": "response.content_part.added", **here, "part": {**part, "text": ""}}
    for at, piece in _paced_pieces(generation):
        yield at, {"type": "response.output_text.delta", **here, "delta": piece, "logprobs": []}
    done = {"type": "response.output_text.done", **here, "text": generation.text, "logprobs": []}
    yield generation.last_token_at, done
    yield generation.last_token_at, {"type": "response.content_part.done", **here, "part": part}


def _tool_call_events(generation: Generation, call: ToolCall, here: Json) -> TimedEvents:
    for at, piece in _paced_pieces(generation):
        yield at, {"type": "response.function_call_arguments.delta", **here, "delta": piece}
    done = {"type": "response.function_call_arguments.done", **here, "name": call.name, "arguments": call.arguments}
    yield generation.last_token_at, done


def _response_head(generation: Generation, request_id: str, created: int) -> Json:
    """A response that has only begun; the request's settings are those of a request that gives none."""
    return {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": generation.prompt.max_tokens,
        "metadata": {},
        "model": generation.prompt.model.snapshot,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": "medium" if generation.prompt.model.reasons else None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _reasoning_items(generation: Generation, request_id: str) -> list[Json]:
    if not generation.prompt.model.reasons:
        return []
    return [{"id": f"rs_{request_id}", "type": "reasoning", "summary": []}]


def _answer_item(generation: Generation, request_id: str) -> Json:
    call = generation.tool_call
    if call:
        return {
            "id": f"fc_{request_id}",
            "type": "function_call",
            "status": _status(generation),
            "call_id": f"call_{request_id[:24]}",
            "name": call.name,
            "arguments": call.arguments,
        }
    return {
        "id": f"msg_{request_id}",
        "type": "message",
        "status": _status(generation),
        "role": "assistant",
        "content": [{"type": "output_text", "text": generation.text, "annotations": [], "logprobs": []}],
    }


def _status(generation: Generation) -> str:
    return "incomplete" if generation.truncated or generation.filtered else "completed"


def _incomplete_details(generation: Generation) -> Json | None:
    if generation.truncated:
        return {"reason": "max_output_tokens"}
    return {"reason": "content_filter"} if generation.filtered else None


def _response_usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


# --- Embeddings, models, streams -------------------------------------------------------------------------------------


def embeddings(request: EmbeddingRequest) -> Json:
    """The body of an embeddings response."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(text, request)}
            for index, text in enumerate(request.inputs)
        ],
        "model": request.model.snapshot,
        "usage": {"prompt_tokens": request.tokens, "total_tokens": request.tokens},
    }


def model_list() -> Json:
    """The body of GET /v1/models."""
    return {"object": "list", "data": [model_body(model) for model in MODELS]}


def model_body(model: Model) -> Json:
    """The body of GET /v1/models/{name}."""
    return {"id": model.name, "object": "model", "created": _SNAPSHOT_CREATED, "owned_by": "system"}


def server_sent_event(event: Mapping[str, Any]) -> bytes:
    """An event on the wire; those of the Responses API also name their type."""
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


END_OF_CHAT_STREAM = b"data: [DONE]\n\n"


def _encoded(text: str, request: EmbeddingRequest) -> list[float] | str:
    vector = embedding(text, request.dimensions)
    if not request.base64:
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _paced_pieces(generation: Generation) -> Iterator[tuple[float, str]]:
    """The text, or the arguments of a tool call, in pieces of a token or more at an even pace."""
    text = generation.tool_call.arguments if generation.tool_call else generation.text
    size = max(4, math.ceil(len(text) / _MOST_DELTAS))
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    duration = generation.last_token_at - generation.first_token_at
    for number, piece in enumerate(pieces):
        yield generation.first_token_at + duration * number / len(pieces), piece
