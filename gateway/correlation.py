"""Responses to what the gateway has sent: each finds its request by any of that one's identities, and closes it.

Who posts a response must be who was asked. There is no response to a response. docs/messages.md, "Responses"
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol, get_args

import structlog

from gateway import metrics
from gateway.errors import Refused
from gateway.fhir import formats
from gateway.fhir.message import ID, Message, Ourselves, ResponseCode
from gateway.identities import plain_id
from gateway.partners import Partners
from gateway.receiving import Closing, Submission, receive
from gateway.recognition import read_answer
from gateway.routing import Registry
from gateway.store import inbox, outbox
from gateway.store.database import Connection, Database

log = structlog.get_logger()

SEND_AGAIN = (30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Seconds until what was answered by a `transient-error` is sent again, by how often it was sent; then it is closed."""
_MOST_QUOTED = 20
_FOREIGN = "It answers a message that was sent to another partner."
_NO_REGISTRY = Registry()


class Answer(Protocol):
    """What came back on the connection of a delivery: `gateway.transport.Answer`."""

    @property
    def status(self) -> int | None: ...
    @property
    def media_type(self) -> str | None: ...
    @property
    def body(self) -> bytes: ...


def correlate(database: Database, message: Message, message_id: int, party: str | None) -> Closing:
    """Has a response that is kept close the request that it answers; `party` is the partner that has posted it.

    The same response again comes to the same. What a dialect has a `response` in, and is none, closes that too, but is
    no harm where it names another's.
    """
    came_to = database.attempt(lambda connection: correlated(connection, message, message_id, party))
    tell(message, message_id, party, came_to)
    return came_to


def correlated(
    connection: Connection, message: Message, message_id: int, party: str | None, *, sends: bool = True
) -> Closing:
    """As `correlate`, in a transaction. Unless it `sends`, what asks for its request once more changes nothing."""
    found = outbox.find_told(connection, _quoted(message))
    if not found:
        return "unknown"
    asked = next((entry for entry in found if party is not None and entry.recipient == party), None)
    if asked is None:
        if message.is_response:
            inbox.note(connection, message_id, _FOREIGN)
        return "foreign"
    if not sends and _code(message) == "transient-error":
        return "known"
    return _close(connection, asked, message, message_id, message.received_at)


def tell(message: Message, message_id: int, party: str | None, came_to: Closing) -> None:
    """Counts and logs what a response came to, once that is committed."""
    _count(message, came_to)
    say = log.warning if came_to in ("foreign", "refused") else log.info
    say("response", message_id=message_id, party=party, came_to=came_to)


def refuse(database: Database, message: Message, message_id: int) -> None:
    """Has a response that is not taken for its sender's close nothing."""
    tell(message, message_id, message.partner, "refused")
    database.attempt(lambda connection: note_refusal(connection, message, message_id))


def note_refusal(connection: Connection, message: Message, message_id: int) -> None:
    """Writes beside a message why it is not taken for its sender's."""
    inbox.note(connection, message_id, " ".join(issue.text for issue in message.refusal))


def take_answer(
    database: Database, ourselves: Ourselves, partners: Partners, outbox_id: int, answer: Answer, now: datetime
) -> str | None:
    """The `response.code` of the response message that came on the connection of a delivery; None for anything else.

    It is kept, as a message of the partner that was called, and closes what was delivered; what is more than that in
    the partner's dialect is processed, too. What is no response to it is passed over: the status of HTTP has said that
    it was delivered.
    """
    if answer.status is None or not 200 <= answer.status < 300 or not answer.body.strip():
        return None
    with database.reading() as connection:
        sent = outbox.find(connection, outbox_id)
    if sent is None or sent.kind != "message" or sent.recipient is None:
        return None
    media_type = answer.media_type or ""
    try:
        arrived = read_answer(answer.body, media_type, now, sent.recipient, partners)
    except Refused:
        log.info("answer is no message", outbox_id=outbox_id)
        return None
    message = arrived.message
    if not _answers(message, sent):
        log.info("answer is no response", outbox_id=outbox_id)
        return None
    given = Submission(
        answer.body,
        media_type,
        formats.format_of(media_type),
        None,
        later=False,
        request_id=sent.header_id,
        manner=arrived.manner.write() if arrived.manner else None,
        party=sent.recipient,
    )
    received = receive(database, _NO_REGISTRY, ourselves, message, given)
    came_to = database.attempt(lambda connection: _close(connection, sent, message, received.message_id, now))
    _count(message, came_to)
    return _code(message)


def names_request(message: Message) -> bool:
    """Whether a message says that it answers another: a response, or what a dialect has a `response` in."""
    return not message.refusal and bool(_responses(message))


def _close(connection: Connection, sent: outbox.Told, message: Message, message_id: int, now: datetime) -> Closing:
    """What was polled, and is to be sent again, is in the queue again, or still."""
    code = _code(message)
    if code == "transient-error" and sent.state in ("delivered", "queued") and not sent.attempts:
        return "again" if outbox.queue_again(connection, sent.id, message_id) else "known"
    if code == "transient-error" and sent.state in ("delivered", "due") and sent.attempts <= len(SEND_AGAIN):
        due_at = now + timedelta(seconds=SEND_AGAIN[max(sent.attempts, 1) - 1])
        return "again" if outbox.send_again(connection, sent.id, message_id, due_at) else "known"
    return "closed" if outbox.close(connection, sent.id, message_id, code, now) else "known"


def _answers(message: Message, sent: outbox.Told) -> bool:
    """Whether it says so; a response of a dialect that names nothing answers what it has come back for."""
    if message.is_response and not isinstance(_first(message.sent).get("response"), dict):
        return True
    return bool({sent.header_id.lower(), (sent.bundle_id or "").lower()} & set(_quoted(message)))


def _count(message: Message, came_to: Closing) -> None:
    code = _code(message)
    metrics.responded(code if code in get_args(ResponseCode) else "other", came_to)


def _code(message: Message) -> str:
    return next((str(response.get("code"))[:40] for response in _responses(message)), "ok")


def _responses(message: Message) -> list[dict[str, Any]]:
    """`MessageHeader.response`, as it was understood and as it was sent."""
    headers = (message.header, _first(message.sent))
    return [response for header in headers if isinstance(response := header.get("response"), dict)]


def _quoted(message: Message) -> list[str]:
    """What a response may name its request by, as R4 has it and as R5: the first ids of what it says."""
    found: list[str] = []
    for response in _responses(message):
        extensions = response.get("extension")
        said = extensions[:_MOST_QUOTED] if isinstance(extensions, list) else ()
        for one in (response.get("identifier"), *said):
            identifier = one.get("valueIdentifier", one) if isinstance(one, dict) else {"value": one}
            value = identifier.get("value") if isinstance(identifier, dict) else None
            if isinstance(value, str) and ID.fullmatch(plain := plain_id(value)):
                found += (plain, plain.lower())
    return list(dict.fromkeys(found))[:_MOST_QUOTED]


def _first(bundle: Any) -> dict[str, Any]:
    match bundle:
        case {"entry": [{"resource": dict(resource)}, *_]}:
            return resource
        case _:
            return {}
