"""Prescriptions: "ex4" of the guide, and the pharmacy's own flows, partial dispenses and an alternative above all."""

from __future__ import annotations

from dataclasses import replace

from gateway.fhir.policy.model import Role
from tests.journeys.flows.network import Named, Network, done, refused
from tests.journeys.flows.parties import Party, because, coded, output
from tests.journeys.flows.resources import (
    AMOXICILLIN,
    AZITHROMYCIN,
    dispense,
    placed,
    prescription,
    taken_up,
    under_way,
)
from tests.terms import ORDERS

CLAVAMOX = "562508"
GROUP = {"system": "http://identifiers.example/prescription", "value": "prescription-1"}


def test_a_grouped_dispense_by_the_pharmacy_that_the_patient_chooses(
    network: Network, hospital: Party, pharmacy: Party, patient: Named
) -> None:
    first = prescription(hospital, CLAVAMOX, patient, groupIdentifier=GROUP)
    second = prescription(hospital, AZITHROMYCIN, patient, groupIdentifier=GROUP)
    order = hospital.orders(first, second, groupIdentifier=GROUP)
    assert hospital.places(order) == done({order: "requested", first: "active", second: "active"})

    assert pharmacy.accepts(order) == done({order: "accepted"}, hospital)
    assert order.content["owner"]["identifier"]["value"] == "pharmacy"
    assert hospital.was_told.has(order, first, second)
    assert pharmacy.begins(order) == done({order: "in-progress"}, hospital)
    dispenses = dispense(pharmacy, CLAVAMOX, patient, first), dispense(pharmacy, AZITHROMYCIN, patient, second)
    assert pharmacy.completes(order, *dispenses) == done({order: "completed"}, hospital)

    assert order.outputs == [*dispenses]
    assert hospital.was_told.has(*dispenses)
    more = [extension["valueReference"] for extension in order.content["extension"] if "focus" in extension["url"]]
    assert [network.at(order.content["focus"]), *map(network.at, more)] == [first, second]
    for request in (first, second):
        hospital.changes(request, status="completed")
    told = hospital.updates(order, basedOn=[first, second])
    assert told == done({first: "completed", second: "completed"}, pharmacy)
    assert order.history == [
        ("requested", "hospital"),
        ("accepted", "pharmacy"),
        ("in-progress", "pharmacy"),
        ("completed", "pharmacy"),
    ]


def test_the_chosen_pharmacy_creates_the_task_where_the_policy_lets_a_fulfiller(
    network: Network, hospital: Party, pharmacy: Party, patient: Named
) -> None:
    request = prescription(hospital, CLAVAMOX, patient, groupIdentifier=GROUP)
    hospital.places(hospital.orders(request))
    order = pharmacy.orders(request, of=pharmacy, requester=hospital)

    assert pharmacy.places(order) == refused("forbidden")

    network.under(order=replace(ORDERS, create=frozenset(Role)))
    assert pharmacy.places(order) == done({order: "requested"}, hospital)
    assert network.at(order.content["focus"]) == request
    assert pharmacy.accepts(order) == done({order: "accepted"}, hospital)
    assert hospital.was_told.has(order)


def test_a_pharmacy_dispenses_a_part_and_then_the_rest(
    hospital: Party, pharmacy: Party, patient: Named, request_: Named
) -> None:
    order = under_way(hospital, request_, of=pharmacy)

    part = dispense(pharmacy, AMOXICILLIN, patient, request_, 14)
    partial = pharmacy.reports(order, part, businessStatus=coded("preliminary-outcome"))
    assert partial == done({order: "in-progress"}, hospital)
    assert order.outputs == [part]
    assert order.business_status == "preliminary-outcome"
    assert hospital.was_told.version_of(part)["quantity"] == {"value": 14}

    rest = dispense(pharmacy, AMOXICILLIN, patient, request_, 7)
    assert pharmacy.completes(order, part, rest) == done({order: "completed"}, hospital)
    assert order.outputs == [part, rest]
    assert hospital.was_told.has(part, rest)
    assert [status for status, _ in order.history] == [
        "requested",
        "accepted",
        "in-progress",
        "in-progress",
        "completed",
    ]


