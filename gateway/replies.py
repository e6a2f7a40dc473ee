"""The reply to a message: composed, written in the format asked for, and kept, once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gateway.errors import Issue
from gateway.fhir import formats
from gateway.fhir.message import Message, Ourselves, Resource, ResponseCode, compose_reply
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.versions import from_r4
from gateway.records import Kept
from gateway.store import outbox
from gateway.store.database import Connection


class Wanted(Protocol):
    """How an answer is wanted: the format, whether later, and where."""

    @property
    def reply_format(self) -> str: ...
    @property
    def reply_to(self) -> str | None: ...
    @property
    def later(self) -> bool: ...


def write_reply(
    message: Message,
    code: ResponseCode,
    ourselves: Ourselves,
    now: datetime,
    issues: Sequence[Issue] = (),
    focus: Sequence[Kept] = (),
) -> Resource:
    """The response message, in the version of the request; `issues` become its OperationOutcome, `focus` its focus.

    What one of the versions has no place for is said in the OperationOutcome too.
    """
    resources = [kept.resource for kept in focus]
    lost = [issue for resource in resources for issue in from_r4(resource, message.version)[1]]
    told = [*issues, *message.lost, *lost]
    outcome = operation_outcome(told) if told else None
    return from_r4(compose_reply(message, code, ourselves, now, resources, outcome), message.version)[0]


def keep_reply(connection: Connection, message_id: int, reply: Resource, wanted: Wanted, now: datetime) -> None:
    """Keeps a reply, in the transaction of the effects it tells of."""
    header = reply["entry"][0]["resource"]
    outbox.add(
        connection,
        message_id=message_id,
        header_id=header["id"],
        response_code=header["response"]["code"],
        format=wanted.reply_format,
        content=formats.serialize(reply, wanted.reply_format, formats.told(reply)),
        destination=wanted.reply_to,
        later=wanted.later,
        now=now,
    )
