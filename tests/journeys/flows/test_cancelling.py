"""Cancellation by the placer, before, during and after the work: "Cancelling and modifying requests" of the guide."""

from __future__ import annotations

import pytest

from tests.journeys.flows.network import Effect, Named, Network, done, refused
from tests.journeys.flows.parties import Party, because
from tests.journeys.flows.resources import AMOXICILLIN, dispense, under_way

REASON = "Allergic to penicillin"


@pytest.mark.parametrize("answers", [(), ("receives",), ("accepts",)])
def test_before_the_work_the_placer_cancels_the_task_itself(
    hospital: Party, pharmacy: Party, request_: Named, order: Named, answers: tuple[str, ...]
) -> None:
    for answer in answers:
        assert getattr(pharmacy, answer)(order).code == "ok"

    assert hospital.cancels(order, REASON) == done({order: "cancelled"}, pharmacy)

    assert order.reason == because(REASON)
    assert pharmacy.was_told.version_of(order)["statusReason"] == because(REASON)
    hospital.changes(request_, status="cancelled")
    assert hospital.updates(order, focus=request_) == done({request_: "cancelled"}, pharmacy)
    assert pharmacy.accepts(order) == refused("business-rule")
    assert order.history[-1] == ("cancelled", "hospital")


def test_the_request_is_revoked_in_the_same_message(
    hospital: Party, pharmacy: Party, request_: Named, order: Named
) -> None:
    hospital.changes(request_, status="cancelled")
    cancelled = hospital.updates(order, "cancelled", statusReason=because(REASON), focus=request_)
    assert cancelled == done({order: "cancelled", request_: "cancelled"}, pharmacy)
    assert pharmacy.was_told.version_of(request_)["status"] == "cancelled"


def test_a_request_that_is_revoked_by_itself_does_not_end_its_order(
    hospital: Party, pharmacy: Party, request_: Named, order: Named
) -> None:
    """The guide: placers cancel the Task too; who does not is told so."""
    hospital.changes(request_, status="cancelled")

    revoked = hospital.publishes(request_)

    assert revoked == done({request_: "cancelled"}, pharmacy)
    assert order.status == "requested"
    assert order.number in revoked.text


def test_before_the_work_a_cancellation_request_cancels_at_once(
    hospital: Party, pharmacy: Party, request_: Named, order: Named
) -> None:
    cancellation = hospital.request("abort", order, pharmacy, REASON)

    asked = hospital.asks(cancellation)

    assert asked == done({cancellation: "completed", order: "cancelled"}, pharmacy, outcome="cancelled")
    assert pharmacy.was_told.focus == (cancellation,)
    assert pharmacy.was_told.has(order)
    assert order.reason == because(REASON)
    assert request_.status == "active"
    assert order.history == [("requested", "hospital"), ("cancelled", "hospital")]
    assert cancellation.history == [("completed", "hospital")]


def test_during_the_work_nobody_cancels_the_task_itself(hospital: Party, pharmacy: Party, begun: Named) -> None:
    refusal = hospital.cancels(begun, REASON)

    assert refusal == refused("business-rule")
    assert "cancellation request" in refusal.text
    assert pharmacy.cancels(begun, REASON) == refused("business-rule")
    assert begun.status == "in-progress"


def test_during_the_work_the_fulfiller_accepts_the_cancellation(
    hospital: Party, pharmacy: Party, request_: Named, begun: Named
) -> None:
    cancellation = hospital.request("abort", begun, pharmacy, REASON)
    assert hospital.asks(cancellation) == done({cancellation: "requested"}, pharmacy, outcome="pending")
    assert cancellation in pharmacy.was_told.focus
    assert pharmacy.was_told.has(cancellation, begun)
    assert begun.status == "in-progress"
    assert pharmacy.receives(cancellation) == done({cancellation: "received"}, hospital, outcome="pending")

    accepted = pharmacy.accepts(cancellation)

    assert accepted == done({cancellation: "completed", begun: "cancelled"}, hospital, outcome="accepted")
    assert hospital.was_told.focus == (cancellation,)
    assert hospital.was_told.has(begun)
    assert begun.reason == because(REASON)
    assert request_.history == [("active", "hospital")]
    assert pharmacy.completes(begun) == refused("business-rule")
    assert begun.history == [
        ("requested", "hospital"),
        ("accepted", "pharmacy"),
        ("in-progress", "pharmacy"),
        ("cancelled", "pharmacy"),
    ]
    assert cancellation.history == [("requested", "hospital"), ("received", "pharmacy"), ("completed", "pharmacy")]


