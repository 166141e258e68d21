"""A small support assistant for Fernleaf, an invented garden controller: retrieve, generate, format.

Started as anyone would start an app with OpenTelemetry, here against the fake provider::

    export OPENAI_BASE_URL=http://127.0.0.1:8088/v1 OPENAI_API_KEY=sk-demo OTEL_SERVICE_NAME=assistant
    opentelemetry-instrument python app.py

Nightlight asks one thing of the code: ``with feature(...)``, which says what a call is for. The span around each
question is plain OpenTelemetry: it joins the calls of one question to one trace and gives log lines its id.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openai import OpenAI, OpenAIError, RateLimitError
from openai.types.chat import ChatCompletionToolParam
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from nightlight import feature

HERE = Path(__file__).parent
SMALL_MODEL = "gpt-4o-mini"
LARGE_MODEL = "gpt-4o"
EMBEDDING_MODEL = "text-embedding-3-small"
RETRIEVED_DOCUMENTS = 3
TIMEOUT_SECONDS = 20
MAX_RETRIES = 1
PATIENCE_SECONDS = 5  # with calls under way when told to stop: less than what a supervisor waits before it kills

ANSWER_INSTRUCTIONS = "You are the support assistant of Fernleaf. Answer from the documents only, in a few sentences."
SUMMARY_INSTRUCTIONS = "You write short, factual summaries of the Fernleaf handbook for support staff."
TRIAGE_INSTRUCTIONS = "You sort incoming support requests of Fernleaf customers."
TRIAGE_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "file_ticket",
        "description": "File a support request in the right queue.",
        "parameters": {
            "type": "object",
            "properties": {
                "queue": {
                    "type": "string",
                    "enum": ["charge and plan", "hub and Wi-Fi", "sensor and valve", "account and member"],
                },
                "urgency": {"type": "integer", "minimum": 1, "maximum": 5, "description": "5 is the most urgent."},
            },
            "required": ["queue", "urgency"],
        },
    },
}

log = logging.getLogger("assistant")
tracer = trace.get_tracer("assistant")


@dataclass(frozen=True)
class Document:
    """A page of the handbook."""

    title: str
    text: str


@dataclass(frozen=True)
class Question:
    """What somebody wants, and the feature that serves it: answers, summaries or triage."""

    feature: str
    text: str


class Library:
    """The documents and their embeddings, which are fetched when first needed."""

    def __init__(self, documents: Sequence[Document]) -> None:
        """Take the documents; nothing is sent yet."""
        self.documents = documents
        self._lock = threading.Lock()
        self._vectors: list[list[float]] = []

    def vectors(self, client: OpenAI) -> list[list[float]]:
        """One vector per document. After a failure the next question tries again."""
        with self._lock:
            if not self._vectors:
                self._vectors = embed(client, [f"{document.title}\n{document.text}" for document in self.documents])
            return self._vectors


# --- The stages ------------------------------------------------------------------------------------------------------


def retrieve(client: OpenAI, library: Library, question: str, count: int = RETRIEVED_DOCUMENTS) -> list[Document]:
    """The ``count`` documents nearest to the question, best first."""
    vectors = library.vectors(client)
    [wanted] = embed(client, [question])
    order = sorted(range(len(vectors)), key=lambda index: -cosine_similarity(vectors[index], wanted))
    return [library.documents[index] for index in order[:count]]


def generate_answer(client: OpenAI, question: str, documents: Iterable[Document]) -> str:
    """An answer that rests on the documents; streamed, as a chat window would."""
    with client.chat.completions.create(
        model=SMALL_MODEL,
        messages=[
            {"role": "system", "content": ANSWER_INSTRUCTIONS},
            {"role": "user", "content": f"{as_context(documents)}\n\nQuestion: {question}"},
        ],
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def generate_summary(client: OpenAI, topic: str, documents: Iterable[Document]) -> str:
    """A summary of what the documents say on a topic. The documents come first: an equal prefix is cached."""
    completion = client.chat.completions.create(
        model=LARGE_MODEL,
        messages=[
            {"role": "system", "content": SUMMARY_INSTRUCTIONS},
            {"role": "user", "content": f"{as_context(documents)}\n\nSummarise: {topic}"},
        ],
    )
    return completion.choices[0].message.content or ""


def generate_ticket(client: OpenAI, request: str) -> dict[str, object]:
    """The queue and the urgency, 1 to 5, of a support request."""
    completion = client.chat.completions.create(
        model=SMALL_MODEL,
        messages=[{"role": "system", "content": TRIAGE_INSTRUCTIONS}, {"role": "user", "content": request}],
        tools=[TRIAGE_TOOL],
        tool_choice={"type": "function", "function": {"name": "file_ticket"}},
    )
    for call in completion.choices[0].message.tool_calls or ():
        if call.type == "function":
            return dict(json.loads(call.function.arguments))
    raise ValueError("The model did not file the ticket.")


def format_answer(text: str, sources: Iterable[Document]) -> str:
    """The answer as a person reads it, with its sources below."""
    titles = ", ".join(document.title for document in sources)
    return f"{text.strip()}\n\nSources: {titles or 'none'}"


def format_ticket(ticket: dict[str, object]) -> str:
    """The ticket in one line."""
    return f"Filed under {ticket.get('queue', 'unknown')}, urgency {ticket.get('urgency', 'unknown')}."


# --- The features ----------------------------------------------------------------------------------------------------


def answer(client: OpenAI, library: Library, question: str) -> str:
    """Answer a customer's question from the three nearest documents."""
    documents = retrieve(client, library, question)
    return format_answer(generate_answer(client, question, documents), documents)


