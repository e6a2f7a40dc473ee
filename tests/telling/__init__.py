"""A gateway that tells partners, and what they are told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.checking import Checking
from gateway.errors import Issue, Refused
from gateway.fhir import json
from gateway.fhir import message as fhir
from gateway.fhir.message import Message
from gateway.fhir.references import Entries
from gateway.partners import Partner, Partners, Subscription
from gateway.processing import Processor
from gateway.receiving import Received, receive
from gateway.records import Records
from gateway.routing import Handler, Registry, Reply
from gateway.settings import Settings
from gateway.store import schema
from gateway.store.database import Database
from gateway.terms import Terms
from tests.handlers import OURSELVES
from tests.senders import COW, Sender, read, submission, task
from tests.terms import TERMS

Resource = dict[str, Any]
Make = Callable[..., "Gateway"]
HOSPITAL = Partner("Hospital", ("urn:org|H",), ("http://hospital.example/fhir",))
PHARMACY = Partner("Pharmacy", ("urn:org|P",), ("http://pharmacy.example/fhir",))
OTHER = Partner("Other pharmacy", ("urn:org|Q",), ("http://other.example/fhir",))
SUBSCRIPTION = Subscription("https://pharmacy.example/Subscription/7", "http://topics.example/tasks")
FROM_HOSPITAL, FROM_PHARMACY, FROM_OTHER = (Sender(one.endpoints[0]) for one in (HOSPITAL, PHARMACY, OTHER))
PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:p", "value": "1"}], "gender": "female"}
REQUEST = {
    "resourceType": "ServiceRequest",
    "identifier": [{"system": "urn:r", "value": "1"}],
    "status": "active",
    "intent": "order",
    "code": {"text": "Potassium"},
    "subject": {"reference": "urn:uuid:3"},
    "requester": {"reference": "urn:uuid:4"},
}
DOCTOR = {"resourceType": "Practitioner", "identifier": [{"system": "urn:d", "value": "1"}]}


def named(partner: Partner) -> Resource:
    system, _, value = partner.identifiers[0].partition("|")
    return {"identifier": {"system": system, "value": value}}


def order(number: str = "1", status: str = "requested", **elements: Any) -> Resource:
    """The Task of an order of the hospital, which the pharmacy has."""
    code = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]}
    given = {"requester": named(HOSPITAL), "owner": named(PHARMACY), "code": code} | elements
    return task(number, status, **{name: value for name, value in given.items() if value is not None})


def whole_order(number: str = "1", **header: Any) -> Resource:
    """A new order with its Request, whose Patient and doctor are others' entries."""
    about = {"focus": {"reference": "urn:uuid:2"}, "for": {"reference": "urn:uuid:3"}}
    others = (REQUEST | {"_url": "urn:uuid:2"}, PATIENT | {"_url": "urn:uuid:3"}, DOCTOR | {"_url": "urn:uuid:4"})
    return FROM_HOSPITAL.write("x", order(number, **about), others=others, **header)


def keeps(message: Message, records: Records) -> Reply:
    """Keeps the Tasks in focus as they are sent, with whatever another has said of them before."""
    kept = []
    for entry in message.focus("Task"):
        known = records.find(entry)
        kept.append(records.keep(entry, (known.resource if known else {}) | records.localise(entry)))
    return Reply(tuple(kept))


def refuses(message: Message, records: Records) -> Reply:
    keeps(message, records)
    raise Refused(Issue("business-rule", "No."))


class Gateway:
    """Receives and processes messages with one handler, for the event `x`, among these partners."""

    def __init__(self, url: str, *partners: Partner, handler: Any = keeps) -> None:
        self.database = Database(url)
        self.registry = Registry()
        self.registry.add(Handler(fhir.Event(COW, "x"), "consequence", "X", ("Task",), handler, None))
        terms = Terms(TERMS.policy, Partners(partners))
        self.processor = Processor(self.database, self.registry, OURSELVES, Checking(Settings()), terms, ())

    def receive(self, bundle: Resource) -> Received:
        return receive(self.database, self.registry, OURSELVES, read(bundle), submission(bundle))

    def send(self, *bundles: Resource) -> list[str | None]:
        """Processes messages together; what became of them, in their order."""
        received = [self.receive(bundle) for bundle in bundles]
        processed = self.processor.process(self.processor.find_due([one.lane for one in received]))
        outcomes = {one.message_id: one.outcome for one in processed}
        return [outcomes.get(one.message_id) for one in received]

    @property
    def told(self) -> list[tuple[str, Resource]]:
        """Who was told, and what, in JSON, in the order of the outbox."""
        return [(row.party, json.parse(row.content)) for row in self.rows]

    @property
    def parties(self) -> list[str]:
        return [row.party for row in self.rows]

    @property
    def rows(self) -> Sequence[sa.Row[Any]]:
        with self.database.reading() as connection:
            found = sa.select(schema.outbox).where(schema.outbox.c.kind != "reply").order_by(schema.outbox.c.id)
            return connection.execute(found).all()


def header_of(bundle: Resource) -> Resource:
    header: Resource = bundle["entry"][0]["resource"]
    return header


def resources_in(bundle: Resource) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in bundle["entry"]]


def focus_of(bundle: Resource) -> list[Resource]:
    """The resources in focus of a message."""
    entries = Entries(bundle)
    header = next(iter(entries))
    found = [entries.resolve(reference["reference"], header) for reference in header.resource["focus"]]
    return [entry.resource for entry in found if entry is not None]


def unresolved(bundle: Resource) -> list[str]:
    """The references that lead neither to an entry of the Bundle nor to an address."""
    entries = Entries(bundle)
    literals = [(literal, entry) for entry in entries for literal in entries.literals(entry)]
    return [
        literal
        for literal, entry in literals
        if entries.resolve(literal, entry) is None and not literal.startswith(("http://", "https://", "#"))
    ]
