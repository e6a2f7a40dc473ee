"""Step 1 of a message's path: recognise it, tell a repeat from a new one, keep the new one.

The rules are the reliable-messaging table of https://hl7.org/fhir/R4/messaging.html#reliable, per sender; the unique
keys of the inbox make them hold however many copies arrive at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.errors import Issue, NotAMessage
from gateway.fhir import json
from gateway.fhir.identity import (
    address_key,
    identifier_key,
    identifier_keys,
    key,
    own_address,
    own_key,
    reference_keys,
)
from gateway.fhir.message import Message, Ourselves, content_hash
from gateway.fhir.references import Entry
from gateway.replies import keep_reply, write_reply
from gateway.routing import Registry
from gateway.store import inbox, resources
from gateway.store.database import Connection, Database
from gateway.store.inbox import Arrival, Seen

_MOST_FOCUSES = 100
_MOST_KEYS = 100


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
    own, which its reply refuses. Raises NotAMessage when it is about more than can be put in order.
    """
    _check_focuses(message)
    known_as, own_ids = lane_keys(message), _own_tasks(message, ourselves.base_url)
    _check_keys(known_as, own_ids)
    arrival = _arrival(registry, message, submission)

    def keep(connection: Connection) -> Received:
        keys = [*known_as, *_keys_of_own(connection, own_ids)][:_MOST_KEYS] if own_ids else known_as
        placed = replace(arrival, lane=inbox.join_lane(connection, keys)) if keys else arrival
        added = inbox.add(connection, placed)
        if added is not None:
            return Received(added, "new" if placed.state == "new" else "response", placed.lane)
        seen = inbox.find_seen(connection, placed.bundle_key, placed.header_key)
        conflict = _find_conflict(message, placed, seen)
        if conflict is None:
            return Received(seen[0].id, "repeat", placed.lane)
        return Received(_keep_refused(connection, placed, message, conflict, ourselves), "refused", placed.lane)

    return database.attempt(keep)


def lane_keys(message: Message) -> list[bytes]:
    """What the Tasks in focus, and the Tasks that these are about, are known by; in order, each once.

    Messages with a key in common take effect in the order in which they were received. Without any, the sender's do.
    """
    keys = [key for reference, source in _about(message) for key in _task_keys(message, reference, source)]
    return list(dict.fromkeys(keys))


def _about(message: Message) -> Iterator[tuple[Any, Entry]]:
    """The references to what a message is about, each with the entry that it is in."""
    header = next(iter(message.entries))
    for reference in _focuses(message):
        yield reference, header
        entry = _resolve(message, reference, header)
        if entry is not None and entry.resource.get("resourceType") == "Task":
            yield entry.resource.get("focus"), entry


def _focuses(message: Message) -> list[Any]:
    focus = message.header.get("focus")
    return focus if isinstance(focus, list) else []


def _task_keys(message: Message, reference: Any, source: Entry) -> Iterator[bytes]:
    """The keys of the Task that a reference can mean: those of its entry, and what `Records.follow` goes by else."""
    entry = _resolve(message, reference, source)
    if entry is not None and entry.resource.get("resourceType") != "Task":
        return
    identifiers = identifier_keys(entry, message.sender) if entry is not None else []
    yield from identifiers
    if entry is not None and (address := address_key(entry, message.sender)):
        yield address
    if isinstance(reference, dict):
        if not identifiers and isinstance(reference.get("reference"), str):
            yield from reference_keys(reference["reference"], source, message.sender)
        if named := identifier_key("Task", reference.get("identifier"), message.sender):
            yield named


def _own_tasks(message: Message, base_url: str) -> list[str]:
    """The ids of the Tasks that a message names by the addresses that they have in our replies; each once."""
    literals = [reference.get("reference") for reference, _ in _about(message) if isinstance(reference, dict)]
    addresses = [own_address(literal, base_url) for literal in literals if isinstance(literal, str)]
    return list(dict.fromkeys(address[1] for address in addresses if address and address[0] == "Task"))


def _keys_of_own(connection: Connection, ids: list[str]) -> Iterator[bytes]:
    """What kept Tasks are known by to those who do not name them by our address."""
    for task_id in ids:
        row = resources.find(connection, "Task", task_id)
        if row is not None:
            known_as = identifier_keys(Entry("", None, json.parse_own(row.content)), row.sender)
            yield from known_as or [own_key("Task", task_id)]


