"""Every state of an order × every status × every party, by message, against the table of the guide.

The table is written here anew, from https://hl7.org/fhir/R4/task.html#statemachine and the guide's roles, so that the
policy pack and this test can contradict each other.
"""

from __future__ import annotations

import pytest

from tests.journeys.flows.network import Named, Network, done
from tests.journeys.flows.parties import Party

STATUSES = (
    "draft",
    "requested",
    "received",
    "accepted",
    "ready",
    "in-progress",
    "on-hold",
    "rejected",
    "cancelled",
    "failed",
    "completed",
    "entered-in-error",
)
PLACER, FULFILLER, BYSTANDER = "hospital", "laboratory", "outsider"
MOVES = {
    PLACER: {
        "draft": {"requested", "ready", "cancelled"},
        "requested": {"cancelled"},
        "received": {"cancelled"},
        "accepted": {"cancelled"},
        "ready": {"cancelled"},
    },
    FULFILLER: {
        "requested": {"received", "accepted", "rejected"},
        "received": {"accepted", "rejected"},
        "accepted": {"in-progress"},
        "ready": {"in-progress"},
        "in-progress": {"on-hold", "completed", "failed"},
        "on-hold": {"in-progress"},
    },
}
WAYS = {
    "draft": [],
    "requested": [(PLACER, "requested")],
    "ready": [(PLACER, "ready")],
    "received": [(PLACER, "requested"), (FULFILLER, "received")],
    "accepted": [(PLACER, "requested"), (FULFILLER, "accepted")],
    "rejected": [(PLACER, "requested"), (FULFILLER, "rejected")],
    "cancelled": [(PLACER, "cancelled")],
    "in-progress": [(PLACER, "ready"), (FULFILLER, "in-progress")],
    "on-hold": [(PLACER, "ready"), (FULFILLER, "in-progress"), (FULFILLER, "on-hold")],
    "failed": [(PLACER, "ready"), (FULFILLER, "in-progress"), (FULFILLER, "failed")],
    "completed": [(PLACER, "ready"), (FULFILLER, "in-progress"), (FULFILLER, "completed")],
    "entered-in-error": [(PLACER, "entered-in-error")],
}
"""How an order comes to a state, from draft."""


def may(party: str, state: str, status: str) -> bool:
    """Its creator, here the placer, can declare every order an error; nothing follows that."""
    if party == PLACER and status == "entered-in-error":
        return state != "entered-in-error"
    return status in MOVES.get(party, {}).get(state, ())


@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True)  # the policy decides, not the database
@pytest.mark.parametrize("state", STATUSES)
def test_only_who_may_make_a_move_makes_it(network: Network, state: str) -> None:
    parties = {name: Party(network, name) for name in (PLACER, FULFILLER, BYSTANDER)}
    others = [status for status in STATUSES if status != state]

    order = order_in(state, parties)
    before = order.content
    for name, party in parties.items():
        for status in others:
            if not may(name, state, status):
                effect = party.updates(order, status)
                assert effect.code == "fatal-error", f"{name}: {state} → {status}"
                assert set(effect.refused) <= {"forbidden", "business-rule"}
                assert state in effect.text
    assert order.content == before

    for name, party in parties.items():
        for status in others:
            if may(name, state, status):
                order = order_in(state, parties)
                told = parties[FULFILLER if name == PLACER else PLACER]
                assert party.updates(order, status) == done({order: status}, told), f"{name}: {state} → {status}"


def order_in(state: str, parties: dict[str, Party]) -> Named:
    placer = parties[PLACER]
    request = placer.writes("ServiceRequest", status="active", intent="order", subject=placer.writes("Patient"))
    order = placer.orders(request, of=parties[FULFILLER])
    placer.changes(order, status="draft")
    assert placer.places(order).code == "ok"
    for name, status in WAYS[state]:
        assert parties[name].updates(order, status).code == "ok"
    assert order.status == state
    return order
