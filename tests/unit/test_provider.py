"""The fake provider, met as a user meets it: through the real openai client."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from examples.http_server import in_background
from examples.provider.behaviour import dice, generate
from examples.provider.incidents import Incidents
from examples.provider.prompts import chat_prompt
from examples.provider.server import ProviderServer

QUICK = 0.001  # latency scale
QUESTION: Any = [{"role": "user", "content": "How do I pair a sensor?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"unit": {"enum": ["celsius", "fahrenheit"]}}},
    },
}


def start(seed: int = 7) -> Any:
    return in_background(ProviderServer(("127.0.0.1", 0), seed=seed, latency_scale=QUICK))


def connect(address: str, key: str = "sk-test", timeout: float = 5) -> OpenAI:
    return OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=timeout)


@pytest.fixture
def address() -> Iterator[str]:
    with start() as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[OpenAI]:
    with connect(address) as client:
        yield client


def post(address: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(f"{address}{path}", data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def control(address: str, **change: object) -> None:
    status, _ = post(address, "/control", json.dumps(change).encode())
    assert status == 200


def current(address: str) -> Any:
    with urllib.request.urlopen(f"{address}/control", timeout=5) as reply:
        return json.load(reply)


# --- Answers ---------------------------------------------------------------------------------------------------------


def test_a_chat_completion_has_an_answer_and_its_usage(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    assert completion.model == "gpt-4o-mini-2024-07-18"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.content
    assert completion.usage
    assert completion.usage.prompt_tokens == 10  # 23 characters are 6 tokens, the message itself costs 4
    assert completion.usage.total_tokens == 10 + completion.usage.completion_tokens


def test_a_stream_brings_the_same_answer_in_pieces_and_usage_only_when_asked(client: OpenAI, address: str) -> None:
    with client.chat.completions.create(
        model="gpt-4o", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 5
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert all(chunk.usage is None for chunk in chunks[:-1])

    with client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True) as stream:
        assert all(chunk.usage is None for chunk in stream)


def test_the_answer_quotes_what_the_prompt_says_on_the_question(client: OpenAI) -> None:
    document = "Hold the button for five seconds to pair a sensor. Tomatoes like the sun."
    completion = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": f"{document}\n\nHow do I pair a sensor?"}]
    )
    assert "Hold the button for five seconds to pair a sensor." in (completion.choices[0].message.content or "")


def test_max_tokens_cuts_the_answer(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="gpt-4o", messages=QUESTION, max_tokens=5)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage
    assert completion.usage.completion_tokens == 5
    assert len(completion.choices[0].message.content or "") == 20


def test_a_reasoning_model_reports_reasoning_tokens_as_part_of_its_output(client: OpenAI) -> None:
    usage = client.chat.completions.create(model="o4-mini", messages=QUESTION).usage
    assert usage
    assert usage.completion_tokens_details
    reasoning = usage.completion_tokens_details.reasoning_tokens
    assert reasoning
    assert reasoning % 64 == 0
    assert usage.completion_tokens > reasoning


def test_a_long_prompt_that_comes_again_is_cached(client: OpenAI) -> None:
    def ask(end: str) -> int:
        prompt: Any = [{"role": "user", "content": "The handbook. " * 500 + end}]
        usage = client.chat.completions.create(model="gpt-4o", messages=prompt).usage
        assert usage
        assert usage.prompt_tokens_details
        return usage.prompt_tokens_details.cached_tokens or 0

    assert ask("What is new?") == 0
    cached = ask("What is old?")
    assert cached >= 1024
    assert cached % 128 == 0


def test_a_response_has_an_answer_and_its_usage(client: OpenAI) -> None:
    response = client.responses.create(model="gpt-5-mini", instructions="Be brief.", input="How do I pair a sensor?")
    assert response.status == "completed"
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output_text
    assert response.usage
    assert response.usage.output_tokens > response.usage.output_tokens_details.reasoning_tokens > 0


def test_a_streamed_response_goes_from_created_to_completed(client: OpenAI) -> None:
    with client.responses.create(model="gpt-4o-mini", input="How do I pair a sensor?", stream=True) as stream:
        events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    completed = events[-1]
    assert completed.type == "response.completed"
    assert completed.response.output_text == text
    assert completed.response.usage


def test_a_response_out_of_tokens_is_incomplete(client: OpenAI) -> None:
    response = client.responses.create(model="gpt-4o", input="Tell me a story", max_output_tokens=16)
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"


def test_embeddings_bring_texts_on_one_subject_together(client: OpenAI) -> None:
    texts = ["How can I pair sensors?", "Pairing a sensor with the hub", "Invoices and billing"]
    first, near, far = (
        item.embedding for item in client.embeddings.create(model="text-embedding-3-small", input=texts).data
    )
    assert len(first) == 1536
    assert (
        sum(a * b for a, b in zip(first, near, strict=True)) > sum(a * b for a, b in zip(first, far, strict=True)) + 0.3
    )


def test_embeddings_are_the_same_in_either_encoding(client: OpenAI) -> None:
    def embed(**encoding: Any) -> list[float]:
        return client.embeddings.create(model="text-embedding-3-small", input="one hub", **encoding).data[0].embedding

    assert embed() == pytest.approx(embed(encoding_format="float"), abs=1e-6)
    assert len(embed(dimensions=8)) == 8


@pytest.mark.parametrize(
    ("choice", "content"),
    [
        ("required", "Hello"),
        ({"type": "function", "function": {"name": "get_weather"}}, "Hello"),
        ("auto", "Use get_weather to tell me the temperature in fahrenheit"),
    ],
)
def test_a_tool_is_called_when_forced_or_asked_for(client: OpenAI, choice: Any, content: str) -> None:
    completion = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": content}], tools=[WEATHER], tool_choice=choice
    )
    [call] = completion.choices[0].message.tool_calls or []
    assert completion.choices[0].finish_reason == "tool_calls"
    assert call.type == "function"
    assert call.function.name == "get_weather"
    unit = json.loads(call.function.arguments)["unit"]
    assert unit == "fahrenheit" if choice == "auto" else unit in ("celsius", "fahrenheit")


def test_a_tool_is_not_called_out_of_the_blue(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, tools=[WEATHER])
    assert completion.choices[0].message.tool_calls is None


def test_a_tool_call_can_be_streamed_and_comes_through_the_responses_api_too(client: OpenAI) -> None:
    with client.chat.completions.create(
        model="gpt-4o-mini", messages=QUESTION, tools=[WEATHER], tool_choice="required", stream=True
    ) as stream:
        deltas = [chunk.choices[0].delta for chunk in stream]
    calls = [call.function for delta in deltas for call in delta.tool_calls or [] if call.function]
    assert calls[0].name == "get_weather"
    assert set(json.loads("".join(call.arguments or "" for call in calls))) == {"unit"}

    flat: Any = {"type": "function", "strict": False, **WEATHER["function"]}
    response = client.responses.create(model="gpt-4o-mini", input="Hi", tools=[flat], tool_choice="required")
    assert [item.type for item in response.output] == ["function_call"]


def test_models_can_be_listed(client: OpenAI) -> None:
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_responses_carry_the_headers_of_the_real_api(client: OpenAI) -> None:
    headers = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=QUESTION).headers
    assert headers["x-request-id"].startswith("req_")
    assert int(headers["openai-processing-ms"]) >= 0
    assert headers["x-ratelimit-limit-requests"] == "10000"
    assert headers["x-ratelimit-remaining-requests"] == "9999"
    assert int(headers["x-ratelimit-remaining-tokens"]) < int(headers["x-ratelimit-limit-tokens"])
    assert headers["x-ratelimit-reset-requests"].endswith("ms")


# --- Determinism -----------------------------------------------------------------------------------------------------


def answers(seed: int, questions: list[str]) -> dict[str, str | None]:
    with start(seed) as address, connect(address) as client:
        control(address, errors=0.5)

        def ask(text: str) -> str | None:
            try:
                message: Any = [{"role": "user", "content": text}]
                completion = client.chat.completions.create(model="gpt-4o-mini", messages=message)
            except openai.InternalServerError:
                return None
            return completion.to_json(indent=None).replace(str(completion.created), "")

        return {text: ask(text) for text in questions}


def test_the_same_seed_gives_the_same_answers_and_errors_in_any_order() -> None:
    questions = [f"Question {number}" for number in range(12)]
    first = answers(7, questions)
    assert first == answers(7, questions[::-1])
    assert first != answers(8, questions)
    assert None in first.values()


# --- What a client may do wrong --------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused(address: str) -> None:
    with connect(address, key="sk-invalid-1234567890") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert caught.value.code == "invalid_api_key"
    assert "1234567890" not in str(caught.value)


def test_no_key_is_refused(address: str) -> None:
    status, body = post(address, "/v1/chat/completions", b"{}")
    assert status == 401
    assert body["error"]["type"] == "invalid_request_error"


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-17", messages=QUESTION)
    assert caught.value.code == "model_not_found"


def test_a_prompt_that_is_too_long_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="text-embedding-3-small", input="word " * 10_000)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", b"{"),
        ("chat/completions", b"\xff"),
        ("chat/completions", b"[]"),
        ("chat/completions", b"[" * 100_000),
        ("chat/completions", b'{"model": "gpt-4o"}'),
        ("chat/completions", b'{"model": 4, "messages": []}'),
        ("chat/completions", b'{"model": "gpt-4o", "messages": "hi"}'),
        ("chat/completions", b'{"model": "gpt-4o", "messages": [1]}'),
        ("chat/completions", b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "tools": 1}'),
        ("chat/completions", b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}'),
        ("chat/completions", b'{"model": "o4-mini", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}'),
        ("responses", b'{"model": "gpt-4o", "input": 7}'),
        ("embeddings", b'{"model": "text-embedding-3-small", "input": []}'),
        ("embeddings", b'{"model": "text-embedding-3-small", "input": [""]}'),
        ("embeddings", b'{"model": "text-embedding-3-small", "input": "x", "dimensions": 0}'),
    ],
)
def test_a_malformed_request_gets_a_real_error_body(address: str, path: str, body: bytes) -> None:
    status, answer = post(address, f"/v1/{path}", body, {"Authorization": "Bearer sk-test"})
    assert status == 400
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"


def test_odd_but_harmless_requests_are_answered(client: OpenAI) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]}]
    after_tool: Any = [*QUESTION, {"role": "assistant", "content": None}, {"role": "tool", "content": "21 degrees"}]
    only_system: Any = [{"role": "system", "content": ""}]
    for messages in (parts, after_tool, only_system):
        completion = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
        assert completion.choices[0].message.content
    assert client.embeddings.create(model="text-embedding-3-small", input=[[1, 2], [3]]).usage.prompt_tokens == 2
    assert client.embeddings.create(model="text-embedding-3-small", input="???").data[0].embedding[0] == 1


# --- Incidents -------------------------------------------------------------------------------------------------------


def test_rate_limits_say_when_to_come_back(client: OpenAI, address: str) -> None:
    control(address, rate_limit=1)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    headers = caught.value.response.headers
    assert caught.value.code == "rate_limit_exceeded"
    assert int(headers["retry-after"]) >= 1
    assert headers["x-ratelimit-remaining-requests"] == "0"


def test_an_exhausted_quota_is_not_worth_a_retry(client: OpenAI, address: str) -> None:
    control(address, quota=1)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert caught.value.code == "insufficient_quota"
    assert "retry-after" not in caught.value.response.headers


def test_errors_are_500_and_503(client: OpenAI, address: str) -> None:
    control(address, errors=1)
    seen = set()
    for number in range(20):
        with pytest.raises(openai.InternalServerError) as caught:
            client.responses.create(model="gpt-4o", input=f"Question {number}")
        seen.add(caught.value.status_code)
        assert caught.value.type == "server_error"
    assert seen == {500, 503}


def test_a_timeout_leaves_the_client_waiting(address: str) -> None:
    control(address, timeouts=1)
    with connect(address, timeout=0.1) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)


def test_a_cut_stream_breaks_in_the_middle(client: OpenAI, address: str) -> None:
    control(address, cut_streams=1)
    pieces: list[object] = []
    with (
        client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True) as stream,
        pytest.raises(openai.APIConnectionError),
    ):
        pieces.extend(stream)
    assert pieces
    with (
        client.responses.create(model="gpt-4o", input="Hi", stream=True) as events,
        pytest.raises(openai.APIConnectionError),
    ):
        pieces.extend(events)
    client.chat.completions.create(model="gpt-4o", messages=QUESTION)  # what is not streamed is not cut


def test_an_expensive_incident_costs_tokens_and_a_slow_one_time() -> None:
    prompt = chat_prompt({"model": "gpt-4o", "messages": QUESTION})

    def totals(incidents: Incidents) -> Any:
        """Output tokens, seconds to the first token and to the last, over a hundred requests."""
        requests = [generate(prompt, 0, incidents, 1.0, dice(str(number), "answer")) for number in range(100)]
        return (
            sum(request.usage.output for request in requests),
            sum(request.first_token_at for request in requests),
            sum(request.last_token_at for request in requests),
        )

    tokens, first, last = totals(Incidents())
    assert totals(Incidents(slow=3)) == (tokens, pytest.approx(3 * first), pytest.approx(3 * last))
    assert totals(Incidents(expensive=5)) == (
        pytest.approx(5 * tokens, rel=0.05),
        pytest.approx(first),
        pytest.approx(last, rel=0.05),
    )


def test_incidents_add_up_until_they_are_cleared(address: str) -> None:
    off = current(address)
    assert off == {
        "errors": 0,
        "rate_limit": 0,
        "quota": 0,
        "timeouts": 0,
        "cut_streams": 0,
        "filtered": 0,
        "slow": 1,
        "expensive": 1,
    }
    control(address, errors=0.6)
    control(address, slow=3)
    assert current(address) == {**off, "errors": 0.6, "slow": 3}
    control(address, errors=0)
    assert current(address) == {**off, "slow": 3}
    control(address, clear=True, expensive=5)
    assert current(address) == {**off, "expensive": 5}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"eror": 1}',
        b'{"errors": 1.1}',
        b'{"errors": -1}',
        b'{"errors": true}',
        b'{"errors": "0.5"}',
        b'{"errors": NaN}',
        b'{"slow": 0.5}',
        b'{"expensive": 1e999}',
        b'{"clear": false}',
        b'{"slow": 2, "errors": 7}',
    ],
)
def test_a_bad_change_is_explained_and_changes_nothing(address: str, body: bytes) -> None:
    control(address, errors=0.5)
    before = current(address)
    status, answer = post(address, "/control", body)
    assert status == 400
    assert "JSON" in answer["error"]["message"] or "cut_streams" in answer["error"]["message"]
    assert current(address) == before


# --- The process -----------------------------------------------------------------------------------------------------


def test_clients_that_leave_are_not_worth_a_word(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"model": "gpt-4o", "messages": QUESTION, "stream": True})
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    port = int(address.rpartition(":")[2])
    for part in (request[:40], request[:-10], request, "\0\r\n\r\n", "POST /v1 HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(part.encode())
            connection.recv(20) if part == request else None
    with connect(address) as client:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert capfd.readouterr() == ("", "")


def test_the_command_ends_cleanly_on_sigterm_and_says_when_its_port_is_taken() -> None:
    def command(port: int) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-m", "examples.provider", "--port", str(port)]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with command(0) as server:
        assert server.stdout
        port = int(server.stdout.readline().rpartition(":")[2])
        with command(port) as second:
            _, complaint = second.communicate(timeout=10)
            assert second.returncode == 1
            assert complaint == f"Fake provider cannot listen on 127.0.0.1:{port}: Address already in use\n"
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=10) == ("", "")
        assert server.returncode == 0


def test_the_content_filter_stops_an_answer_halfway(address: str, client: OpenAI) -> None:
    control(address, filtered=1)

    chat = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    response = client.responses.create(model="gpt-4o-mini", input="How do I pair a sensor?")

    assert chat.choices[0].finish_reason == "content_filter"
    assert chat.choices[0].message.content
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "content_filter"


def test_a_response_can_be_fetched_again_by_its_id(client: OpenAI) -> None:
    made = client.responses.create(model="gpt-4o-mini", input="How do I pair a sensor?")

    fetched = client.responses.retrieve(made.id)

    assert (fetched.id, fetched.output_text, fetched.usage) == (made.id, made.output_text, made.usage)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_unknown")
