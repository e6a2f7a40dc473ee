"""What a party is known by: its identifier, the endpoint of its messages, or whom it speaks for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.journeys.flows.network import Named, done, refused
from tests.journeys.flows.parties import Party
from tests.journeys.flows.resources import placed


def test_parties_that_are_known_by_their_endpoints(
    hospital: Party, laboratory: Party, outsider: Party, glucose: Named
) -> None:
    for party in (hospital, laboratory, outsider):
        party.signs = False
    order = placed(hospital, glucose, of=laboratory)
    assert outsider.accepts(order) == refused("forbidden")
    assert laboratory.accepts(order) == done({order: "accepted"}, hospital)
    assert hospital.cancels(order, "No longer needed") == done({order: "cancelled"}, laboratory)


def test_who_claims_without_a_signature_is_named_as_it_is_registered(
    hospital: Party, laboratory: Party, glucose: Named
) -> None:
    order = hospital.orders(glucose)
    hospital.places(order)
    laboratory.signs = False

    assert laboratory.accepts(order) == done({order: "accepted"}, hospital)

    assert order.content["owner"]["identifier"] == laboratory.reference["identifier"]


def _doctor(hospital: Party) -> Named:
    return hospital.writes("Practitioner", active=True)


def _doctor_of_the_hospital(hospital: Party) -> Named:
    return hospital.writes("PractitionerRole", practitioner=_doctor(hospital), organization=hospital)


@pytest.mark.parametrize("requester", [_doctor, _doctor_of_the_hospital])
def test_a_hospital_that_orders_for_its_doctor_is_told_how_it_goes(
    hospital: Party, laboratory: Party, glucose: Named, requester: Any
) -> None:
    order = placed(hospital, glucose, of=laboratory, requester=requester(hospital))

    accepted = laboratory.accepts(order)

    assert accepted.changed == {order: "accepted"}
    assert accepted.told == {"hospital"}
    assert hospital.cancels(order, "No longer needed") == done({order: "cancelled"}, laboratory)


def test_an_order_without_a_requester_is_its_senders(hospital: Party, laboratory: Party, glucose: Named) -> None:
    order = placed(hospital, glucose, of=laboratory, requester=None)

    accepted = laboratory.accepts(order)

    assert accepted.changed == {order: "accepted"}
    assert accepted.told == {"hospital"}
