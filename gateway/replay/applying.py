"""`apply` and `reprocess`: what never took effect is carried out, and what did only where that is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, cast

from gateway.correlation import tell
from gateway.fhir.identity import key
from gateway.fhir.message import Message
from gateway.performing import Performed, keep, parted
from gateway.processing import cause_of
from gateway.receiving import Closing
from gateway.replay.filed import Filed, close, read_filed
from gateway.replay.model import Outcome
from gateway.replay.rounds import DIED, MOST_DEATHS, ROUND_BYTES, Here, Known, Round
from gateway.replay.targets import trouble_with
from gateway.store import inbox, replay_items, replaying
from gateway.store.database import Connection
from gateway.store.inbox import Arrival, Waiting
from gateway.store.replay_items import Decided, Item
from gateway.store.replaying import Standing

_LONGEST_REASON = 400
Kind = Literal["kept", "again", "filed"]
"""A message of the inbox that has not taken effect; one that has; one of a file that the inbox has not."""

_LEFT = "An earlier message of the same Task waits before it, and is not part of this replay: message {}."
_BEHIND = "An earlier message of the same Task was left as it is."
_ANSWERS = {
    "ok": "It took effect before.",
    "fatal-error": "It was refused before, and its sender has that answer. To carry it out all the same: reprocess.",
}
_RESPONSE = "It is a response: there is nothing to carry out."
_CLASHED = "It was refused because its identity was another message's. Its sender has to send it with one of its own."


class WorkerDied(Exception):  # noqa: N818 - nobody's error
    """Workers have died with a message in hand, too often to try it once more."""


@dataclass(slots=True)
class Work:
    """A message to be carried out: `arrival` is what the inbox is to keep of one that it is to have as a new one.

    `closes`: it comes in a file, and names what it answers. `is_in_other_hands`: it was passed over, for another worker
    has it, and what is behind it in its lane waits.
    """

    item: Item
    kind: Kind
    lane: str
    size: int
    head: Waiting | None = None
    arrival: Arrival | None = None
    result: Performed | BaseException | None = None
    closes: bool = False
    is_in_other_hands: bool = False


class Applying:
    """Carries out the items of a replay, of the inbox or of files."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._filed = Filed(here)

    def rounds(self, items: Sequence[Item]) -> Iterator[Round]:
        """The rounds of a window; those of a lane one after the other, in their order."""
        works, decided = self.sort(items)
        if decided:
            yield Known(decided)
        left = self._find_left(items)
        while works:
            some = _first_of_each_lane(works, self._here.most)
            ready, received, decided = self.prepare([work for work in some if work.lane not in left])
            decided += [Decided(work.item.position, "left", _BEHIND) for work in some if work.lane in left]
            if decided:
                yield Known(decided)
            places = {one.position for one in decided if one.outcome == "left"}
            left |= {work.lane for work in some if work.item.position in places}
            if ready or received:
                self._here.pace(len(ready) + len(received))
            yield from received
            if ready:
                yield from Applied(self._here, ready).performed()
            taken = {work.item.position for work in some}
            waits = {work.lane for work in some if work.is_in_other_hands}
            works = [work for work in works if work.item.position not in taken and work.lane not in waits]

    def _find_left(self, items: Sequence[Item]) -> set[str]:
        """The lanes of which this replay has left a message as it was: what comes after that must not overtake it."""
        with self._here.database.reading() as connection:
            return replay_items.find_left_lanes(connection, self._here.replay.id, self._here.part, items[0].position)

    def sort(self, items: Sequence[Item]) -> tuple[list[Work], list[Decided]]:
        """What is to be carried out, as far as can be seen without reading it; and what is clear without."""
        if self._here.replay.source == "files":
            sizes = self._filed.sizes([item.file_number or 0 for item in items])
            return [Work(item, "filed", item.lane or "", sizes.get(item.file_number or 0, 0)) for item in items], []
        with self._here.database.reading() as connection:
            found = replaying.find_standing(connection, [item.message_id or 0 for item in items])
        judged = [self._judge(item, found.get(item.message_id or 0)) for item in items]
        works = [one for one in judged if isinstance(one, Work)]
        return works, [one for one in judged if isinstance(one, Decided)]

    def _judge(self, item: Item, standing: Standing | None) -> Work | Decided:
        """What is to be done with a message of the inbox, or why nothing is."""
        at = item.position
        if standing is None:
            return Decided(at, "impossible", "It is not kept any more.")
        if standing.state != "done":
            if standing.partner and (trouble := trouble_with(self._here.standing.current().partners, standing.partner)):
                return Decided(at, "impossible", f"{trouble}.")
            return Work(item, "kept", standing.lane, standing.size)
        if standing.response_code is None:
            return Decided(at, "skipped", _RESPONSE)
        if not _carries_out_again(self._here):
            return Decided(at, "skipped", _ANSWERS.get(standing.response_code, _ANSWERS["fatal-error"]))
        if standing.bundle_key == _key_of_clash(standing):
            return Decided(at, "skipped", _CLASHED)
        if standing.partner and (trouble := trouble_with(self._here.standing.current().partners, standing.partner)):
            return Decided(at, "impossible", f"{trouble}.")
        return Work(item, "again", standing.lane, standing.size)

    def prepare(self, works: Sequence[Work]) -> tuple[list[Work], list[Round], list[Decided]]:
        """Has the messages read; those that are not to be carried out are only received, or decided."""
        filed, decided = self._filed.prepare([work for work in works if work.kind == "filed"])
        kept = [work for work in works if work.kind != "filed"]
        ids = [work.item.message_id or 0 for work in kept] + [id_ for _, id_ in filed.known]
        with self._here.database.reading() as connection:
            heads = replaying.find_messages(connection, ids)
            lanes = {head.lane for head in heads.values()} | {work.lane for work, _ in filed.new}
            first = replaying.find_first_waiting(connection, sorted(lanes))
        partners, ready = self._here.standing.current().partners, list[Work]()
        for work, arrival in filed.new:
            earlier = first.get(work.lane)
            if arrival.partner and (trouble := trouble_with(partners, arrival.partner)):
                decided.append(Decided(work.item.position, "impossible", f"{trouble}."))
            elif earlier is not None and earlier[1] <= arrival.received_at:
                decided.append(Decided(work.item.position, "left", _LEFT.format(earlier[0])))
            else:
                work.arrival, work.head = arrival, _waiting(arrival, -1 - work.item.position)
                ready.append(work)
        for work, message_id in [*((work, work.item.message_id or 0) for work in kept), *filed.known]:
            head = heads.get(message_id)
            before = first[head.lane][0] if head and head.lane in first else message_id
            if head is None:
                decided.append(Decided(work.item.position, "impossible", "It is not kept any more."))
            elif work.kind != "again" and before < message_id:
                decided.append(Decided(work.item.position, "left", _LEFT.format(before), message_id=message_id))
            else:
                work.kind = "kept" if work.kind == "filed" else work.kind
                work.head = head
                ready.append(work)
        for work in ready:
            if work.kind == "again":
                assert work.head is not None
                work.arrival = self._arrival_again(work.head)
                work.head = replace(_waiting(work.arrival, -1 - work.item.position), lane=work.head.lane)
        return sorted(ready, key=lambda work: work.item.position), filed.received, decided

    def _arrival_again(self, head: Waiting) -> Arrival:
        """A message of the inbox as a new one that is deliberately carried out again, once in a replay."""
        with self._here.database.reading() as connection:
            arrival = replaying.get_arrival(connection, head.id)
        once = key("replay", str(self._here.replay.id), str(head.id))
        now = datetime.now(UTC)
        return replace(arrival, bundle_key=once, header_key=None, received_at=now, replay_of=head.id)


