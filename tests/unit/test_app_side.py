"""What is installed into a user's app: attribution, the hook, and how little it drags in."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nightlight import conventions as names
from nightlight import feature, hook
from nightlight.attribution import FeatureSpanProcessor
from stack.settings import REPOSITORY

# Who may import whom; the runtime never imports a generator, and the app side nothing of ours.
IMPORTS = {
    "instrumentation/nightlight/conventions.py": set(),
    "instrumentation/nightlight/attribution.py": {"nightlight"},
    "instrumentation/nightlight/hook.py": {"nightlight"},
    "stack": {"stack"},
    "collector": {"collector"},
    "alert_rules": {"alert_rules", "nightlight"},
    "dashboards": {"dashboards", "alert_rules", "nightlight"},
    "examples/provider": {"examples"},
    "examples/receiver": {"examples"},
    "examples/assistant": {"nightlight"},
}
OURS = {"nightlight", "stack", "collector", "alert_rules", "dashboards", "examples", "tests", "generate"}


@pytest.fixture
def spans() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """A tracer provider of the test's own, with our processor, and what it has exported."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(FeatureSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


def test_every_span_inside_carries_the_innermost_feature(
    spans: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    provider, exporter = spans
    tracer = provider.get_tracer("test")

    with feature("answers"), tracer.start_as_current_span("outer"):
        tracer.start_span("middle").end()
        with feature("summaries"), tracer.start_as_current_span("inner"):
            pass
    with tracer.start_as_current_span("outside"):
        pass

    found = {span.name: (span.attributes or {}).get(names.FEATURE) for span in exporter.get_finished_spans()}
    assert found == {"outer": "answers", "middle": "answers", "inner": "summaries", "outside": None}


def test_feature_is_a_decorator_too_and_lets_errors_through(
    spans: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    provider, exporter = spans

    @feature("triage")
    def fail() -> None:
        with provider.get_tracer("test").start_as_current_span("call"):
            raise ValueError("the app's own")

    with pytest.raises(ValueError, match="the app's own"):
        fail()
    assert (exporter.get_finished_spans()[0].attributes or {})[names.FEATURE] == "triage"


def test_the_hook_never_raises_into_the_app(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("a new SDK without add_span_processor")

    monkeypatch.setattr(hook, "_add_span_processor", broken)

    hook.pre_instrument()

    assert "spans will carry no feature" in caplog.text


def test_the_app_side_loads_neither_the_command_nor_the_servers() -> None:
    code = "import sys, nightlight; print(sorted(m for m in sys.modules if m.startswith(('stack', 'nightlight.cli'))))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_the_package_without_the_clone_says_what_the_command_needs() -> None:
    code = "import sys; sys.modules['stack.errors'] = None; from nightlight.cli import main; sys.exit(main(['up']))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert "from a clone of the Nightlight repository" in result.stderr


@pytest.mark.parametrize("place", IMPORTS)
def test_imports_run_one_way(place: str) -> None:
    path = REPOSITORY / place
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        imported = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
        assert imported & OURS <= IMPORTS[place], file
