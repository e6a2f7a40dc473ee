"""Step 3 of a message's path: deliver what is told to partners, and answers that are sent later, until it is done.

One line of calls takes what is due to one recipient, an entry at a time; a recipient that takes several calls at once
gets several lines. No transaction is open during a call. docs/delivery.md
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import structlog

from gateway import metrics
from gateway.addressees import Addressee, Addressees
from gateway.errors import DatabaseUnavailable
from gateway.fhir.versions.carrying import NUMBERS
from gateway.logs import places_of
from gateway.store import circuits, deliveries
from gateway.store import subscriptions as kept_subscriptions
from gateway.store.circuits import Circuit
from gateway.store.database import Connection, Database
from gateway.store.deliveries import Attempt, Claim, Claimant, Claimed, Verdict
from gateway.transport import Answer, Transport
from gateway.verdicts import JITTER, is_failure, judge

log = structlog.get_logger()

SLOW_SECONDS = 2.0
LEASE_BEYOND_TIMEOUT = 10.0
Pace = Literal["quick", "slow", "unknown"]
_TOGETHER = 1000
_RECORD_AGAIN_AFTER = (0.1, 0.5, 2.0)
_MOST_PACES = 10_000


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of what. `answered`: of each answer before it is recorded, so perhaps twice if a process dies then.

    The others in the transaction that makes it so: `settled` of an entry that is delivered or dead; `given_up` of the
    subscriptions of which something was set aside with much else, and why.
    """

    answered: Callable[[Claimed, Answer], object] = lambda _claimed, _answer: None
    settled: Callable[[Connection, Claimed, Verdict, datetime], object] = lambda *_: None
    given_up: Callable[[Connection, Sequence[str], str, datetime], object] = lambda *_: None


NOBODY = Listeners()


@dataclass(frozen=True, slots=True)
class _Made:
    """A call that was made, or none (`answer` None), and what becomes of its entry."""

    claim: Claim
    addressee: Addressee
    answer: Answer | None
    started_at: datetime
    verdict: Verdict

    @property
    def is_failure(self) -> bool:
        return self.answer is not None and is_failure(self.answer)

    @property
    def attempt(self) -> Attempt | None:
        answer = self.answer
        if answer is None:
            return None
        return Attempt(self.started_at, round(answer.seconds * 1000), answer.outcome, answer.status, answer.detail)


@dataclass(frozen=True, slots=True)
class _Change:
    """What recording a call has changed: whether its entry was still ours, and the circuit that it opened or closed."""

    is_ours: bool
    opened: Circuit | None = None
    closed: Circuit | None = None

    @property
    def is_trouble(self) -> bool:
        return bool(self.opened or self.closed)


