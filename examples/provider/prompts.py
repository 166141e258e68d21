"""Request bodies read into what the model needs to know: one form for chat completions and the Responses API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from examples.provider import errors
from examples.provider.language import EMBEDDING_DIMENSIONS, count_tokens
from examples.provider.models import BY_NAME, Model

Body = Mapping[str, Any]

_TOKENS_PER_MESSAGE = 4  # role and separators
_MAX_TOKENS_NAMES = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True)
class Tool:
    """A function the model may call; ``schema`` is the JSON schema of its arguments."""

    name: str
    schema: Body


@dataclass(frozen=True)
class Prompt:
    """A request for text."""

    model: Model
    text: str  # all the model reads, in its order
    tokens: int
    context: str  # what the user sent
    question: str  # the last line the user sent
    call: Tool | None  # the tool to call instead of answering
    max_tokens: int | None
    stream: bool
    include_usage: bool  # chat streams only


@dataclass(frozen=True)
class EmbeddingRequest:
    """A request for one vector per input."""

    model: Model
    inputs: tuple[str, ...]
    tokens: int
    dimensions: int
    base64: bool


def chat_prompt(body: Body) -> Prompt:
    """Read a body of /v1/chat/completions. Raises ApiError."""
    messages = body.get("messages")
    if messages is None:
        raise errors.missing("messages")
    if not _is_list_of_objects(messages) or not messages:
        raise errors.invalid_type("messages", "an array of objects")
    options = body.get("stream_options")
    return _prompt(
        body,
        messages,
        context_param="messages",
        include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
    )


def responses_prompt(body: Body) -> Prompt:
    """Read a body of /v1/responses. Raises ApiError."""
    given = body.get("input")
    if given is None:
        raise errors.missing("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not _is_list_of_objects(messages) or not messages:
        raise errors.invalid_type("input", "a string or an array of objects")
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        messages = [{"role": "system", "content": instructions}, *messages]
    return _prompt(body, messages, context_param="input", include_usage=False)


def embedding_request(body: Body) -> EmbeddingRequest:
    """Read a body of /v1/embeddings. Raises ApiError."""
    model = _model(body, embeds=True)
    if "input" not in body:
        raise errors.missing("input")
    inputs = tuple(_embedding_inputs(body["input"]))
    dimensions = body.get("dimensions", EMBEDDING_DIMENSIONS)
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 1 <= dimensions <= EMBEDDING_DIMENSIONS:
        raise errors.invalid_type("dimensions", f"an integer from 1 to {EMBEDDING_DIMENSIONS}")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise errors.invalid_type("encoding_format", "one of 'float' or 'base64'")
    sizes = [count_tokens(text) for text in inputs]
    if max(sizes) > model.context_tokens:
        raise errors.context_length_exceeded(model, max(sizes), "input")
    return EmbeddingRequest(model, inputs, sum(sizes), dimensions, encoding == "base64")


def _prompt(body: Body, messages: Sequence[Body], *, context_param: str, include_usage: bool) -> Prompt:
    model = _model(body, embeds=False)
    tools = _tools(body)
    texts = [_text(message) for message in messages]
    # Tools come first, as in the real API: they are part of the prefix that is cached.
    text = "\n".join([json.dumps(tool.schema, sort_keys=True) for tool in tools] + texts)
    tokens = count_tokens(text) + _TOKENS_PER_MESSAGE * len(messages)
    if tokens > model.context_tokens:
        raise errors.context_length_exceeded(model, tokens, context_param)
    asked = [said for message, said in zip(messages, texts, strict=True) if message.get("role") == "user"]
    question = asked[-1].strip().rsplit("\n", 1)[-1] if asked else ""
    return Prompt(
        model=model,
        text=text,
        tokens=tokens,
        context="\n".join(asked),
        question=question,
        call=_tool_to_call(body.get("tool_choice"), tools, question if messages[-1].get("role") == "user" else ""),
        max_tokens=_max_tokens(body, model),
        stream=body.get("stream") is True,
        include_usage=include_usage,
    )


def _model(body: Body, *, embeds: bool) -> Model:
    name = body.get("model")
    if name is None:
        raise errors.missing("model")
    if not isinstance(name, str):
        raise errors.invalid_type("model", "a string")
    model = BY_NAME.get(name)
    if model is None or model.embeds != embeds:
        raise errors.model_not_found(name)
    return model


def _max_tokens(body: Body, model: Model) -> int | None:
    if model.reasons and body.get("max_tokens") is not None:
        raise errors.unsupported_parameter("max_tokens", "max_completion_tokens")
    for name in _MAX_TOKENS_NAMES:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise errors.invalid_type(name, "an integer from 1 up")
        return value
    return None


def _text(message: Body) -> str:
    """All text in a message, or in an item of the Responses API."""
    content = message.get("content", message.get("output"))
    if isinstance(content, str):
        return content
    if _is_list_of_objects(content):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return ""


def _tools(body: Body) -> list[Tool]:
    given = body.get("tools") or []
    if not _is_list_of_objects(given):
        raise errors.invalid_type("tools", "an array of objects")
    # Chat completions nest the function, the Responses API does not.
    functions = [tool.get("function", tool) for tool in given if tool.get("type") == "function"]
    return [
        Tool(function["name"], function.get("parameters") or {})
        for function in functions
        if isinstance(function, Mapping) and isinstance(function.get("name"), str)
    ]


def _tool_to_call(choice: object, tools: Sequence[Tool], question: str) -> Tool | None:
    if not tools or choice == "none":
        return None
    if choice == "required":
        return tools[0]
    if isinstance(choice, Mapping):
        wanted = choice.get("function", choice)
        name = wanted.get("name") if isinstance(wanted, Mapping) else None
        return next((tool for tool in tools if tool.name == name), None)
    return next((tool for tool in tools if _asks_for(tool, question.lower())), None)


def _asks_for(tool: Tool, question: str) -> bool:
    name = tool.name.lower()
    return name in question or name.replace("_", " ") in question or "use the tool" in question


def _embedding_inputs(given: object) -> Iterator[str]:
    """The inputs as texts; an array of token numbers counts as a text of as many words."""
    one_text = isinstance(given, str)
    one_token_array = isinstance(given, list) and bool(given) and all(isinstance(item, int) for item in given)
    if one_text or one_token_array:
        given = [given]
    if not isinstance(given, list) or not given:
        raise errors.invalid_type("input", "a string or an array that is not empty")
    for item in given:
        if isinstance(item, str) and item:
            yield item
        elif isinstance(item, list) and item:
            yield " ".join(str(token) for token in item)
        else:
            raise errors.invalid_type("input", "strings or arrays of tokens that are not empty")


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)
