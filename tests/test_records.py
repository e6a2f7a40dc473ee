"""Records: what is kept of a message, how it is found again, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from gateway import made
from gateway.errors import Conflict, Refused
from gateway.fhir.message import Message, Ourselves
from gateway.kept import Kept
from gateway.receiving import receive
from gateway.records import Records
from gateway.routing import Registry
from gateway.store import schema
from gateway.store.database import Database
from tests.senders import Sender, read, submission, task
from tests.terms import TERMS

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:p", "value": "1"}], "gender": "female"}
REQUEST = {"resourceType": "ServiceRequest", "identifier": [{"system": "urn:r", "value": "1"}], "status": "active"}
OWN_SYSTEM = "urn:x-fhir-gateway:open-cancellation-request"
T = TypeVar("T")


def take(database: Database, bundle: dict[str, Any], work: Callable[[Message, Records], T]) -> T:
    """What a handler does: work on the records of a received message, in one transaction."""
    message = read(bundle)
    received = receive(database, Registry(), OURSELVES, message, submission(bundle))
    with database.transaction() as connection:
        records = Records(message, connection, NOW, OURSELVES.base_url, TERMS)
        result = work(message, records)
        made.keep(connection, [records.made(received.message_id)])
    return result


def keep_focus(message: Message, records: Records) -> Kept:
    return records.keep(message.focus()[0])


def find_focus(message: Message, records: Records) -> Kept | None:
    return records.find(message.focus()[0])


def follow_focus(message: Message, records: Records) -> Kept | None:
    entry = message.focus()[0]
    return records.follow(entry.resource["focus"], entry)


def order(number: str = "1", **elements: Any) -> dict[str, Any]:
    """A Task about a Request for a Patient, who is known by an identifier."""
    request = REQUEST | {"_url": "urn:uuid:2", "subject": {"reference": "urn:uuid:3"}}
    patient = PATIENT | {"_url": "urn:uuid:3"}
    focus = task(number, focus={"reference": "urn:uuid:2"}, **{"for": {"reference": "urn:uuid:3"}}, **elements)
    return Sender().write("x", focus, others=(request, patient))


def versions(database: Database) -> dict[str, int]:
    with database.reading() as connection:
        rows = connection.execute(sa.select(schema.resource.c.type, schema.resource.c.version))
        return dict(rows.all())


def test_what_the_focus_refers_to_is_kept_with_it_and_refers_to_what_is_kept(database: Database) -> None:
    kept = take(database, order(), keep_focus)
    assert versions(database) == {"Task": 1, "ServiceRequest": 1, "Patient": 1}
    request = take(database, order(), lambda _m, records: records.get(*kept.resource["focus"]["reference"].split("/")))
    assert request.resource["subject"] == kept.resource["for"]
    assert kept.resource["id"] == kept.id
    assert kept.resource["meta"] == {"versionId": "1", "lastUpdated": "2026-01-02T00:00:00.000Z"}


def test_what_nothing_refers_to_is_not_kept(database: Database) -> None:
    take(database, Sender().write("x", task("1"), others=(PATIENT,)), keep_focus)
    assert versions(database) == {"Task": 1}


def test_the_same_content_makes_no_new_version(database: Database) -> None:
    kept = [take(database, order(), keep_focus) for _ in range(2)]
    assert kept[0].id == kept[1].id
    assert versions(database) == {"Task": 1, "ServiceRequest": 1, "Patient": 1}


def test_a_task_kept_before_is_found_by_any_of_its_identifiers(database: Database) -> None:
    a, b = {"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "1"}
    kept = take(database, Sender().write("x", task("", identifier=[a, b])), keep_focus)
    found = [
        take(database, Sender("http://other.example").write("x", task("", identifier=[one])), find_focus)
        for one in (a, b)
    ]
    assert [one and one.id for one in found] == [kept.id, kept.id]


def test_an_identifier_without_a_system_is_the_senders_own(database: Database) -> None:
    bundle = {"identifier": [{"value": "1"}]}
    kept = take(database, Sender("http://a.example").write("x", task("", **bundle)), keep_focus)
    assert take(database, Sender("http://b.example").write("x", task("", **bundle)), find_focus) is None
    found = take(database, Sender("http://a.example").write("x", task("", **bundle)), find_focus)
    assert found is not None
    assert found.id == kept.id


def test_identifiers_of_two_resources_are_refused(database: Database) -> None:
    for number in "12":
        take(database, Sender().write("x", task(number)), keep_focus)
    both = [identifier for number in "12" for identifier in task(number)["identifier"]]
    with pytest.raises(Refused) as refused:
        take(database, Sender().write("x", task("", identifier=both)), find_focus)
    assert refused.value.issues[0].code == "multiple-matches"


def test_a_reference_means_what_an_earlier_message_called_so(database: Database) -> None:
    address = "http://hospital.example/fhir/Task/7"
    kept = take(database, Sender().write("x", task("1", _url=address)), keep_focus)
    found = take(database, Sender().write("x", task("2", focus={"reference": f"{address}/_history/3"})), follow_focus)
    assert found is not None
    assert found.id == kept.id


def test_the_gateways_own_address_of_a_resource_means_what_it_keeps(database: Database) -> None:
    kept = take(database, order(), keep_focus)
    own = {"reference": f"{OURSELVES.base_url}/{kept.reference}"}
    bundle = Sender("http://pharmacy.example").write("x", task("2", focus=own))
    found = take(database, bundle, follow_focus)
    assert found is not None
    assert found.id == kept.id
    assert take(database, bundle, keep_focus).resource["focus"] == {"reference": kept.reference}


def test_another_senders_address_means_nothing(database: Database) -> None:
    take(database, Sender().write("x", task("1", _url="http://hospital.example/fhir/Task/7")), keep_focus)
    asking = Sender("http://b.example").write(
        "x", task("2", focus={"reference": "http://hospital.example/fhir/Task/7"})
    )
    assert take(database, asking, follow_focus) is None


def test_a_reference_by_identifier_means_the_kept_resource(database: Database) -> None:
    kept = take(database, Sender().write("x", task("1")), keep_focus)
    named = {"identifier": task("1")["identifier"][0]}
    for reference in (named, named | {"type": "Task"}):
        found = take(database, Sender("http://b.example").write("x", task("2", focus=reference)), follow_focus)
        assert found is not None
        assert found.id == kept.id


def test_an_address_used_again_for_another_task_means_the_later_one(database: Database) -> None:
    address = "http://hospital.example/fhir/Task/7"
    first, second = (take(database, Sender().write("x", task(n, _url=address)), keep_focus) for n in "12")
    assert first.id != second.id
    found = take(database, Sender().write("x", task("3", focus={"reference": address})), follow_focus)
    assert found is not None
    assert found.id == second.id


def test_what_another_party_created_is_referred_to_and_not_touched(database: Database) -> None:
    kept = take(database, order(), keep_focus)
    request = REQUEST | {"_url": "urn:uuid:2", "status": "revoked"}
    patient = PATIENT | {"_url": "urn:uuid:3", "gender": "male"}
    other = task("2", focus={"reference": "urn:uuid:2"}, **{"for": {"reference": "urn:uuid:3"}})
    bundle = Sender("http://pharmacy.example").write("x", other, others=(request, patient))
    assert take(database, bundle, keep_focus).resource["focus"] == kept.resource["focus"]
    assert (versions(database)["ServiceRequest"], versions(database)["Patient"]) == (1, 1)


def test_a_request_is_changed_by_the_party_that_created_it(database: Database) -> None:
    take(database, order(), keep_focus)
    changed = REQUEST | {"_url": "urn:uuid:2", "status": "revoked"}
    take(database, Sender().write("x", task("1", focus={"reference": "urn:uuid:2"}), others=(changed,)), keep_focus)
    assert versions(database)["ServiceRequest"] == 2


def test_two_entries_of_one_identifier_are_one_resource(database: Database) -> None:
    twice = (PATIENT | {"_url": "urn:uuid:3"}, PATIENT | {"_url": "urn:uuid:4"})
    focus = task("1", **{"for": {"reference": "urn:uuid:3"}}, requester={"reference": "urn:uuid:4"})
    kept = take(database, Sender().write("x", focus, others=twice), keep_focus)
    assert kept.resource["for"] == kept.resource["requester"]
    assert versions(database) == {"Task": 1, "Patient": 1}


def test_resources_that_refer_to_each_other_are_kept(database: Database) -> None:
    focus = task("1", _url="urn:uuid:1", focus={"reference": "urn:uuid:2"})
    request = REQUEST | {"_url": "urn:uuid:2", "basedOn": [{"reference": "urn:uuid:1"}, {"reference": "urn:uuid:2"}]}
    kept = take(database, Sender().write("x", focus, others=(request,)), keep_focus)
    assert versions(database) == {"Task": 1, "ServiceRequest": 1}
    assert kept.version == 1


def test_an_update_makes_a_version_and_reads_see_it_at_once(database: Database) -> None:
    kept = take(database, order(), keep_focus)

    def update(message: Message, records: Records) -> Kept:
        records.update(kept, kept.resource | {"status": "accepted"})
        return records.update(kept, records.get("Task", kept.id).resource | {"priority": "stat"})

    updated = take(database, order(), update)
    assert (updated.version, updated.resource["status"], updated.resource["priority"]) == (2, "accepted", "stat")
    assert versions(database)["Task"] == 2


def test_of_two_transactions_on_one_resource_the_later_conflicts(database: Database) -> None:
    kept = take(database, order(), keep_focus)

    def update(status: str) -> Callable[[Message, Records], Kept]:
        return lambda _message, records: records.update(kept, kept.resource | {"status": status})

    take(database, order(), update("accepted"))
    with pytest.raises(Conflict):
        take(database, order(), update("rejected"))


def test_what_is_not_kept_cannot_be_got(database: Database) -> None:
    with pytest.raises(KeyError):
        take(database, order(), lambda _message, records: records.get("Task", "none"))


def test_a_task_that_is_referred_to_and_not_kept_is_refused(database: Database) -> None:
    other = task("2", _url="urn:uuid:2")
    for element in ({"partOf": [{"reference": "urn:uuid:2"}]}, {"focus": {"reference": "urn:uuid:3"}}):
        request = REQUEST | {"_url": "urn:uuid:3", "basedOn": [{"reference": "urn:uuid:2"}]}
        bundle = Sender().write("x", task("1", **element), others=(other, request))
        with pytest.raises(Refused) as refused:
            take(database, bundle, keep_focus)
        [issue] = refused.value.issues
        assert (issue.code, issue.expression) == ("business-rule", "Bundle.entry[2].resource")
        assert "http://hospital.example/orders|2" in issue.text
    assert versions(database) == {}


def test_a_task_that_is_referred_to_may_be_kept_before_in_the_same_message(database: Database) -> None:
    part = task("2", _url="urn:uuid:2", partOf=[{"reference": "urn:uuid:1"}])
    bundle = Sender().write("x", task("1", _url="urn:uuid:1"), part)
    kept = take(database, bundle, lambda message, records: [records.keep(entry) for entry in message.focus()])
    assert kept[1].resource["partOf"] == [{"reference": kept[0].reference}]


def test_a_task_that_is_kept_already_is_referred_to_and_not_touched(database: Database) -> None:
    first = take(database, Sender().write("x", task("1")), keep_focus)
    copy = task("1", _url="urn:uuid:1", status="completed")
    part = task("2", partOf=[{"reference": "urn:uuid:1"}])
    kept = take(database, Sender().write("x", part, others=(copy,)), keep_focus)
    assert kept.resource["partOf"] == [{"reference": first.reference}]
    assert take(database, Sender().write("x", task("1")), find_focus) == first


def test_an_entry_that_what_is_kept_no_longer_refers_to_is_left_alone(database: Database) -> None:
    order = take(database, Sender().write("x", task("1")), keep_focus)
    named = {"reference": "urn:uuid:9", "identifier": task("1")["identifier"][0]}
    bundle = Sender().write("x", task("2", focus=named), others=(task("", identifier=[], _url="urn:uuid:9"),))

    def keep_meaning(message: Message, records: Records) -> Kept:
        entry = message.focus()[0]
        target = records.follow(entry.resource["focus"], entry)
        assert target is not None
        return records.keep(entry, entry.resource | {"focus": {"reference": target.reference}})

    assert take(database, bundle, keep_meaning).resource["focus"] == {"reference": order.reference}


@pytest.mark.parametrize("known", [False, True])
def test_two_entries_that_say_different_things_of_the_focus_are_refused(database: Database, known: bool) -> None:
    if known:
        take(database, Sender().write("x", task("1")), keep_focus)
    twin = task("1", _url="urn:uuid:2", status="completed")
    bundle = Sender().write("x", task("1", partOf=[{"reference": "urn:uuid:2"}]), others=(twin,))
    with pytest.raises(Refused) as refused:
        take(database, bundle, keep_focus)
    [issue] = refused.value.issues
    assert "Bundle.entry[1].resource and Bundle.entry[2].resource" in issue.text
    assert versions(database) == ({"Task": 1} if known else {})


def test_two_entries_that_say_different_things_of_a_patient_are_refused(database: Database) -> None:
    twice = (PATIENT | {"_url": "urn:uuid:3"}, PATIENT | {"_url": "urn:uuid:4", "gender": "male"})
    focus = task("1", **{"for": {"reference": "urn:uuid:3"}}, requester={"reference": "urn:uuid:4"})
    with pytest.raises(Refused):
        take(database, Sender().write("x", focus, others=twice), keep_focus)


def test_an_address_used_again_means_the_entry_of_the_bundle_and_nothing_older(database: Database) -> None:
    address = "http://hospital.example/fhir/Task/7"
    take(database, Sender().write("x", task("1", _url=address)), keep_focus)
    bundle = Sender().write("x", task("3", focus={"reference": address}), others=(task("2", _url=address),))
    assert take(database, bundle, follow_focus) is None


def test_what_the_gateway_keeps_for_itself_is_found_by_its_name_and_by_no_sender(database: Database) -> None:
    identifier = {"system": OWN_SYSTEM, "value": "x"}
    content = {"resourceType": "List", "identifier": [identifier], "status": "current", "mode": "working"}

    def keep_own(_message: Message, records: Records) -> Kept:
        assert records.find_own("List", "x") is None
        kept = records.keep_own("x", content)
        assert records.find_own("List", "x") == kept
        return kept

    own = take(database, Sender().write("x", task("1")), keep_own)
    assert take(database, Sender().write("x", task("1")), lambda _m, records: records.find_own("List", "x")) == own
    named = Sender().write("x", task("1", focus={"type": "List", "identifier": identifier}))
    assert take(database, named, follow_focus) is None
    meant = Sender().write(
        "x", task("1", focus={"reference": "urn:uuid:2"}), others=({**content, "_url": "urn:uuid:2"},)
    )
    assert take(database, meant, follow_focus) is None
    take(database, meant, keep_focus)
    assert take(database, order(), lambda _m, records: records.keep_own("x", content | {"title": "new"})).version == 2


def test_copies_of_what_another_party_created_may_differ(database: Database) -> None:
    take(database, order(), keep_focus)
    twice = (PATIENT | {"_url": "urn:uuid:3", "gender": "male"}, PATIENT | {"_url": "urn:uuid:4", "gender": "other"})
    focus = task("2", **{"for": {"reference": "urn:uuid:3"}}, requester={"reference": "urn:uuid:4"})
    kept = take(database, Sender("http://pharmacy.example").write("x", focus, others=twice), keep_focus)
    assert kept.resource["for"] == kept.resource["requester"]
    assert versions(database)["Patient"] == 1