class Applied:
    """Messages of different lanes that are carried out together."""

    def __init__(self, here: Here, works: Sequence[Work]) -> None:
        self._here = here
        self._works = list(works)
        self._told: list[int] = []
        self._closed: list[tuple[Message, int, str | None, Closing]] = []

    @property
    def items(self) -> list[Item]:
        return [work.item for work in self._works]

    def performed(self) -> Iterator[Round]:
        """Itself, carried out, but for what clashes with it, which is carried out after it."""
        self.redo()
        _, apart = parted([work.result for work in self._works if isinstance(work.result, Performed)])
        after = {id(one) for one in apart}
        later = [work for work in self._works if id(work.result) in after]
        self._works = [work for work in self._works if id(work.result) not in after]
        yield self
        if later:
            yield from Applied(self._here, later).performed()

    def redo(self) -> None:
        if not self._here.replay.options.stop_on_failure:
            self._perform(self._works)
            return
        for number, work in enumerate(self._works, 1):
            self._perform([work])
            if not isinstance(work.result, Performed):
                del self._works[number:]  # they are left as they are
                return

    def _perform(self, works: Sequence[Work]) -> None:
        """Has messages handled, but for those that workers have died with."""
        for work in works:
            work.result = WorkerDied(DIED)
        alive = [work for work in works if work.item.attempts < MOST_DEATHS]
        heads = [cast(Waiting, work.head) for work in alive]
        self._here.perform_at([(head, work.item.position) for head, work in zip(heads, alive, strict=True)])
        replayed: Literal["apply", "reprocess"] = "reprocess" if _carries_out_again(self._here) else "apply"
        tells = self._here.replay.options.effects != "suppress"
        for work, result in zip(
            alive, self._here.performer.perform(heads, replayed=replayed, tells=tells), strict=True
        ):
            work.result = result

    def keep(self, connection: Connection, now: datetime) -> list[Decided]:
        replay, decided = self._here.replay, list[Decided]()
        self._told, self._closed = [], []
        performed: list[tuple[Performed, int]] = []
        here = [work for work in self._works if work.kind == "kept" and isinstance(work.result, Performed)]
        taken = replaying.take(connection, sorted(_id(work) for work in here), replay.id, now)
        for work in self._works:
            result = work.result
            if isinstance(result, Performed):
                known = _id(work) if work.kind == "kept" and _id(work) in taken else None
                message_id = known if work.kind == "kept" else self._add(connection, work)
                work.is_in_other_hands = message_id is None
                if message_id is None:
                    continue  # it is looked at again
                performed.append((result, message_id))
                outcome: Outcome = "ok" if result.outcome == "ok" else "refused"
                detail = None if outcome == "ok" else reason(result)
                decided.append(self._decided(work, outcome, detail, message_id))
            elif result is not None:
                decided += self._fail(connection, work, result)
        keep(connection, performed, effects=replay.options.effects, replay_id=replay.id)
        self._told = [message_id for _, message_id in performed]
        return decided

    def kept(self, _decided: Sequence[Decided]) -> None:
        self._here.announce(self._told)
        for one in self._closed:
            tell(*one)

    def singles(self) -> list[Round]:
        return [Applied(self._here, [work]) for work in self._works]

    def failed(self, connection: Connection, error: BaseException) -> list[Decided]:
        return [one for work in self._works for one in self._fail(connection, work, error)]

    def _add(self, connection: Connection, work: Work, error: str | None = None) -> int | None:
        """Keeps a message as a new one; None when it has come by another way meanwhile."""
        assert work.arrival is not None
        state: inbox.State = "done" if error is None else "dead"
        arrival = replace(
            work.arrival, lane=work.lane or work.arrival.lane, state=state, error=error, replay_id=self._here.replay.id
        )
        added = inbox.add(connection, arrival)
        if added is not None and work.closes:
            message, party = read_filed(self._here, work.arrival)
            self._closed.append((message, added, party, close(self._here, connection, message, added, party)))
        return added

    def _fail(self, connection: Connection, work: Work, error: BaseException) -> list[Decided]:
        """Sets it aside; nothing, where another worker was quicker with it: it is looked at again."""
        cause, kind = cause_of(error), DIED if isinstance(error, WorkerDied) else type(error).__name__
        if work.kind != "kept":
            message_id = self._add(connection, work, cause)
        else:
            is_ours = replaying.set_aside(connection, _id(work), cause, self._here.replay.id)
            message_id = _id(work) if is_ours else None
        work.is_in_other_hands = message_id is None
        return [] if message_id is None else [self._decided(work, "failed", kind, message_id)]

    def _decided(self, work: Work, outcome: Outcome, detail: str | None, message_id: int) -> Decided:
        if work.item.message_id == message_id:
            return Decided(work.item.position, outcome, detail)
        if work.kind == "again":
            return Decided(work.item.position, outcome, detail, made_id=message_id)
        return Decided(work.item.position, outcome, detail, message_id=message_id)


