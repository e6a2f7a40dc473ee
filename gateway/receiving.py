"""Step 1 of a message's path: recognise it, tell a repeat from a new one, keep the new one.

The rules are the reliable-messaging table of https://hl7.org/fhir/R4/messaging.html#reliable, per sender; the unique
keys of the inbox make them hold however many copies arrive at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

from gateway.errors import Issue
from gateway.fhir import dialects, json
from gateway.fhir.dialects import Dialect, Manner
from gateway.fhir.identity import identifier_keys, key, own_key
from gateway.fhir.lanes import MOST_KEYS, find_lane
from gateway.fhir.message import Message, Ourselves, content_hash
from gateway.fhir.references import Entry
from gateway.identities import Known, find_identity
from gateway.replies import Written, keep_reply, write_answer
from gateway.routing import Registry
from gateway.store import inbox, lanes, resources
from gateway.store.database import Connection, Database
from gateway.store.inbox import Arrival, Seen

Closing = Literal["closed", "again", "known", "unknown", "foreign", "refused"]
"""What a response came to: it closed its request; has it sent again; was not the first; answers nothing that was sent;
answers what somebody else was sent; is not taken for its sender's."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What came with a message: its exact bytes and media type, and how its answer is wanted.

    `wrapping` is there when it came by REST: see `gateway.fhir.wrapping`; `manner` when it is in a dialect: see
    `gateway.fhir.dialects`. `party` is the registered partner that it is taken to come from, proved or not.
    """

    body: bytes
    media_type: str
    reply_format: str
    reply_to: str | None
    later: bool
    request_id: str
    wrapping: str | None = None
    manner: str | None = None
    party: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """Where a message is kept, and what it is: only a `new` one has its lane put on the queue.

    `due_to` is to whom the refusal of a `refused` one is to be sent now. `came_to` says what became of what a response
    answers: `gateway.correlation`.
    """

    message_id: int
    kind: Literal["new", "repeat", "refused", "response"]
    lane: str
    due_to: str | None = None
    came_to: Closing | None = None


def receive(
    database: Database, registry: Registry, ourselves: Ourselves, message: Message, submission: Submission
) -> Received:
    """Keeps a message, once; when this returns, custody is taken and the message may be acknowledged.

    A repeat is found as what was received before. The same identity with other content is kept as a message of its
    own, which its reply refuses. Raises NotAMessage when it is about more than can be put in order.
    """
    return database.attempt(keeping(registry, ourselves, message, submission))


def keeping(
    registry: Registry,
    ourselves: Ourselves,
    message: Message,
    submission: Submission,
    replay_id: int | None = None,
    *,
    is_sent: bool = True,
    is_held: bool = False,
) -> Callable[[Connection], Received]:
    """What keeps a message as `receive` does, in a transaction; of a replay, its refusal sent later if so wished."""
    known_as, own_ids = find_lane(message, ourselves.base_url)
    dialect = dialect_of(submission.manner)
    arrival = replace(arrival_of(registry, message, submission, dialect), replay_id=replay_id)
    keep_answer = partial(keep_reply, replay_id=replay_id, is_sent=is_sent, is_held=is_held)

    def keep(connection: Connection) -> Received:
        keys = [*known_as, *keys_of_own(connection, own_ids)][:MOST_KEYS] if own_ids else known_as
        placed = replace(arrival, lane=lanes.join(connection, keys)) if keys else arrival
        added = inbox.add(connection, placed)
        if added is not None:
            return Received(added, "new" if placed.state == "new" else "response", placed.lane)
        seen = inbox.find_seen(connection, placed.bundle_key, placed.header_key)
        conflict = _find_conflict(message, placed, seen, dialect)
        if conflict is None:
            return Received(seen[0].id, "repeat", placed.lane)
        kept = _keep_refused(connection, placed, message, conflict, ourselves, keep_answer)
        return Received(kept, "refused", placed.lane, placed.recipient if placed.reply_to else None)

    return keep


def keys_of_own(connection: Connection, ids: list[str]) -> Iterator[bytes]:
    """What kept Tasks are known by to those who do not name them by our address."""
    for task_id in ids:
        row = resources.find(connection, "Task", task_id)
        if row is not None:
            known_as = identifier_keys(Entry("", None, json.parse_own(row.content)), row.sender)
            yield from known_as or [own_key("Task", task_id)]


def dialect_of(manner: str | None) -> Dialect:
    """The dialect that a message is read in; without a manner the gateway's own."""
    return dialects.COW if manner is None else dialects.get(Manner.read(manner).dialect)


