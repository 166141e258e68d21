"""Every name that Nightlight's parts share: span attributes, series, labels, values and alerts.

Nothing else spells these names. Hand-written configuration that must repeat one (collector/config.yaml,
the data sources) is compared with this module by tests/test_conventions.py. No logic lives here but naming,
and nothing is imported but the standard library, so every part may import it.

The ``gen_ai.*`` names follow the OpenTelemetry GenAI semantic conventions as emitted by
opentelemetry-instrumentation-genai-openai 1.3b0; the ``nightlight.*`` names are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
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
ERROR_MESSAGE: Final = "error.message"
ERROR_CODE: Final = "error.code"
HTTP_STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"

LEAF_OPERATIONS: Final = ("chat", "text_completion", "generate_content", "embeddings")
"""The operations that are metered. Agent and workflow spans repeat the tokens of these, their children."""

# --- What other and older emitters say instead -----------------------------------------------------------------------

OLDER_NAMES: Final[Mapping[str, str]] = {
    # conventions before 1.37, Traceloop, OpenLIT, LiteLLM
    "gen_ai.system": PROVIDER_NAME,
    "gen_ai.usage.prompt_tokens": INPUT_TOKENS,
    "gen_ai.usage.completion_tokens": OUTPUT_TOKENS,
    "gen_ai.usage.cache_read_input_tokens": CACHE_READ_TOKENS,
    "gen_ai.usage.cache_creation_input_tokens": CACHE_WRITE_TOKENS,
    "gen_ai.usage.cache_creation.input_tokens": CACHE_WRITE_TOKENS,
    "gen_ai.usage.reasoning_tokens": REASONING_TOKENS,
    "gen_ai.is_streaming": REQUEST_STREAM,
    "gen_ai.openai.api_base": SERVER_ADDRESS,
    "llm.request.type": OPERATION_NAME,
    "llm.is_streaming": REQUEST_STREAM,
    # OpenInference
    "openinference.span.kind": OPERATION_NAME,
    "llm.provider": PROVIDER_NAME,
    "llm.system": PROVIDER_NAME,
    "llm.invocation_parameters": REQUEST_MODEL,
    "embedding.invocation_parameters": REQUEST_MODEL,
    "llm.model_name": RESPONSE_MODEL,
    "embedding.model_name": RESPONSE_MODEL,
    "llm.finish_reason": FINISH_REASONS,
    "output.value": FINISH_REASONS,
    "llm.token_count.prompt": INPUT_TOKENS,
    "llm.token_count.completion": OUTPUT_TOKENS,
    "llm.token_count.prompt_details.cache_read": CACHE_READ_TOKENS,
    "llm.token_count.prompt_details.cache_write": CACHE_WRITE_TOKENS,
    "llm.token_count.completion_details.reasoning": REASONING_TOKENS,
    # events and resources
    "exception.type": ERROR_TYPE,
    "exception.message": ERROR_MESSAGE,
    "deployment.environment": "deployment.environment.name",
}
"""Attribute that the Collector reads -> the current one that it fills from it. The original stays on the span."""

OLDER_OPERATIONS: Final[Mapping[str, str]] = {
    "chat": "chat",
    "acompletion": "chat",
    "responses": "chat",
    "aresponses": "chat",
    "anthropic_messages": "chat",
    "LLM": "chat",
    "completion": "text_completion",
    "text_completion": "text_completion",
    "atext_completion": "text_completion",
    "embedding": "embeddings",
    "embeddings": "embeddings",
    "aembedding": "embeddings",
    "EMBEDDING": "embeddings",
}
"""What OLDER_NAMES of the operation say -> the operation."""

OLDER_PROVIDERS: Final[Mapping[str, str]] = {
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "fireworks_ai": "fireworks",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "together_ai": "together",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Former and other emitters' names of providers, in lower case -> the current name."""

PROVIDERS_BY_HOST: Final[Mapping[str, str]] = {
    "openrouter.ai": "openrouter",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.x.ai": "x_ai",
    "api.together.xyz": "together",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
}
"""Who answers at an address that speaks OpenAI's protocol. Azure has a host per customer: see the Collector."""

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
