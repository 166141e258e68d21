"""What runs inside a user's process when it starts under ``opentelemetry-instrument``."""

from __future__ import annotations

import logging

_log = logging.getLogger("nightlight")


def pre_instrument() -> None:
    """Add Nightlight's span processor to the configured SDK.

    OpenTelemetry calls this after it has set the providers and before any instrumentor loads. An error here would
    keep every instrumentor from loading, so this is the one place that is guarded: the app runs on, with a warning.
    """
    try:
        _add_span_processor()
    except Exception:
        _log.warning("Nightlight could not attach to OpenTelemetry: spans will carry no feature.", exc_info=True)


def _add_span_processor() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from nightlight.attribution import FeatureSpanProcessor

    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):  # anything else records no spans: nothing to add
        provider.add_span_processor(FeatureSpanProcessor())
