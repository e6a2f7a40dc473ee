"""A gateway that tells partners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.checking import Checking
from gateway.errors import Issue, Refused
from gateway.fhir import json
from gateway.fhir import message as fhir
from gateway.fhir.message import Message
from gateway.fhir.references import Resource
from gateway.partners import Partner, Partners
from gateway.processing import Processor
from gateway.receiving import Received, receive
from gateway.records import Records
from gateway.routing import Handler, Registry, Reply
from gateway.settings import Settings
from gateway.store import schema
from gateway.store.database import Database
from gateway.terms import Terms
from tests.handlers import OURSELVES
from tests.senders import COW, read, submission
from tests.terms import TERMS

Make = Callable[..., "Gateway"]


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
