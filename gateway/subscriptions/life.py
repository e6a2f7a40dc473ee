"""The life of a subscription: requested, active once its handshake is accepted, in error, off; and its heartbeats."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from gateway.errors import Issue, NotAMessage, Refused
from gateway.fhir import formats, json
from gateway.fhir import subscription as fhir
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.message import instant
from gateway.fhir.notification import Kind, Subscribed, compose
from gateway.fhir.subscription import Wanted
from gateway.fhir.topic import topic_url
from gateway.partners import Partner
from gateway.recipients import recipient_at
from gateway.return_address import check_own
from gateway.store import outbox
from gateway.store import subscriptions as kept
from gateway.store.database import Connection, Database
from gateway.store.subscriptions import Row, Status
from gateway.subscriptions.directory import LOOK_EVERY, InForce, in_force
from gateway.subscriptions.events import entry
from gateway.terms import Standing

log = structlog.get_logger()

MOST = 100
"""Subscriptions of one partner that are not off; and as many that are off are remembered."""
SETTLING = timedelta(seconds=2 * LOOK_EVERY)
"""Until the handshake: when it makes the subscription active, every process knows of it."""
_A_ROUND = 200
_LATER = 3600
"""Seconds until one that cannot be read is looked at again."""


class OutdatedError(Exception):
    """The subscription has changed since the caller looked."""


class Subscriptions:
    """Those of a database. `loopback`: endpoints may be on this machine."""

    def __init__(self, database: Database, base_url: str, *, loopback: bool) -> None:
        self._database = database
        self._base_url = base_url
        self._loopback = loopback

    def find(self, partner: Partner, subscription_id: str) -> Row | None:
        with self._database.reading() as connection:
            return kept.find(connection, subscription_id, partner.name)

    def create(self, partner: Partner, resource: Resource, version: Version, now: datetime) -> Row:
        """Keeps a new one, and has its handshake sent. Raises Refused for one that cannot be."""
        wanted = self._read(partner, resource, version, now)
        if resource["status"] not in ("requested", "active"):
            text = "A new Subscription is requested; what becomes of that, the gateway says. Send the status requested."
            raise Refused(Issue("business-rule", text, "Subscription.status"))
        new = _row(str(uuid.uuid4()), partner, resource, version, wanted, now)

        def work(connection: Connection) -> Row:
            _make_room(connection, partner)
            row = self._begun(connection, new, partner, wanted, now)
            kept.add(connection, row)
            return row

        return self._database.attempt(work)

    def replace(self, partner: Partner, before: Row, resource: Resource, version: Version, now: datetime) -> Row:
        """Begins anew, as it is now asked for; or is off, if that is. Raises Refused and OutdatedError."""
        if resource["status"] == "off":
            return self.turn_off(before, now)
        wanted = self._read(partner, resource, version, now)
        if resource["status"] not in ("requested", "active"):
            text = "Send the status requested to begin anew, or off to end it; what else there is, the gateway says."
            raise Refused(Issue("business-rule", text, "Subscription.status"))
        new = _row(before.id, partner, resource, version, wanted, now, before.version + 1)

        def work(connection: Connection) -> Row:
            if before.status == "off":
                _make_room(connection, partner)
            kept.set_aside(connection, before, "The subscription has begun anew since.")
            row = self._begun(connection, new, partner, wanted, now)
            return _changed(connection, row)

        return self._database.attempt(work)

    def turn_off(self, before: Row, now: datetime) -> Row:
        """Raises OutdatedError."""
        if before.status == "off":
            return before
        return self._database.attempt(lambda connection: _end(connection, before, now))

    def _read(self, partner: Partner, resource: Resource, version: Version, now: datetime) -> Wanted:
        from gateway.transport import check_address  # with it comes the HTTP client

        wanted = fhir.read(resource, version, self._base_url)
        if wanted.topic != (topic := topic_url(self._base_url)):
            place = "Subscription.topic" if version == "R5" else "Subscription.criteria"
            raise Refused(Issue("not-supported", f"There is one topic here, {topic}. Subscribe to that.", place))
        if wanted.ends_at is not None and wanted.ends_at <= now:
            text = "The end is past. Send a later one, or none."
            raise Refused(Issue("business-rule", text, "Subscription.end"))
        place = "Subscription.endpoint" if version == "R5" else "Subscription.channel.endpoint"
        if wanted.endpoint is None and partner.tell != "poll":
            text = "There is no endpoint to send notifications to. Send one."
            raise Refused(Issue("required", text, place))
        if wanted.endpoint is not None:
            try:
                check_own(wanted.endpoint, partner, loopback=self._loopback)
            except NotAMessage as refused:
                raise Refused(*(replace(issue, expression=place) for issue in refused.issues)) from None
            if wrong := check_address(wanted.endpoint, partner.delivery.networks, self._loopback):
                raise Refused(Issue("forbidden", wrong, place))
        return wanted

    def _begun(self, connection: Connection, row: Row, partner: Partner, wanted: Wanted, now: datetime) -> Row:
        """With its handshake in the outbox; who fetches its notifications has no endpoint to prove."""
        if partner.tell == "poll":
            return replace(row, status="active")
        id_, content = _signal(connection, row, wanted, "handshake", self._base_url, now)
        handshake = entry(InForce(row.id, partner.name, row.recipient, wanted), partner, id_, content, now)
        outbox.add(connection, handshake, due_at=now + SETTLING)
        return replace(row, handshake=id_)


def _make_room(connection: Connection, partner: Partner) -> None:
    """For one more that is not off; forgets the oldest that are. Raises Refused."""
    kept.hold_all(connection, partner.name)
    its = kept.find_all(connection, partner.name)
    past = [row.id for row in its if row.status == "off"]
    if len(its) - len(past) >= MOST:
        text = f"{partner.name} has {MOST} subscriptions, which is as many as there can be. Delete one first."
        raise Refused(Issue("too-costly", text))
    kept.remove(connection, past[MOST:])


def _row(
    id_: str, partner: Partner, resource: Resource, version: Version, wanted: Wanted, now: datetime, number: int = 1
) -> Row:
    meta = {**(resource.get("meta") or {}), "versionId": str(number), "lastUpdated": instant(now)}
    named = {"resourceType": "Subscription", "id": id_, "meta": meta}
    return Row(
        id=id_,
        partner=partner.name,
        recipient=recipient_at(partner, wanted.endpoint),
        status="requested",
        version=number,
        fhir_version=version,
        content=json.serialize(named | resource | named),
        updated_at=now,
        timeout=wanted.timeout,
        heartbeat_at=now + timedelta(seconds=wanted.heartbeat) if wanted.heartbeat else None,
        ends_at=wanted.ends_at,
    )


def _signal(
    connection: Connection, row: Row, wanted: Wanted, kind: Kind, base_url: str, now: datetime
) -> tuple[str, bytes]:
    """The id and the content of a notification of no event."""
    total = kept.count_events(connection, [row.id])[row.id]
    url = f"{base_url}/Subscription/{row.id}"
    subscribed = Subscribed(url, wanted.topic, wanted.content, wanted.version, row.status)
    bundle = compose(subscribed, kind, str(total), (), (), now)
    return bundle["id"], formats.serialize(bundle, wanted.format, wanted.version)


def _changed(connection: Connection, row: Row) -> Row:
    if not kept.change(connection, row):
        raise OutdatedError
    return row


def _end(connection: Connection, before: Row, now: datetime) -> Row:
    row = _changed(connection, _moved(before, "off", now))
    kept.set_aside(connection, row, "The subscription is off.")
    return row


def _moved(row: Row, status: Status, now: datetime, error: str | None = None) -> Row:
    """As it stands next. When it was changed is later than before: by that others see that it was."""
    at = max(now, row.updated_at + timedelta(milliseconds=1))
    return replace(row, status=status, version=row.version + 1, updated_at=at, error=error)


# --- what became of its notifications --------------------------------------------------------------------------------


def settle(
    connection: Connection,
    subscription_id: str,
    header_id: str,
    is_delivered: bool,
    error: str | None,
    now: datetime,
) -> None:
    """To be called in the transaction in which a notification was delivered, or given up because of an error.

    Its handshake makes a subscription active; what is given up puts it in error, unless that was before it began anew.
    """
    row = kept.find_settled(connection, subscription_id)
    if row is None or row.status == "off":
        return
    is_handshake = row.handshake == header_id
    if is_delivered and is_handshake and row.status != "active":
        kept.change(connection, _moved(row, "active", now))
        log.info("subscription active", subscription=row.id, partner=row.partner)
    elif not is_delivered and (row.status == "active" or (row.status == "requested" and is_handshake)):
        _fail(connection, row, error or "Its notification could not be delivered.", now)


def fail_all(connection: Connection, ids: Iterable[str], error: str, now: datetime) -> None:
    """To be called when what is due of subscriptions is given up: they are in error."""
    for subscription_id in sorted(set(ids)):
        row = kept.find_settled(connection, subscription_id)
        if row is not None and row.status in ("requested", "active"):
            _fail(connection, row, error, now)


def _fail(connection: Connection, row: Row, error: str, now: datetime) -> None:
    kept.change(connection, _moved(row, "error", now, error))
    kept.set_aside(connection, row, "The subscription is in error: what it has missed can be asked for by $events.")
    log.warning("subscription in error", subscription=row.id, partner=row.partner, cause=error)


class Heartbeats:
    """Says of subscriptions that have been quiet that they are well, and ends those whose end has come."""

    def __init__(self, database: Database, base_url: str, terms: Standing) -> None:
        self._database = database
        self._base_url = base_url
        self._terms = terms

    def run(self, now: datetime) -> int:
        """One round; returns how many heartbeats were sent. What is waiting to be delivered is sign enough."""
        with self._database.reading() as connection:
            over, quiet = kept.find_over(connection, now, _A_ROUND), kept.find_quiet(connection, now, _A_ROUND)
        for row in over:
            self._end(row, now)
        return sum(self._beat(row, now) for row in quiet if row not in over)

    def _end(self, row: Row, now: datetime) -> None:
        try:
            self._database.attempt(lambda connection: _end(connection, row, now))
        except OutdatedError:
            return
        log.info("subscription over", subscription=row.id, partner=row.partner)

    def _beat(self, row: Row, now: datetime) -> bool:
        partner, one = self._terms.current().partners.called(row.partner), in_force(row, self._base_url)
        is_told = partner is not None and partner.state == "active"
        seconds = (one.wanted.heartbeat if one else None) or _LATER

        def work(connection: Connection) -> bool:
            is_taken = kept.take_heartbeat(connection, row, now + timedelta(seconds=seconds))
            if not (is_taken and is_told and one and partner):
                return False
            id_, content = _signal(connection, row, one.wanted, "heartbeat", self._base_url, now)
            outbox.add(connection, entry(one, partner, id_, content, now))
            return True

        return self._database.attempt(work)
