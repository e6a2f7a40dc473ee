"""What a reference gives nobody a view of: resources of others that who wrote it was never given."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.fhir import json
from gateway.fhir.references import Resource
from gateway.partners import Partner
from gateway.records import Records
from tests.handlers import OURSELVES
from tests.senders import Sender, read, task
from tests.telling.bundles import focus_of, resources_in
from tests.telling.gateways import Gateway, Make
from tests.telling.orders import PATIENT, REQUEST, order
from tests.telling.parties import FROM_HOSPITAL, FROM_OTHER, FROM_PHARMACY, HOSPITAL, OTHER, PHARMACY, named
from tests.terms import TERMS

LABORATORY = Partner("Laboratory", ("urn:org|L",), ("http://laboratory.example/fhir",))
FROM_LABORATORY = Sender(LABORATORY.endpoints[0])
NUMBER = {"system": "urn:o", "value": "1"}
OBSERVATION = {
    "resourceType": "Observation",
    "identifier": [NUMBER],
    "status": "final",
    "code": {"text": "HIV"},
    "subject": {"reference": "urn:uuid:3"},
}
BY_IDENTIFIER = {"type": "Observation", "identifier": NUMBER}


@pytest.fixture
def gateway(make: Make) -> Gateway:
    return make(HOSPITAL, PHARMACY, OTHER, LABORATORY)


def keep_observation(gateway: Gateway, sender: Sender = FROM_HOSPITAL) -> Resource:
    """Keeps an Observation of a sender's own in an order that only it has; the reference to it at our address."""
    own = task("private", input=[valued("urn:uuid:5")])
    others = (OBSERVATION | {"_url": "urn:uuid:5"}, PATIENT | {"_url": "urn:uuid:3"})
    assert gateway.send(sender.write("x", own, others=others)) == ["ok"]
    assert gateway.told == []
    with gateway.database.reading() as connection:
        message = read(FROM_HOSPITAL.write("x", task("any")))
        records = Records(message, connection, message.received_at, OURSELVES.base_url, TERMS)
        kept = records.follow(BY_IDENTIFIER, next(iter(message.entries)))
    assert kept is not None
    return {"reference": f"{OURSELVES.base_url}/{kept.reference}"}


def valued(reference: str | Resource) -> Resource:
    value = reference if isinstance(reference, dict) else {"reference": reference}
    return {"type": {"text": "a value"}, "valueReference": value}


def told_of_it(gateway: Gateway) -> bool:
    return any("HIV" in json.serialize(told).decode() for _, told in gateway.told)


@pytest.mark.parametrize("is_literal", [False, True])
@pytest.mark.parametrize("element", ["input", "supportingInfo", "focus", "reasonReference"])
def test_an_order_shows_nobody_what_is_anothers(gateway: Gateway, is_literal: bool, element: str) -> None:
    literal = keep_observation(gateway)
    wanted = literal if is_literal else BY_IDENTIFIER
    elements: dict[str, Any] = {element: [valued(wanted)] if element == "input" else wanted}
    others: tuple[Resource, ...] = ()
    if element == "supportingInfo":
        elements, others = (
            {"focus": {"reference": "urn:uuid:2"}},
            (REQUEST | {element: [wanted], "_url": "urn:uuid:2"},),
        )
    mine = order("2", requester=named(OTHER), **elements)
    assert gateway.send(FROM_OTHER.write("x", mine, others=others)) == ["ok"]
    assert gateway.send(FROM_PHARMACY.write("x", mine | {"status": "accepted"})) == ["ok"]
    assert gateway.parties == ["Pharmacy", "Other pharmacy"]
    assert not told_of_it(gateway)


@pytest.mark.parametrize("element", ["output", "extension"])
def test_a_fulfiller_is_not_shown_what_it_refers_to_of_its_placers(gateway: Gateway, element: str) -> None:
    keep_observation(gateway)
    gateway.send(FROM_HOSPITAL.write("x", order("2")))
    values = {"extension": {"url": "urn:x", "valueReference": BY_IDENTIFIER}}
    pulled = {element: [values.get(element, valued(BY_IDENTIFIER))]}
    gateway.send(FROM_PHARMACY.write("x", order("2", "accepted", **pulled)))
    gateway.send(FROM_HOSPITAL.write("x", order("2", "accepted", priority="stat")))
    party, told = gateway.told[-1]
    assert party == "Pharmacy"
    assert "Observation" not in resources_in(told)