def test_during_the_work_the_fulfiller_rejects_the_cancellation_and_goes_on(
    hospital: Party, pharmacy: Party, begun: Named
) -> None:
    cancellation = hospital.request("abort", begun, pharmacy, REASON)
    hospital.asks(cancellation)

    rejected = pharmacy.rejects(cancellation, "It is in the patient's hands")

    assert rejected == done({cancellation: "rejected"}, hospital, outcome="rejected")
    assert hospital.was_told.version_of(cancellation)["statusReason"] == because("It is in the patient's hands")
    assert begun.status == "in-progress"
    assert pharmacy.completes(begun) == done({begun: "completed"}, hospital)
    assert cancellation.history == [("requested", "hospital"), ("rejected", "pharmacy")]
    assert [status for status, _ in begun.history] == ["requested", "accepted", "in-progress", "completed"]


def test_after_a_rejected_cancellation_another_one_may_be_asked_for(
    hospital: Party, pharmacy: Party, begun: Named
) -> None:
    first, second = (hospital.request("abort", begun, pharmacy, REASON) for _ in range(2))
    hospital.asks(first)
    assert hospital.asks(second) == refused("business-rule", outcome="already-pending")
    pharmacy.rejects(first, "Not now")

    assert hospital.asks(second) == done({second: "requested"}, pharmacy, outcome="pending")
    assert pharmacy.accepts(second) == done({second: "completed", begun: "cancelled"}, hospital, outcome="accepted")


def test_the_placer_withdraws_its_cancellation(hospital: Party, pharmacy: Party, begun: Named) -> None:
    cancellation = hospital.request("abort", begun, pharmacy, REASON)
    hospital.asks(cancellation)

    withdrawn = hospital.cancels(cancellation, "Another patient was meant")

    assert withdrawn == done({cancellation: "cancelled"}, pharmacy, outcome="withdrawn")
    assert pharmacy.accepts(cancellation).code == "fatal-error"
    assert begun.status == "in-progress"
    assert cancellation.history == [("requested", "hospital"), ("cancelled", "hospital")]


def test_the_work_is_completed_while_the_cancellation_waits(
    hospital: Party, pharmacy: Party, request_: Named, patient: Named, begun: Named
) -> None:
    cancellation = hospital.request("abort", begun, pharmacy, REASON)
    hospital.asks(cancellation)

    dispensed = dispense(pharmacy, AMOXICILLIN, patient, request_)
    completed = pharmacy.completes(begun, dispensed)

    told = {begun: "completed", cancellation: "rejected"}
    assert completed == done(told, hospital, outcome="too-late-completed")
    assert hospital.was_told.focus == (begun,)
    assert hospital.was_told.has(cancellation)
    assert pharmacy.accepts(cancellation).code == "fatal-error"
    assert (begun.status, cancellation.status) == ("completed", "rejected")
    assert cancellation.history == [("requested", "hospital"), ("rejected", "pharmacy")]


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        (("begins", "completes"), "too-late-completed"),
        (("begins", "fails"), "already-ended"),
        (("rejects",), "already-ended"),
    ],
)
def test_after_the_work_it_is_too_late(
    hospital: Party, pharmacy: Party, order: Named, ends: tuple[str, ...], outcome: str
) -> None:
    if "begins" in ends:
        pharmacy.accepts(order)
    for end in ends:
        said = ("Dropped",) if end in ("fails", "rejects") else ()
        assert getattr(pharmacy, end)(order, *said).code == "ok"
    before = order.history

    cancellation = hospital.request("abort", order, pharmacy, REASON)

    assert hospital.asks(cancellation) == refused("business-rule", outcome=outcome)
    assert hospital.cancels(order, REASON) == refused("business-rule")
    assert not cancellation.is_kept
    assert order.history == before


def test_what_is_cancelled_is_not_cancelled_again(hospital: Party, pharmacy: Party, order: Named) -> None:
    hospital.cancels(order, REASON)

    cancellation = hospital.request("abort", order, pharmacy, REASON)

    assert hospital.asks(cancellation) == refused("business-rule", outcome="already-cancelled")
    assert hospital.cancels(order, REASON) == done({})
    assert order.history == [("requested", "hospital"), ("cancelled", "hospital")]


def test_a_cancellation_that_comes_twice_has_one_effect(hospital: Party, pharmacy: Party, begun: Named) -> None:
    cancellation = hospital.request("abort", begun, pharmacy, REASON)
    hospital.asks(cancellation)
    assert hospital.asks(cancellation) == done({}, outcome="pending")

    pharmacy.accepts(cancellation)

    assert pharmacy.accepts(cancellation) == done({}, outcome="accepted")
    assert hospital.asks(cancellation) == done({}, outcome="accepted")
    assert len(cancellation.history) == 2
    assert begun.history[-1] == ("cancelled", "pharmacy")


