"""The provider's HTTP side: who may ask, which endpoint answers, when bytes leave, when the connection breaks."""

from __future__ import annotations

import hashlib
import math
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from examples.http_server import JsonHandler, QuietServer, UnreadableBodyError, parse_json
from examples.provider import errors, prompts, wire
from examples.provider.behaviour import (
    Fate,
    Generation,
    decide_fate,
    dice,
    embedding_seconds,
    error_seconds,
    generate,
)
from examples.provider.errors import ApiError
from examples.provider.incidents import IncidentError, Incidents
from examples.provider.language import prefix_marks
from examples.provider.models import BY_NAME, MODELS, Model
from examples.provider.prompts import EmbeddingRequest, Prompt

_REMEMBERED = 20_000  # request bodies and prompt prefixes
_KEPT_RESPONSES = 100
_HANG_SECONDS = 600  # how long a request that times out is kept waiting
_BAD_KEY = "sk-invalid"

_READERS: dict[str, Callable[[prompts.Body], Prompt | EmbeddingRequest]] = {
    "/v1/chat/completions": prompts.chat_prompt,
    "/v1/responses": prompts.responses_prompt,
    "/v1/embeddings": prompts.embedding_request,
}
_BODIES = {"/v1/chat/completions": wire.chat_completion, "/v1/responses": wire.response}
_STREAMS = {"/v1/chat/completions": wire.chat_events, "/v1/responses": wire.response_events}


class Allowance:
    """What is left of a limit per minute, which fills up again as time passes."""

    def __init__(self, limit: int) -> None:
        """Start full."""
        self._limit = limit
        self._left = float(limit)
        self._at = time.monotonic()

    def take(self, amount: int) -> tuple[int, float]:
        """Use ``amount`` up; tells what is left, at least 0, and the seconds until it is full again."""
        now = time.monotonic()
        per_second = self._limit / 60
        self._left = max(0.0, min(self._limit, self._left + (now - self._at) * per_second) - amount)
        self._at = now
        return math.floor(self._left), (self._limit - self._left) / per_second


class ProviderServer(QuietServer):
    """The fake provider. ``latency_scale`` multiplies every latency; 0 answers at once."""

    def __init__(self, address: tuple[str, int], seed: int = 0, latency_scale: float = 1.0) -> None:
        """Bind to ``address``; port 0 takes any free one. Raises OSError if it cannot be had."""
        super().__init__(address, ProviderHandler)
        self.seed = seed
        self.latency_scale = latency_scale
        self._lock = threading.Lock()
        self._incidents = Incidents()
        self._times_seen: OrderedDict[str, int] = OrderedDict()
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()
        self._responses: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._allowances = {
            model.name: (Allowance(model.requests_per_minute), Allowance(model.tokens_per_minute)) for model in MODELS
        }

    @property
    def incidents(self) -> Incidents:
        """What is wrong at the moment."""
        return self._incidents

    def change_incidents(self, change: object) -> Incidents:
        """Switch incidents on or off. Raises IncidentError and changes nothing if ``change`` is not allowed."""
        with self._lock:
            self._incidents = self._incidents.changed(change)
            return self._incidents

    def identify(self, path: str, body: bytes) -> str:
        """A request id, 32 hex digits: the same for the n-th time the same body comes in under the same seed."""
        digest = hashlib.sha256(path.encode() + b"\n" + body).hexdigest()
        with self._lock:
            times = self._times_seen[digest] = self._times_seen.pop(digest, 0) + 1
            _forget_oldest(self._times_seen)
        return hashlib.sha256(f"{self.seed}/{digest}/{times}".encode()).hexdigest()[:32]

    def cached_tokens(self, prompt: Prompt) -> int:
        """How long a prefix of the prompt has been seen before; from now on all of it has."""
        longest = 0
        with self._lock:
            for tokens, digest in prefix_marks(f"{prompt.model.name}\n{prompt.text}"):
                if digest in self._prefixes:
                    longest = tokens
                self._prefixes[digest] = None
                self._prefixes.move_to_end(digest)
            _forget_oldest(self._prefixes)
        return longest

    def keep_response(self, body: dict[str, Any]) -> None:
        """Remember an answer of the Responses API, which may be fetched again by its id."""
        with self._lock:
            self._responses[body["id"]] = body
            _forget_oldest(self._responses, _KEPT_RESPONSES)

    def kept_response(self, response_id: str) -> dict[str, Any]:
        """An answer given before. Raises ApiError."""
        if response_id not in self._responses:
            raise errors.response_not_found(response_id)
        return self._responses[response_id]

    def rate_limit_headers(self, model: Model, tokens: int, *, exhausted: bool) -> dict[str, str]:
        """The x-ratelimit headers after a request of ``tokens`` tokens; ``exhausted`` is what a 429 shows."""
        requests_left, tokens_left = self._allowances[model.name]
        with self._lock:
            remaining_requests, reset_requests = requests_left.take(1)
            remaining_tokens, reset_tokens = tokens_left.take(tokens)
        return {
            "x-ratelimit-limit-requests": str(model.requests_per_minute),
            "x-ratelimit-limit-tokens": str(model.tokens_per_minute),
            "x-ratelimit-remaining-requests": "0" if exhausted else str(remaining_requests),
            "x-ratelimit-remaining-tokens": str(remaining_tokens),
            "x-ratelimit-reset-requests": _duration(60.0 if exhausted else reset_requests),
            "x-ratelimit-reset-tokens": _duration(reset_tokens),
        }


