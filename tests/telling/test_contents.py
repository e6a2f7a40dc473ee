"""What a partner is told: the Tasks in focus with all that they refer to, valid in its version and format."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway import telling
from gateway.fhir import formats
from gateway.fhir import message as fhir
from gateway.fhir.definitions import Version
from gateway.fhir.message import Message
from gateway.fhir.references import Resource, references_in
from gateway.kept import Kept
from gateway.records import Records
from gateway.routing import Handler, Reply
from tests import validity
from tests.handlers import OURSELVES
from tests.senders import COW, task
from tests.telling.bundles import focus_of, header_of, resources_in, unresolved
from tests.telling.gateways import Make, keeps
from tests.telling.orders import PATIENT, REQUEST, order, whole_order
from tests.telling.parties import FROM_HOSPITAL, FROM_OTHER, FROM_PHARMACY, HOSPITAL, OTHER, PHARMACY, named


def test_the_fulfiller_is_told_of_a_new_order_with_all_it_refers_to(make: Make) -> None:
    gateway = make()
    reason = {"coding": [{"system": "urn:reasons", "code": "a"}]}
    bundle = whole_order(sender=named(HOSPITAL), responsible=named(HOSPITAL), reason=reason)
    assert gateway.send(bundle) == ["ok"]
    [(party, told)] = gateway.told
    assert party == "Pharmacy"
    header = header_of(told)
    assert header["eventCoding"] == header_of(bundle)["eventCoding"]
    assert header["source"] == {"name": OURSELVES.name, "endpoint": OURSELVES.endpoint}
    [destination] = header["destination"]
    assert destination["endpoint"] == PHARMACY.endpoints[0]
    assert destination["receiver"]["identifier"] == named(PHARMACY)["identifier"]
    assert (header["sender"], header["responsible"], header["reason"]) == (named(HOSPITAL), named(HOSPITAL), reason)
    assert header["id"] != header_of(bundle)["id"]
    assert told["id"] != bundle["id"]
    assert resources_in(told) == ["MessageHeader", "Task", "ServiceRequest", "Patient", "Practitioner"]
    assert [focus["resourceType"] for focus in focus_of(told)] == ["Task"]
    assert unresolved(told) == []
    assert all(entry["fullUrl"].startswith(OURSELVES.base_url) for entry in told["entry"][1:])


def test_of_what_refers_to_too_much_the_rest_is_named_by_its_address(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "MOST_RESOURCES", 3)
    gateway = make()
    gateway.send(whole_order())
    [(_, told)] = gateway.told
    assert resources_in(told) == ["MessageHeader", "Task", "ServiceRequest", "Patient"]
    doctor = told["entry"][2]["resource"]["requester"]["reference"]
    assert doctor.startswith(f"{OURSELVES.base_url}/Practitioner/")
    assert unresolved(told) == []


def test_a_task_that_asks_about_an_order_is_told_with_the_order_beside_it(make: Make) -> None:
    gateway = make()
    gateway.send(whole_order())
    code = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]}
    asking = order("2", code=code, focus={"type": "Task", "identifier": task("1")["identifier"][0]})

    def asks(message: Message, records: Records) -> Reply:
        entry = message.focus("Task")[0]
        target = records.follow(entry.resource["focus"], entry)
        assert target is not None
        request = records.keep(entry, records.localise(entry) | {"focus": {"reference": target.reference}})
        return Reply((request, target))

    make(handler=asks).send(FROM_HOSPITAL.write("x", asking))
    told = gateway.told[-1][1]
    assert [one["identifier"][0]["value"] for one in focus_of(told)] == ["2"]
    assert [entry["resource"]["identifier"][0]["value"] for entry in told["entry"][1:3]] == ["2", "1"]
    assert unresolved(told) == []


def test_who_is_no_party_of_the_task_that_was_sent_is_told_of_its_own_that_changed(make: Make) -> None:
    gateway = make()
    gateway.send(FROM_HOSPITAL.write("x", order("1", owner=named(OTHER))))

    def changes_another(message: Message, records: Records) -> Reply:
        reply = keeps(message, records)
        other = records.follow({"type": "Task", "identifier": task("1")["identifier"][0]}, message.focus()[0])
        assert other is not None
        return Reply((*reply.focus, records.update(other, other.resource | {"status": "cancelled"})))

    make(handler=changes_another).send(FROM_HOSPITAL.write("x", order("2")))
    told = {party: [one["identifier"][0]["value"] for one in focus_of(bundle)] for party, bundle in gateway.told[1:]}
    assert told == {"Other pharmacy": ["1"], "Pharmacy": ["2"]}


def test_of_what_is_no_task_the_parties_of_the_tasks_it_concerns_are_told_beside_these(make: Make) -> None:
    gateway = make()
    gateway.send(whole_order("1"))

    def keeps_request(message: Message, records: Records) -> Reply:
        request = records.keep(message.focus("ServiceRequest")[0])
        return Reply((request, *records.find_by("Task", "focus", request.reference)))

    gateway.registry.add(Handler(fhir.Event(COW, "y"), "consequence", "Y", ("ServiceRequest",), keeps_request, None))
    about = {"subject": {"identifier": PATIENT["identifier"][0]}, "requester": None, "priority": "urgent"}
    changed = {name: value for name, value in (REQUEST | about).items() if value}
    assert gateway.send(FROM_HOSPITAL.write("y", changed)) == ["ok"]
    [_, (party, told)] = gateway.told
    assert party == "Pharmacy"
    assert [one["resourceType"] for one in focus_of(told)] == ["Task"]
    assert next(e["resource"] for e in told["entry"] if "ServiceRequest" in e["fullUrl"])["priority"] == "urgent"


def test_what_is_about_a_task_of_others_is_not_shown(make: Make) -> None:
    gateway = make()

    def keeps_referring(message: Message, records: Records) -> Reply:
        first, second = [records.keep(entry, records.localise(entry)) for entry in message.focus("Task")]
        others = [entry for entry in message.entries if entry.resource["resourceType"] == "Communication"]
        return Reply((first, second, *map(records.keep, others)))

    mine = order("1") | {"_url": "urn:uuid:1"}
    others = order("2", owner=named(OTHER)) | {"_url": "urn:uuid:2"}
    about = {"resourceType": "Communication", "status": "completed", "partOf": [{"reference": "urn:uuid:1"}]}
    make(handler=keeps_referring).send(FROM_HOSPITAL.write("x", mine, others, others=(about,)))
    assert {party: resources_in(told) for party, told in gateway.told} == {
        "Pharmacy": ["MessageHeader", "Task", "Communication"],
        "Other pharmacy": ["MessageHeader", "Task"],
    }


def test_a_task_of_others_is_not_shown_with_one_that_refers_to_it(make: Make) -> None:
    gateway = make()
    gateway.send(FROM_HOSPITAL.write("x", order("1")))
    part = order("2", owner=named(OTHER), partOf=[{"identifier": task("1")["identifier"][0], "type": "Task"}])

    def keeps_part(message: Message, records: Records) -> Reply:
        entry = message.focus("Task")[0]
        whole = records.follow(entry.resource["partOf"][0], entry)
        assert whole is not None
        return Reply((records.keep(entry, entry.resource | {"partOf": [{"reference": whole.reference}]}),))

    make(handler=keeps_part).send(FROM_HOSPITAL.write("x", part))
    party, told = gateway.told[-1]
    assert party == "Other pharmacy"
    assert resources_in(told) == ["MessageHeader", "Task"]
    [whole] = focus_of(told)[0]["partOf"]
    assert whole["reference"].startswith(f"{OURSELVES.base_url}/Task/")


def specimen(*identifiers: Resource) -> Resource:
    return {"resourceType": "Specimen", "identifier": list(identifiers), "subject": {"reference": "urn:uuid:3"}}


BARCODE, OF_ITS_OWN = {"system": "urn:barcodes", "value": "1"}, {"value": "1"}


@pytest.mark.parametrize("led_nowhere", [{}, {"reference": "urn:uuid:9"}])
@pytest.mark.parametrize("identifier", [BARCODE, OF_ITS_OWN])
def test_what_is_named_by_its_identifier_alone_is_told_too(
    make: Make, identifier: Resource, led_nowhere: Resource
) -> None:
    gateway = make()
    kept = specimen(identifier) | {"_url": "urn:uuid:5"}
    gateway.send(
        FROM_HOSPITAL.write(
            "x", order("1", focus={"reference": "urn:uuid:5"}), others=(kept, PATIENT | {"_url": "urn:uuid:3"})
        )
    )
    named_so = {"type": "Specimen", "identifier": identifier} | led_nowhere
    gateway.send(FROM_HOSPITAL.write("x", order("2", focus=named_so, owner=named(OTHER))))
    party, told = gateway.told[-1]
    assert party == "Other pharmacy"
    assert resources_in(told) == ["MessageHeader", "Task", "Specimen", "Patient"]


def test_what_this_message_has_made_is_found_by_its_identifier_too(make: Make) -> None:
    gateway = make()
    parts = (
        specimen(BARCODE) | {"_url": "urn:uuid:5", "parent": [{"type": "Specimen", "identifier": OF_ITS_OWN}]},
        specimen(OF_ITS_OWN) | {"_url": "urn:uuid:6"},
        PATIENT | {"_url": "urn:uuid:3"},
    )

    def keeps_all(message: Message, records: Records) -> Reply:
        reply = keeps(message, records)
        for entry in message.entries:
            if entry.resource["resourceType"] == "Specimen":
                records.keep(entry)
        return reply

    make(handler=keeps_all).send(FROM_HOSPITAL.write("x", order(focus={"reference": "urn:uuid:5"}), others=parts))
    [(_, told)] = gateway.told
    assert sorted(resources_in(told)) == ["MessageHeader", "Patient", "Specimen", "Specimen", "Task"]


def test_an_identifier_without_a_system_is_nobody_elses(make: Make) -> None:
    gateway = make()
    kept = specimen(OF_ITS_OWN) | {"_url": "urn:uuid:5"}
    gateway.send(FROM_HOSPITAL.write("x", order("1", focus={"reference": "urn:uuid:5"}), others=(kept,)))
    named_so = {"type": "Specimen", "identifier": OF_ITS_OWN}
    gateway.send(FROM_OTHER.write("x", order("2", focus=named_so, requester=named(OTHER))))
    gateway.send(FROM_HOSPITAL.write("x", order("3")))
    output = [{"type": {"text": "specimen"}, "valueReference": named_so}]
    gateway.send(FROM_PHARMACY.write("x", order("3", "accepted", output=output)))
    assert [resources_in(told) for _, told in gateway.told[1:]] == [["MessageHeader", "Task"]] * 3


def test_what_the_order_was_about_from_the_beginning_is_found_by_the_placers_own_identifiers(make: Make) -> None:
    gateway = make()
    kept = specimen(OF_ITS_OWN) | {"_url": "urn:uuid:5"}
    gateway.send(FROM_HOSPITAL.write("x", order("1", focus={"reference": "urn:uuid:5"}), others=(kept,)))
    gateway.send(FROM_HOSPITAL.write("x", order("2", focus={"type": "Specimen", "identifier": OF_ITS_OWN})))
    gateway.send(FROM_PHARMACY.write("x", order("2", "accepted", focus={"type": "Specimen", "identifier": OF_ITS_OWN})))
    assert resources_in(gateway.told[-1][1]) == ["MessageHeader", "Task", "Specimen"]


def test_a_reference_that_led_nowhere_says_no_more_than_what_it_was(make: Make) -> None:
    gateway = make()
    elements = {"for": {"reference": "urn:uuid:9"}, "encounter": {"reference": "Encounter/7", "display": "Ward 3"}}
    gateway.send(FROM_HOSPITAL.write("x", order(**elements)))
    [told] = focus_of(gateway.told[0][1])
    assert (told["for"], told["encounter"]) == ({"display": "urn:uuid:9"}, {"display": "Ward 3"})


@pytest.mark.parametrize("format_", ["json", "xml"])
@pytest.mark.parametrize("version", ["R4", "R4B", "R5", "STU3"])
def test_a_partner_is_told_in_its_version_and_format(make: Make, version: Version, format_: Any) -> None:
    gateway = make(HOSPITAL, replace(PHARMACY, version=version, format=format_))
    gateway.send(whole_order(sender=named(HOSPITAL)))
    [row] = gateway.rows
    assert (formats.guess(row.content), row.format) == (format_, format_)
    validity.assert_valid(row.content, version)
    told, _ = formats.parse_told(row.content, format_, version)
    assert "Practitioner" in resources_in(told)
    assert unresolved(told) == []


def test_what_is_told_is_what_was_kept(make: Make) -> None:
    gateway = make()
    kept: list[Kept] = []

    def keeps_and_shows(message: Message, records: Records) -> Reply:
        reply = keeps(message, records)
        kept.extend(reply.focus)
        return reply

    make(handler=keeps_and_shows).send(whole_order())
    [task_told] = focus_of(gateway.told[0][1])
    assert task_told == kept[-1].resource
    assert {one["reference"] for _, one in references_in(task_told) if "reference" in one} == {
        task_told["focus"]["reference"],
        task_told["for"]["reference"],
    }