def test_a_placer_is_not_shown_what_it_refers_to_of_its_fulfillers(gateway: Gateway) -> None:
    keep_observation(gateway, FROM_PHARMACY)
    gateway.send(FROM_HOSPITAL.write("x", order("2", input=[valued(BY_IDENTIFIER)])))
    gateway.send(FROM_PHARMACY.write("x", order("2", "accepted")))
    assert gateway.parties == ["Pharmacy", "Hospital"]
    told = gateway.told[-1][1]
    assert "Observation" not in resources_in(told)


def test_who_makes_another_the_owner_of_a_part_is_not_shown_what_is_that_ones(gateway: Gateway) -> None:
    keep_observation(gateway, FROM_LABORATORY)
    gateway.send(FROM_HOSPITAL.write("x", order("1")))
    whole = {"reference": f"{OURSELVES.base_url}/{_address(gateway, '1')}"}
    part = order("2", requester=named(PHARMACY), owner=named(LABORATORY), partOf=[whole])
    gateway.send(FROM_PHARMACY.write("x", part))
    gateway.send(FROM_PHARMACY.write("x", order("1", "in-progress", output=[valued(BY_IDENTIFIER)])))
    assert gateway.parties[-1] == "Hospital"
    assert not told_of_it(gateway)


def test_what_came_of_a_part_is_shown_with_the_whole(gateway: Gateway) -> None:
    gateway.send(FROM_HOSPITAL.write("x", order("1")))
    whole = {"reference": f"{OURSELVES.base_url}/{_address(gateway, '1')}"}
    part = order("2", requester=named(PHARMACY), owner=named(LABORATORY), partOf=[whole])
    gateway.send(FROM_PHARMACY.write("x", part))
    others = (OBSERVATION | {"_url": "urn:uuid:5"}, PATIENT | {"_url": "urn:uuid:3"})
    done = part | {"status": "completed", "output": [valued("urn:uuid:5")]}
    gateway.send(FROM_LABORATORY.write("x", done, others=others))
    assert told_of_it(gateway)
    gateway.send(FROM_PHARMACY.write("x", order("1", "completed", output=[valued(BY_IDENTIFIER)])))
    party, told = gateway.told[-1]
    assert (party, "Observation" in resources_in(told)) == ("Hospital", True)


def test_what_came_with_the_whole_is_shown_with_a_part(gateway: Gateway) -> None:
    others = (
        REQUEST | {"_url": "urn:uuid:2", "supportingInfo": [{"reference": "urn:uuid:5"}]},
        OBSERVATION | {"_url": "urn:uuid:5"},
        PATIENT | {"_url": "urn:uuid:3"},
    )
    gateway.send(FROM_HOSPITAL.write("x", order("1", focus={"reference": "urn:uuid:2"}), others=others))
    whole = {"reference": f"{OURSELVES.base_url}/{_address(gateway, '1')}"}
    given = {"type": "ServiceRequest", "identifier": REQUEST["identifier"][0]}
    part = order(
        "2",
        requester=named(PHARMACY),
        owner=named(LABORATORY),
        partOf=[whole],
        focus=given,
        input=[valued(BY_IDENTIFIER)],
    )
    gateway.send(FROM_PHARMACY.write("x", part))
    party, told = gateway.told[-1]
    assert party == "Laboratory"
    assert {"Task", "Observation", "ServiceRequest"} <= {*resources_in(told)}


@pytest.mark.parametrize(("has_it", "shown"), [(named(PHARMACY), True), (named(OTHER), False)])
def test_a_request_is_passed_on_by_whom_its_creator_has_given_it_to(
    gateway: Gateway, has_it: Resource, shown: bool
) -> None:
    others = (REQUEST | {"_url": "urn:uuid:2"}, PATIENT | {"_url": "urn:uuid:3"})
    gateway.send(FROM_HOSPITAL.write("x", order("1", focus={"reference": "urn:uuid:2"}, owner=has_it), others=others))
    reference = focus_of(gateway.told[0][1])[0]["focus"]["reference"]
    mine = order("2", requester=named(PHARMACY), owner=named(LABORATORY), focus={"reference": reference})
    gateway.send(FROM_PHARMACY.write("x", mine))
    party, told = gateway.told[-1]
    assert (party, "ServiceRequest" in resources_in(told)) == ("Laboratory", shown)


def _address(gateway: Gateway, number: str) -> str:
    tasks = [task for _, told in gateway.told for task in focus_of(told)]
    return next(f"Task/{one['id']}" for one in tasks if one["identifier"][0]["value"] == number)
