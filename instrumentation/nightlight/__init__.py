"""Nightlight's app side: one call that says which product feature an LLM call serves.

Everything else works with no code change, under ``opentelemetry-instrument``.
"""

from nightlight.attribution import feature

__all__ = ["feature"]
