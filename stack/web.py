"""HTTP to servers on this machine, past any proxy that the environment names."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float = 5.0) -> tuple[int, str]:
    """Return status and body; status 0 when nothing answered within ``timeout`` seconds."""
    return _open(urllib.request.Request(url), timeout)


def get_json(url: str, timeout: float = 30.0) -> Any:
    """Return the decoded body. Raises OSError when the answer is missing, not 200, or not JSON."""
    status, body = get(url, timeout)
    if status != 200:
        raise OSError(f"{url} answered {status or 'nothing'}: {body[:200]}")
    try:
        return json.loads(body)
    except ValueError as error:
        raise OSError(f"{url} answered something else than JSON: {body[:200]}") from error


def send_json(url: str, payload: object, method: str = "POST", timeout: float = 30.0) -> tuple[int, str]:
    """Send JSON; return status and body as ``get`` does."""
    data = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json"}
    return _open(urllib.request.Request(url, data=data, headers=headers, method=method), timeout)


def _open(request: urllib.request.Request, timeout: float) -> tuple[int, str]:
    try:
        with _direct.open(request, timeout=timeout) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
