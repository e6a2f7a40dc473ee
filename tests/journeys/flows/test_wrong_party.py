"""What a party may not do: nothing changes, nobody is told, and the refusal says who may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.journeys.flows.network import Effect, Named, Network, refused
from tests.journeys.flows.parties import Party, because, coded, output
from tests.journeys.flows.resources import AMOXICILLIN, dispense, prescription

FORBIDDEN = refused("forbidden")

Attempt = Callable[[Party, Named], Effect]
Attempts = dict[str, Attempt]

THE_FULFILLERS: dict[str, Attempts] = {
    "requested": {
        "receive": lambda party, order: party.receives(order),
        "accept": lambda party, order: party.accepts(order),
        "reject": lambda party, order: party.rejects(order, "No"),
        "say when": lambda party, order: party.updates(order, executionPeriod={"start": "2026-03-02"}),
    },
    "accepted": {"begin": lambda party, order: party.begins(order)},
    "in-progress": {
        "complete": lambda party, order: party.completes(order),
        "fail": lambda party, order: party.fails(order, "Dropped"),
        "pause": lambda party, order: party.pauses(order),
    },
    "on-hold": {"go on": lambda party, order: party.begins(order)},
}
THE_PLACERS: dict[str, Attempts] = {
    "requested": {
        "cancel": lambda party, order: party.cancels(order, "No"),
        "make urgent": lambda party, order: party.updates(order, priority="stat"),
        "give more": lambda party, order: party.updates(order, input=[{"type": coded("x"), "valueString": "x"}]),
    },
    "accepted": {"cancel": lambda party, order: party.cancels(order, "No")},
    "completed": {"declare an error": lambda party, order: party.declares_an_error(order)},
}
EITHERS: Attempts = {
    "assign": lambda party, order: party.assigns(order, to=party),
    "note": lambda party, order: party.updates(order, note=[{"text": "Mine"}]),
    "tell": lambda party, order: party.updates(order, businessStatus=coded("visit-complete")),
}
STAGES = {
    "requested": "",
    "accepted": "accepts",
    "in-progress": "begins",
    "on-hold": "pauses",
    "in-progress again": "begins",
    "completed": "completes",
}


def _try_at_each_stage(party: Party, pharmacy: Party, order: Named, *attempts: dict[str, Attempts]) -> None:
    answered: dict[str, Effect] = {}
    for stage, verb in STAGES.items():
        if verb:
            assert getattr(pharmacy, verb)(order).code == "ok"
        as_it_was = order.content
        for name, attempt in [pair for among in attempts for pair in among.get(stage, {}).items()]:
            answered[f"{name} what is {stage}"] = attempt(party, order)
            assert order.content == as_it_was
    assert answered == dict.fromkeys(answered, FORBIDDEN)
    assert [status for status, _ in order.history] == [stage.removesuffix(" again") for stage in STAGES]


def test_who_has_no_part_in_an_order_changes_nothing(outsider: Party, pharmacy: Party, order: Named) -> None:
    always = dict.fromkeys(STAGES, EITHERS)
    _try_at_each_stage(outsider, pharmacy, order, THE_FULFILLERS, THE_PLACERS, always)


def test_the_placer_does_not_do_the_fulfillers_part(hospital: Party, pharmacy: Party, order: Named) -> None:
    _try_at_each_stage(hospital, pharmacy, order, THE_FULFILLERS)


def test_the_fulfiller_does_not_do_the_placers_part(pharmacy: Party, order: Named) -> None:
    _try_at_each_stage(pharmacy, pharmacy, order, THE_PLACERS)


def test_an_order_in_the_name_of_another_is_refused(
    hospital: Party, outsider: Party, pharmacy: Party, request_: Named
) -> None:
    order = outsider.orders(request_, of=pharmacy, requester=hospital)
    assert outsider.places(order) == FORBIDDEN
    assert not order.is_kept


@pytest.mark.parametrize("code", ["abort", "suspend", "resume", "change", "replace"])
def test_who_has_not_placed_an_order_asks_for_nothing(
    outsider: Party, pharmacy: Party, begun: Named, code: str
) -> None:
    if code == "resume":
        pharmacy.pauses(begun)
    before = begun.history
    asked = outsider.request(code, begun, pharmacy, "Because")

    effect = outsider.asks(asked)

    assert effect == refused("forbidden", outcome="not-the-placer" if code == "abort" else "not-a-party")
    assert not asked.is_kept
    assert begun.history == before


def test_the_fulfiller_does_not_ask_itself_to_cancel(hospital: Party, pharmacy: Party, begun: Named) -> None:
    asked = pharmacy.request("abort", begun, hospital, "Because")
    assert pharmacy.asks(asked) == refused("forbidden", outcome="not-the-placer")
    assert begun.status == "in-progress"


def test_a_cancellation_is_answered_by_who_is_asked_alone(
    hospital: Party, pharmacy: Party, outsider: Party, begun: Named
) -> None:
    cancellation = hospital.request("abort", begun, pharmacy, "Allergic to penicillin")
    hospital.asks(cancellation)

    attempts = [party.accepts(cancellation) for party in (hospital, outsider)]
    attempts += [party.rejects(cancellation, "No") for party in (hospital, outsider)]
    attempts += [party.cancels(cancellation, "No") for party in (pharmacy, outsider)]
    for attempt in attempts:
        assert (attempt.code, attempt.refused) == ("fatal-error", ("forbidden",))
        assert len(attempt.outcomes) == 1

    assert cancellation.history == [("requested", "hospital")]
    assert begun.status == "in-progress"


def test_a_cancellation_addressed_to_another_does_not_let_that_one_answer(
    hospital: Party, pharmacy: Party, outsider: Party, begun: Named
) -> None:
    """Whoever is asked about an order is its fulfiller, whatever the request's owner says."""
    cancellation = hospital.request("abort", begun, outsider, "Allergic to penicillin")

    assert hospital.asks(cancellation).refused == ("forbidden",)

    assert not cancellation.is_kept
    assert begun.status == "in-progress"


