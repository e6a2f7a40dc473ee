"""The reply to a message: composed, written in the format asked for, and kept, once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from gateway.errors import Issue
from gateway.fhir import dialects, formats
from gateway.fhir.definitions import Version, is_resource
from gateway.fhir.dialects import Composed, Dialect, Manner
from gateway.fhir.message import ID, Message, Ourselves, Resource, ResponseCode, compose_reply
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.references import rewrite
from gateway.fhir.versions import from_r4
from gateway.fhir.versions.telling import find_event_code, find_header
from gateway.identities import bundle_identifier
from gateway.kept import Kept
from gateway.store import outbox
from gateway.store.database import Connection

_KEPT = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


class Wanted(Protocol):
    """How an answer is wanted: the format, whether later, where and by whom, and in the order of which lane."""

    @property
    def lane(self) -> str: ...
    @property
    def recipient(self) -> str | None: ...
    @property
    def reply_format(self) -> str: ...
    @property
    def reply_to(self) -> str | None: ...
    @property
    def later(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as it is to be sent: a resource in this version, or nothing; with its status of HTTP (None: 200)."""

    code: ResponseCode
    header_id: str
    resource: Resource | None
    version: Version
    event_code: str | None
    http_status: int | None = None


def write_answer(
    message: Message,
    manner: str | None,
    code: ResponseCode,
    ourselves: Ourselves,
    now: datetime,
    issues: Sequence[Issue] = (),
    focus: Sequence[Kept] = (),
    *,
    is_more_queued: bool = False,
) -> Written:
    """The answer to a message in the words of its sender's dialect: `Manner.write`, None for the gateway's own.

    `issues` become its OperationOutcome, `focus` its focus. What one of the versions has no place for is said in the
    OperationOutcome too. `is_more_queued`: something waits to be polled by its sender.
    """
    resources = _linked(focus, message, ourselves)
    lost = [issue for resource in resources for issue in from_r4(resource, message.version)[1]]
    told = [*issues, *message.lost, *lost]
    reply = compose_reply(message, code, ourselves, now, resources, operation_outcome(told) if told else None)
    header_id = reply["entry"][0]["resource"]["id"]
    if manner is None:
        made = from_r4(reply, message.version)[0]
        return Written(code, header_id, made, formats.told(made), message.event.code)
    dialect = dialects.get(Manner.read(manner).dialect)
    _quote(reply, message, dialect)
    answer = dialect.answer(message, Composed(reply, code, told, resources))
    if answer.resource is None:
        return Written(code, header_id, None, message.version, None, answer.status)
    if is_more_queued and dialect.pack.queued_tag:
        _add_tag(answer.resource, *dialect.pack.queued_tag)
    made = from_r4(answer.resource, message.version)[0]
    return Written(code, header_id, made, message.version, find_event_code(answer.resource), answer.status)


def _quote(reply: Resource, message: Message, dialect: Dialect) -> None:
    """Has the reply name the request by the identity that the dialect's partners look for."""
    quoted = message.bundle_id
    if dialect.quoted == "bundle-identifier":
        identifier = bundle_identifier(message.sent)
        quoted = identifier[1].removeprefix("urn:uuid:") if identifier else None
    if dialect.quoted != "header" and quoted and ID.fullmatch(quoted):
        reply["entry"][0]["resource"]["response"]["identifier"] = quoted


def _add_tag(resource: Resource, system: str, code: str) -> None:
    """Has a message say so in its header, once; what is none has no place for it."""
    header = find_header(resource)
    if header is not None:
        tags = header.setdefault("meta", {}).setdefault("tag", [])
        tags += [] if {"system": system, "code": code} in tags else [{"system": system, "code": code}]


def _linked(focus: Sequence[Kept], message: Message, ourselves: Ourselves) -> list[Resource]:
    """What is in focus, its references leading on where the version has another type for a resource in it."""
    version = message.version
    others = {kept.reference: kept for kept in focus if not is_resource(kept.resource_type, version)}

    def address(literal: str, source: Kept) -> str | None:
        if literal in others:
            return ourselves.address(others[literal].resource_type, others[literal].id, version)
        return f"{ourselves.base_url}/{literal}" if source.reference in others and _KEPT.fullmatch(literal) else None

    return [rewrite(kept.resource, partial(address, source=kept)) if others else kept.resource for kept in focus]


def keep_reply(
    connection: Connection,
    message_id: int,
    answer: Written,
    wanted: Wanted,
    now: datetime,
    replay_id: int | None = None,
    *,
    is_sent: bool = True,
    is_held: bool = False,
) -> None:
    """Keeps an answer, in the transaction of the effects it tells of; of a replay: see `outbox.add_all`."""
    entry = reply_entry(message_id, answer, wanted, now, is_sent=is_sent)
    outbox.add_all(connection, [entry], replay_id, is_held=is_held)


def reply_entry(
    message_id: int, answer: Written, wanted: Wanted, now: datetime, *, is_sent: bool = True
) -> outbox.Entry:
    """An answer as it is kept.

    One that is wanted later is due where there is an address for it, else it waits to be polled; unless it is not to be
    sent at all.
    """
    is_sent_later = wanted.later and answer.resource is not None and is_sent
    later: outbox.State = "due" if wanted.reply_to else "queued"
    return outbox.Entry(
        message_id=message_id,
        kind="reply",
        header_id=answer.header_id,
        bundle_id=(answer.resource or {}).get("id"),
        format=wanted.reply_format,
        version=answer.version,
        content=_serialized(answer, wanted.reply_format),
        state=later if is_sent_later else "answered",
        created_at=now,
        lane=wanted.lane,
        recipient=wanted.recipient if is_sent_later else None,
        destination=wanted.reply_to,
        event_code=answer.event_code,
        response_code=answer.code,
        http_status=answer.http_status,
    )


def _serialized(answer: Written, name: str) -> bytes:
    return b"" if answer.resource is None else formats.serialize(answer.resource, name, answer.version)
