"""Step 1 of a message's path: recognise it, tell a repeat from a new one, keep the new one.

The rules are the reliable-messaging table of https://hl7.org/fhir/R4/messaging.html#reliable, per sender; the unique
keys of the inbox make them hold however many copies arrive at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.errors import Issue
from gateway.fhir.identity import address_key, identifier_key, identifier_keys, key, reference_keys
from gateway.fhir.message import Message, Ourselves, content_hash
from gateway.fhir.references import Entry
from gateway.replies import keep_reply, write_reply
from gateway.routing import Registry
from gateway.store import inbox
from gateway.store.database import Connection, Database
from gateway.store.inbox import Arrival, Seen


@dataclass(frozen=True, slots=True)
class Submission:
    """What came with a message: its exact bytes and media type, and how its answer is wanted."""

    body: bytes
    media_type: str
    reply_format: str
    reply_to: str | None
    later: bool
    request_id: str


@dataclass(frozen=True, slots=True)
class Received:
    """Where a message is kept, and what it is: only a `new` one has its lane put on the queue."""

    message_id: int
    kind: Literal["new", "repeat", "refused", "response"]
    lane: str


def receive(
    database: Database, registry: Registry, ourselves: Ourselves, message: Message, submission: Submission
) -> Received:
    """Keeps a message, once; when this returns, custody is taken and the message may be acknowledged.

    A repeat is found as what was received before. The same identity with other content is kept as a message of its
    own, which its reply refuses.
    """
    arrival = _arrival(registry, message, submission)
    keys = lane_keys(message)

    def keep(connection: Connection) -> Received:
        placed = replace(arrival, lane=inbox.join_lane(connection, keys)) if keys else arrival
        added = inbox.add(connection, placed)
        if added is not None:
            return Received(added, "new" if placed.state == "new" else "response", placed.lane)
        seen = inbox.find_seen(connection, placed.bundle_key, placed.header_key)
        conflict = _find_conflict(placed, seen)
        if conflict is None:
            return Received(seen[0].id, "repeat", placed.lane)
        return Received(_keep_refused(connection, placed, message, conflict, ourselves), "refused", placed.lane)

    return database.attempt(keep)


def lane_keys(message: Message) -> list[bytes]:
    """What the Tasks in focus, and the Tasks that these are about, are known by; in order, each once.

    Messages with a key in common take effect in the order in which they were received. Without any, the sender's do.
    """
    header = next(iter(message.entries))
    focus = message.header.get("focus")
    keys: list[bytes] = []
    for reference in focus if isinstance(focus, list) else ():
        entry = _resolve(message, reference, header)
        keys += _task_keys(message, reference, entry, header)
        if entry is not None and entry.resource.get("resourceType") == "Task":
            about = entry.resource.get("focus")
            keys += _task_keys(message, about, _resolve(message, about, entry), entry)
    return list(dict.fromkeys(keys))


def _task_keys(message: Message, reference: Any, entry: Entry | None, source: Entry) -> Iterator[bytes]:
    if entry is not None:
        if entry.resource.get("resourceType") == "Task":
            yield from identifier_keys(entry, message.sender)
            if address := address_key(entry, message.sender):
                yield address
    elif isinstance(reference, dict):
        if isinstance(reference.get("reference"), str):
            yield from reference_keys(reference["reference"], source, message.sender)
        if named := identifier_key("Task", reference.get("identifier"), message.sender):
            yield named


def _resolve(message: Message, reference: Any, source: Entry) -> Entry | None:
    literal = reference.get("reference") if isinstance(reference, dict) else None
    return message.entries.resolve(literal, source) if isinstance(literal, str) else None


def _arrival(registry: Registry, message: Message, submission: Submission) -> Arrival:
    handler = registry.find(message)
    by_header_alone = handler is None or handler.category == "consequence" or message.bundle_id is None
    sender, bundle_id, header_id = message.sender, message.bundle_id, message.header_id
    return Arrival(
        sender=sender,
        bundle_id=bundle_id,
        header_id=header_id,
        bundle_key=key("bundle", sender, bundle_id) if bundle_id else None,
        header_key=key("header", sender, header_id) if header_id and by_header_alone else None,
        event_system=message.event.system,
        event_code=message.event.code,
        lane=key("sender", sender).hex(),
        content_hash=content_hash(message.bundle),
        media_type=submission.media_type,
        body=submission.body,
        reply_format=submission.reply_format,
        reply_to=submission.reply_to,
        later=submission.later,
        request_id=submission.request_id,
        received_at=message.received_at,
        state="done" if message.is_response else "new",
    )


def _find_conflict(arrival: Arrival, seen: list[Seen]) -> Issue | None:
    """Why a message whose identity was seen before is not simply a repeat; None when it is one."""
    for before in seen:
        if arrival.bundle_id and before.bundle_id == arrival.bundle_id and before.header_id != arrival.header_id:
            text = (
                f"The Bundle.id {arrival.bundle_id} was used before, with the MessageHeader.id {before.header_id}. "
                "Give each Bundle an id of its own; to send the same message again, leave both ids as they were."
            )
            return Issue("duplicate", text, "Bundle.id")
        if before.content_hash != arrival.content_hash:
            named = f"MessageHeader.id {arrival.header_id}" if arrival.header_id else f"Bundle.id {arrival.bundle_id}"
            text = (
                f"A message with the {named} was received before, with other content. It stays as it was received. "
                "Send the changed message with a new Bundle.id and a new MessageHeader.id."
            )
            return Issue("duplicate", text, "Bundle.entry[0].resource.id" if arrival.header_id else "Bundle.id")
    return None


def _keep_refused(
    connection: Connection, arrival: Arrival, message: Message, conflict: Issue, ourselves: Ourselves
) -> int:
    """Keeps a message that clashes with an earlier one, by a key that only the same clash has, with its refusal."""
    ids = (arrival.sender, arrival.bundle_id or "", arrival.header_id or "", arrival.content_hash.hex())
    refused = replace(arrival, bundle_key=key("refused", *ids), header_key=None, state="done")
    added = inbox.add(connection, refused)
    if added is None:
        return inbox.find_seen(connection, refused.bundle_key, None)[0].id
    reply = write_reply(message, "fatal-error", ourselves, message.received_at, [conflict])
    keep_reply(connection, added, reply, refused, message.received_at)
    return added