def test_two_pharmacies_each_dispense_a_part_of_one_order(
    hospital: Party, coordinator: Party, pharmacy: Party, second_pharmacy: Party, patient: Named, request_: Named
) -> None:
    order = under_way(hospital, request_, of=coordinator)
    first = coordinator.orders(request_, of=pharmacy, partOf=[order])
    second = coordinator.orders(request_, of=second_pharmacy, partOf=[order])
    assert coordinator.places(first) == done({first: "requested"}, pharmacy)
    assert pharmacy.was_told.has(first, request_)
    assert coordinator.places(second) == done({second: "requested"}, second_pharmacy)

    here = dispense(pharmacy, AMOXICILLIN, patient, request_, 14)
    taken_up(first, by=pharmacy, placer=coordinator)
    dispensed = pharmacy.completes(first, here)
    assert dispensed == done({first: "completed", order: "in-progress"}, coordinator, hospital)
    assert hospital.was_told.focus == (order,)
    assert hospital.was_told.has(here)
    assert order.outputs == [here]
    assert second.status == "requested"

    there = dispense(second_pharmacy, AMOXICILLIN, patient, request_, 7)
    taken_up(second, by=second_pharmacy, placer=coordinator)
    dispensed = second_pharmacy.completes(second, there)
    assert dispensed == done({second: "completed", order: "in-progress"}, coordinator, hospital)
    assert order.outputs == [here, there]
    assert first.outputs == [here]
    assert second.outputs == [there]

    assert coordinator.completes(order) == done({order: "completed"}, hospital)
    assert order.outputs == [here, there]
    assert order.history == [
        ("requested", "hospital"),
        ("accepted", "coordinator"),
        ("in-progress", "coordinator"),
        ("in-progress", "pharmacy"),
        ("in-progress", "second-pharmacy"),
        ("completed", "coordinator"),
    ]


def test_what_the_parts_have_raised_stays_when_the_order_gets_an_output_of_its_own(
    hospital: Party, coordinator: Party, pharmacy: Party, patient: Named, request_: Named
) -> None:
    order = under_way(hospital, request_, of=coordinator)
    part = coordinator.orders(request_, of=pharmacy, partOf=[order])
    coordinator.places(part)
    taken_up(part, by=pharmacy, placer=coordinator)
    here = dispense(pharmacy, AMOXICILLIN, patient, request_, 14)
    pharmacy.completes(part, here)

    own = dispense(coordinator, AMOXICILLIN, patient, request_, 7)
    assert coordinator.completes(order, own) == done({order: "completed"}, hospital)

    assert set(order.outputs) == {here, own}


def test_a_contraindication_and_the_alternative_that_becomes_the_new_order(
    hospital: Party, pharmacy: Party, patient: Named, request_: Named
) -> None:
    order = placed(hospital, request_, of=pharmacy)

    alternative = prescription(pharmacy, AZITHROMYCIN, patient, intent="proposal")
    declined = pharmacy.rejects(order, "Allergic to penicillin", output=[output("alternative", alternative)])
    assert declined == done({order: "rejected", alternative: "active"}, hospital)
    assert order.reason == because("Allergic to penicillin")
    assert order.outputs == [alternative]
    assert hospital.was_told.version_of(alternative)["intent"] == "proposal"

    proposal = pharmacy.request("abort", request_, hospital, "Allergic to penicillin", intent="proposal")
    assert pharmacy.asks(proposal) == done({proposal: "requested"}, hospital, outcome="pending")
    assert hospital.was_told.focus == (proposal,)
    assert hospital.was_told.has(request_)
    assert request_.status == "active"

    hospital.changes(request_, status="cancelled")
    accepted = hospital.accepts(proposal, focus=request_)
    assert accepted.code == "ok"
    assert accepted.outcomes == ("accepted",)
    assert accepted.told == {"pharmacy"}
    assert request_.status == "cancelled"
    assert proposal.status in ("accepted", "completed")
    assert pharmacy.was_told.version_of(request_)["status"] == "cancelled"

    replacement = prescription(hospital, AZITHROMYCIN, patient, basedOn=[alternative], priorPrescription=request_)
    again = hospital.orders(replacement, of=pharmacy)
    assert hospital.places(again) == done({again: "requested", replacement: "active"}, pharmacy)
    assert pharmacy.was_told.has(again, replacement, alternative)
    assert pharmacy.accepts(again) == done({again: "accepted"}, hospital)
    assert order.history == [("requested", "hospital"), ("rejected", "pharmacy")]
    assert alternative.history == [("active", "pharmacy")]
    assert request_.history == [("active", "hospital"), ("cancelled", "hospital")]


