"""Suspending, resuming and changing an order: "Cancelling and modifying requests" of the guide."""

from __future__ import annotations

import pytest

from tests.journeys.flows.network import Named, done, refused
from tests.journeys.flows.parties import Party, because
from tests.journeys.flows.resources import AMOXICILLIN, as_input, dispense, prescription, taken_up


@pytest.fixture
def request_(hospital: Party, patient: Named) -> Named:
    """A Request that says how much."""
    return prescription(hospital, AMOXICILLIN, patient, dosageInstruction=[{"text": "Three times daily"}])


def dosage_of(request: Named) -> str:
    dosage: str = request.content["dosageInstruction"][0]["text"]
    return dosage


def test_an_order_is_suspended_and_resumed(
    hospital: Party, pharmacy: Party, patient: Named, request_: Named, begun: Named
) -> None:
    suspension = hospital.request("suspend", begun, pharmacy, "The patient is in theatre")
    assert hospital.asks(suspension) == done({suspension: "requested"}, pharmacy, outcome="pending")
    assert pharmacy.was_told.has(suspension, begun)
    assert begun.status == "in-progress"

    suspended = pharmacy.accepts(suspension)
    assert suspended == done({suspension: "completed", begun: "on-hold"}, hospital, outcome="accepted")
    assert hospital.was_told.focus == (suspension,)
    assert hospital.was_told.has(begun)
    assert begun.reason == because("The patient is in theatre")

    resumption = hospital.request("resume", begun, pharmacy, "The patient is back")
    assert hospital.asks(resumption) == done({resumption: "requested"}, pharmacy, outcome="pending")
    resumed = pharmacy.accepts(resumption)
    assert resumed == done({resumption: "completed", begun: "in-progress"}, hospital, outcome="accepted")
    assert begun.reason is None

    assert pharmacy.completes(begun, dispense(pharmacy, AMOXICILLIN, patient, request_)) == done(
        {begun: "completed"}, hospital
    )
    assert request_.history == [("active", "hospital")]
    assert begun.history == [
        ("requested", "hospital"),
        ("accepted", "pharmacy"),
        ("in-progress", "pharmacy"),
        ("on-hold", "pharmacy"),
        ("in-progress", "pharmacy"),
        ("completed", "pharmacy"),
    ]


def test_a_fulfiller_that_does_not_suspend_goes_on(hospital: Party, pharmacy: Party, begun: Named) -> None:
    suspension = hospital.request("suspend", begun, pharmacy, "The patient is in theatre")
    hospital.asks(suspension)

    rejected = pharmacy.rejects(suspension, "It has left the house")

    assert rejected == done({suspension: "rejected"}, hospital, outcome="rejected")
    assert begun.status == "in-progress"
    assert suspension.history == [("requested", "hospital"), ("rejected", "pharmacy")]


def test_a_fulfiller_pauses_and_goes_on_by_itself(hospital: Party, pharmacy: Party, begun: Named) -> None:
    assert pharmacy.pauses(begun, statusReason=because("Out of stock")) == done({begun: "on-hold"}, hospital)
    assert pharmacy.completes(begun) == refused("business-rule")
    assert pharmacy.begins(begun) == done({begun: "in-progress"}, hospital)
    assert begun.reason is None


def test_a_suspended_order_is_cancelled_by_request_alone(hospital: Party, pharmacy: Party, begun: Named) -> None:
    pharmacy.pauses(begun)
    assert hospital.cancels(begun, "No longer needed") == refused("business-rule")
    cancellation = hospital.request("abort", begun, pharmacy, "No longer needed")
    assert hospital.asks(cancellation) == done({cancellation: "requested"}, pharmacy, outcome="pending")
    accepted = pharmacy.accepts(cancellation)
    assert accepted == done({cancellation: "completed", begun: "cancelled"}, hospital, outcome="accepted")