class ProviderHandler(JsonHandler):
    """One connection of a client."""

    server: ProviderServer

    def do_GET(self) -> None:  # noqa: N802 - named by the base class
        """Serve /health, /control, /v1/models and /v1/responses/{id}."""
        path = self._path
        if path == "/health":
            self.reply(200, {"status": "ok"})
        elif path == "/control":
            self.reply(200, self.server.incidents.as_dict())
        else:
            try:
                self._check_key()
                self.reply(200, self._kept(path))
            except ApiError as error:
                self.reply(error.status, error.body)

    def do_POST(self) -> None:  # noqa: N802 - named by the base class
        """Serve /control and what the provider sells."""
        arrival = time.monotonic()
        try:
            body = self.read_body()
        except UnreadableBodyError as error:
            return self.reply(400, {"error": {"message": str(error)}})
        if self._path == "/control":
            return self._control(body)
        return self._sell(body, arrival)

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _control(self, body: bytes) -> None:
        try:
            self.reply(200, self.server.change_incidents(parse_json(body)).as_dict())
        except (UnreadableBodyError, IncidentError) as error:
            self.reply(400, {"error": {"message": str(error)}})

    def _kept(self, path: str) -> dict[str, Any]:
        if path == "/v1/models":
            return wire.model_list()
        prefix, _, name = path.rpartition("/")
        if prefix == "/v1/responses":
            return self.server.kept_response(name)
        if prefix != "/v1/models":
            raise errors.unknown_url("GET", path)
        if name not in BY_NAME:
            raise errors.model_not_found(name)
        return wire.model_body(BY_NAME[name])

    def _sell(self, body: bytes, arrival: float) -> None:
        """Answer a paid request as its fate has it."""
        server = self.server
        request_id = server.identify(self._path, body)
        headers = {"x-request-id": f"req_{request_id}", "openai-version": "2020-10-01"}
        try:
            self._check_key()
            request = self._read(body)
        except ApiError as error:
            return self._refuse(error, headers, arrival)

        incidents = server.incidents  # one look, so that a change in between cannot mix two states
        model = request.model
        fate = decide_fate(incidents, model, server.latency_scale, dice(request_id, "fate"))
        limited = fate.error is not None and fate.error.status == 429
        headers |= server.rate_limit_headers(model, request.tokens, exhausted=limited)
        timing = dice(request_id, "timing")
        if fate.hang:
            return self._hang()
        if fate.error:
            _sleep_until(arrival + error_seconds(incidents, server.latency_scale, timing))
            return self._refuse(fate.error, headers, arrival)
        if isinstance(request, EmbeddingRequest):
            _sleep_until(arrival + embedding_seconds(request, incidents, server.latency_scale, timing))
            return self._answer(wire.embeddings(request), headers, arrival)

        cached = server.cached_tokens(request)
        writing = dice(request_id, "answer")
        generation = generate(request, cached, incidents, server.latency_scale, writing, filtered=fate.filtered)
        if request.stream:
            return self._stream(generation, request_id, fate, headers, arrival)
        _sleep_until(arrival + generation.last_token_at)
        answer = _BODIES[self._path](generation, request_id, int(time.time()))
        if self._path == "/v1/responses":
            server.keep_response(answer)
        return self._answer(answer, headers, arrival)

    def _check_key(self) -> None:
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise errors.no_key()
        if key.strip().startswith(_BAD_KEY):
            raise errors.wrong_key(key.strip())

    def _read(self, body: bytes) -> Prompt | EmbeddingRequest:
        reader = _READERS.get(self._path)
        if reader is None:
            raise errors.unknown_url("POST", self._path)
        try:
            value = parse_json(body)
        except UnreadableBodyError as error:
            raise errors.not_json() from error
        if not isinstance(value, dict):
            raise errors.not_json()
        return reader(value)

    def _answer(self, value: object, headers: dict[str, str], arrival: float) -> None:
        self.reply(200, value, headers | _processing_time(arrival))

    def _refuse(self, error: ApiError, headers: dict[str, str], arrival: float) -> None:
        if error.retry_after is not None:
            # The real API sends both: whole seconds for everyone, milliseconds for its own client.
            headers["retry-after"] = str(math.ceil(error.retry_after))
            headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
        self.reply(error.status, error.body, headers | _processing_time(arrival))

    def _hang(self) -> None:
        """Say nothing until the client gives up."""
        self.connection.settimeout(_HANG_SECONDS)
        with suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def _stream(
        self, generation: Generation, request_id: str, fate: Fate, headers: dict[str, str], arrival: float
    ) -> None:
        events = list(_STREAMS[self._path](generation, request_id, int(time.time())))
        if fate.cut_at is not None:  # at least one event leaves, never the last
            events = events[: max(1, math.floor(fate.cut_at * len(events)))]
        _sleep_until(arrival + events[0][0])  # headers leave with the first event, as in the real API
        self.send_response(200)
        stream_headers = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}
        for name, value in (stream_headers | headers | _processing_time(arrival)).items():
            self.send_header(name, value)
        self.end_headers()
        for data in self._on_time(events, arrival):
            self._write_chunk(data)
        if fate.cut_at is not None:
            return self._cut()
        if self._path == "/v1/chat/completions":
            self._write_chunk(wire.END_OF_CHAT_STREAM)
        return self._write_chunk(b"")  # the end of a chunked body

    def _on_time(self, events: list[tuple[float, dict[str, Any]]], arrival: float) -> Iterator[bytes]:
        for at, event in events:
            _sleep_until(arrival + at)
            yield wire.server_sent_event(event)

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _cut(self) -> None:
        """Break the connection in the middle of a chunked body."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _forget_oldest(memory: OrderedDict[Any, Any], most: int = _REMEMBERED) -> None:
    while len(memory) > most:
        memory.popitem(last=False)


def _processing_time(arrival: float) -> dict[str, str]:
    return {"openai-processing-ms": str(round((time.monotonic() - arrival) * 1000))}


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _duration(seconds: float) -> str:
    """Seconds as the x-ratelimit-reset headers write them: 6ms, 1.5s, 1m0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    return f"{int(seconds // 60)}m{int(seconds % 60)}s"
