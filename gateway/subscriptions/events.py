"""Which subscriptions a change of Tasks matches, and the notifications of it: numbered, and kept.

A search token of `gateway.fhir.search` is what a Task is found by; a Task in memory is matched by its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.fhir.search import Group, digests_of, tokens_of
from gateway.kept import Kept
from gateway.partners import Partner
from gateway.store import outbox
from gateway.store import subscriptions as kept
from gateway.store.database import Connection
from gateway.store.subscriptions import Event
from gateway.subscriptions.directory import InForce

Find = Callable[[Sequence[bytes]], Sequence[str]]
"""The addresses (`Type/id`) of what is kept under keys of identity."""


@dataclass(frozen=True, slots=True)
class Occurred:
    """What happened to Tasks that a subscription matches; `part` counts the notifications of one message, from 0."""

    subscription: InForce
    tasks: tuple[Kept, ...]
    part: int


def matching(subscriptions: Iterable[InForce], tasks: Sequence[Kept], find: Find) -> list[Occurred]:
    """What the subscriptions are to be told of these Tasks, in as many parts as each wants."""
    tokens = {task.id: tokens_of(task.resource) for task in tasks}
    found: list[Occurred] = []
    for one in subscriptions:
        its = tuple(task for task in tasks if _is_wanted(one.wanted.groups, tokens[task.id], find))
        most = one.wanted.max_count or len(its) or 1
        found += [Occurred(one, its[start : start + most], start // most) for start in range(0, len(its), most)]
    return found


def _is_wanted(groups: Iterable[Group], tokens: frozenset[bytes], find: Find) -> bool:
    return all(_has_one(group, tokens, find) for group in groups)


def _has_one(group: Group, tokens: frozenset[bytes], find: Find) -> bool:
    """Whether one of the group's terms is met; what is named by an identifier may be referred to by its address."""
    if not tokens.isdisjoint(_digests(group.terms)):
        return True
    addresses = find(group.keys) if group.keys else ()
    return not tokens.isdisjoint(_digests((name, "at", one) for name in group.parameters for one in addresses))


def _digests(terms: Iterable[tuple[str, ...]]) -> list[bytes]:
    [digests] = digests_of("Task", [[*terms]])
    return digests


def entry(
    subscription: InForce, partner: Partner, id_: str, content: bytes, now: datetime, message_id: int | None = None
) -> outbox.Entry:
    """A notification as it is kept: what is told of one subscription is delivered in order."""
    return outbox.Entry(
        message_id=message_id,
        kind="notification",
        header_id=id_,
        bundle_id=id_,
        format=subscription.wanted.format,
        version=subscription.wanted.version,
        content=content,
        state="queued" if partner.tell == "poll" else "due",
        created_at=now,
        lane=subscription.id,
        recipient=partner.name if partner.tell == "poll" else subscription.recipient,
        destination=subscription.wanted.endpoint,
        party=partner.name,
        subscription_id=subscription.id,
    )


def keep(
    connection: Connection,
    occurred: Occurred,
    write: Callable[[Sequence[int]], outbox.Entry],
    now: datetime,
    replay_id: int | None = None,
    *,
    is_held: bool = False,
) -> None:
    """Numbers what has occurred, and keeps it; with its notification, as `write` has it, if that is to be sent.

    What comes of a replay may be held: see `outbox.add_all`.

    To be called last in the transaction: the subscription is held until that ends, and its numbers with it. While it is
    not active its events are counted, and can be asked for, and nothing is sent.
    """
    subscription, wanted = occurred.subscription, occurred.subscription.wanted
    status = kept.hold(connection, subscription.id)
    if status == "off":
        return
    last = outbox.count_events(connection, subscription.id, len(occurred.tasks))
    numbers = range(last - len(occurred.tasks) + 1, last + 1)
    events = [Event(number, now, task.id, task.version) for number, task in zip(numbers, occurred.tasks, strict=True)]
    kept.add_events(connection, subscription.id, events)
    if status == "active":
        outbox.add_all(connection, [write(numbers)], replay_id, is_held=is_held)
        if wanted.heartbeat:
            kept.postpone_heartbeat(connection, subscription.id, now + timedelta(seconds=wanted.heartbeat))
