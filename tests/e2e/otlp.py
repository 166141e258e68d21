"""OTLP/HTTP in JSON, as any language's SDK would send it: small payloads for tests."""

from __future__ import annotations

import time
import uuid
from typing import Any

from stack import web

NANOSECONDS = 1_000_000_000


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """OTLP's list of key and typed value."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}


def call(service: str = "tests", *, trace: str | None = None, error: str | None = None, **more: Any) -> dict[str, Any]:
    """A trace with one chat span of a second; keyword names with ``__`` for dots add or (None) remove attributes."""
    end = time.time_ns()
    values: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    values.update({key.replace("__", "."): value for key, value in more.items()})
    span = {
        "traceId": trace or uuid.uuid4().hex,
        "spanId": uuid.uuid4().hex[:16],
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(end - NANOSECONDS),
        "endTimeUnixNano": str(end),
        "attributes": attributes({key: value for key, value in values.items() if value is not None}),
        "status": {"code": 2, "message": error} if error else {},
    }
    return traces(service, [span])


def traces(service: str, spans: list[dict[str, Any]]) -> dict[str, Any]:
    """A trace payload."""
    return {"resourceSpans": [{"resource": _resource(service), "scopeSpans": [{"spans": spans}]}]}


def log(service: str, text: str, trace: str, severity: str = "INFO") -> dict[str, Any]:
    """A log payload with one line."""
    record = {
        "timeUnixNano": str(time.time_ns()),
        "severityText": severity,
        "body": {"stringValue": text},
        "traceId": trace,
        "spanId": uuid.uuid4().hex[:16],
    }
    return {"resourceLogs": [{"resource": _resource(service), "scopeLogs": [{"logRecords": [record]}]}]}


def counter(service: str, name: str, value: int) -> dict[str, Any]:
    """A metric payload with one cumulative counter."""
    now = time.time_ns()
    point = {"startTimeUnixNano": str(now - NANOSECONDS), "timeUnixNano": str(now), "asInt": str(value)}
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}
    metric = {"name": name, "sum": total}
    return {"resourceMetrics": [{"resource": _resource(service), "scopeMetrics": [{"metrics": [metric]}]}]}


def send(base: str, signal: str, payload: dict[str, Any]) -> int:
    """Send to ``/v1/{signal}`` and return the status: 0 when nothing answered."""
    return web.send_json(f"{base}/v1/{signal}", payload)[0]


def _resource(service: str) -> dict[str, Any]:
    return {"attributes": attributes({"service.name": service, "deployment.environment.name": "test"})}