def test_a_partner_that_accepts_cancellations_at_once(
    hospital: Party, automatic_pharmacy: Party, request_: Named
) -> None:
    order = under_way(hospital, request_, of=automatic_pharmacy)
    cancellation = hospital.request("abort", order, automatic_pharmacy, REASON)

    asked = hospital.asks(cancellation)

    told = {cancellation: "completed", order: "cancelled"}
    assert asked == done(told, automatic_pharmacy, outcome="accepted")
    assert automatic_pharmacy.was_told.focus == (cancellation,)
    assert automatic_pharmacy.was_told.has(order)


@pytest.mark.parametrize(
    ("accepted", "becomes"), [("cancelled", "cancelled"), ("on-hold", "on-hold"), ("failed", "failed")]
)
def test_the_policy_says_what_an_accepted_cancellation_does(
    network: Network, hospital: Party, pharmacy: Party, begun: Named, accepted: str, becomes: str
) -> None:
    network.under(accepted=accepted)
    cancellation = hospital.request("abort", begun, pharmacy, REASON)
    hospital.asks(cancellation)

    told = {cancellation: "completed", begun: becomes}
    assert pharmacy.accepts(cancellation) == done(told, hospital, outcome="accepted")


def test_the_policy_leaves_the_order_to_its_fulfiller(
    network: Network, hospital: Party, pharmacy: Party, begun: Named
) -> None:
    network.under(accepted="left")
    cancellation = hospital.request("abort", begun, pharmacy, REASON)
    hospital.asks(cancellation)

    accepted = pharmacy.accepts(cancellation)

    assert (accepted.code, accepted.outcomes, accepted.told) == ("ok", ("accepted",), {"hospital"})
    assert set(accepted.changed) == {cancellation}
    assert begun.status == "in-progress"
    assert pharmacy.fails(begun, REASON) == done({begun: "failed"}, hospital)


def test_a_cancellation_that_overtakes_its_order_waits_for_it(
    hospital: Party, pharmacy: Party, request_: Named
) -> None:
    order = hospital.orders(request_, of=pharmacy)
    cancellation = hospital.request("abort", order, pharmacy, REASON)
    overtaking = _ask_by_identifier(hospital, cancellation, order)
    assert (overtaking.code, overtaking.outcomes) == ("ok", ("held",))
    assert overtaking.changed == {cancellation: "requested"}
    assert not order.is_kept

    placed = hospital.places(order)

    changed = {order: "cancelled", request_: "active", cancellation: "completed"}
    assert placed == done(changed, pharmacy, outcome="cancelled")
    assert pharmacy.was_told.focus == (order,)
    assert pharmacy.was_told.has(cancellation)
    assert order.reason == because(REASON)
    assert pharmacy.accepts(order) == refused("business-rule")
    assert cancellation.history == [("requested", "hospital"), ("completed", "hospital")]
    assert order.history == [("cancelled", "hospital")]


@pytest.mark.parametrize("answer", ["receives", "accepts", "rejects"])
def test_no_answer_of_the_fulfiller_loses_a_cancellation_that_has_overtaken_its_order(
    hospital: Party, pharmacy: Party, request_: Named, answer: str
) -> None:
    order = hospital.orders(request_, of=pharmacy)
    cancellation = hospital.request("abort", order, pharmacy, REASON)
    _ask_by_identifier(hospital, cancellation, order)
    getattr(pharmacy, answer)(cancellation, *(("Not known here",) if answer == "rejects" else ()))

    assert hospital.places(order).code == "ok"

    assert (order.status, cancellation.status) == ("cancelled", "completed")
    assert pharmacy.accepts(order) == refused("business-rule")


def test_a_cancellation_that_has_overtaken_its_order_is_withdrawn(
    hospital: Party, pharmacy: Party, request_: Named
) -> None:
    order = hospital.orders(request_, of=pharmacy)
    cancellation = hospital.request("abort", order, pharmacy, REASON)
    _ask_by_identifier(hospital, cancellation, order)

    withdrawn = hospital.cancels(cancellation, "Another patient was meant")

    assert (withdrawn.code, withdrawn.outcomes) == ("ok", ("withdrawn",))
    assert hospital.places(order) == done({order: "requested", request_: "active"}, pharmacy)
    assert pharmacy.accepts(order) == done({order: "accepted"}, hospital)


def test_who_has_not_placed_an_order_does_not_cancel_it_by_being_first(
    hospital: Party, outsider: Party, pharmacy: Party, request_: Named
) -> None:
    order = hospital.orders(request_, of=pharmacy)
    _ask_by_identifier(outsider, outsider.request("abort", order, pharmacy, REASON), order)

    placed = hospital.places(order)

    assert placed.code == "ok"
    assert order.history == [("requested", "hospital")]
    assert "pharmacy" in placed.told


def _ask_by_identifier(party: Party, cancellation: Named, order: Named) -> Effect:
    """Asks for an order to be cancelled that is not in the message and not kept yet."""
    party.changes(cancellation, focus={"type": "Task", "identifier": order.identifier})
    return party.asks(cancellation)