def summarise(client: OpenAI, library: Library, topic: str) -> str:
    """Summarise the whole handbook on a topic."""
    return format_answer(generate_summary(client, topic, library.documents), library.documents)


def triage(client: OpenAI, library: Library, request: str) -> str:  # noqa: ARG001 - features look alike
    """File a support request in its queue."""
    return format_ticket(generate_ticket(client, request))


FEATURES: dict[str, Callable[[OpenAI, Library, str], str]] = {
    "answers": answer,
    "summaries": summarise,
    "triage": triage,
}


def serve(client: OpenAI, library: Library, number: int, question: Question) -> str | None:
    """Serve one question; None if that failed, which is logged and hurts no other question.

    Runs in a worker thread, and the feature is entered here: context does not cross threads by itself.
    """
    with feature(question.feature), tracer.start_as_current_span("answer question") as span:
        started = time.monotonic()
        try:
            text = FEATURES[question.feature](client, library, question.text)
        except Exception as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            _log_failure(number, question, error)
            return None
        # What people ask and are told stays out of the log; the trace id leads to the rest.
        log.info("question %d (%s) answered in %.2f s", number, question.feature, time.monotonic() - started)
        return text


def _log_failure(number: int, question: Question, error: Exception) -> None:
    if isinstance(error, OpenAIError):
        level = logging.WARNING if isinstance(error, RateLimitError) else logging.ERROR
        log.log(level, "question %d (%s) failed: %s: %s", number, question.feature, type(error).__name__, error)
    else:  # ours to repair: with the traceback
        log.error("question %d (%s) failed", number, question.feature, exc_info=error)


# --- Running ---------------------------------------------------------------------------------------------------------


class Tally:
    """How many questions were asked, answered and failed."""

    def __init__(self) -> None:
        """Start at none."""
        self._lock = threading.Lock()
        self.asked = self.answered = self.failed = 0

    def add(self, *, answered: bool) -> None:
        """Count how a question ended; safe from any thread."""
        with self._lock:
            self.answered += answered
            self.failed += not answered

    def __str__(self) -> str:
        """One line for people."""
        unfinished = self.asked - self.answered - self.failed
        left = f", {unfinished} left unfinished" if unfinished else ""
        return f"Asked {self.asked} questions: {self.answered} answered, {self.failed} failed{left}."