def test_a_proposal_is_accepted_by_an_order_with_the_proposal_in_focus(
    network: Network, hospital: Party, pharmacy: Party, patient: Named, request_: Named
) -> None:
    order = placed(hospital, request_, of=pharmacy)
    alternative = prescription(pharmacy, AZITHROMYCIN, patient, intent="proposal")
    pharmacy.rejects(order, "Allergic to penicillin", output=[output("alternative", alternative)])

    again = hospital.orders(alternative, of=pharmacy)
    assert hospital.places(again) == done({again: "requested"}, pharmacy)

    assert network.at(again.content["focus"]) == alternative
    assert again.content["intent"] == "order"
    assert pharmacy.was_told.has(again, alternative)
    assert pharmacy.accepts(again) == done({again: "accepted"}, hospital)


def test_a_placer_that_keeps_its_request_rejects_the_proposal(
    hospital: Party, pharmacy: Party, request_: Named
) -> None:
    order = placed(hospital, request_, of=pharmacy)
    pharmacy.rejects(order, "Allergic to penicillin")
    proposal = pharmacy.request("abort", request_, hospital, "Allergic to penicillin", intent="proposal")
    pharmacy.asks(proposal)

    kept = hospital.rejects(proposal, "The allergy was refuted by a test")
    assert kept == done({proposal: "rejected"}, pharmacy, outcome="rejected")

    assert request_.status == "active"
    assert pharmacy.was_told.focus == (proposal,)
    assert proposal.reason == because("The allergy was refuted by a test")
    assert proposal.history == [("requested", "pharmacy"), ("rejected", "hospital")]


def test_medicines_that_must_be_taken_together_are_a_request_group(
    network: Network, hospital: Party, pharmacy: Party, patient: Named
) -> None:
    first = prescription(hospital, CLAVAMOX, patient, intent="option", groupIdentifier=GROUP)
    second = prescription(hospital, AZITHROMYCIN, patient, intent="option", groupIdentifier=GROUP)
    group = hospital.writes(
        "RequestGroup",
        status="active",
        intent="order",
        groupIdentifier=GROUP,
        subject=patient,
        action=[{"resource": first}, {"resource": second}],
    )
    order = hospital.orders(group, of=pharmacy, groupIdentifier=GROUP)
    assert hospital.places(order) == done(
        {order: "requested", group: "active", first: "active", second: "active"}, pharmacy
    )
    assert pharmacy.was_told.has(order, group, first, second)
    assert network.at(order.content["focus"]) == group

    taken_up(order, by=pharmacy, placer=hospital)
    dispenses = dispense(pharmacy, CLAVAMOX, patient, first), dispense(pharmacy, AZITHROMYCIN, patient, second)
    assert pharmacy.completes(order, *dispenses) == done({order: "completed"}, hospital)
    assert hospital.was_told.has(group, *dispenses)
    hospital.changes(group, status="completed")
    assert hospital.publishes(group) == done({group: "completed"}, pharmacy)
    assert group.history == [("active", "hospital"), ("completed", "hospital")]


def test_one_of_two_medicines_is_not_to_be_dispensed(hospital: Party, pharmacy: Party, patient: Named) -> None:
    first = prescription(hospital, CLAVAMOX, patient, groupIdentifier=GROUP)
    second = prescription(hospital, AZITHROMYCIN, patient, groupIdentifier=GROUP)
    order = hospital.orders(first, second, of=pharmacy, groupIdentifier=GROUP)
    hospital.places(order)
    pharmacy.accepts(order)
    proposal = pharmacy.request("abort", second, hospital, "It prolongs the QT interval", intent="proposal")
    assert pharmacy.asks(proposal) == done({proposal: "requested"}, hospital, outcome="pending")
    assert hospital.was_told.has(proposal, second)

    hospital.changes(second, status="cancelled")
    accepted = hospital.accepts(proposal, focus=second)

    assert (accepted.code, accepted.outcomes, accepted.told) == ("ok", ("accepted",), {"pharmacy"})
    assert (first.status, second.status, order.status) == ("active", "cancelled", "accepted")
    pharmacy.begins(order)
    assert pharmacy.completes(order, dispense(pharmacy, CLAVAMOX, patient, first)) == done(
        {order: "completed"}, hospital
    )