class Deliverer:
    """Delivers for one process, whose `name` its claims are in; for many threads.

    Recipients that were slow when last called have no more than `most_slow` of the threads together, however many they
    are, and those of which it is not known yet have half as many. `ring` has another line of calls begun for a
    recipient.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        addressees: Addressees,
        transport: Transport,
        *,
        most_slow: int = 8,
        line_seconds: float = 2.0,
        ring: Callable[[str], object] = lambda _: None,
        listeners: Listeners = NOBODY,
    ) -> None:
        self._name = name
        self._database = database
        self._addressees = addressees
        self._transport = transport
        self._line_seconds = line_seconds
        self._ring = ring
        self._listeners = listeners
        self._paces: dict[str, float] = {}
        """Seconds that the last answer of a recipient took."""
        self._reached: dict[str, str] = {}
        """The lane of a recipient after which to look for the next."""
        self._lines: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._lines_of: Counter[Pace] = Counter()
        self._most: dict[Pace, int] = {"slow": most_slow, "unknown": max(most_slow // 2, 1)}
        self._is_awaited = False
        """Whether a slow recipient has found no free line."""
        self._is_stopped = False
        self.begun = 0
        """How many lines and calls: what hangs begins nothing."""

    def stop(self) -> None:
        """Begins no call any more."""
        self._is_stopped = True

    def give_back(self) -> int:
        """Gives back what this process has in hand, or had when it died, in its life before; returns how much that is.

        To be called when it makes no call: before the first, or when the process ends with those under way.
        """
        return self._database.attempt(lambda connection: deliveries.release(connection, self._name))

    def deliver(self, recipient: str) -> int:
        """Delivers what is due to a recipient until nothing is, or others are to have their turn.

        Returns how many entries it saw to. Raises DatabaseUnavailable: what was in hand is tried again when its claim
        has run out.
        """
        self.begun += 1
        with self._line(recipient) as is_free:
            return self._deliver(recipient) if is_free else 0

    def _deliver(self, recipient: str) -> int:
        end = time.monotonic() + self._line_seconds
        done = 0
        claim = None if self._is_stopped else self._claim(recipient)
        while claim is not None:
            if claim.more and self._pace(recipient) == "quick":
                self._ring(recipient)
            made = self._call(claim)
            done += 1
            if self._is_stopped or time.monotonic() > end:
                self._record(made)
                if not self._is_stopped and self._may_go_on(recipient):
                    self._ring(recipient)
                break
            claim = self._record_and_claim(made)
        return done

    @contextmanager
    def _line(self, recipient: str) -> Iterator[bool]:
        """Whether a line of calls may begin: however many recipients are slow, some threads are for the others. One
        that is not known to be quick has one line."""
        with self._lock:
            pace = self._pace(recipient)
            is_free = pace == "quick" or not (self._lines[recipient] or self._lines_of[pace] >= self._most[pace])
            if is_free:
                self._lines[recipient] += 1
                self._lines_of[pace] += 1
            self._is_awaited |= not (is_free or self._lines[recipient])
        try:
            yield is_free
        finally:
            with self._lock:
                if is_free:
                    self._lines -= Counter([recipient])
                    self._lines_of[pace] -= 1

    def _may_go_on(self, recipient: str) -> bool:
        """Whether a line that was long has another at once. A slow one leaves it to the sweep who is next, where
        others wait."""
        if self._pace(recipient) == "quick":
            return True
        with self._lock:
            was_awaited, self._is_awaited = self._is_awaited, False
        return not was_awaited

    def _pace(self, recipient: str) -> Pace:
        """By how soon its last answer came."""
        seconds = self._paces.get(recipient)
        return "unknown" if seconds is None else "quick" if seconds < SLOW_SECONDS else "slow"

    # --- the database's side ------------------------------------------------------------------------------------------

    def _claim(self, recipient: str) -> Claim | None:
        take = self._taking(recipient)

        def work(connection: Connection) -> Claim | None:
            deliveries.hold(connection, recipient)
            return take(connection)

        return self._database.attempt(work)

    def _record(self, made: _Made) -> None:
        self._record_and(made, lambda _: None)

    def _record_and_claim(self, made: _Made) -> Claim | None:
        """Both in one transaction."""
        return self._record_and(made, self._taking(made.claim.entry.recipient))

    def _taking(self, recipient: str) -> Callable[[Connection], Claim | None]:
        """What claims the next entry of a recipient, within a transaction that holds it."""
        addressee = self._addressees.get(recipient)

        def take(connection: Connection) -> Claim | None:
            now = datetime.now(UTC)  # it may have waited for its turn
            until = now + timedelta(seconds=addressee.timeout + LEASE_BEYOND_TIMEOUT)
            claimant = Claimant(self._name, until, addressee.at_once, self._reached.get(recipient, ""))
            claim, self._reached[recipient] = deliveries.claim(connection, recipient, claimant, now)
            return claim

        return take if addressee.may_be_called else lambda _: None

    def _record_and(self, made: _Made, take: Callable[[Connection], Claim | None]) -> Claim | None:
        """A database that is away for a moment has nobody called twice."""
        recipient, now = made.claim.entry.recipient, datetime.now(UTC)

        told: list[_Change] = []

        def work(connection: Connection) -> tuple[_Change, Claim | None]:
            deliveries.hold(connection, recipient)
            change = self._keep(connection, made, now)
            if change.is_trouble and not told:  # once, though the transaction may have to be done anew
                told.append(change)
                _tell(made, change)
            return change, take(connection)

        for pause in _RECORD_AGAIN_AFTER:
            try:
                change, claim = self._database.attempt(work)
                break
            except DatabaseUnavailable:
                time.sleep(pause)
        else:
            change, claim = self._database.attempt(work)
        if change.is_ours and made.verdict.state == "dead":
            log.warning("dead letter", outbox_id=made.claim.entry.id, recipient=recipient, cause=made.verdict.error)
            metrics.dead_letters(made.addressee.label, 1)
        if made.claim.is_probe and made.is_failure:
            self._give_up(made.addressee)
        return claim

    def _give_up(self, addressee: Addressee) -> None:
        """Sets aside what was due for the whole of the schedule while the recipient was out of order."""
        seconds = sum(addressee.schedule)
        before = datetime.now(UTC) - timedelta(seconds=seconds * (1 + JITTER))
        error = f"The recipient has been out of order for the whole of the schedule, {seconds:g} s."

        def work(connection: Connection) -> int:
            circuit = circuits.find(connection, addressee.recipient)
            if circuit is None or circuit.opened_at is None or circuit.opened_at > before:
                return 0
            expired = deliveries.expire(connection, addressee.recipient, before, error, _TOGETHER)
            if ids := [subscription_id for subscription_id in expired if subscription_id]:
                self._listeners.given_up(connection, ids, error, datetime.now(UTC))
            return len(expired)

        while expired := self._database.attempt(work):
            log.warning("dead letters", recipient=addressee.recipient, entries=expired, cause=error)
            metrics.dead_letters(addressee.label, expired)

    def _keep(self, connection: Connection, made: _Made, now: datetime) -> _Change:
        """Keeps what came of a call, in a transaction that holds the recipient."""
        entry, answer, verdict = made.claim.entry, made.answer, made.verdict
        is_ours = deliveries.finish(connection, entry, made.attempt, verdict, now)
        if is_ours and verdict.state in ("delivered", "dead"):
            self._listeners.settled(connection, entry, verdict, now)
        if answer is None:
            return _Change(is_ours)
        if made.is_failure:
            opened = circuits.fail(
                connection,
                entry.recipient,
                answer.detail,
                now,
                made.addressee.schedule,
                is_probe=made.claim.is_probe,
                is_repeat=entry.failures > 0,
            )
            return _Change(is_ours, opened=opened)
        if answer.outcome in ("delivered", "refused"):
            began = now if made.claim.is_probe else made.started_at
            return _Change(is_ours, closed=circuits.close(connection, entry.recipient, began, now))
        if answer.outcome == "busy" and verdict.due_at is not None:
            circuits.hold(connection, entry.recipient, verdict.due_at)
        return _Change(is_ours)

    # --- the recipient's side -----------------------------------------------------------------------------------------

    def _call(self, claim: Claim) -> _Made:
        entry, started_at = claim.entry, datetime.now(UTC)
        addressee = self._addressees.get(entry.recipient)
        target = addressee.find_target(entry.destination)
        if target is None:
            return _Made(claim, addressee, None, started_at, _without_address(entry, addressee))
        if entry.subscription_id and (timeout := self._timeout_of(entry.subscription_id)):
            target = replace(target, timeout=min(target.timeout, timeout))
        self.begun += 1
        media_type = f"application/fhir+{entry.format}; fhirVersion={NUMBERS[entry.version]}"
        headers = {"X-Request-Id": entry.header_id, "Accept": media_type}
        if entry.kind == "reply":
            target = replace(target, url=_asynchronous(target.url))
        answer = self._transport.post(target, entry.content, media_type, headers)
        metrics.delivered(addressee.label, answer.outcome, answer.seconds)
        self.remember(entry.recipient, answer.seconds)
        self._hand_on(entry, answer)
        return _Made(claim, addressee, answer, started_at, judge(entry, answer, addressee.schedule, datetime.now(UTC)))

    def remember(self, recipient: str, seconds: float) -> None:
        """How long a recipient's last answer took."""
        if len(self._paces) >= _MOST_PACES:
            self._paces.clear()
            self._reached.clear()
        self._paces[recipient] = seconds

    def _timeout_of(self, subscription_id: str) -> int | None:
        """The seconds that a subscription has for an attempt, if it says so."""
        with self._database.reading() as connection:
            return kept_subscriptions.find_timeout(connection, subscription_id)

    def _hand_on(self, entry: Claimed, answer: Answer) -> None:
        try:
            self._listeners.answered(entry, answer)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with an answer, it was delivered
            log.error("answer not read", outbox_id=entry.id, cause=type(error).__name__, at=places_of(error))


