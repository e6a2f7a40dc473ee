"""One order in the place of another, and one service in that of another: "Cancelling and modifying requests"."""

from __future__ import annotations

import pytest

from tests.journeys.flows.network import Named, Network, done, refused
from tests.journeys.flows.parties import Party, because
from tests.journeys.flows.resources import (
    AZITHROMYCIN,
    as_input,
    laboratory_test,
    prescription,
    report_of,
    taken_up,
    under_way,
)

REPLACED = ["replaced"]


@pytest.fixture
def replacement(hospital: Party, patient: Named, request_: Named) -> Named:
    """A prescription in the place of the first."""
    return prescription(hospital, AZITHROMYCIN, patient, priorPrescription=request_)


@pytest.fixture
def again(hospital: Party, pharmacy: Party, replacement: Named) -> Named:
    """An order of that, not sent yet."""
    return hospital.orders(replacement, of=pharmacy)


def _codes(order: Named) -> list[str]:
    return [coding["code"] for coding in (order.reason or {}).get("coding", [])]


def _asked_to_replace(hospital: Party, pharmacy: Party, order: Named, again: Named) -> Named:
    return hospital.request("replace", order, pharmacy, "Allergic to penicillin", input=as_input(again, "new-order"))


def test_before_the_work_an_order_about_a_replacement_takes_the_place_of_the_first(
    hospital: Party, pharmacy: Party, request_: Named, replacement: Named, order: Named, again: Named
) -> None:
    placed = hospital.places(again)

    changed = {again: "requested", replacement: "active", order: "cancelled", request_: "cancelled"}
    assert placed.changed == changed
    assert placed.told == {"pharmacy"}
    assert pharmacy.was_told.focus == (again,)
    assert pharmacy.was_told.has(order)
    assert _codes(order) == REPLACED
    assert pharmacy.accepts(order) == refused("business-rule")
    assert pharmacy.accepts(again) == done({again: "accepted"}, hospital)
    assert order.history == [("requested", "hospital"), ("cancelled", "hospital")]


def test_during_the_work_a_replacement_does_not_end_the_first(
    hospital: Party, pharmacy: Party, request_: Named, replacement: Named, begun: Named, again: Named
) -> None:
    assert hospital.places(again) == done({again: "requested", replacement: "active"}, pharmacy)

    assert begun.status == "in-progress"
    assert request_.status == "active"


def test_who_has_not_placed_an_order_does_not_replace_it(
    network: Network, outsider: Party, pharmacy: Party, patient: Named, request_: Named, order: Named
) -> None:
    network.shows_all = False
    theirs = prescription(outsider, AZITHROMYCIN, patient, priorPrescription=request_)
    outsider.places(outsider.orders(theirs, of=pharmacy))
    assert order.history == [("requested", "hospital")]
    assert request_.history == [("active", "hospital")]


def test_before_the_work_a_replacement_that_is_asked_for_is_made_at_once(
    hospital: Party, pharmacy: Party, request_: Named, replacement: Named, order: Named, again: Named
) -> None:
    asked = _asked_to_replace(hospital, pharmacy, order, again)

    effect = hospital.asks(asked)

    changed = {
        asked: "completed",
        order: "cancelled",
        again: "requested",
        replacement: "active",
        request_: "cancelled",
    }
    assert effect == done(changed, pharmacy, outcome="applied")
    assert pharmacy.was_told.focus == (asked,)
    assert pharmacy.was_told.has(again, order)
    assert _codes(order) == REPLACED
    assert pharmacy.accepts(again) == done({again: "accepted"}, hospital)


def test_during_the_work_a_replacement_is_made_when_the_fulfiller_agrees(
    hospital: Party, pharmacy: Party, request_: Named, replacement: Named, begun: Named, again: Named
) -> None:
    asked = _asked_to_replace(hospital, pharmacy, begun, again)
    effect = hospital.asks(asked)
    assert effect == done({asked: "requested", again: "draft", replacement: "active"}, pharmacy, outcome="pending")
    assert pharmacy.was_told.has(asked, begun, again, replacement)
    assert (begun.status, request_.status) == ("in-progress", "active")
    assert pharmacy.accepts(again).code == "fatal-error"

    accepted = pharmacy.accepts(asked)

    changed = {asked: "completed", begun: "cancelled", again: "requested", request_: "cancelled"}
    assert accepted == done(changed, hospital, outcome="accepted")
    assert _codes(begun) == REPLACED
    assert pharmacy.accepts(again) == done({again: "accepted"}, hospital)
    assert pharmacy.completes(begun) == refused("business-rule")
    assert begun.history[-1] == ("cancelled", "pharmacy")
    assert again.history == [("draft", "hospital"), ("requested", "pharmacy"), ("accepted", "pharmacy")]