def run(
    ask: Callable[[int, Question], str | None],
    questions: Iterator[Question],
    *,
    rate: float,
    concurrency: int,
    seconds: float,
    stop: threading.Event,
    patience: float = PATIENCE_SECONDS,
) -> Tally:
    """Ask ``rate`` questions per second until they, the ``seconds`` or our patience (``stop``) end.

    While ``concurrency`` questions are under way no further one is asked: a slow provider gets fewer questions, as
    a slow shop gets fewer customers, and no backlog grows. Once stopped, questions under way get ``patience`` seconds.
    """
    tally, free, end = Tally(), threading.Semaphore(concurrency), time.monotonic() + seconds
    numbered = enumerate(questions, start=1)

    def work(number: int, question: Question) -> None:
        try:
            tally.add(answered=ask(number, question) is not None)
        finally:
            free.release()

    while not stop.is_set() and time.monotonic() < end:
        if free.acquire(blocking=False):
            upcoming = next(numbered, None)
            if upcoming is None:
                free.release()
                break
            tally.asked += 1
            # A daemon and not a pool's worker: those are waited for at exit, and a provider may hang for a minute.
            threading.Thread(target=work, args=upcoming, daemon=True).start()
        stop.wait(1 / rate)
    _wait_for_all(free, concurrency, stop, patience)
    return tally


def _wait_for_all(free: threading.Semaphore, concurrency: int, stop: threading.Event, patience: float) -> None:
    """Wait until all that was under way has ended; not longer than ``patience`` seconds after ``stop``."""
    ended = 0
    while ended < concurrency and not stop.is_set():
        ended += free.acquire(timeout=0.1)
    deadline = time.monotonic() + patience
    while ended < concurrency and free.acquire(timeout=max(0.0, deadline - time.monotonic())):
        ended += 1


def load_documents(folder: Path) -> tuple[Document, ...]:
    """Every ``*.md`` file in order of name; the first line is the title."""
    texts = (path.read_text(encoding="utf-8").partition("\n") for path in sorted(folder.glob("*.md")))
    return tuple(Document(title.lstrip("# "), text.strip()) for title, _, text in texts)


def load_questions(path: Path) -> tuple[Question, ...]:
    """The lines "feature: text" of a file, without empty lines and comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    parts = (line.partition(": ") for line in lines if line and not line.startswith("#"))
    return tuple(Question(name, text) for name, _, text in parts)


def embed(client: OpenAI, texts: Sequence[str]) -> list[list[float]]:
    """One vector per text."""
    return [item.embedding for item in client.embeddings.create(model=EMBEDDING_MODEL, input=list(texts)).data]


def cosine_similarity(left: Sequence[float], right: Sequence[float]) -> float:
    """From -1 to 1; 0 if either has no length."""
    length = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / length if length else 0.0


def as_context(documents: Iterable[Document]) -> str:
    """Documents as a prompt shows them."""
    return "\n\n".join(f"# {document.title}\n{document.text}" for document in documents)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, ask the questions, sum up. The exit code is 1 if there is no client or no answer."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line per HTTP request says nothing the spans do not
    library = Library(load_documents(HERE / "documents"))
    try:
        client = OpenAI(max_retries=MAX_RETRIES, timeout=TIMEOUT_SECONDS)
    except OpenAIError as error:  # no OPENAI_API_KEY
        print(error, file=sys.stderr)
        return 1
    with client:
        if options.ask:
            text = serve(client, library, 1, Question("answers", options.ask))
            print(text or "There is no answer.")
            return 0 if text else 1
        tally = run(
            lambda number, question: serve(client, library, number, question),
            itertools.islice(itertools.cycle(load_questions(HERE / "questions.txt")), options.questions),
            rate=options.rate,
            concurrency=options.concurrency,
            seconds=options.seconds,
            stop=_stop_on_signals(),
        )
    print(tally, flush=True)
    return 0


def _stop_on_signals() -> threading.Event:
    """An event that the first Ctrl-C or SIGTERM sets; the second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:  # noqa: ARG001 - the shape signal asks for
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Ask the support assistant of Fernleaf, once or for as long as you like."
    )
    parser.add_argument("--ask", metavar="QUESTION", help="answer one question and end")
    parser.add_argument("--rate", type=_positive, default=2.0, help="questions per second (default %(default)s)")
    parser.add_argument("--questions", type=_count, help="end after so many questions (default: never)")
    parser.add_argument(
        "--seconds", type=_positive, default=math.inf, help="end after so many seconds (default: never)"
    )
    parser.add_argument("--concurrency", type=_count, default=4, help="questions at a time (default %(default)s)")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
