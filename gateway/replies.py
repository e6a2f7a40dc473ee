"""The reply to a message: composed, written in the format asked for, and kept, once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from gateway.errors import Issue
from gateway.fhir import formats
from gateway.fhir.definitions import is_resource
from gateway.fhir.message import Message, Ourselves, Resource, ResponseCode, compose_reply
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.references import rewrite
from gateway.fhir.versions import from_r4
from gateway.kept import Kept
from gateway.store import outbox
from gateway.store.database import Connection

_KEPT = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


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
    resources = _linked(focus, message, ourselves)
    lost = [issue for resource in resources for issue in from_r4(resource, message.version)[1]]
    told = [*issues, *message.lost, *lost]
    outcome = operation_outcome(told) if told else None
    return from_r4(compose_reply(message, code, ourselves, now, resources, outcome), message.version)[0]


def _linked(focus: Sequence[Kept], message: Message, ourselves: Ourselves) -> list[Resource]:
    """What is in focus, its references leading on where the version has another type for a resource in it."""
    version = message.version
    others = {kept.reference: kept for kept in focus if not is_resource(kept.resource_type, version)}

    def address(literal: str, source: Kept) -> str | None:
        if literal in others:
            return ourselves.address(others[literal].resource_type, others[literal].id, version)
        return f"{ourselves.base_url}/{literal}" if source.reference in others and _KEPT.fullmatch(literal) else None

    return [rewrite(kept.resource, partial(address, source=kept)) if others else kept.resource for kept in focus]


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