def test_a_replacement_that_is_rejected_leaves_the_first_order_and_no_second(
    hospital: Party, pharmacy: Party, request_: Named, begun: Named, again: Named
) -> None:
    asked = _asked_to_replace(hospital, pharmacy, begun, again)
    hospital.asks(asked)

    rejected = pharmacy.rejects(asked, "It is in the patient's hands")

    assert (rejected.code, rejected.outcomes, rejected.told) == ("ok", ("rejected",), {"hospital"})
    assert (begun.status, request_.status) == ("in-progress", "active")
    assert again.status == "cancelled"
    assert pharmacy.completes(begun) == done({begun: "completed"}, hospital)


def test_an_alternative_that_the_fulfiller_proposes_during_the_work_becomes_the_new_order(
    hospital: Party, pharmacy: Party, patient: Named, request_: Named, begun: Named
) -> None:
    alternative = prescription(pharmacy, AZITHROMYCIN, patient, intent="proposal")
    proposed = as_input(alternative, "alternative")
    asked = pharmacy.request("replace", begun, hospital, "Out of stock", intent="proposal", input=proposed)
    effect = pharmacy.asks(asked)
    assert effect == done({asked: "requested", alternative: "active"}, hospital, outcome="pending")
    assert hospital.was_told.has(asked, begun, alternative)
    accepted = hospital.accepts(asked)
    assert (accepted.code, accepted.outcomes, accepted.told) == ("ok", ("accepted",), {"pharmacy"})
    assert begun.status == "in-progress"

    chosen = prescription(hospital, AZITHROMYCIN, patient, basedOn=[alternative], priorPrescription=request_)
    again = hospital.orders(chosen, of=pharmacy)
    placed = hospital.places(again)

    assert (placed.code, placed.told) == ("ok", {"pharmacy"})
    assert placed.changed.items() >= {again: "requested", chosen: "active", begun: "cancelled"}.items()
    assert request_.status == "cancelled"
    assert asked.status == "completed"
    assert pharmacy.accepts(again) == done({again: "accepted"}, hospital)
    assert begun.history[-1] == ("cancelled", "hospital")


def test_a_more_specific_service_under_the_authority_of_the_order(
    hospital: Party, laboratory: Party, reference_laboratory: Party, patient: Named
) -> None:
    """What replaces a Request in the fulfiller's hands ends neither the placer's Request nor its order."""
    panel = laboratory_test(hospital, "43112-2", patient)
    order = under_way(hospital, panel, of=laboratory)
    specific = laboratory_test(laboratory, "16944-1", patient, basedOn=[panel], replaces=[panel])

    part = under_way(laboratory, specific, of=reference_laboratory, partOf=[order])
    report = report_of(reference_laboratory, patient, specific)
    done_there = reference_laboratory.completes(part, report)

    assert done_there == done({part: "completed", order: "in-progress"}, laboratory, hospital)
    assert hospital.was_told.has(report, specific)
    assert order.outputs == [report]
    assert panel.history == [("active", "hospital")]
    assert laboratory.completes(order) == done({order: "completed"}, hospital)


def test_who_cannot_perform_fails_and_another_is_asked(
    hospital: Party, laboratory: Party, reference_laboratory: Party, patient: Named, glucose: Named
) -> None:
    first = under_way(hospital, glucose, of=laboratory)
    assert laboratory.fails(first, "The specimen was dropped") == done({first: "failed"}, hospital)
    assert first.reason == because("The specimen was dropped")
    assert glucose.status == "active"

    second = hospital.orders(glucose, of=reference_laboratory)
    assert hospital.places(second) == done({second: "requested"}, reference_laboratory)
    taken_up(second, by=reference_laboratory, placer=hospital)
    report = report_of(reference_laboratory, patient, glucose)
    assert reference_laboratory.completes(second, report) == done({second: "completed"}, hospital)
    assert first.history[-1] == ("failed", "laboratory")


def test_a_draft_is_the_placers_until_it_is_requested(
    hospital: Party, pharmacy: Party, replacement: Named, again: Named
) -> None:
    hospital.changes(again, status="draft")
    assert hospital.places(again).code == "ok"
    for attempt in (pharmacy.accepts(again), pharmacy.updates(again, "requested")):
        assert attempt.code == "fatal-error"
    assert again.status == "draft"

    sent = hospital.updates(again, "requested", priority="urgent")

    assert sent.changed[again] == "requested"
    assert "pharmacy" in sent.told
    assert pharmacy.accepts(again) == done({again: "accepted"}, hospital)
    assert again.history == [("draft", "hospital"), ("requested", "hospital"), ("accepted", "pharmacy")]
