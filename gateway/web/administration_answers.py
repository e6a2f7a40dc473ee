"""What the API of administrators reads and answers: JSON, and problems as RFC 9457 has them."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

import orjson
from flask import Response, request

from gateway.web.body import drain, read_body

JSON = "application/json"
UPLOADS = "/admin/replays"
"""Where files are sent to, which may be larger than what is held in memory."""
_PROBLEM = "application/problem+json"
_LARGEST = 1024 * 1024
_SHOWN = 80


class ProblemError(Exception):
    """An answer with a status of its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def comes_as_it_is_read() -> bool:
    """Whether the body may still be on its way, as `gateway.web.reception` has it: its connection is closed anyway."""
    return request.method == "POST" and request.path == UPLOADS and request.mimetype != JSON


def read_json(media_type: str = JSON) -> Any:
    """The body; an empty one is an empty table. Only JSON is taken: what a form of a web page sends is none."""
    if request.mimetype not in (JSON, media_type):
        raise ProblemError(415, f"Send the body as Content-Type: {media_type}.")
    if request.content_length == 0:
        return {}
    body = read_body(request.stream, request.content_length, request.headers.get("Content-Encoding"), _LARGEST)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(400, f"The body is not JSON: {error}.") from None


def table(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise ProblemError(422, "The body is no JSON object. Send the keys in one.")
    return said


def refuse_unknown(said: Collection[str], *known: str) -> None:
    for name in said:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
            raise ProblemError(422, f"There is no {name[:_SHOWN]} here. {meant}")


def json_response(said: Any, status: int = 200, media_type: str = JSON) -> Response:
    return Response(orjson.dumps(said, option=orjson.OPT_UTC_Z), status, content_type=media_type)


def problem(status: int, *sentences: str) -> Response:
    """https://www.rfc-editor.org/rfc/rfc9457"""
    if request.method in ("POST", "PUT", "PATCH") and not comes_as_it_is_read():
        drain(request.stream, _LARGEST)
    said = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status}
    response = json_response(said | {"detail": " ".join(sentences), "errors": sentences}, status, _PROBLEM)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="admin"'
    return response


_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    428: "Precondition Required",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}