def _carries_out_again(here: Here) -> bool:
    return here.replay.mode == "reprocess" or (
        here.replay.mode == "dry-run" and here.replay.options.trial_of == "reprocess"
    )


def _id(work: Work) -> int:
    assert work.head is not None
    return work.head.id


def _first_of_each_lane(works: Sequence[Work], most: int) -> list[Work]:
    """At most so many, and not too large in all."""
    found: dict[str, Work] = {}
    size = 0
    for work in works:
        if work.lane in found:
            continue
        size += work.size
        if found and (len(found) == most or size > ROUND_BYTES):
            break
        found[work.lane] = work
    return list(found.values())


def _waiting(arrival: Arrival, number: int) -> Waiting:
    """A message that the inbox does not have yet, as a handler is given it."""
    given = {name: getattr(arrival, name) for name in Waiting.__slots__ if hasattr(arrival, name)}
    return Waiting(**given, id=number, attempts=0, due_at=arrival.received_at)


def _key_of_clash(standing: Standing) -> bytes:
    """As `gateway.receiving` keeps a message whose identity was another's."""
    ids = (standing.sender, standing.bundle_id or "", standing.header_id or "", standing.content_hash.hex())
    return key("refused", *ids)


def reason(performed: Performed) -> str | None:
    """The first of what it was refused with: the issue's code, and what it says."""
    entries = (performed.answer.resource or {}).get("entry")
    for entry in entries if isinstance(entries, list) else ():
        match entry.get("resource"):
            case {"resourceType": "OperationOutcome", "issue": [{"code": str(code), **issue}, *_]}:
                details = issue.get("details")
                text = details.get("text") if isinstance(details, dict) else None
                return f"{code}: {text or ''}"[:_LONGEST_REASON]
    return None
