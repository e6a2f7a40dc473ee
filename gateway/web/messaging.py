"""A message that is sent to the gateway, alone or in a batch: read, kept and answered.

https://hl7.org/fhir/R4/messageheader-operation-process-message.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flask import Response, g

from gateway.authentication.model import Identity
from gateway.errors import Issue, NotAMessage
from gateway.fhir import dialects, formats
from gateway.fhir.dialects import Dialect
from gateway.fhir.message import Message, is_uri
from gateway.partners import Partner
from gateway.receiving import Received, Submission
from gateway.recognition import NOBODY, Arrived, read_arrived, refuse_our_name
from gateway.replies import Written, write_answer
from gateway.return_address import find_return_address
from gateway.store.inbox import Progress
from gateway.web.answers import outcome_response, wanted_answer
from gateway.web.conditions import Declined
from gateway.web.context import Context
from gateway.web.custody import failed, overdue, take
from gateway.web.negotiation import Answer, alike

_ABSOLUTE = re.compile(r"https?://[^/?#]|(?!https?:)[a-z][a-z0-9+.\-]*:.", re.IGNORECASE)
_RESPONSE_REQUEST = "http://hl7.org/fhir/StructureDefinition/messageheader-response-request"
# What the sender asks for, and the kinds of answer that it then does not want.
_UNWANTED = {"never": ("ok", "error"), "on-error": ("ok",), "on-success": ("error",)}


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of the operation: whether the answer is wanted later, and where."""

    later: bool = False
    response_url: str | None = None

    @staticmethod
    def read(parameters: Mapping[str, str]) -> Asked:
        """Raises NotAMessage."""
        later, url = parameters.get("async", "false"), parameters.get("response-url")
        if later not in ("true", "false"):
            raise NotAMessage(Issue("value", f"The parameter async is true or false, not {later[:40]}."))
        if url and (not is_uri(url) or not _ABSOLUTE.match(url)):
            text = (
                "The parameter response-url is not an absolute url: give it a scheme (https://…), no white space or "
                "control characters, and at most 2048 characters."
            )
            raise NotAMessage(Issue("value", text))
        return Asked(later == "true", url or None)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message that is kept, and how it is answered."""

    message: Message
    manner: str | None
    dialect: Dialect
    later: bool
    received: Received
    answer: Answer

    @property
    def is_waited_for(self) -> bool:
        return not (self.later or self.message.is_response)


def caller() -> Identity:
    """What the current request has proved of its sender."""
    identity: Identity = g.get("identity", NOBODY)
    return identity


def blocked(partner: Partner) -> Issue:
    text = f"{partner.name} is blocked here: nothing that it sends is taken. Speak to the gateway's operator."
    return Issue("forbidden", text)


def take_message(here: Context, body: bytes, media_type: str, asked: Asked, headers: Mapping[str, str]) -> Exchange:
    """Takes a message into custody; `headers` are those of HTTP, in lower case.

    Raises Refused for what is no message, NotAcceptable, and Declined (403) for who is not served.
    """
    partners = here.terms.partners
    arrived = read_arrived(body, media_type, datetime.now(UTC), caller(), headers, partners)
    message, partner = arrived.message, arrived.partner
    if partner is not None and partner.state == "blocked":
        raise Declined(403, blocked(partner))
    refuse_our_name(message)
    answer = wanted_answer(alike(message.version))
    later = asked.later or (partner is not None and partner.reply == "later")
    return_address = None
    if later and not message.is_response:
        is_proved = message.partner is not None
        endpoint = message.source_endpoint
        return_address = find_return_address(partner, asked.response_url, endpoint, loopback=not is_proved)
    manner = arrived.manner.write() if arrived.manner else None
    given = Submission(
        body=body,
        media_type=media_type,
        reply_format=answer.format,
        reply_to=return_address,
        later=later,
        request_id=g.request_id,
        manner=manner,
        party=partner.name if partner else None,
    )
    return Exchange(message, manner, _dialect(arrived), later, take(here, message, given), answer)


def acknowledged(here: Context, exchange: Exchange) -> Response:
    """That the gateway has the message, with the status that its dialect has for that; it may be a message, too."""
    status = exchange.dialect.acknowledged
    if exchange.received.came_to == "refused":
        return outcome_response(403, *exchange.message.refusal)
    if exchange.received.came_to == "foreign":
        text = "This response answers a message that was sent to another partner. It is kept, and closes nothing."
        return outcome_response(403, Issue("forbidden", text, "Bundle.entry[0].resource.response.identifier"))
    if status == 204:
        return _bare(status)
    if exchange.message.is_response:
        text = "This response is kept. There is no response to a response."
        if exchange.received.came_to == "unknown":
            text += " It answers no message that the gateway has sent."
    else:
        text = "The message is in the gateway's custody. Its answer is sent later."
    issue = Issue("informational", text, severity="information")
    if exchange.dialect.pack.acknowledgements == 1 or exchange.message.is_response:
        return outcome_response(status, issue)
    message, now = exchange.message, datetime.now(UTC)
    written = write_answer(message, exchange.manner, "ok", here.ourselves, now, [issue])
    return _written(replace(written, http_status=status), exchange.answer)


def answered(here: Context, exchange: Exchange, progress: Progress) -> Response:
    """The answer as it is kept; for want of one, why there is none yet."""
    message, answer = exchange.message, exchange.answer
    if progress.content is not None:
        if exchange.manner is None and _is_unwanted(message, progress.response_code or ""):
            return _bare(204)
        status = progress.http_status or 200
        if not progress.content:
            return _bare(status)
        content = progress.content
        if progress.format != answer.format:
            declared = None if progress.http_status is None else message.version
            reply, version = formats.parse_told(content, progress.format or "json", declared)
            content = formats.serialize(reply, answer.format, version)
        return Response(content, status, content_type=answer.content_type)
    if progress.state != "new":
        return _written(_for_now(here, exchange, failed(progress)), answer)
    if exchange.manner is None:
        return outcome_response(504, overdue(here, progress))
    return _written(_for_now(here, exchange, overdue(here, progress)), answer)


def _dialect(arrived: Arrived) -> Dialect:
    return dialects.get(arrived.manner.dialect) if arrived.manner else dialects.COW


def _for_now(here: Context, exchange: Exchange, issue: Issue) -> Written:
    """An answer that is not kept: the same message, sent again, gets the one that its next try comes to."""
    now = datetime.now(UTC)
    return write_answer(exchange.message, exchange.manner, "transient-error", here.ourselves, now, [issue])


def _written(written: Written, answer: Answer) -> Response:
    status = written.http_status or 200
    if written.resource is None:
        return _bare(status)
    content = formats.serialize(written.resource, answer.format, written.version)
    return Response(content, status, content_type=answer.content_type)


def _bare(status: int) -> Response:
    """Nothing, and said to be so."""
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def _is_unwanted(message: Message, code: str) -> bool:
    """Whether the sender said in the header's extension that it wants no such answer."""
    extensions = message.header.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, dict) and extension.get("url") == _RESPONSE_REQUEST:
            kind = "ok" if code == "ok" else "error"
            return kind in _UNWANTED.get(str(extension.get("valueCode")), ())
    return False