def test_what_has_not_begun_is_not_suspended_and_what_is_not_suspended_not_resumed(
    hospital: Party, pharmacy: Party, order: Named
) -> None:
    for code in ("suspend", "resume"):
        asked = hospital.request(code, order, pharmacy, "Because")
        assert hospital.asks(asked).code == "fatal-error"
        assert not asked.is_kept
    taken_up(order, by=pharmacy, placer=hospital)
    assert hospital.asks(hospital.request("resume", order, pharmacy, "Because")).code == "fatal-error"
    assert order.status == "in-progress"


def test_the_end_of_an_order_ends_every_request_about_it(hospital: Party, pharmacy: Party, begun: Named) -> None:
    suspension = hospital.request("suspend", begun, pharmacy, "The patient is in theatre")
    cancellation = hospital.request("abort", begun, pharmacy, "No longer needed")
    hospital.asks(suspension)
    hospital.asks(cancellation)

    completed = pharmacy.completes(begun)

    assert completed.changed == {begun: "completed", suspension: "rejected", cancellation: "rejected"}
    assert completed.told == {"hospital"}
    assert pharmacy.accepts(suspension).code == "fatal-error"
    assert begun.status == "completed"


def test_a_running_order_is_changed_when_its_fulfiller_agrees(
    hospital: Party, pharmacy: Party, patient: Named, request_: Named, begun: Named
) -> None:
    change = _change_of_dosage(hospital, pharmacy, patient, request_, begun)

    asked = hospital.asks(change)

    assert (asked.code, asked.outcomes, asked.told) == ("ok", ("pending",), {"pharmacy"})
    assert asked.changed[change] == "requested"
    assert begun not in asked.changed
    assert "Twice daily" in str(pharmacy.was_told.bundle)
    assert dosage_of(request_) == "Three times daily"

    accepted = pharmacy.accepts(change)

    assert (accepted.code, accepted.outcomes, accepted.told) == ("ok", ("accepted",), {"hospital"})
    assert accepted.changed[change] == "completed"
    assert dosage_of(request_) == "Twice daily"
    assert request_.status == "active"
    assert request_.content["intent"] == "order"
    assert begun.status == "in-progress"
    assert [status for status, _ in begun.history] == ["requested", "accepted", "in-progress"]
    assert change.history == [("requested", "hospital"), ("completed", "pharmacy")]


def test_a_change_that_is_rejected_changes_nothing(
    hospital: Party, pharmacy: Party, patient: Named, request_: Named, begun: Named
) -> None:
    change = _change_of_dosage(hospital, pharmacy, patient, request_, begun)
    hospital.asks(change)

    rejected = pharmacy.rejects(change, "It is labelled already")

    assert rejected == done({change: "rejected"}, hospital, outcome="rejected")
    assert dosage_of(request_) == "Three times daily"
    assert request_.history == [("active", "hospital")]
    assert begun.status == "in-progress"


def test_a_fulfiller_asks_for_a_change_and_the_creator_of_the_request_agrees(
    hospital: Party, pharmacy: Party, patient: Named, request_: Named, begun: Named
) -> None:
    pharmacy.changes(request_, dosageInstruction=[{"text": "Twice daily"}])
    proposed = as_input(request_, "changed")
    change = pharmacy.request("change", begun, hospital, "Too much for the weight", intent="proposal", input=proposed)
    asked = pharmacy.asks(change)
    assert (asked.code, asked.outcomes, asked.told) == ("ok", ("pending",), {"hospital"})
    assert dosage_of(request_) == "Three times daily"

    accepted = hospital.accepts(change)

    assert (accepted.code, accepted.outcomes, accepted.told) == ("ok", ("accepted",), {"pharmacy"})
    assert dosage_of(request_) == "Twice daily"
    assert request_.history == [("active", "hospital"), ("active", "hospital")]
    assert begun.status == "in-progress"


def _change_of_dosage(hospital: Party, pharmacy: Party, patient: Named, request_: Named, order: Named) -> Named:
    hospital.changes(request_, dosageInstruction=[{"text": "Twice daily"}])
    return hospital.request("change", order, pharmacy, "The kidneys are weak", input=as_input(request_, "changed"))
