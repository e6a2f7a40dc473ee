"""Who is told of a change, once and in what way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.fhir import json
from gateway.fhir import message as fhir
from gateway.fhir.message import Message
from gateway.fhir.references import Resource
from gateway.records import Records
from gateway.routing import Handler, Reply
from tests.senders import Sender, task
from tests.telling.bundles import focus_of, header_of
from tests.telling.gateways import Make, keeps, refuses
from tests.telling.orders import DOCTOR, order, whole_order
from tests.telling.parties import FROM_HOSPITAL, FROM_OTHER, FROM_PHARMACY, HOSPITAL, OTHER, PHARMACY, named


def test_what_is_told_is_due_at_the_partners_endpoint(make: Make) -> None:
    gateway = make()
    gateway.send(whole_order())
    [row] = gateway.rows
    assert (row.kind, row.state, row.destination) == ("message", "due", PHARMACY.endpoints[0])
    assert (row.format, row.response_code) == ("json", None)
    assert row.header_id == header_of(json.parse(row.content))["id"]


def test_each_change_is_told_to_the_other_party_and_not_to_its_sender(make: Make) -> None:
    gateway = make()
    gateway.send(FROM_HOSPITAL.write("x", order()))
    gateway.send(FROM_PHARMACY.write("x", order(status="accepted")))
    gateway.send(FROM_HOSPITAL.write("x", order(status="cancelled")))
    assert [(party, focus_of(told)[0]["status"]) for party, told in gateway.told] == [
        ("Pharmacy", "requested"),
        ("Hospital", "accepted"),
        ("Pharmacy", "cancelled"),
    ]


def test_a_message_that_changes_nothing_tells_nobody(make: Make) -> None:
    gateway = make()
    gateway.send(FROM_HOSPITAL.write("x", order()))
    assert gateway.send(FROM_HOSPITAL.write("x", order())) == ["ok"]
    assert gateway.send(FROM_PHARMACY.write("x", order())) == ["ok"]
    assert gateway.parties == ["Pharmacy"]


def test_a_message_that_is_sent_again_tells_nobody_again(make: Make) -> None:
    gateway = make()
    bundle = FROM_HOSPITAL.write("x", order())
    assert [gateway.send(bundle), gateway.send(bundle)] == [["ok"], [None]]
    assert gateway.parties == ["Pharmacy"]


def test_a_refused_message_tells_nobody(make: Make) -> None:
    gateway = make(handler=refuses)
    assert gateway.send(FROM_HOSPITAL.write("x", order())) == ["fatal-error"]
    assert gateway.parties == []


def test_who_is_not_registered_is_not_told_and_neither_is_a_bystander(make: Make) -> None:
    gateway = make(HOSPITAL, OTHER)
    gateway.send(FROM_HOSPITAL.write("x", order()))
    assert gateway.parties == []
    gateway.send(FROM_PHARMACY.write("x", order(status="accepted")))
    assert gateway.parties == ["Hospital"]


def test_a_partner_that_wants_to_be_told_nothing_is_told_nothing(make: Make) -> None:
    gateway = make(HOSPITAL, replace(PHARMACY, tell="nothing"))
    gateway.send(FROM_HOSPITAL.write("x", order()))
    assert gateway.parties == []


@pytest.mark.parametrize("requester", [None, DOCTOR["identifier"][0], {"value": "of the hospital's own"}])
def test_who_has_made_an_order_for_nobody_else_is_told_how_it_goes(make: Make, requester: Resource | None) -> None:
    gateway = make()
    given = {"requester": {"identifier": requester} if requester else None}
    gateway.send(FROM_HOSPITAL.write("x", order(**given)))
    gateway.send(FROM_PHARMACY.write("x", order(status="accepted", **given)))
    assert gateway.parties == ["Pharmacy", "Hospital"]


def test_who_has_made_an_order_for_another_partner_is_not_told_how_it_goes(make: Make) -> None:
    gateway = make()
    gateway.send(FROM_OTHER.write("x", order()))
    gateway.send(FROM_PHARMACY.write("x", order(status="accepted")))
    assert gateway.parties == ["Hospital", "Pharmacy", "Hospital"]


def test_who_is_asked_about_an_order_is_told_though_the_question_does_not_say_whom_it_asks(make: Make) -> None:
    def keeps_question(message: Message, records: Records) -> Reply:
        entry = message.focus("Task")[0]
        about = records.follow(entry.resource["focus"], entry)
        assert about is not None
        return Reply((records.keep(entry, entry.resource | {"focus": {"reference": about.reference}}),))

    gateway = make()
    gateway.send(FROM_HOSPITAL.write("x", order("1", requester=None)))
    code = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]}
    about = {"type": "Task", "identifier": task("1")["identifier"][0]}
    asking = order("2", requester=named(PHARMACY), owner=None, code=code, focus=about)
    make(handler=keeps_question).send(FROM_PHARMACY.write("x", asking))
    assert gateway.parties == ["Pharmacy", "Hospital"]


def test_who_passes_the_baton_on_and_who_takes_it_are_both_told(make: Make) -> None:
    gateway = make()
    gateway.send(FROM_HOSPITAL.write("x", order()))
    gateway.send(FROM_HOSPITAL.write("x", order(owner=named(OTHER))))
    assert gateway.parties == ["Pharmacy", "Other pharmacy", "Pharmacy"]
    gateway.send(FROM_OTHER.write("x", order(owner=named(OTHER), status="accepted")))
    assert gateway.parties[3:] == ["Hospital"]


def test_both_parties_are_told_of_what_the_gateway_does_itself(make: Make) -> None:
    gateway = make()
    gateway.send(FROM_HOSPITAL.write("x", order()))
    clock = Sender("urn:x-fhir-gateway:clock")
    assert gateway.send(clock.write("x", order(status="failed"))) == ["ok"]
    assert gateway.parties[1:] == ["Hospital", "Pharmacy"]
    assert all("sender" not in header_of(told) for _, told in gateway.told[1:])


def test_what_falls_due_is_told_as_an_update(make: Make) -> None:
    gateway, system = make(), "urn:x-fhir-gateway:message-event"
    gateway.registry.add(Handler(fhir.Event(system, "deadline"), "consequence", "Due", ("Task",), keeps, None))
    gateway.send(Sender("urn:x-fhir-gateway:clock").write("deadline", order(), system=system))
    assert {header_of(told)["eventCoding"]["code"] for _, told in gateway.told} == {"order-update"}
