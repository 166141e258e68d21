"""The error responses, with the bodies and statuses of the real API."""

from __future__ import annotations

from examples.provider.models import Model


class ApiError(Exception):
    """An error response. ``retry_after`` is in seconds, given only where the real API sends the header."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Take the fields of the body; ``kind`` is its ``type``."""
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def not_json() -> ApiError:
    """The body does not parse."""
    return ApiError(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
        "figuring out how to fix this, please contact us through our help center at help.openai.com.)",
    )


def missing(param: str) -> ApiError:
    """A required parameter is absent."""
    return ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid_type(param: str, expected: str) -> ApiError:
    """A parameter has the wrong type; ``expected`` reads "a string"."""
    return ApiError(
        400,
        f"Invalid type for '{param}': expected {expected}, but got something else.",
        param=param,
        code="invalid_type",
    )


def unsupported_parameter(param: str, instead: str) -> ApiError:
    """Reasoning models refuse the older name of a parameter."""
    return ApiError(
        400,
        f"Unsupported parameter: '{param}' is not supported with this model. Use '{instead}' instead.",
        param=param,
        code="unsupported_parameter",
    )


def context_length_exceeded(model: Model, tokens: int, param: str) -> ApiError:
    """The prompt is longer than the model reads."""
    return ApiError(
        400,
        f"This model's maximum context length is {model.context_tokens} tokens. However, your messages resulted in "
        f"{tokens} tokens. Please reduce the length of the messages.",
        param=param,
        code="context_length_exceeded",
    )


def no_key() -> ApiError:
    """No Authorization header."""
    return ApiError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
        "https://platform.openai.com/account/api-keys.",
    )


def wrong_key(key: str) -> ApiError:
    """A key that is not accepted; the message shows its first characters only."""
    return ApiError(
        401,
        f"Incorrect API key provided: {key[:8]}***. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def model_not_found(name: str) -> ApiError:
    """A model nobody offers."""
    return ApiError(404, f"The model `{name}` does not exist or you do not have access to it.", code="model_not_found")


def response_not_found(response_id: str) -> ApiError:
    """No answer is kept under this id."""
    return ApiError(404, f"Response with id '{response_id}' not found.")


def unknown_url(method: str, path: str) -> ApiError:
    """A path nobody serves."""
    return ApiError(404, f"Invalid URL ({method} {path})")


def rate_limited(model: Model, retry_after: float) -> ApiError:
    """Too many requests; worth a retry after ``retry_after`` seconds."""
    limit = model.requests_per_minute
    return ApiError(
        429,
        f"Rate limit reached for {model.name} in organization org-nightlight on requests per min (RPM): Limit {limit}, "
        f"Used {limit}, Requested 1. Please try again in {round(retry_after * 1000)}ms. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        "requests",
        code="rate_limit_exceeded",
        retry_after=retry_after,
    )


def quota_exceeded() -> ApiError:
    """The money has run out; no retry will help."""
    return ApiError(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        code="insufficient_quota",
    )


def server_error() -> ApiError:
    """The provider broke."""
    return ApiError(
        500,
        "The server had an error while processing your request. Sorry about that! You can retry your request, or "
        "contact us through our help center at help.openai.com if the error persists.",
        "server_error",
    )


def overloaded() -> ApiError:
    """The provider is too busy."""
    return ApiError(503, "The engine is currently overloaded, please try again later.", "server_error")
