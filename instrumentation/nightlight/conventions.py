"""Every name that Nightlight's parts share: span attributes, series, labels, values and alerts.

Nothing else spells these names. Hand-written configuration that must repeat one (collector/config.yaml,
the data sources) is compared with this module by tests/test_conventions.py. No logic lives here but naming,
and nothing is imported but the standard library, so every part may import it.

The ``gen_ai.*`` names follow the OpenTelemetry GenAI semantic conventions as emitted by
opentelemetry-instrumentation-genai-openai 1.3b0; the ``nightlight.*`` names are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# --- Span attributes: what the current GenAI conventions give us -----------------------------------------------------

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"  # seconds, streams only
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"  # part of the input tokens
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"  # part of the input tokens
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"  # part of the output tokens
REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
RESPONSE_SERVICE_TIER: Final = "openai.response.service_tier"  # the one that is billed
ERROR_TYPE: Final = "error.type"

LEAF_OPERATIONS: Final = ("chat", "text_completion", "generate_content", "embeddings")
"""The operations that are metered. Agent and workflow spans repeat the tokens of these, their children."""

# --- Span attributes: ours -------------------------------------------------------------------------------------------

FEATURE: Final = "nightlight.feature"
OUTCOME: Final = "nightlight.outcome"
ERROR_KIND: Final = "nightlight.error.kind"
COST_USD: Final = "nightlight.cost.usd"
COST_USD_INPUT: Final = "nightlight.cost.usd.input"
COST_USD_OUTPUT: Final = "nightlight.cost.usd.output"
COST_USD_CACHE_READ: Final = "nightlight.cost.usd.cache_read"
COST_USD_CACHE_WRITE: Final = "nightlight.cost.usd.cache_write"
UNPRICED: Final = "nightlight.unpriced"

UNATTRIBUTED: Final = "unattributed"
"""The feature of a call that names none."""

OUTCOMES: Final = ("success", "error", "cancelled", "refused", "filtered", "truncated")
ERROR_KINDS: Final = (
    "rate_limit",
    "quota",
    "timeout",
    "connection",
    "auth",
    "invalid_request",
    "context_length",
    "content_filter",
    "server",
    "stream_cut",
    "other",
)
UNPRICED_REASONS: Final = ("unknown_model", "no_usage", "unsupported")
PROMPT_SIZES: Final = ("<500", "500-1k", "1k-2k", "2k+", "unknown")  # input tokens

# --- Resource attributes promoted to labels --------------------------------------------------------------------------

SERVICE_NAME: Final = "service.name"
ENVIRONMENT: Final = "deployment.environment.name"

# --- Labels ----------------------------------------------------------------------------------------------------------

SERVICE_LABEL: Final = "service_name"
ENVIRONMENT_LABEL: Final = "deployment_environment_name"
PROVIDER_LABEL: Final = "provider"
MODEL_LABEL: Final = "model"  # the *requested* model: a failed call has no other
OPERATION_LABEL: Final = "operation"
FEATURE_LABEL: Final = "feature"
OUTCOME_LABEL: Final = "outcome"
ERROR_KIND_LABEL: Final = "error_kind"
PROMPT_SIZE_LABEL: Final = "prompt_size"
STREAMING_LABEL: Final = "streaming"
TOKEN_TYPE_LABEL: Final = "type"  # noqa: S105 - a kind of token, not a secret one
REASON_LABEL: Final = "reason"

RESOURCE_LABELS: Final = (SERVICE_LABEL, ENVIRONMENT_LABEL)
CALL_LABELS: Final = (PROVIDER_LABEL, MODEL_LABEL, OPERATION_LABEL, FEATURE_LABEL)

TOKEN_TYPES: Final = ("input", "output", "cache_read", "cache_write", "reasoning")

# --- Series ----------------------------------------------------------------------------------------------------------

_UNIT_SUFFIX = {"s": "_seconds"}  # annotation units such as {token} leave no suffix
_KIND_SUFFIX = {"counter": "_total", "histogram": "", "gauge": ""}


@dataclass(frozen=True)
class Metric:
    """A metric as the Collector derives it, and the Prometheus series that comes of it.

    ``kind`` is counter, histogram (exponential, so native in Prometheus) or gauge. ``labels`` are those beside
    RESOURCE_LABELS and CALL_LABELS, which every metric carries.
    """

    name: str
    unit: str
    kind: str
    note: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name in Prometheus, by the OTLP translation strategy UnderscoreEscapingWithSuffixes."""
        return self.name.replace(".", "_") + _UNIT_SUFFIX.get(self.unit, "") + _KIND_SUFFIX[self.kind]


REQUESTS: Final = Metric(
    "llm.requests", "{request}", "counter", "LLM calls by how they ended", (OUTCOME_LABEL, ERROR_KIND_LABEL)
)
REQUEST_DURATION: Final = Metric(
    "llm.request.duration",
    "s",
    "histogram",
    "Duration of LLM calls, with exemplars",
    (OUTCOME_LABEL, PROMPT_SIZE_LABEL, STREAMING_LABEL),
)
TIME_TO_FIRST_TOKEN: Final = Metric(
    "llm.time_to_first_token",
    "s",
    "histogram",
    "Time from the call to its first token, streams only",
    (PROMPT_SIZE_LABEL,),
)
TIME_PER_OUTPUT_TOKEN: Final = Metric(
    "llm.time_per_output_token",
    "s",
    "histogram",
    "Time per output token after the first, streams only",
    (PROMPT_SIZE_LABEL,),
)
TOKENS: Final = Metric(
    "llm.tokens",
    "{token}",
    "counter",
    "Tokens by type; cache_read and cache_write are parts of input, reasoning is a part of output",
    (TOKEN_TYPE_LABEL,),
)
COST: Final = Metric("llm.cost.usd", "{USD}", "counter", "Cost of LLM calls in US dollars", (OUTCOME_LABEL,))
UNPRICED_REQUESTS: Final = Metric(
    "llm.unpriced.requests", "{request}", "counter", "LLM calls whose cost is unknown, and why", (REASON_LABEL,)
)

UNPRICED_TOKENS: Final = Metric(
    "llm.unpriced.tokens",
    "{token}",
    "counter",
    "Input and output tokens whose cost is unknown, and why",
    (REASON_LABEL,),
)

METRICS: Final = (
    REQUESTS,
    REQUEST_DURATION,
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
    TOKENS,
    COST,
    UNPRICED_REQUESTS,
    UNPRICED_TOKENS,
)

# --- Alerts ----------------------------------------------------------------------------------------------------------

LATENCY_DOUBLED: Final = "LLMLatencyDoubled"
ERROR_RATE_HIGH: Final = "LLMErrorRateHigh"
SPEND_SPIKE: Final = "LLMSpendSpike"

SEVERITY_LABEL: Final = "severity"
SEVERITIES: Final = ("critical", "warning", "info")
LAYER_LABEL: Final = "layer"
LAYERS: Final = ("availability", "latency", "cost", "quality", "pipeline")