def test_only_the_requests_creator_is_asked_to_cancel_it(
    outsider: Party, hospital: Party, pharmacy: Party, order: Named, request_: Named
) -> None:
    """Who has no part in an order does not propose to cancel what authorises it."""
    proposal = outsider.request("abort", request_, hospital, "Because", intent="proposal")
    assert outsider.asks(proposal).refused == ("forbidden",)
    assert not proposal.is_kept


def test_the_outputs_of_an_order_are_its_fulfillers(
    hospital: Party, pharmacy: Party, outsider: Party, patient: Named, request_: Named, begun: Named
) -> None:
    false = {party: dispense(party, AMOXICILLIN, patient, request_) for party in (hospital, outsider)}
    answered = {party: party.updates(begun, output=[output("result", one)]) for party, one in false.items()}
    assert answered == dict.fromkeys(answered, FORBIDDEN)
    assert not any(one.is_kept for one in false.values())
    assert "output" not in begun.content


def test_who_has_no_part_in_an_order_makes_no_part_of_it(outsider: Party, patient: Named, order: Named) -> None:
    own = prescription(outsider, AMOXICILLIN, patient)
    part = outsider.orders(own, of=outsider, partOf=[order])

    assert outsider.places(part) == FORBIDDEN

    assert not part.is_kept
    assert order.history == [("requested", "hospital")]


def test_the_placer_has_entered_the_order_in_error(
    network: Network, hospital: Party, pharmacy: Party, begun: Named, request_: Named
) -> None:
    hospital.changes(request_, status="entered-in-error")
    error = hospital.updates(begun, "entered-in-error", focus=request_, statusReason=because("Another patient"))

    assert error.code == "ok"
    assert error.changed == {begun: "entered-in-error", request_: "entered-in-error"}
    assert error.told == {"pharmacy"}
    assert pharmacy.completes(begun) == refused("business-rule")
    assert hospital.updates(begun, "requested") == refused("business-rule")
    assert begun.history[-1] == ("entered-in-error", "hospital")
