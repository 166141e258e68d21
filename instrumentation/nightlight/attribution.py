"""Which product feature an LLM call serves, carried from the caller to every span that starts inside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from nightlight import conventions

# A context key of our own and not baggage: baggage would be sent to the LLM provider in a request header.
_FEATURE_KEY = otel_context.create_key("nightlight-feature")


@contextmanager
def feature(name: str) -> Iterator[None]:
    """Attribute every span started inside to the product feature ``name``; also usable as a decorator.

    ``name`` should come from a small fixed set ("answers", "summaries"): it becomes a metric label.
    Without a configured SDK this does nothing. The innermost feature wins.
    """
    token = otel_context.attach(otel_context.set_value(_FEATURE_KEY, str(name)))
    try:
        yield
    finally:
        otel_context.detach(token)


class FeatureSpanProcessor(SpanProcessor):
    """Copies the feature in the current context onto every span as it starts."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Set ``nightlight.feature`` unless no feature is active. Never raises."""
        name = otel_context.get_value(_FEATURE_KEY, parent_context)
        if name is not None:
            span.set_attribute(conventions.FEATURE, str(name))
