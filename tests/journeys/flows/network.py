"""The gateway and the partners registered with it: messages go in one by one, and what comes of each is looked up.

After each message these hold, whatever the journey: what is refused changes nothing and tells nobody; a partner is told
at most once, in the way it has registered for, of Tasks that it is a party of and of no others, in a Bundle in which
every reference leads somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway import Kept
from gateway.fhir import formats, json
from gateway.fhir.definitions import Version
from gateway.fhir.policy.model import Policy
from gateway.fhir.references import references_in, rewrite
from gateway.fhir.task.elements import REQUESTS
from gateway.partners import Partner, Partners, Subscription
from gateway.store.schema import message, outbox, resource, resource_version
from gateway.terms import Terms
from tests import validity
from tests.handlers import OURSELVES, Gateway, Reply
from tests.orders import header_of
from tests.terms import TERMS

if TYPE_CHECKING:
    from tests.journeys.flows.parties import Party

Resource = dict[str, Any]

REGISTRY = "http://registry.example/identifier/organization"
SUBSCRIBED = Subscription("http://subscriptions.example/orders", "http://topics.example/task", "full-resource")
_KINDS = {"message": "message", "subscription": "notification"}


def _partner(name: str, **told: Any) -> Partner:
    return Partner(name, (f"{REGISTRY}|{name}",), (f"urn:example:{name}",), **told)


PARTNERS = Partners(
    (
        _partner("hospital"),
        _partner("laboratory"),
        _partner("reference-laboratory"),
        _partner("phlebotomist", format="xml"),
        _partner("pharmacy"),
        _partner("second-pharmacy"),
        _partner("automatic-pharmacy", accepts_cancellation=True),
        _partner("coordinator"),
        _partner("facility-a", tell="subscription", subscription=SUBSCRIBED),
        _partner("facility-b"),
        _partner("home-care", tell="subscription", subscription=SUBSCRIBED, version="R5"),
        _partner("reader", tell="nothing"),
        _partner("outsider"),
    )
)


@dataclass(frozen=True)
class Named:
    """A resource that parties speak of, known to all by its business identifier."""

    network: Network = field(repr=False, compare=False)
    kind: str
    number: str

    @property
    def system(self) -> str:
        return f"http://identifiers.example/{self.kind}"

    @property
    def identifier(self) -> Resource:
        return {"system": self.system, "value": self.number}

    @property
    def is_kept(self) -> bool:
        return self.network.find(self) is not None

    @property
    def kept(self) -> Kept:
        found = self.network.find(self)
        assert found is not None, f"the gateway keeps no {self.kind} {self.number}"
        return found

    @property
    def content(self) -> Resource:
        return self.kept.resource

    @property
    def status(self) -> str:
        status: str = self.content["status"]
        return status

    @property
    def business_status(self) -> str:
        """The code of `businessStatus`."""
        code: str = self.content["businessStatus"]["coding"][0]["code"]
        return code

    @property
    def reason(self) -> Resource | None:
        reason: Resource | None = self.content.get("statusReason")
        return reason

    @property
    def outputs(self) -> list[Named]:
        """What `output` refers to, in its order."""
        return [self.network.at(output["valueReference"]) for output in self.content.get("output", [])]

    @property
    def history(self) -> list[tuple[str, str]]:
        """The status of each version, the first one first, and the name of the party whose message made it."""
        return self.network.history_of(self)


@dataclass(frozen=True)
class Effect:
    """What came of a message.

    `changed`: the Tasks and Requests of which it made a new version, and the status that they have now. `refused`: the
    code of each error. `outcomes`: the codes of what became of a request about an order.
    """

    code: str
    changed: Mapping[Named, str]
    told: frozenset[str]
    outcomes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    text: str = field(default="", compare=False)


def done(changed: Mapping[Named, str], *told: Party, outcome: str | None = None) -> Effect:
    """A message that was done, and so changed these and told these."""
    return Effect("ok", changed, frozenset(party.name for party in told), (outcome,) if outcome else ())


def refused(*codes: str, outcome: str | None = None) -> Effect:
    """A message that was refused, changed nothing, and told nobody."""
    return Effect("fatal-error", {}, frozenset(), (outcome,) if outcome else (), codes)


@dataclass(frozen=True)
class Told:
    """What a partner was told by one message: the resources in focus, and the Bundle."""

    party: str
    focus: tuple[Named, ...]
    bundle: Resource

    @property
    def resources(self) -> list[Resource]:
        return [entry["resource"] for entry in self.bundle["entry"] if "resource" in entry]

    def has(self, *named: Named) -> bool:
        """Whether all of these are in the Bundle."""
        sent = {(r["resourceType"], i.get("value")) for r in self.resources for i in _identifiers(r)}
        return {(one.kind, one.number) for one in named} <= sent

    def version_of(self, named: Named) -> Resource:
        """A resource as the partner was told of it."""
        return next(r for r in self.resources if {"value": named.number}.items() <= _first(r).items())


_NUMBERS = count(1)
_NUMBER = re.compile(rb"(?<=[A-Z]{4}-)\d+")


def _judge(content: bytes, version: Version | None = None) -> None:
    """Raises AssertionError when what is sent is not valid; what differs in its numbers alone is judged once."""
    validity.assert_valid(_NUMBER.sub(b"1", content), version)


class _Core(Gateway):
    def judge(self, content: bytes) -> None:
        _judge(content)


class Network:
    """A gateway between partners."""

    def __init__(self, url: str, policy: Policy = TERMS.policy) -> None:
        self._url = url
        self._gateway = _Core(url, Terms(policy, PARTNERS))
        self._engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        self.replies: list[Reply] = []
        self.told: dict[str, Told] = {}
        self.shows_all = True
        """Not so where a party refers to what it was never given: then that is only addressed."""

    def under(self, **changes: Any) -> Network:
        """The same network under another policy: `cow` with these changes."""
        self._gateway.close()
        self._gateway = _Core(self._url, Terms(replace(TERMS.policy, **changes), PARTNERS))
        return self

    def name(self, kind: str) -> Named:
        """A new resource to speak of."""
        return Named(self, kind, f"{kind[:4].upper()}-{next(_NUMBERS)}")

    def send(self, bundle: Resource) -> Effect:
        """What comes of a message; what each party was told of it is in `told`."""
        before = self._last_message()
        reply = self._gateway.send(bundle)
        message_id = self._last_message()
        assert message_id > before
        self.replies.append(reply)
        self.told = {one.party: one for one in self._told(message_id, bundle)}
        effect = Effect(
            reply.code,
            dict(self._changed(message_id)),
            frozenset(self.told),
            tuple(dict.fromkeys(_outcomes(reply))),
            tuple(_errors(reply)),
            reply.text,
        )
        if effect.code != "ok":
            assert not effect.changed, "what is refused changes nothing"
            assert not effect.told, "what is refused is nobody's business"
            assert all(issue["details"].get("text") for issue in reply.issues), "every refusal is explained"
        return effect

    def find(self, named: Named) -> Kept | None:
        return self._gateway.find(named.kind, (named.system, named.number))

    def at(self, reference: Resource) -> Named:
        """What a Reference in a kept resource means."""
        if "identifier" in reference:
            return Named(self, reference["type"], reference["identifier"]["value"])
        kind, _, resource_id = reference["reference"].removeprefix(f"{OURSELVES.base_url}/").partition("/")
        return self._named(kind, self._content(resource_id))

    def history_of(self, named: Named) -> list[tuple[str, str]]:
        rows = self._versions(named.kept.id)
        assert [row.version for row in rows] == [*range(1, len(rows) + 1)], "one history"
        return [(json.parse_own(row.content)["status"], _sender(json.parse(row.body))) for row in rows]

    def _versions(self, resource_id: str) -> Sequence[sa.Row[Any]]:
        """Each version of a resource, the first one first, with the message that made it."""
        versions = (
            sa.select(resource_version.c.version, resource_version.c.content, message.c.body)
            .join(message, message.c.id == resource_version.c.message_id)
            .where(resource_version.c.resource_id == resource_id)
            .order_by(resource_version.c.version)
        )
        with self._engine.connect() as connection:
            return connection.execute(versions).all()

    def close(self) -> None:
        self._gateway.close()
        self._engine.dispose()

    def _last_message(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(message.c.id), 0))).scalar_one())

    def _changed(self, message_id: int) -> Iterator[tuple[Named, str]]:
        written = (
            sa.select(resource.c.type, resource_version.c.content)
            .join(resource, resource.c.id == resource_version.c.resource_id)
            .where(resource_version.c.message_id == message_id, resource.c.type.in_(("Task", *REQUESTS)))
        )
        with self._engine.connect() as connection:
            rows = connection.execute(written).all()
        for kind, content in rows:
            kept = json.parse_own(content)
            yield self._named(kind, kept), kept["status"]

    def _told(self, message_id: int, sent: Resource) -> list[Told]:
        entries = sa.select(outbox).where(outbox.c.message_id == message_id, outbox.c.kind != "reply")
        with self._engine.connect() as connection:
            rows = connection.execute(entries.order_by(outbox.c.id)).mappings().all()
        found = [self._read(row, sent) for row in rows]
        assert len({one.party for one in found}) == len(found), "a party is told once of a message"
        assert _sender(sent) not in {one.party for one in found}, "a party is not told what it has said itself"
        return found

    def _read(self, row: Mapping[Any, Any], sent: Resource) -> Told:
        partner = next(partner for partner in PARTNERS.partners if partner.name == row["party"])
        assert row["kind"] == _KINDS[partner.tell]
        assert row["destination"] == partner.endpoints[0]
        assert row["format"] == partner.format
        assert row["state"] == "due"
        bundle, version = formats.parse_told(row["content"], partner.format, partner.version)
        assert version == partner.version
        _judge(row["content"], version)
        if partner.tell == "message":
            _check_forwarded(bundle, sent, partner)
        urls = {entry.get("fullUrl"): entry["resource"] for entry in bundle["entry"] if "resource" in entry}
        if self.shows_all:
            _check_references(urls)
        focus = [urls[url] for url in _focus(bundle)]
        assert focus, "a party is told of a Task"
        for task in (one for one in focus if one["resourceType"] == "Task"):
            as_told = rewrite(task, lambda reference: reference.removeprefix(f"{OURSELVES.base_url}/"))
            assert partner.version != "R4" or as_told == self._content(task["id"]), "a party is told what is kept"
            assert self._is_party(partner, task["id"]), f"{partner.name} has no part in the Task {_first(task)}"
        return Told(partner.name, tuple(self._named(one["resourceType"], one) for one in focus), bundle)

    def _is_party(self, partner: Partner, task_id: str) -> bool:
        """Whether a partner is or has been a party of a Task, or has made it."""
        versions = self._versions(task_id)
        contents = [json.parse_own(row.content) for row in versions]
        parties = (content.get(role, {}) for content in contents for role in ("requester", "owner"))
        named = {party.get("identifier", {}).get("value") for party in parties}
        return partner.name in named | {_sender(json.parse(versions[0].body))}

    def _content(self, resource_id: str) -> Resource:
        newest = (
            sa.select(resource_version.c.content)
            .where(resource_version.c.resource_id == resource_id)
            .order_by(resource_version.c.version.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            return json.parse_own(connection.execute(newest).scalar_one())

    def _named(self, kind: str, content: Resource) -> Named:
        return Named(self, kind, _first(content).get("value", ""))


def _check_forwarded(bundle: Resource, sent: Resource, partner: Partner) -> None:
    """A message that is passed on: the same event by the same author, from us to the partner, with ids of its own."""
    header, original = header_of(bundle), header_of(sent)
    assert bundle["type"] == "message"
    assert header["eventCoding"]["code"] == original["eventCoding"]["code"]
    assert header["source"]["endpoint"] == OURSELVES.endpoint
    assert [destination["endpoint"] for destination in header["destination"]] == [partner.endpoints[0]]
    assert header["sender"]["identifier"] == {"system": REGISTRY, "value": _sender(sent)}
    assert header["id"] != original["id"]
    assert bundle["id"] != sent["id"]


def _check_references(urls: Mapping[Any, Resource]) -> None:
    for source in urls.values():
        for path, reference in references_in(source):
            literal = reference.get("reference")
            is_elsewhere = literal is None or literal.startswith(("#", f"{OURSELVES.base_url}/Task/"))
            found = is_elsewhere or literal in urls or f"{OURSELVES.base_url}/{literal}" in urls
            is_subscription = literal == SUBSCRIBED.reference
            assert found or is_subscription, f"{source['resourceType']} {path} leads nowhere: {literal}"


def _focus(bundle: Resource) -> Iterable[str]:
    """The fullUrls of the Tasks that a Bundle is about."""
    first = bundle["entry"][0]["resource"]
    if first["resourceType"] == "MessageHeader":
        return [reference["reference"] for reference in first["focus"]]
    if first["resourceType"] == "SubscriptionStatus":
        return [event["focus"]["reference"] for event in first["notificationEvent"]]
    events = [parameter["part"] for parameter in first["parameter"] if parameter["name"] == "notification-event"]
    return [part["valueReference"]["reference"] for parts in events for part in parts if part["name"] == "focus"]


def _sender(sent: Resource) -> str:
    endpoint: str = header_of(sent)["source"]["endpoint"]
    return endpoint.rpartition(":")[2]


def _outcomes(reply: Reply) -> list[str]:
    codings = [coding for issue in reply.issues for coding in issue["details"].get("coding", [])]
    return [coding["code"] for coding in codings if coding["system"].startswith("urn:x-fhir-gateway:")]


def _errors(reply: Reply) -> list[str]:
    return [issue["code"] for issue in reply.issues if issue["severity"] in ("fatal", "error")]


def _identifiers(content: Resource) -> list[Resource]:
    found = content.get("identifier", [])
    return found if isinstance(found, list) else [found]


def _first(content: Resource) -> Resource:
    return next(iter(_identifiers(content)), {})
