"""Files on their way into a replay: each message is read, recognised and laid by, with what puts it in its order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from gateway.authentication.model import Identity
from gateway.correlation import names_request
from gateway.errors import Issue, NotAMessage, Refused
from gateway.fhir.lanes import find_lane
from gateway.fhir.message import Message, Ourselves
from gateway.fhir.task.deadlines import CLOCK
from gateway.partners import Partner, Partners
from gateway.receiving import Submission, arrival_of, dialect_of, identity_keys
from gateway.recognition import NOBODY, read_arrived, read_kept, refuse_our_name
from gateway.replay.files.about import About
from gateway.replay.files.sources import Found
from gateway.return_address import find_return_address
from gateway.routing import Registry
from gateway.store import replay_items
from gateway.store.database import Connection, Database
from gateway.store.inbox import Arrival, Waiting
from gateway.store.replay_items import File

_AT_ONCE = 100
_BYTES = 8 * 1024 * 1024
_LONGEST_NAME = 500
BEFORE_ALL = datetime(1, 1, 2, tzinfo=UTC)
"""The time of what has none, and comes before all that has one."""
_AFTER_ALL = datetime(9999, 12, 30, tzinfo=UTC)
"""In no time zone in which a database may tell it the last day that there is."""
_AHEAD = timedelta(days=1)
_HEX = ("bundle_key", "header_key", "content_hash")
_MOMENTS = ("received_at",)


@dataclass(frozen=True, slots=True)
class Laid:
    """A message that is laid by: what the inbox is to keep of it, but for the bytes.

    `own_ids` are the Tasks that it names by our addresses. `also` are keys by which it is known if it came before as
    that of who had proved to be its sender, or had not. `answers`: it is a response; `closes`: it is none, and names
    all the same what it answers.
    """

    arrival: Arrival
    own_ids: tuple[str, ...] = ()
    also: tuple[bytes, ...] = ()
    answers: bool = False
    closes: bool = False

    @property
    def keys(self) -> list[bytes]:
        """All that it may be known by."""
        arrival = self.arrival
        return [key for key in (arrival.bundle_key, arrival.header_key, *self.also) if key]

    def write(self) -> str:
        said: dict[str, Any] = {name: getattr(self.arrival, name) for name in Arrival.__slots__ if name != "body"}
        said |= {name: said[name].hex() for name in _HEX if said[name] is not None}
        beside = {name: getattr(self, name) for name in ("own_ids", "answers", "closes")}
        beside["also"] = [key.hex() for key in self.also]
        return orjson.dumps({"arrival": said, **beside}).decode()

    @staticmethod
    def read(text: str, body: bytes = b"") -> Laid:
        said = orjson.loads(text)
        given = said["arrival"]
        given |= {name: bytes.fromhex(given[name]) for name in _HEX if given[name] is not None}
        given |= {name: datetime.fromisoformat(given[name]) for name in _MOMENTS}
        also = tuple(bytes.fromhex(key) for key in said["also"])
        return Laid(Arrival(**given, body=body), tuple(said["own_ids"]), also, said["answers"], said["closes"])


class Staging:
    """Lays messages by for replays. Who has sent what comes in a file is vouched for by the operator."""

    def __init__(
        self, database: Database, registry: Registry, ourselves: Ourselves, partners: Partners, *, is_sandbox: bool
    ) -> None:
        self._database = database
        self._registry = registry
        self._ourselves = ourselves
        self._partners = partners
        self._is_sandbox = is_sandbox

    def stage(self, replay_id: int, found: Iterable[Found]) -> Iterator[int]:
        """Lays by what was found, and tells how much that is so far. Raises DatabaseUnavailable."""
        number, last = 0, BEFORE_ALL
        for some in _together(found):
            rows: list[tuple[File, bytes | None]] = []
            for one in some:
                file, body = self._lay(one, number, last)
                last = file.sort_at or last
                rows.append((replace(file, sort_at=last), body))
                number += 1
            self._database.attempt(lambda connection, rows=rows: _add(connection, replay_id, rows))  # type: ignore[misc]
            yield number

    def _lay(self, found: Found, number: int, last: datetime) -> tuple[File, bytes | None]:
        name = found.name[-_LONGEST_NAME:]
        if found.problem:
            return File(number, name, last, None, None, found.problem), None
        try:
            message, given = self._read(found)
            known_as, own_ids = find_lane(message, self._ourselves.base_url)
        except Refused as refused:
            text = " ".join(issue.text for issue in refused.issues)
            return File(number, name, last, None, None, text), None
        except (KeyError, TypeError, ValueError):
            text = "What its export says beside it (wrapping, manner) cannot be used. Replay the message by itself."
            return File(number, name, last, None, None, text), None
        dialect = dialect_of(given.manner)
        arrival = arrival_of(self._registry, message, given, dialect)
        is_told = found.about is not None and found.about.partner == message.partner
        also = self._keys_of_other(message, given, is_exported=is_told)
        closes = not message.is_response and names_request(message)
        laid = Laid(replace(arrival, body=b""), tuple(own_ids), also, message.is_response, closes)
        at = found.about.received_at if found.about else _said_at(message)
        return File(number, name, at, b"".join(known_as) or None, laid.write(), None), found.body

    def _read(self, found: Found) -> tuple[Message, Submission]:
        """Raises Refused for what is no message, or no sender's that is known here."""
        about = found.about
        if about is None:
            return self._recognised(found)
        partner = self._partner_of(about)
        waiting = Waiting(
            id=0,
            lane="",
            sender=about.sender,
            event_code=about.event,
            media_type=found.media_type,
            body=found.body,
            reply_format=about.reply_format,
            reply_to=about.reply_to,
            later=about.later,
            wrapping=about.wrapping,
            partner=about.partner,
            manner=about.manner,
            recipient=about.recipient,
            received_at=about.received_at,
            attempts=0,
            due_at=about.received_at,
        )
        message, known = read_kept(waiting, self._partners)
        if partner is None and not self._is_sandbox and message.source_endpoint != CLOCK:
            self._check_known(known, message)
            assert known is not None
            message, known = read_kept(replace(waiting, partner=known.name, sender=known.sender), self._partners)
        if known is not None:
            self._check_known(known, message)
        later = about.later and not message.is_response
        given = Submission(
            body=found.body,
            media_type=found.media_type,
            reply_format=about.reply_format,
            reply_to=self._reply_to(known, about, message) if later else None,
            later=later,
            request_id=about.request_id,
            wrapping=about.wrapping,
            manner=about.manner,
            party=known.name if known else None,
        )
        return message, given

    def _partner_of(self, about: About) -> Partner | None:
        """The partner that had proved to be the sender, as an export says. Raises NotAMessage."""
        if about.received_at > datetime.now(UTC) + _AHEAD:
            raise NotAMessage(_issue("Its export says that it was received in the future. Look at the clocks."))
        if about.partner is None:
            return None
        partner = self._partners.called(about.partner)
        if partner is None:
            text = f"Its sender, {about.partner}, is not registered here: `fhir-gateway partners add`."
            raise NotAMessage(_issue(text))
        names = filter(None, (about.sender, *about.sender.split(" ", 1)))
        if self._partners.find(names) not in (None, partner):
            raise NotAMessage(_issue(f"Its export says that it is {partner.name}'s, and names another as its sender."))
        return partner

    def _reply_to(self, partner: Partner | None, about: About, message: Message) -> str | None:
        """Where its answer goes: an address that its sender might name now, else the one that is registered."""
        endpoint = message.source_endpoint
        try:
            return find_return_address(partner, about.reply_to, endpoint, loopback=self._is_sandbox)
        except NotAMessage:
            if partner is None or about.reply_to is None:
                raise
            return find_return_address(partner, None, endpoint)

    def _check_known(self, partner: Partner | None, message: Message) -> None:
        if partner is None:
            text = f"Its sender, {message.source_endpoint or 'which it does not name'}, is no partner here."
            raise NotAMessage(_issue(f"{text} Have it registered: `fhir-gateway partners add`."))
        if partner.state == "blocked":
            text = f"Its sender, {partner.name}, is blocked here: `fhir-gateway partners resume {partner.name}`."
            raise NotAMessage(_issue(text))

    def _recognised(self, found: Found) -> tuple[Message, Submission]:
        """A message without anything beside it, as that of the partner that it says it is from."""
        now = datetime.now(UTC)
        arrived = read_arrived(found.body, found.media_type, now, NOBODY, {}, self._partners)
        if arrived.partner is not None or not self._is_sandbox:
            self._check_known(arrived.partner, arrived.message)
        if arrived.partner is not None and not self._is_sandbox:
            identity = _as(arrived.partner)
            arrived = read_arrived(found.body, found.media_type, now, identity, {}, self._partners)
        message, partner = arrived.message, arrived.partner
        refuse_our_name(message)
        later = partner is not None and partner.reply == "later" and not message.is_response
        given = Submission(
            body=found.body,
            media_type=found.media_type,
            reply_format="xml" if "xml" in found.media_type else "json",
            reply_to=find_return_address(partner, None, message.source_endpoint) if later else None,
            later=later,
            request_id=message.bundle_id or message.quoted_id,
            manner=arrived.manner.write() if arrived.manner else None,
            party=partner.name if partner else None,
        )
        return message, given

    def _keys_of_other(self, message: Message, given: Submission, *, is_exported: bool) -> tuple[bytes, ...]:
        """The keys that a message has if its sender had proved who it is when it came, or had not.

        An export says which; without one, either may be how the same message is kept.
        """
        partner = self._partners.called(given.party) if given.party else None
        if is_exported or partner is None:
            return ()
        if message.partner is None:
            other = replace(message, sender=partner.sender, partner=partner.name)
        else:
            plain = read_arrived(given.body, given.media_type, message.received_at, NOBODY, {}, Partners())
            other = replace(message, sender=plain.message.sender, partner=None)
        keys = identity_keys(self._registry, other, given.manner, dialect_of(given.manner))
        return tuple(key for key in keys if key)


def _together(found: Iterable[Found]) -> Iterator[list[Found]]:
    """What is laid by at a time: so many, and not too large in all."""
    some: list[Found] = []
    size = 0
    for one in found:
        some.append(one)
        size += len(one.body)
        if len(some) == _AT_ONCE or size > _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _add(connection: Connection, replay_id: int, rows: list[tuple[File, bytes | None]]) -> None:
    replay_items.add_files(connection, replay_id, rows)


def _as(partner: Partner) -> Identity:
    return replace(NOBODY, partner=partner)


def _issue(text: str) -> Issue:
    return Issue("unknown", text)


def _said_at(message: Message) -> datetime | None:
    """`Bundle.timestamp`, or that of the header where a version has it there; None where it says nothing."""
    for said in (message.sent.get("timestamp"), message.bundle.get("timestamp"), _header(message).get("timestamp")):
        if isinstance(said, str):
            try:
                at = datetime.fromisoformat(said)
                at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
                return min(max(at, BEFORE_ALL), _AFTER_ALL)
            except (ValueError, OverflowError):
                continue
    return None


def _header(message: Message) -> dict[str, Any]:
    match message.sent:
        case {"entry": [{"resource": dict(header)}, *_]}:
            return header
        case _:
            return {}
