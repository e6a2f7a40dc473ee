"""What is written can be searched for, as it is now; and a handler finds what its own message has written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from gateway import Kept, Records, indexed
from gateway.errors import Refused
from gateway.fhir import json
from gateway.fhir.message import Message
from gateway.fhir.search import creator_tokens, parse, tokens_of
from gateway.kept import kept_of
from gateway.store import resources, schema, searching
from gateway.store.database import Database
from gateway.store.resources import Row
from tests.handlers import HOSPITAL, OURSELVES, Gateway, message
from tests.test_records import OWN_SYSTEM, order, take

ORDER = f"{HOSPITAL}/order|ORD-1001"


@pytest.fixture
def gateway(database_url: str) -> Iterator[Gateway]:
    made = Gateway(database_url)
    yield made
    made.close()


def find(database: Database, kind: str, *pairs: tuple[str, str]) -> list[Row]:
    with database.reading() as connection:
        return searching.find_page(connection, parse(kind, pairs, OURSELVES.base_url)).rows


def row_of(database: Database, resource_id: str) -> sa.Row[tuple[int, str]]:
    columns = schema.resource.c.number, schema.resource.c.updated_at, schema.resource.c.version
    with database.reading() as connection:
        return connection.execute(sa.select(*columns).where(schema.resource.c.id == resource_id)).one()


def test_what_changes_is_found_by_what_it_says_now(gateway: Gateway, database: Database) -> None:
    gateway.send_all("new-order__prescription")
    [before] = find(database, "Task", ("identifier", ORDER), ("status", "requested"))
    first = row_of(database, before.id)
    gateway.send_all("order-update__accepted")
    assert find(database, "Task", ("identifier", ORDER), ("status", "requested")) == []
    [after] = find(database, "Task", ("identifier", ORDER), ("status", "accepted"))
    last = row_of(database, after.id)
    assert (after.id, last.number, last.version) == (before.id, first.number, 2)
    assert last.updated_at > first.updated_at
    with database.reading() as connection:
        kept = connection.scalars(
            sa.select(schema.search_key.c.digest).where(schema.search_key.c.number == last.number)
        )
        assert {bytes(digest) for digest in kept} == tokens_of(json.parse_own(after.content)).union(
            creator_tokens("Task", after.sender.split(" ", 1))
        )


def test_a_request_is_found_by_its_patients_identifier(gateway: Gateway, database: Database) -> None:
    gateway.send_all("new-order__prescription")
    [task] = find(database, "Task")
    patient = message("new-order__prescription")["entry"]
    [identifier] = [
        identifier
        for entry in patient
        if entry["resource"]["resourceType"] == "Patient"
        for identifier in entry["resource"]["identifier"][:1]
    ]
    named = f"{identifier['system']}|{identifier['value']}"
    assert [row.id for row in find(database, "Task", ("patient:identifier", named))] == [task.id]
    assert len(find(database, "MedicationRequest", ("patient:identifier", named), ("status", "active"))) == 1


def test_a_later_resource_has_a_higher_number(database: Database) -> None:
    for number in ("1", "2"):
        take(database, order(number), lambda message, records: records.keep(message.focus()[0]))
    found = find(database, "Task")
    assert [row.number for row in found] == sorted((row.number for row in found), reverse=True)
    assert len({row.number >> 20 for row in found}) == 2


def test_a_message_finds_what_it_has_written_and_what_was_there(database: Database) -> None:
    first = take(database, order("1"), lambda message, records: records.keep(message.focus()[0]))
    request = first.resource["focus"]["reference"]

    def work(message: Message, records: Records) -> list[list[Kept]]:
        kept = records.keep(message.focus()[0])
        both = records.find_by("Task", "focus", request)
        records.update(both[1], {name: value for name, value in both[1].resource.items() if name != "focus"})
        alone = records.find_by("Task", "focus", request)
        return [[kept], both, alone, records.find_by("Task", "focus", "ServiceRequest/none")]

    [kept], both, alone, none = take(database, order("2"), work)
    assert [one.id for one in both] == [kept.id, first.id]
    assert [one.id for one in alone] == [kept.id]
    assert none == []
    assert [row.id for row in find(database, "Task", ("focus", request))] == [kept.id]


def test_very_many_are_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed, "MOST", 1)
    for number in ("1", "2"):
        take(database, order(number), lambda message, records: records.keep(message.focus()[0]))
    with pytest.raises(Refused, match="too many"):
        take(database, order("3"), lambda message, records: records.find_by("Task", "intent", "order"))


def test_what_the_gateway_notes_for_itself_is_not_found(database: Database) -> None:
    note = {"resourceType": "Task", "status": "ready", "identifier": [{"system": OWN_SYSTEM, "value": "1"}]}
    own = take(database, order(), lambda message, records: records.keep_own("a name", note))
    assert find(database, "Task", ("identifier", f"{OWN_SYSTEM}|1")) == []
    assert own.id not in {row.id for row in find(database, "Task")}
    with database.reading() as connection:
        row = resources.find(connection, "Task", own.id)
        assert row is not None
        assert kept_of(row) == own


def test_what_a_message_names_by_our_address_is_found_there(database: Database) -> None:
    first = take(database, order("1"), lambda message, records: records.keep(message.focus()[0]))
    bundle = order("2")
    focus = bundle["entry"][0]["resource"]["focus"][0]
    bundle["entry"][1]["fullUrl"] = focus["reference"] = f"{OURSELVES.base_url}/Task/{first.id}"
    found = take(database, bundle, lambda message, records: records.find(message.focus()[0]))
    assert found == first
