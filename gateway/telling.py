"""Telling the other party: what each partner is sent when another's message has changed a Task that it is a party of.

It is composed after the message's handler, and kept in the transaction of its effects: docs/messages.md, "How the other
party is told".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import count, groupby, islice
from types import MappingProxyType
from typing import Any

from gateway import subscriptions
from gateway.errors import Refused
from gateway.fhir import dialects, formats, json
from gateway.fhir.definitions import is_resource
from gateway.fhir.forwarding import Addressee, forward
from gateway.fhir.message import Message, Ourselves, Resource, logical
from gateway.fhir.notification import Entry, Subscribed, notify
from gateway.fhir.references import references_in
from gateway.fhir.task.elements import focuses_of, request_code
from gateway.fhir.versions import from_r4
from gateway.fhir.versions.telling import find_event_code, find_header
from gateway.kept import Kept
from gateway.partners import Partner, Subscription
from gateway.records import Records
from gateway.sharing import Sharing
from gateway.store import outbox
from gateway.store.database import Connection
from gateway.subscriptions import InForce, Occurred

MOST_RESOURCES = 250
"""Of what refers to more, the first are told, and the addresses of the others."""
_LITERAL = re.compile(rb'"reference":"([^"\\]*(?:\\.[^"\\]*)*)"')
NOBODY: Mapping[str, Sequence[InForce]] = MappingProxyType({})
"""No partner has created a subscription."""
_ELSEWHERE = (b"http://", b"https://", b"#")


@dataclass(frozen=True, slots=True)
class Telling:
    """What one partner is sent. Where the number of an event belongs, `content` has one of `places`.

    A notification of a subscription that the partner has created has what `occurred`.
    """

    partner: Partner
    id: str
    bundle_id: str
    event_code: str | None
    content: bytes
    places: tuple[str, ...] = ()
    occurred: Occurred | None = None

    @property
    def counter(self) -> str:
        """By which its events are numbered: the subscription's, or the partner's."""
        return self.occurred.subscription.id if self.occurred else self.partner.name

    def numbered(self, numbers: Sequence[int]) -> bytes:
        """The content with the numbers of its events."""
        content = self.content
        for number, place in zip(numbers, self.places, strict=True):
            content = content.replace(place.encode(), str(number).encode())
        return content


Told = tuple[int, str, Telling, datetime]
"""What is told, and when; with the id and the lane of the message that it comes of."""


def message_entry(message_id: int, lane: str, telling: Telling, now: datetime) -> outbox.Entry:
    """A message among what is told, as it is kept in the transaction of the effects that it tells of."""
    return _entry(message_id, lane, "message", telling, telling.content, now)


def keep_notifications(
    connection: Connection, tellings: Iterable[Told], replay_id: int | None = None, *, is_held: bool = False
) -> None:
    """Numbers and keeps the notifications among what is told; of a replay, held if so wished: see `outbox.add_all`.

    To be called last in the transaction: the numbers of a partner, or of its subscription, are held until that ends.
    They are taken in the order of their names, so that no two transactions wait for each other.
    """
    numbered = [one for one in tellings if one[2].places]
    for counter, its in groupby(sorted(numbered, key=_counter), key=_counter):
        told = list(its)
        if told[0][2].occurred is not None:
            for message_id, _, telling, now in told:
                assert telling.occurred is not None
                write = partial(_subscribed_entry, message_id, telling, now)
                subscriptions.keep(connection, telling.occurred, write, now, replay_id, is_held=is_held)
            continue
        more = sum(len(telling.places) for _, _, telling, _ in told)
        numbers = count(outbox.count_events(connection, counter, more) - more + 1)
        entries = [
            _entry(
                message_id,
                lane,
                "notification",
                telling,
                telling.numbered(list(islice(numbers, len(telling.places)))),
                now,
            )
            for message_id, lane, telling, now in told
        ]
        outbox.add_all(connection, entries, replay_id, is_held=is_held)


def _counter(told: Told) -> str:
    return told[2].counter


def _subscribed_entry(message_id: int, telling: Telling, now: datetime, numbers: Sequence[int]) -> outbox.Entry:
    """Of several for one message the first has its id, by which what is told is told once."""
    occurred = telling.occurred
    assert occurred is not None
    part = message_id if occurred.part == 0 else None
    return subscriptions.entry(
        occurred.subscription, telling.partner, telling.id, telling.numbered(numbers), now, message_id=part
    )


def _entry(
    message_id: int, lane: str, kind: outbox.Kind, telling: Telling, content: bytes, now: datetime
) -> outbox.Entry:
    partner = telling.partner
    return outbox.Entry(
        message_id=message_id,
        kind=kind,
        header_id=telling.id,
        bundle_id=telling.bundle_id,
        format=partner.format,
        version=partner.version,
        content=content,
        state="queued" if partner.tell == "poll" else "due",
        created_at=now,
        lane=lane,
        recipient=partner.name,
        destination=next(iter(partner.endpoints), None),
        party=partner.name,
        event_code=telling.event_code,
    )


class Teller:
    """Composes what is told of one message, from what its handler has left in the `records`."""

    def __init__(
        self,
        message: Message,
        records: Records,
        ourselves: Ourselves,
        now: datetime,
        subscribed: Mapping[str, Sequence[InForce]] = NOBODY,
    ) -> None:
        """`subscribed` are the subscriptions in force that each partner has created, by its name."""
        self._message = message
        self._records = records
        self._ourselves = ourselves
        self._now = now
        self._subscribed = subscribed
        self._parties: dict[tuple[str, int], frozenset[Partner]] = {}

    def tell(self, focus: Sequence[Kept]) -> list[Telling]:
        """What each partner is to be told, if the message has changed anything; `focus` is that of its answer.

        A partner is told when it is a party of a Task that was changed, as it was or as it is now, or of one in focus;
        but not of its own message.
        """
        changes = self._records.changes
        if not changes:
            return []
        changed = [after for _, after in changes if _is_task(after)]
        subjects = list({kept.id: kept for kept in (*map(self._records.current, focus), *changed)}.values())
        before = {after.id: kept for kept, after in changes}
        tasks = [kept for kept in subjects if _is_task(kept)]
        self._records.read_ahead(*tasks, *(known for known, _ in changes if known is not None))
        concerned = {task.id: self._parties_of(task) | self._parties_of(before.get(task.id)) for task in tasks}
        told = frozenset[Partner]().union(*concerned.values()) - {self._records.parties.sending_partner}
        tellings = (
            self._tell(partner, [kept for kept in subjects if partner in concerned.get(kept.id, told)])
            for partner in sorted(told, key=lambda partner: partner.name)
            if partner.tell != "nothing"
        )
        return [telling for telling in tellings if telling is not None] + [
            telling
            for partner in sorted(told, key=lambda partner: partner.name)
            if partner.name in self._subscribed
            for telling in self._tell_subscribed(partner, [task for task in changed if partner in concerned[task.id]])
        ]

    def _tell_subscribed(self, partner: Partner, tasks: Sequence[Kept]) -> Iterator[Telling]:
        """The notifications of the subscriptions that a partner has created itself: of its Tasks that have changed."""
        for occurred in subscriptions.matching(self._subscribed[partner.name], tasks, self._records.addresses_of):
            wanted, its = occurred.subscription.wanted, occurred.tasks
            spoken = replace(partner, version=wanted.version, format=wanted.format)
            subscription = Subscription(occurred.subscription.id, wanted.topic, wanted.content)
            yield replace(self._notification_to(partner, subscription, its, its, spoken), occurred=occurred)

    def _tell(self, partner: Partner, concerned: Sequence[Kept]) -> Telling | None:
        tasks = [kept for kept in concerned if _is_task(kept)]
        subjects = [*tasks, *(kept for kept in concerned if not _is_task(kept) and self._may_see(partner, kept))]
        if partner.subscription is None:
            return self._message_to(partner, self._focus(tasks), subjects)
        return self._notification_to(partner, partner.subscription, tasks, subjects, partner)

    def _may_see(self, partner: Partner, kept: Kept) -> bool:
        """What is about Tasks (a Communication) is for the parties of one of them."""
        about = [task for task in self._records.referred([kept]) if _is_task(task)]
        return not about or any(partner in self._parties_of(task) for task in about)

    def _focus(self, tasks: Sequence[Kept]) -> Sequence[Kept]:
        """What the message that is told is about: what the one it comes of is, if that is a Task of the partner's.

        The guide's COWMessageHeader has one focus, a Task.
        """
        return [task for task in tasks if task.id in self._sent] or tasks

    @cached_property
    def _sent(self) -> frozenset[str]:
        """The ids of what is in focus of the message it comes of."""
        try:
            entries = self._message.focus()
        except Refused:  # what the clock sends names what is kept, and does not bring it along
            return frozenset()
        kept = (self._records.find(entry) for entry in entries)
        return frozenset(one.id for one in kept if one is not None)

    def _message_to(self, partner: Partner, focus: Sequence[Kept], subjects: Sequence[Kept]) -> Telling | None:
        """In the partner's dialect; None where that has no words for it."""
        system, _, value = partner.identifiers[0].partition("|")
        bundle = forward(
            self._message,
            logical(self._message, self._message.header.get("sender")) or self._records.parties.sender_reference,
            Addressee(partner.name, partner.address, (system, value), partner.version),
            self._ourselves,
            self._now,
            [self._url(kept, partner) for kept in focus],
            [(self._url(kept, partner), resource) for kept, resource in self._contents(subjects, partner, partner)],
        )
        worded = dialects.get(partner.dialect).tell(bundle)
        if worded is None:
            return None
        header = find_header(worded) or bundle["entry"][0]["resource"]
        sent, _ = from_r4(worded, partner.version)
        content = formats.serialize(sent, partner.format, partner.version)
        bundle_id: str = worded.get("id") or bundle["id"]
        return Telling(partner, header.get("id") or bundle_id, bundle_id, find_event_code(worded), content)

    def _notification_to(
        self,
        partner: Partner,
        subscription: Subscription,
        tasks: Sequence[Kept],
        subjects: Sequence[Kept],
        spoken: Partner,
    ) -> Telling:
        """`spoken` has the version and the format; it is the partner, or the same as its subscription has it."""
        told: Sequence[tuple[Kept, Any]] = [(task, None) for task in tasks]
        if subscription.content == "full-resource":
            told = [(kept, _in_version(one, spoken)) for kept, one in self._contents(subjects, partner, spoken)]
        entries = {
            kept.id: Entry(self._url(kept, spoken), _address(kept, resource), kept.version, resource)
            for kept, resource in told
        }
        focus = [entries.pop(task.id) for task in tasks]
        url = subscription.reference if ":" in subscription.reference else self._own(subscription.reference)
        places = tuple(f"event-{uuid.uuid4()}" for _ in focus)
        subscribed = Subscribed(url, subscription.topic, subscription.content, spoken.version)
        bundle = notify(subscribed, places, focus, list(entries.values()), self._now)
        content = formats.serialize(bundle, spoken.format, spoken.version)
        return Telling(partner, bundle["id"], bundle["id"], None, content, places)

    def _parties_of(self, task: Kept | None) -> frozenset[Partner]:
        if task is None:
            return frozenset()
        key = task.id, task.version
        if key not in self._parties:
            self._parties[key] = self._records.parties.partners(task) | self._asked(task)
        return self._parties[key]

    def _asked(self, task: Kept) -> frozenset[Partner]:
        """Who is asked by a request about an order that does not say whom: the parties of the order."""
        if request_code(task.resource) is None or self._records.parties.partner(task, "owner") is not None:
            return frozenset()
        focus = [reference.get("reference") for reference in focuses_of(task.resource)]
        about = [kept for kept in self._records.referred([task]) if kept.reference in focus]
        return frozenset().union(*map(self._records.parties.partners, about))

    def _gathered(self, subjects: Sequence[Kept], partner: Partner) -> dict[str, Kept]:
        """What is told, by `Type/id`: the subjects and what they refer to, and so on; no Task that is others'.

        Nor what somebody refers to without being entitled to it: see `gateway.sharing`.
        """
        gathered = {kept.reference: kept for kept in subjects}
        sharing = Sharing(self._records, partner)
        ahead: Sequence[Kept] = subjects
        while ahead:
            referred = {kept.reference: kept for kept in sharing.referred(ahead)}
            ahead = [
                kept
                for reference, kept in referred.items()
                if reference not in gathered and (not _is_task(kept) or partner in self._parties_of(kept))
            ][: MOST_RESOURCES - len(gathered)]
            gathered |= {kept.reference: kept for kept in ahead}
        return gathered

    def _contents(self, subjects: Sequence[Kept], partner: Partner, spoken: Partner) -> list[tuple[Kept, Any]]:
        """What is told, each resource as it is to be written, in R4: as it is kept, where it can be."""
        gathered = self._gathered(subjects, partner)
        plain = {name.encode() for name, kept in gathered.items() if is_resource(kept.resource_type, spoken.version)}
        is_as_kept = (spoken.version, spoken.format, spoken.dialect) == ("R4", "json", dialects.COW.name)
        contents: list[tuple[Kept, Any]] = []
        for kept in gathered.values():
            is_at_home = is_resource(kept.resource_type, spoken.version)
            literals = set(_LITERAL.findall(kept.content)) - (plain if is_at_home else set())
            if any(not literal.startswith(_ELSEWHERE) for literal in literals):
                contents.append((kept, self._resolved(kept, gathered, spoken)))
            else:
                contents.append((kept, json.written(kept.content) if is_as_kept else kept.resource))
        return contents

    def _resolved(self, kept: Kept, gathered: Mapping[str, Kept], partner: Partner) -> Resource:
        """A resource in which each reference leads somewhere: in the Bundle, or to what is kept here.

        One that led nowhere when it was sent says no more than what it was.
        """
        resource = json.parse_own(kept.content)
        for _, reference in list(references_in(resource)):
            literal = reference.get("reference")
            if not isinstance(literal, str) or literal.encode().startswith(_ELSEWHERE):
                continue
            if literal in gathered:
                reference["reference"] = self._url(gathered[literal], partner)
            elif self._records.has(literal):
                reference["reference"] = f"{self._ourselves.base_url}/{literal}"
            else:
                del reference["reference"]
                if not isinstance(reference.get("identifier"), dict):
                    reference.setdefault("display", literal)
        return resource

    def _url(self, kept: Kept, partner: Partner) -> str:
        return self._ourselves.address(kept.resource_type, kept.id, partner.version)

    def _own(self, subscription_id: str) -> str:
        return f"{self._ourselves.base_url}/Subscription/{subscription_id}"


def _is_task(kept: Kept) -> bool:
    return kept.resource_type == "Task"


def _address(kept: Kept, resource: Any) -> str:
    """`Type/id`, the type as it is told."""
    return f"{resource['resourceType']}/{kept.id}" if isinstance(resource, dict) else kept.reference


def _in_version(resource: Any, partner: Partner) -> Any:
    return resource if partner.version == "R4" else from_r4(resource, partner.version)[0]
