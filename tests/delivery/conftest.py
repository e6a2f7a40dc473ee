"""An outbox with something due in it, and processes that deliver it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from gateway.addressees import Addressees
from gateway.delivery import Deliverer
from gateway.partners import Partner, Partners
from gateway.partners.model import Delivery
from gateway.store import circuits, dead_letters, outbox, schema
from gateway.store.circuits import Circuit
from gateway.store.database import Database
from gateway.store.dead_letters import Letter
from gateway.terms import Terms
from gateway.transport import Transport
from tests.delivery.receiver import Receiver
from tests.terms import TERMS

NAME = "Example Ward"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what no database makes a difference to."""


class Post:
    """The gateway's side: an outbox, and one process that delivers, called by hand."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transport = Transport(user_agent="gateway")
        self.partners: dict[str, Partner] = {}
        self.schedule: tuple[float, ...] = (0.0, 0.0, 0.0)
        self.lines: list[str] = []
        """For whom another line of calls was asked for."""
        self.logged: Sequence[Any] = []

    def current(self) -> Terms:
        return replace(TERMS, partners=Partners(tuple(self.partners.values())))

    def register(self, receiver: Receiver, name: str = NAME, **delivery: Any) -> None:
        """A partner at the receiver's address."""
        identifiers = (f"http://registry.example/organization|{name}",)
        kept = Delivery(**{"timeout": 5.0, **delivery})
        self.partners[name] = Partner(name, identifiers, (receiver.url,), delivery=kept)

    def deliverer(self, process: str = "process-1", **options: Any) -> Deliverer:
        addressees = Addressees(self, self.schedule, is_sandbox=True)
        return Deliverer(process, self.database, addressees, self.transport, ring=self.lines.append, **options)

    def put(self, lane: str, bundle_id: str, recipient: str = NAME, **values: Any) -> int:
        """Something due; its number."""
        content = orjson.dumps({"resourceType": "Basic", "id": bundle_id, "code": {"text": lane}})
        entry = outbox.Entry(
            message_id=None,
            kind="message",
            header_id=f"header-of-{bundle_id}",
            bundle_id=bundle_id,
            format="json",
            version="R4",
            content=content,
            state="due",
            created_at=datetime.now(UTC),
            lane=lane,
            recipient=recipient,
        )
        with self.database.transaction() as connection:
            return outbox.add(connection, replace(entry, **values))

    def change(self, entry_id: int, **values: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(sa.update(schema.outbox).where(schema.outbox.c.id == entry_id).values(values))

    def letter(self, entry_id: int) -> Letter:
        with self.database.reading() as connection:
            found = dead_letters.find(connection, entry_id)
        assert found
        return found

    def attempts(self, entry_id: int) -> list[tuple[int, str]]:
        with self.database.reading() as connection:
            return [(number, one.outcome) for number, one in dead_letters.attempts(connection, entry_id)]

    def alerts(self) -> list[str]:
        """What the operator was woken by: trouble, and its end."""
        wakes = ("delivery in trouble", "delivery has recovered")
        return [str(line["event"]) for line in self.logged if line["event"] in wakes]

    def circuit(self, name: str = NAME) -> Circuit | None:
        with self.database.reading() as connection:
            return circuits.find(connection, name)

    def pass_time(self, name: str = NAME) -> None:
        """Until the recipient may be called again, and what waits for its next attempt is due."""
        now = datetime.now(UTC)
        with self.database.transaction() as connection:
            held = sa.update(schema.circuit).where(schema.circuit.c.probe_at.is_not(None))
            connection.execute(held.values(probe_at=now))
            due = sa.update(schema.outbox).where(schema.outbox.c.state == "due", schema.outbox.c.recipient == name)
            connection.execute(due.values(due_at=now))


@pytest.fixture
def post(database: Database) -> Iterator[Post]:
    with capture_logs() as logged:
        opened = Post(database)
        opened.logged = logged
        yield opened
        opened.transport.close()