def _check_focuses(message: Message) -> None:
    if (number := len(_focuses(message))) > _MOST_FOCUSES:
        text = f"The message has {number} resources in focus; it can have at most {_MOST_FOCUSES}. Send several."
        raise NotAMessage(Issue("too-costly", text, "Bundle.entry[0].resource.focus"))


def _check_keys(keys: list[bytes], own_ids: list[str]) -> None:
    if (number := len(keys) + len(own_ids)) > _MOST_KEYS:
        text = (
            f"The Tasks that the message is about have {number} identifiers and addresses; they can have at most "
            f"{_MOST_KEYS}. Send several messages, or fewer identifiers."
        )
        raise NotAMessage(Issue("too-costly", text, "Bundle.entry[0].resource.focus"))


def _resolve(message: Message, reference: Any, source: Entry) -> Entry | None:
    literal = reference.get("reference") if isinstance(reference, dict) else None
    return message.entries.resolve(literal, source) if isinstance(literal, str) else None


def _arrival(registry: Registry, message: Message, submission: Submission) -> Arrival:
    handler = registry.find(message)
    is_consequence = handler is None or handler.category == "consequence"
    by_header_alone = (is_consequence or message.bundle_id is None) and message.identifier is None
    sender, bundle_id, header_id = message.sender, message.bundle_id, message.header_id
    return Arrival(
        sender=sender,
        bundle_id=bundle_id,
        header_id=header_id,
        bundle_key=_bundle_key(message),
        header_key=key("header", sender, header_id) if header_id and by_header_alone else None,
        event_system=message.event.system,
        event_code=message.event.code,
        lane=key("sender", sender).hex(),
        content_hash=content_hash(message.bundle, message.version),
        media_type=submission.media_type,
        body=submission.body,
        reply_format=submission.reply_format,
        reply_to=submission.reply_to,
        later=submission.later,
        request_id=submission.request_id,
        received_at=message.received_at,
        state="done" if message.is_response else "new",
    )


def _bundle_key(message: Message) -> bytes | None:
    """What the message is known by: in R5 its `Bundle.identifier` alone, in the other versions its `Bundle.id`."""
    if message.identifier is not None:
        return key("bundle-identifier", message.sender, *message.identifier)
    return key("bundle", message.sender, message.bundle_id) if message.bundle_id else None


def _find_conflict(message: Message, arrival: Arrival, seen: list[Seen]) -> Issue | None:
    """Why a message whose identity was seen before is not simply a repeat; None when it is one."""
    if message.identifier is not None:
        is_repeat = all(before.content_hash == arrival.content_hash for before in seen)
        return None if is_repeat else _changed("Bundle.identifier", message.identifier[1], "Bundle.identifier")
    for before in seen:
        if arrival.bundle_id and before.bundle_id == arrival.bundle_id and before.header_id != arrival.header_id:
            text = (
                f"The Bundle.id {arrival.bundle_id} was used before, with the MessageHeader.id {before.header_id}. "
                "Give each Bundle an id of its own; to send the same message again, leave both ids as they were."
            )
            return Issue("duplicate", text, "Bundle.id")
        if before.content_hash != arrival.content_hash:
            if arrival.header_id:
                return _changed("MessageHeader.id", arrival.header_id, "Bundle.entry[0].resource.id")
            return _changed("Bundle.id", arrival.bundle_id or "", "Bundle.id")
    return None


def _changed(name: str, value: str, path: str) -> Issue:
    renewed = name if name == "Bundle.identifier" else "Bundle.id and a new MessageHeader.id"
    text = (
        f"A message with the {name} {value} was received before, with other content. It stays as it was received. "
        f"Send the changed message with a new {renewed}."
    )
    return Issue("duplicate", text, path)


def _keep_refused(
    connection: Connection, arrival: Arrival, message: Message, conflict: Issue, ourselves: Ourselves
) -> int:
    """Keeps a message that clashes with an earlier one, by a key that only the same clash has, with its refusal.

    A response is kept without: there is no response to a response.
    """
    ids = (arrival.sender, arrival.bundle_id or "", arrival.header_id or "", arrival.content_hash.hex())
    refused = replace(arrival, bundle_key=key("refused", *ids), header_key=None, state="done")
    added = inbox.add(connection, refused)
    if added is None:
        return inbox.find_seen(connection, refused.bundle_key, None)[0].id
    if not message.is_response:
        reply = write_reply(message, "fatal-error", ourselves, message.received_at, [conflict])
        keep_reply(connection, added, reply, refused, message.received_at)
    return added