def arrival_of(registry: Registry, message: Message, submission: Submission, dialect: Dialect) -> Arrival:
    """What the inbox keeps of a message; in its sender's lane, unless it is put into that of a Task."""
    bundle_key, header_key = identity_keys(registry, message, submission.manner, dialect)
    sender = message.sender
    # What R5 renews in a Bundle, R4 does not: the hash is of what is understood, but of what was said in a dialect.
    content = message.bundle if submission.manner is None else message.sent
    return Arrival(
        sender=sender,
        bundle_id=message.bundle_id,
        header_id=message.header_id,
        bundle_key=bundle_key,
        header_key=header_key,
        event_system=message.event.system,
        event_code=message.event.code,
        lane=key("sender", sender).hex(),
        content_hash=content_hash(content, message.version),
        media_type=submission.media_type,
        body=submission.body,
        reply_format=submission.reply_format,
        reply_to=submission.reply_to,
        later=submission.later,
        request_id=submission.request_id,
        received_at=message.received_at,
        wrapping=submission.wrapping,
        partner=message.partner,
        manner=submission.manner,
        recipient=(submission.party or submission.reply_to) if submission.later else None,
        state="done" if message.is_response else "new",
    )


def identity_keys(
    registry: Registry, message: Message, manner: str | None, dialect: Dialect
) -> tuple[bytes | None, bytes | None]:
    """By what a message is known, and the MessageHeader.id where that alone makes a repeat."""
    if known_as := find_identity(message, dialect, manner):
        return known_as.key, None
    handler = registry.find(message)
    is_consequence = handler is None or handler.category == "consequence"
    by_header_alone = (is_consequence or message.bundle_id is None) and message.identifier is None
    sender, header_id = message.sender, message.header_id
    return _bundle_key(message), key("header", sender, header_id) if header_id and by_header_alone else None


def _bundle_key(message: Message) -> bytes | None:
    """What the message is known by: in R5 its `Bundle.identifier` alone, in the other versions its `Bundle.id`."""
    if message.identifier is not None:
        return key("bundle-identifier", message.sender, *message.identifier)
    return key("bundle", message.sender, message.bundle_id) if message.bundle_id else None


def _find_conflict(message: Message, arrival: Arrival, seen: list[Seen], dialect: Dialect) -> Issue | None:
    """Why a message whose identity was seen before is not simply a repeat; None when it is one."""
    known_as = find_identity(message, dialect, arrival.manner)
    if known_as is not None:
        if any(before.content_hash != arrival.content_hash for before in seen):
            return _changed(known_as.name, known_as.value, known_as.path)
        return _repeated(known_as) if _refuses(dialect, seen, message) else None
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
    if seen and _refuses(dialect, seen, message):
        return _repeated(Known("MessageHeader.id", message.quoted_id, "Bundle.entry[0].resource.id", b""))
    return None


def _refuses(dialect: Dialect, seen: list[Seen], message: Message) -> bool:
    """Whether a repeat is refused; one of what is not answered yet waits for that answer, whatever the dialect says."""
    return dialect.duplicate == "refuse" and not message.is_response and all(one.state == "done" for one in seen)


def _repeated(known_as: Known) -> Issue:
    text = (
        f"The message with the {known_as.name} {known_as.value} was received before, and has been answered. It takes "
        "effect once."
    )
    return Issue("duplicate", text, known_as.path)


def _changed(name: str, value: str, path: str) -> Issue:
    renewed = "Bundle.id and a new MessageHeader.id" if name in ("Bundle.id", "MessageHeader.id") else name
    text = (
        f"A message with the {name} {value} was received before, with other content. It stays as it was received. "
        f"Send the changed message with a new {renewed}."
    )
    return Issue("duplicate", text, path)


def _keep_refused(
    connection: Connection,
    arrival: Arrival,
    message: Message,
    conflict: Issue,
    ourselves: Ourselves,
    keep_answer: Callable[[Connection, int, Written, Arrival, datetime], None],
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
        now = message.received_at
        answer = write_answer(message, refused.manner, "fatal-error", ourselves, now, [conflict])
        keep_answer(connection, added, answer, refused, now)
    return added
