"""The example assistant: its stages against the fake provider, and what it does when the provider fails."""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from openai import OpenAI

from examples.assistant import app
from examples.http_server import in_background
from examples.provider.server import ProviderServer


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    server = ProviderServer(("127.0.0.1", 0), seed=1, latency_scale=0.001)
    with in_background(server):
        yield server


@pytest.fixture
def client(provider: ProviderServer) -> Iterator[OpenAI]:
    url = f"http://127.0.0.1:{provider.server_address[1]}/v1"
    with OpenAI(base_url=url, api_key="sk-test", max_retries=0, timeout=5) as client:
        yield client


@pytest.fixture
def library() -> app.Library:
    return app.Library(app.load_documents(app.HERE / "documents"))


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How do I pair a moisture sensor with the hub?", "Pairing sensors"),
        ("What does a red ring on the hub mean?", "Solving Wi-Fi problems"),
        ("Why does the ring turn purple at night?", "Firmware updates"),
        ("How do I export my data as CSV files?", "Data export and privacy"),
        ("When do I get a frost alert?", "Alerts and quiet hours"),
    ],
)
def test_retrieval_finds_the_right_document(client: OpenAI, library: app.Library, question: str, title: str) -> None:
    documents = app.retrieve(client, library, question)
    assert documents[0].title == title
    assert len(documents) == 3


def test_every_feature_answers(client: OpenAI, library: app.Library) -> None:
    def serve(feature: str, text: str) -> str:
        return app.serve(client, library, 1, app.Question(feature, text)) or ""

    answer = serve("answers", "How do I pair a moisture sensor with the hub?")
    assert "A moisture sensor pairs with the hub by radio" in answer
    assert answer.splitlines()[-1].startswith("Sources: Pairing sensors, ")
    assert "Plans and billing" in serve("summaries", "the plans and what they cost")
    ticket = serve("triage", "I was charged twice for my plan")
    assert re.fullmatch(r"Filed under charge and plan, urgency [1-5]\.", ticket)


def test_an_answer_names_its_sources() -> None:
    assert app.format_answer(" Yes. ", [app.Document("Refunds", ""), app.Document("Plans", "")]) == (
        "Yes.\n\nSources: Refunds, Plans"
    )
    assert app.format_answer("Yes.", []) == "Yes.\n\nSources: none"


def test_a_failed_question_is_logged_and_the_next_one_is_answered(
    provider: ProviderServer, client: OpenAI, library: app.Library, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="assistant")
    question = app.Question("answers", "How do I pair a sensor?")
    incidents = ({"errors": 1}, {"clear": True, "rate_limit": 1}, {"clear": True, "cut_streams": 1}, {"clear": True})
    answers = []
    for number, incident in enumerate(incidents, start=1):
        provider.change_incidents(incident)
        answers.append(app.serve(client, library, number, question))
    assert [answer is not None for answer in answers] == [False, False, False, True]
    records = [record for record in caplog.records if record.name == "assistant"]
    assert [record.levelname for record in records] == ["ERROR", "WARNING", "ERROR", "INFO"]
    assert records[0].message.startswith("question 1 (answers) failed: InternalServerError: Error code: 50")
    assert all(record.exc_info is None for record in records)


def test_a_bug_is_logged_with_its_traceback_and_survived(
    client: OpenAI, library: app.Library, caplog: pytest.LogCaptureFixture
) -> None:
    assert app.serve(client, library, 1, app.Question("poetry", "Roses are red")) is None
    assert caplog.records[-1].exc_info


def test_questions_come_in_the_order_of_the_file_each_with_a_feature_that_exists() -> None:
    questions = app.load_questions(app.HERE / "questions.txt")
    assert len(questions) >= 20
    assert questions[0] == app.Question("answers", "How do I pair a moisture sensor with the hub?")
    assert {question.feature for question in questions} == set(app.FEATURES)


def run(questions: int, *, stop: threading.Event, asked: list[int], seconds: float = 10) -> app.Tally:
    def ask(number: int, question: app.Question) -> str | None:
        asked.append(number)
        return None if number == 2 else "fine"

    supply = itertools.repeat(app.Question("answers", "?"), questions)
    return app.run(ask, supply, rate=1000, concurrency=2, seconds=seconds, stop=stop)


def test_a_run_sums_up_what_was_answered_and_what_failed() -> None:
    asked: list[int] = []
    assert str(run(5, stop=threading.Event(), asked=asked)) == "Asked 5 questions: 4 answered, 1 failed."
    assert sorted(asked) == [1, 2, 3, 4, 5]


def test_a_run_ends_when_told_and_when_its_time_is_up() -> None:
    told = threading.Event()
    told.set()
    asked: list[int] = []
    run(5, stop=told, asked=asked)
    assert asked == []
    run(10**9, stop=threading.Event(), asked=asked, seconds=0.05)
    assert 1 <= len(asked) < 200


def test_a_question_that_hangs_does_not_keep_a_run_that_was_told_to_stop() -> None:
    stop, release = threading.Event(), threading.Event()

    def hang(number: int, question: app.Question) -> str | None:
        stop.set()
        release.wait(10)
        return "late"

    supply = itertools.repeat(app.Question("answers", "?"))
    tally = app.run(hang, supply, rate=1000, concurrency=1, seconds=10, stop=stop, patience=0.01)
    release.set()
    assert str(tally) == "Asked 1 questions: 0 answered, 0 failed, 1 left unfinished."


def test_the_command_runs_until_sigterm_and_sums_up(provider: ProviderServer) -> None:
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{provider.server_address[1]}/v1",
        "OPENAI_API_KEY": "sk-test",
    }
    command = [sys.executable, app.__file__, "--rate", "50"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        first_line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert " answered in " in first_line
    assert process.returncode == 0
    assert re.fullmatch(r"Asked \d+ questions: \d+ answered, 0 failed\.\n", out)


def test_without_a_key_the_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert app.main(["--ask", "Why?"]) == 1
    assert "OPENAI_API_KEY" in capsys.readouterr().err
