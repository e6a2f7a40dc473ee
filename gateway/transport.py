"""HTTP out: one request, one answer, bounded in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx


class UnreachableError(Exception):
    """No answer came: the connection failed, or time ran out. Whether the other side got the message is unknown."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:
    """Posts bytes; redirects are not followed. `timeout` in seconds. Raises UnreachableError."""
    return _request("POST", url, body, headers, timeout)


def get(url: str, headers: Mapping[str, str], timeout: float) -> Response:
    """Raises UnreachableError."""
    return _request("GET", url, None, headers, timeout)


def _request(method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout: float) -> Response:
    try:
        # Proxies of the environment are for the world outside; partners are named by their own addresses.
        with httpx.Client(timeout=timeout, trust_env=False) as client:
            answer = client.request(method, url, content=body, headers=dict(headers))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreachableError(f"{method} {url}: {type(error).__name__}") from error
    return Response(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)
