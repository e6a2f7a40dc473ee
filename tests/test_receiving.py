"""Receiving: each message is kept once, and a repeat is told from a clash."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import made
from gateway.errors import NotAMessage
from gateway.fhir import json
from gateway.fhir.lanes import lane_keys
from gateway.fhir.message import Event, Ourselves
from gateway.kept import Kept
from gateway.receiving import Received, receive
from gateway.records import Records
from gateway.routing import Category, Handler, Registry, Reply
from gateway.store import inbox, schema
from gateway.store.database import Database
from tests.senders import COW, Sender, new_id, read, submission, task
from tests.terms import TERMS

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")


def registry_with(category: Category) -> Registry:
    registry = Registry()
    handler = Handler(Event(COW, "x"), category, "X", ("Task",), lambda _message, _records: Reply(), None)
    registry.add(handler)
    return registry


CONSEQUENCE, NOTIFICATION = registry_with("consequence"), registry_with("notification")


def keep(database: Database, bundle: dict[str, Any], registry: Registry = CONSEQUENCE, **changes: Any) -> Received:
    return receive(database, registry, OURSELVES, read(bundle), submission(bundle, **changes))


def row_of(database: Database, received: Received) -> Any:
    with database.reading() as connection:
        return connection.execute(sa.select(schema.message).where(schema.message.c.id == received.message_id)).one()


def refusal_of(database: Database, received: Received) -> bytes:
    with database.reading() as connection:
        progress = inbox.get_progress(connection, received.message_id)
    assert (progress.state, progress.response_code) == ("done", "fatal-error")
    assert progress.content is not None
    return progress.content


def test_a_message_is_kept_byte_for_byte(database: Database) -> None:
    bundle = Sender().write("x", task("1"), header_id="h", bundle_id="b")
    body = b'{ "resourceType":"Bundle"  }'
    received = keep(database, bundle, body=body, media_type="application/fhir+json;charset=utf-8")
    row = row_of(database, received)
    assert received.kind == "new"
    assert (row.body, row.media_type) == (body, "application/fhir+json;charset=utf-8")
    assert (row.sender, row.bundle_id, row.header_id) == (Sender().endpoint, "b", "h")
    assert (row.event_system, row.event_code, row.state) == (COW, "x", "new")


def test_the_same_message_again_is_a_repeat(database: Database) -> None:
    bundle = Sender().write("x", task("1"))
    first, again = keep(database, bundle), keep(database, bundle)
    assert again.kind == "repeat"
    assert again.message_id == first.message_id


def test_the_same_ids_with_other_content_are_refused_and_kept(database: Database) -> None:
    first = keep(database, Sender().write("x", task("1"), header_id="h", bundle_id="b"))
    clash = Sender().write("x", task("2"), header_id="h", bundle_id="b")
    refused = keep(database, clash)
    assert refused.kind == "refused"
    assert refused.message_id != first.message_id
    outcome = json.parse(refusal_of(database, refused))["entry"][-1]["resource"]
    assert outcome["issue"][0]["code"] == "duplicate"
    assert "other content" in outcome["issue"][0]["details"]["text"]


def test_the_same_clash_again_gets_the_same_refusal(database: Database) -> None:
    keep(database, Sender().write("x", task("1"), header_id="h", bundle_id="b"))
    clash = Sender().write(
        "x",
        task("2"),
        header_id="h",
        bundle_id="b",
    )
    assert refusal_of(database, keep(database, clash)) == refusal_of(database, keep(database, clash))


def test_a_bundle_id_used_with_another_header_is_refused(database: Database) -> None:
    keep(database, Sender().write("x", task("1"), bundle_id="b"))
    refused = keep(database, Sender().write("x", task("1"), bundle_id="b"))
    assert b"was used before" in refusal_of(database, refused)


def test_a_consequence_submitted_again_in_a_new_bundle_is_a_repeat(database: Database) -> None:
    bundle = Sender().write("x", task("1"))
    first, again = (
        keep(database, bundle),
        keep(database, bundle | {"id": new_id(), "timestamp": "2027-01-01T00:00:00Z"}),
    )
    assert (again.kind, again.message_id) == ("repeat", first.message_id)


def test_a_notification_submitted_again_in_a_new_bundle_is_processed_again(database: Database) -> None:
    bundle = Sender().write("x", task("1"))
    first, again = (keep(database, bundle | {"id": bundle_id}, NOTIFICATION) for bundle_id in ("b-1", "b-2"))
    assert (first.kind, again.kind) == ("new", "new")
    assert keep(database, bundle | {"id": "b-2"}, NOTIFICATION) == Received(again.message_id, "repeat", again.lane)


def test_without_a_bundle_id_the_header_alone_makes_a_repeat(database: Database) -> None:
    bundle = Sender().write("x", task("1"))
    del bundle["id"]
    assert [keep(database, bundle, NOTIFICATION).kind for _ in range(2)] == ["new", "repeat"]


def test_ids_are_each_senders_own(database: Database) -> None:
    messages = [Sender(f"http://{name}.example").write("x", task("1"), header_id="h", bundle_id="b") for name in "ab"]
    assert [keep(database, message).kind for message in messages] == ["new", "new"]


def test_of_a_hundred_at_once_one_is_new(database: Database) -> None:
    bundle = Sender().write("x", task("1"))
    with ThreadPoolExecutor(16) as pool:
        received = list(pool.map(lambda _: keep(database, bundle), range(100)))
    assert sorted(one.kind for one in received) == ["new"] + ["repeat"] * 99
    assert len({one.message_id for one in received}) == 1


def test_of_clashing_messages_at_once_one_is_new_and_the_others_are_refused(database: Database) -> None:
    clashing = [Sender().write("x", task(str(n)), header_id="h", bundle_id="b") for n in range(20)]
    with ThreadPoolExecutor(8) as pool:
        kinds = sorted(one.kind for one in pool.map(lambda bundle: keep(database, bundle), clashing))
    assert kinds == ["new"] + ["refused"] * 19


def test_a_response_is_kept_and_needs_no_processing(database: Database) -> None:
    bundle = Sender().write("x", task("1"), response={"identifier": "h", "code": "ok"})
    received = keep(database, bundle)
    assert received.kind == "response"
    assert row_of(database, received).state == "done"


def test_a_response_that_clashes_is_kept_and_not_answered(database: Database) -> None:
    response = {"identifier": "h", "code": "ok"}
    keep(database, Sender().write("x", task("1"), header_id="h", bundle_id="b", response=response))
    clash = keep(database, Sender().write("x", task("2"), header_id="h", bundle_id="b", response=response))
    assert clash.kind == "refused"
    with database.reading() as connection:
        progress = inbox.get_progress(connection, clash.message_id)
    assert (progress.state, progress.content) == ("done", None)


def test_messages_about_one_task_share_a_lane_by_any_of_its_identifiers(database: Database) -> None:
    a, b = {"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "1"}
    lanes = [
        keep(database, Sender(f"http://{n}.example").write("x", task("", identifier=identifiers))).lane
        for n, identifiers in enumerate([[a], [b, a], [b]])
    ]
    assert len(set(lanes)) == 1


def test_messages_about_different_tasks_have_different_lanes(database: Database) -> None:
    assert len({keep(database, Sender().write("x", task(number))).lane for number in ("1", "2")}) == 2


def test_a_cancellation_is_in_the_lane_of_the_order_it_cancels(database: Database) -> None:
    order = keep(database, Sender().write("x", task("1")))
    identifier = {"system": "http://hospital.example/orders", "value": "1"}
    by_identifier = task("c-1", focus={"type": "Task", "identifier": identifier})
    inside = task("1", _url="urn:uuid:77")
    by_reference = task("c-2", focus={"reference": "urn:uuid:77"})
    lanes = {
        keep(database, Sender().write("x", by_identifier)).lane,
        keep(database, Sender().write("x", by_reference, others=(inside,))).lane,
    }
    assert lanes == {order.lane}


def test_a_sender_may_name_a_task_by_its_own_address(database: Database) -> None:
    address = "http://hospital.example/fhir/Task/7"
    order = keep(database, Sender().write("x", task("1", _url=address)))
    cancellation = keep(database, Sender().write("x", task("c-1", focus={"reference": address})))
    assert cancellation.lane == order.lane


def test_messages_without_a_task_are_in_their_senders_lane(database: Database) -> None:
    received = [keep(database, Sender(f"http://{name}.example").write("x")) for name in "aab"]
    assert received[0].lane == received[1].lane != received[2].lane


@pytest.mark.parametrize("focus", [None, "x", [7], [{"reference": 7}], [{"identifier": "x"}], [{"reference": "#"}]])
def test_odd_focuses_give_no_lane_keys(focus: Any) -> None:
    assert lane_keys(read(Sender().write("x", focus=focus))) == []


def kept_task(database: Database, bundle: dict[str, Any]) -> tuple[Received, Kept]:
    """A received message, and its Task as its handler would keep it."""
    message = read(bundle)
    received = keep(database, bundle)
    with database.transaction() as connection:
        records = Records(message, connection, message.received_at, OURSELVES.base_url, TERMS)
        kept = records.keep(message.focus()[0])
        made.keep(connection, [records.made(received.message_id)])
    return received, kept


@pytest.mark.parametrize("end", ["", "/_history/1"])
@pytest.mark.parametrize("identifier", [{"value": "1"}, {"system": "http://hospital.example/orders", "value": "1"}])
def test_a_task_may_be_named_by_the_address_it_has_in_our_replies(
    database: Database, identifier: dict[str, str], end: str
) -> None:
    placed, order = kept_task(database, Sender().write("x", task("", identifier=[identifier])))
    address = f"{OURSELVES.base_url}/{order.reference}{end}"
    other = Sender("http://pharmacy.example/fhir")
    copy = task("", identifier=[], _url=address)
    lanes = {
        keep(database, other.write("x", task("c-1", focus={"reference": address}))).lane,
        keep(database, other.write("x", task("c-2", focus={"reference": address}), others=(copy,))).lane,
    }
    assert lanes == {placed.lane}


@pytest.mark.parametrize("name", ["Task/none", "Task/\x00", "Task/", "Patient/1", "Task/1/2", ""])
def test_an_address_of_ours_that_nothing_has_is_no_hindrance(database: Database, name: str) -> None:
    focus = {"reference": f"{OURSELVES.base_url}/{name}"}
    assert keep(database, Sender().write("x", task("1", focus=focus))).kind == "new"


def test_an_entry_without_identifier_is_known_by_that_of_the_reference_to_it(database: Database) -> None:
    order = keep(database, Sender().write("x", task("1")))
    named = {"reference": "urn:uuid:9", "identifier": task("1")["identifier"][0]}
    unnamed = task("", identifier=[], _url="urn:uuid:9")
    asked = keep(database, Sender().write("x", task("c-1", focus=named), others=(unnamed,)))
    assert asked.lane == order.lane


def test_identifiers_of_the_gateway_itself_give_no_lane_keys() -> None:
    own = {"system": "urn:x-fhir-gateway:x", "value": "1"}
    focus = {"type": "Task", "identifier": own}
    assert lane_keys(read(Sender().write("x", task("", identifier=[own], focus=focus)))) == []


def test_a_message_about_too_much_at_once_is_refused(database: Database) -> None:
    many = [{"system": "urn:a", "value": str(number)} for number in range(101)]
    about_one = Sender().write("x", task("", identifier=many))
    about_the_same = Sender().write("x", task("1"), focus=[{"reference": "urn:uuid:1"}] * 101)
    for bundle in (about_one, about_the_same):
        with pytest.raises(NotAMessage) as refused:
            keep(database, bundle)
        assert "at most 100" in refused.value.issues[0].text
    assert keep(database, Sender().write("x", task("", identifier=many[:100]))).kind == "new"
