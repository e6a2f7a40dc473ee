"""POST /fhir/$process-message: https://hl7.org/fhir/R4/messageheader-operation-process-message.html"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from flask import Blueprint, Response, g, request

from gateway import metrics
from gateway.errors import Issue, NotAMessage
from gateway.fhir import formats
from gateway.fhir.definitions import VERSIONS
from gateway.fhir.message import Message, is_uri
from gateway.fhir.received import read_received
from gateway.receiving import Received, Submission, receive
from gateway.replies import write_reply
from gateway.store import inbox
from gateway.store.inbox import Progress
from gateway.web import context
from gateway.web.answers import outcome_response, resource_response, wanted_answer
from gateway.web.body import read_body
from gateway.web.context import Context
from gateway.web.negotiation import Answer, alike, request_format
from gateway.web.waiting import wait_for

_ABSOLUTE = re.compile(r"https?://[^/?#]|(?!https?:)[a-z][a-z0-9+.\-]*:.", re.IGNORECASE)

endpoints = Blueprint("process_message", __name__, url_prefix="/fhir")

_RESPONSE_REQUEST = "http://hl7.org/fhir/StructureDefinition/messageheader-response-request"
# What the sender asks for, and the kinds of answer that it then does not want.
_UNWANTED = {"never": ("ok", "error"), "on-error": ("ok",), "on-success": ("error",)}


@endpoints.post("/$process-message")
def process_message() -> Response:
    """Keeps the message, has it processed, and answers with the response message, or later (`async=true`)."""
    here = context.get()
    media_type = request.headers.get("Content-Type")
    request_format(media_type)
    wanted_answer(VERSIONS)
    later, reply_to = _read_async(), _read_response_url()
    body = read_body(
        request.stream,
        request.content_length,
        request.headers.get("Content-Encoding"),
        here.settings.max_message_bytes,
    )
    message = read_received(body, media_type or "", datetime.now(UTC))
    answer = wanted_answer(alike(message.version))
    destination = (reply_to or message.source_endpoint) if later else None
    submission = Submission(body, media_type or "", answer.format, destination, later, g.request_id)
    received = receive(here.database, here.registry, here.ourselves, message, submission)
    metrics.received(here.registry.label(message.event.code), received.kind)
    if message.is_response:
        text = "This response is kept. There is no response to a response."
        return outcome_response(202, Issue("informational", text, severity="information"))
    if later:
        _nudge(here, received, message)
        text = "The message is in the gateway's custody. Its answer is sent later."
        return outcome_response(202, Issue("informational", text, severity="information"))
    return _answer(here, message, answer, _wait(here, received, message))


def _read_async() -> bool:
    value = request.args.get("async", "false")
    if value not in ("true", "false"):
        raise NotAMessage(Issue("value", f"The parameter async is true or false, not {value[:40]}."))
    return value == "true"


def _read_response_url() -> str | None:
    value = request.args.get("response-url")
    if not value:
        return None
    if not is_uri(value) or not _ABSOLUTE.match(value):
        text = (
            "The parameter response-url is not an absolute url: give it a scheme (https://..., urn:...), no white "
            "space or control characters, and at most 2048 characters."
        )
        raise NotAMessage(Issue("value", text))
    return value


def _nudge(here: Context, received: Received, message: Message) -> None:
    if received.kind == "new":
        here.courier.take(received.lane, message.event.code)


def _wait(here: Context, received: Received, message: Message) -> Progress:
    def look() -> Progress:
        with here.database.reading() as connection:
            return inbox.get_progress(connection, received.message_id)

    deadline = time.monotonic() + here.settings.reply_timeout
    with here.room.seat(received.message_id) as called:
        _nudge(here, received, message)
        if received.kind != "new":
            called.set()
        return wait_for(called, look, deadline)


def _answer(here: Context, message: Message, answer: Answer, progress: Progress) -> Response:
    if progress.content is not None:
        if _is_unwanted(message, progress.response_code or ""):
            return Response(status=204)
        content = progress.content
        if progress.format != answer.format:
            reply, version = formats.parse_told(content, progress.format or "json", None)
            content = formats.serialize(reply, answer.format, version)
        return Response(content, 200, content_type=answer.content_type)
    if progress.state == "new":
        what = (
            "waits for an earlier message about the same, which failed and is tried again."
            if progress.is_behind_failed
            else f"has not been processed within {here.settings.reply_timeout:g} s."
        )
        text = f"The message is kept, but {what} Send it again, unchanged, for its answer: it takes effect once."
        return outcome_response(504, Issue("timeout", text))
    return resource_response(200, _write_transient_error(here, message, progress), answer)


def _write_transient_error(here: Context, message: Message, progress: Progress) -> dict[str, object]:
    """The answer while the message has failed: never kept, so that a later repeat gets what the next try comes to."""
    what_next = (
        "It is set aside for the gateway's operator."
        if progress.state == "dead"
        else "It is kept and tried again by itself."
    )
    text = (
        f"The gateway failed to process this message ({progress.attempts} times so far); it has had no effect. "
        f"{what_next} Send it again, unchanged, later for its answer."
    )
    return write_reply(message, "transient-error", here.ourselves, datetime.now(UTC), [Issue("transient", text)])


def _is_unwanted(message: Message, code: str) -> bool:
    """Whether the sender said in the header's extension that it wants no such answer."""
    extensions = message.header.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, dict) and extension.get("url") == _RESPONSE_REQUEST:
            kind = "ok" if code == "ok" else "error"
            return kind in _UNWANTED.get(str(extension.get("valueCode")), ())
    return False