def _without_address(entry: Claimed, addressee: Addressee) -> Verdict:
    """A partner that cannot be called may still fetch what is for it."""
    if addressee.partner is not None:
        return Verdict("queued", None, None, entry.failures)
    return Verdict("dead", None, "The recipient is not registered, or not any more.", entry.failures)


def _asynchronous(url: str) -> str:
    """https://hl7.org/fhir/R4/messaging.html#async: an answer that comes later is posted with `async=true`."""
    parts = urlsplit(url)
    if "async=true" in parts.query.split("&"):
        return url
    return urlunsplit(parts._replace(query=f"{parts.query}&async=true" if parts.query else "async=true"))


def _tell(made: _Made, change: _Change) -> None:
    """One line when trouble starts and one when it ends, from whichever process finds out: while that holds the
    recipient, so that they come in their order."""
    recipient, label = made.claim.entry.recipient, made.addressee.label
    if change.opened is not None:
        log.error("delivery in trouble", recipient=recipient, cause=change.opened.cause)
        metrics.trouble(label, "began")
    if change.closed is not None and change.closed.opened_at is not None:
        seconds = (datetime.now(UTC) - change.closed.opened_at).total_seconds()
        log.warning("delivery has recovered", recipient=recipient, after_seconds=round(seconds))
        metrics.trouble(label, "ended")
