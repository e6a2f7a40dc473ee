"""Who does the work: bids, claims, a coordinator, and "ex7" of the guide, a placement after discharge."""

from __future__ import annotations

from tests.journeys.flows.network import Named, Network, done, refused
from tests.journeys.flows.parties import PERFORMER, Party, coded, output
from tests.journeys.flows.resources import care, placed, taken_up

OFFER = "request-fulfillment"


def codes(concept: dict[str, object] | None) -> list[object]:
    codings = concept["coding"] if concept else []
    assert isinstance(codings, list)
    return [coding["code"] for coding in codings]


def owner_of(order: Named) -> str:
    owner: str = order.content["owner"]["identifier"]["value"]
    return owner


def performers_of(order: Named) -> list[str]:
    found = [extension for extension in order.content.get("extension", []) if extension["url"] == PERFORMER]
    return [_reference_in(extension)["identifier"]["value"] for extension in found]


def _reference_in(extension: dict[str, object]) -> dict[str, dict[str, str]]:
    """A Reference in an extension, or in the part of it that stands for the CodeableReference's `reference`."""
    if "valueReference" in extension:
        return extension["valueReference"]  # type: ignore[return-value]
    parts = extension["extension"]
    assert isinstance(parts, list)
    return next(part["valueReference"] for part in parts if "valueReference" in part)


def test_a_placement_after_discharge(
    hospital: Party, facility_a: Party, facility_b: Party, home_care: Party, patient: Named
) -> None:
    nursing = care(hospital, patient)
    task_a, task_b, task_c = (hospital.orders(nursing, of=to, code=OFFER) for to in (facility_a, facility_b, home_care))
    assert hospital.places(task_a) == done({task_a: "requested", nursing: "active"}, facility_a)
    assert hospital.places(task_b) == done({task_b: "requested"}, facility_b)
    assert facility_b.was_told.has(task_b, nursing, patient)
    assert not facility_b.was_told.has(task_a)
    assert hospital.places(task_c) == done({task_c: "requested"}, home_care)
    assert home_care.was_told.has(task_c, nursing, patient)

    assert home_care.rejects(task_c, "No availability") == done({task_c: "rejected"}, hospital)
    question = facility_b.writes(
        "Communication",
        status="completed",
        partOf=[task_b],
        basedOn=[nursing],
        recipient=[hospital],
        payload=[{"contentString": "Is a shared room acceptable?"}],
    )
    asked = facility_b.receives(task_b, businessStatus=coded("awaiting-information"), beside=[question])
    assert asked == done({task_b: "received"}, hospital)
    assert task_b.business_status == "awaiting-information"
    assert question.is_kept
    assert hospital.was_told.has(task_b, question)

    assert facility_b.accepts(task_b) == done({task_b: "accepted"}, hospital)
    assert facility_a.accepts(task_a) == done({task_a: "accepted"}, hospital)
    assert hospital.cancels(task_a, "The patient has chosen another facility") == done(
        {task_a: "cancelled"}, facility_a
    )
    assert hospital.selects(task_b) == done({task_b: "accepted"}, facility_b)
    assert task_b.business_status == "selected"
    assert facility_b.begins(task_b) == done({task_b: "in-progress"}, hospital)
    assert nursing.history == [("active", "hospital")]
    assert task_a.history == [("requested", "hospital"), ("accepted", "facility-a"), ("cancelled", "hospital")]
    assert task_b.history == [
        ("requested", "hospital"),
        ("received", "facility-b"),
        ("accepted", "facility-b"),
        ("accepted", "hospital"),
        ("in-progress", "facility-b"),
    ]
    assert task_c.history == [("requested", "hospital"), ("rejected", "home-care")]


def test_bids_of_which_the_placer_selects_one(
    hospital: Party, facility_a: Party, facility_b: Party, home_care: Party, patient: Named
) -> None:
    nursing = care(hospital, patient)
    task_a, task_b, task_c = (hospital.orders(nursing, of=to, code=OFFER) for to in (facility_a, facility_b, home_care))
    for task in (task_a, task_b, task_c):
        hospital.places(task)
    bid_a = care(facility_a, patient, intent="proposal", occurrenceDateTime="2026-03-09")
    bid_b = care(facility_b, patient, intent="proposal", occurrenceDateTime="2026-03-05")
    assert facility_a.accepts(task_a, output=[output("proposal", bid_a)]) == done(
        {task_a: "accepted", bid_a: "active"}, hospital
    )
    assert facility_b.accepts(task_b, output=[output("proposal", bid_b)]) == done(
        {task_b: "accepted", bid_b: "active"}, hospital
    )
    assert hospital.was_told.focus == (task_b,)
    assert hospital.was_told.version_of(bid_b)["occurrenceDateTime"] == "2026-03-05"

    assert facility_a.selects(task_a) == refused("forbidden")
    assert facility_a.begins(task_a) == refused("business-rule")
    assert hospital.selects(task_c) == refused("business-rule")
    selected = hospital.selects(task_b)
    assert selected == done(
        {task_b: "accepted", task_a: "cancelled", task_c: "cancelled"}, facility_a, facility_b, home_care
    )

    assert task_b.business_status == "selected"
    assert codes(task_a.reason) == codes(task_c.reason) == ["not-selected"]
    assert facility_a.was_told.focus == (task_a,)
    assert facility_b.was_told.focus == (task_b,)
    assert home_care.was_told.focus == (task_c,)
    assert "conflict" in facility_a.begins(task_a).refused
    assert "conflict" in home_care.accepts(task_c).refused
    assert facility_b.begins(task_b) == done({task_b: "in-progress"}, hospital)
    assert hospital.selects(task_b) == done({})
    assert task_a.history == [("requested", "hospital"), ("accepted", "facility-a"), ("cancelled", "hospital")]
    assert task_c.history == [("requested", "hospital"), ("cancelled", "hospital")]
    assert nursing.history == [("active", "hospital")]


def test_the_placer_selects_another_only_once_the_first_is_out(
    hospital: Party, facility_a: Party, facility_b: Party, patient: Named
) -> None:
    nursing = care(hospital, patient)
    task_a, task_b = (hospital.orders(nursing, of=to, code=OFFER) for to in (facility_a, facility_b))
    for task in (task_a, task_b):
        hospital.places(task)
    facility_a.accepts(task_a)
    facility_b.accepts(task_b)
    hospital.selects(task_a)

    assert hospital.selects(task_b).code == "fatal-error"
    assert hospital.cancels(task_a, "The patient has changed their mind") == done({task_a: "cancelled"}, facility_a)
    task_d = hospital.orders(nursing, of=facility_b, code=OFFER)
    assert hospital.places(task_d) == done({task_d: "requested"}, facility_b)
    assert facility_b.accepts(task_d) == done({task_d: "accepted"}, hospital)
    assert hospital.selects(task_d) == done({task_d: "accepted"}, facility_b)
    assert [task.status for task in (task_a, task_b, task_d)] == ["cancelled", "cancelled", "accepted"]


def test_whoever_accepts_first_claims_an_order_without_an_owner(
    hospital: Party, laboratory: Party, reference_laboratory: Party, glucose: Named
) -> None:
    order = hospital.orders(glucose)
    assert hospital.places(order) == done({order: "requested", glucose: "active"})

    assert reference_laboratory.rejects(order, "Not here") == refused("forbidden")
    assert laboratory.accepts(order) == done({order: "accepted"}, hospital)
    assert owner_of(order) == "laboratory"
    assert hospital.was_told.version_of(order)["owner"]["identifier"]["value"] == "laboratory"

    for attempt in (reference_laboratory.accepts(order), reference_laboratory.begins(order)):
        assert attempt.refused in (("conflict",), ("forbidden",))
    assert laboratory.begins(order) == done({order: "in-progress"}, hospital)
    assert order.history == [("requested", "hospital"), ("accepted", "laboratory"), ("in-progress", "laboratory")]


def test_the_first_claim_wins_among_several_tasks_where_the_policy_says_so(
    network: Network, hospital: Party, facility_a: Party, facility_b: Party, home_care: Party, patient: Named
) -> None:
    network.under(bidding="first-claim")
    nursing = care(hospital, patient)
    task_a, task_b, task_c = (hospital.orders(nursing, of=to, code=OFFER) for to in (facility_a, facility_b, home_care))
    for task in (task_a, task_b, task_c):
        hospital.places(task)
    assert home_care.rejects(task_c, "No availability") == done({task_c: "rejected"}, hospital)

    claimed = facility_b.accepts(task_b)
    assert claimed == done({task_b: "accepted", task_a: "cancelled"}, hospital, facility_a)

    assert hospital.was_told.focus == (task_b,)
    assert hospital.was_told.has(task_a)
    assert facility_a.was_told.focus == (task_a,)
    assert codes(task_a.reason) == ["not-selected"]
    assert "conflict" in facility_a.accepts(task_a).refused
    assert facility_b.begins(task_b) == done({task_b: "in-progress"}, hospital)
    assert task_a.history == [("requested", "hospital"), ("cancelled", "facility-b")]
    assert task_c.history == [("requested", "hospital"), ("rejected", "home-care")]


def test_who_claims_learns_nothing_of_the_tasks_of_others(
    network: Network, hospital: Party, facility_a: Party, facility_b: Party, patient: Named
) -> None:
    """A claim cancels the others' Tasks; its reply has the claimer's Task alone in focus."""
    network.under(bidding="first-claim")
    nursing = care(hospital, patient)
    task_a, task_b = (hospital.orders(nursing, of=to, code=OFFER) for to in (facility_a, facility_b))
    for task in (task_a, task_b):
        hospital.places(task)

    claimed = facility_b.accepts(task_b)

    assert claimed.code == "ok"
    assert task_a.number not in claimed.text
    assert [focus["identifier"][0]["value"] for focus in network.replies[-1].focus] == [task_b.number]


def test_a_coordinator_assigns_the_order(
    hospital: Party, coordinator: Party, laboratory: Party, reference_laboratory: Party, patient: Named, glucose: Named
) -> None:
    order = placed(hospital, glucose, of=coordinator)

    assert laboratory.assigns(order, to=laboratory) == refused("forbidden")
    assert coordinator.assigns(order, to=laboratory) == done({order: "requested"}, hospital, laboratory)
    assert owner_of(order) == "laboratory"
    assert performers_of(order) == ["coordinator"]
    assert laboratory.was_told.has(order, glucose, patient)

    assert coordinator.accepts(order) == refused("forbidden")
    taken_up(order, by=laboratory, placer=hospital)
    assert laboratory.completes(order) == done({order: "completed"}, hospital)
    assert performers_of(order) == ["coordinator"]
    assert order.history == [
        ("requested", "hospital"),
        ("requested", "coordinator"),
        ("accepted", "laboratory"),
        ("in-progress", "laboratory"),
        ("completed", "laboratory"),
    ]


def test_an_order_in_work_is_handed_on_from_one_to_the_next(
    hospital: Party, coordinator: Party, laboratory: Party, reference_laboratory: Party, glucose: Named
) -> None:
    order = placed(hospital, glucose, of=coordinator)
    coordinator.assigns(order, to=laboratory)
    taken_up(order, by=laboratory, placer=hospital)

    handed_on = laboratory.assigns(order, to=reference_laboratory)

    assert handed_on == done({order: "in-progress"}, hospital, reference_laboratory)
    assert owner_of(order) == "reference-laboratory"
    assert performers_of(order) == ["coordinator", "laboratory"]
    assert laboratory.completes(order) == refused("forbidden")
    assert reference_laboratory.completes(order) == done({order: "completed"}, hospital)
    assert performers_of(order) == ["coordinator", "laboratory"]


def test_an_accepted_order_that_is_handed_on_makes_no_move_that_the_machine_does_not_have(
    hospital: Party, coordinator: Party, laboratory: Party, glucose: Named
) -> None:
    order = placed(hospital, glucose, of=coordinator)
    coordinator.accepts(order)

    assert coordinator.assigns(order, to=laboratory) == done({order: "accepted"}, hospital, laboratory)

    assert laboratory.begins(order) == done({order: "in-progress"}, hospital)


def test_the_placer_gives_the_order_to_another_and_the_first_is_told(
    hospital: Party, laboratory: Party, reference_laboratory: Party, glucose: Named
) -> None:
    order = placed(hospital, glucose, of=laboratory)

    moved = hospital.assigns(order, to=reference_laboratory)
    assert moved == done({order: "requested"}, laboratory, reference_laboratory)

    assert performers_of(order) == ["laboratory"]
    assert laboratory.was_told.version_of(order)["owner"]["identifier"]["value"] == "reference-laboratory"
    assert laboratory.accepts(order) == refused("forbidden")
    assert reference_laboratory.accepts(order) == done({order: "accepted"}, hospital)


def test_a_coordinator_that_mediates_has_a_task_with_each_side(
    hospital: Party, coordinator: Party, facility_a: Party, facility_b: Party, patient: Named
) -> None:
    nursing = care(hospital, patient)
    order = placed(hospital, nursing, of=coordinator)
    task_b = coordinator.orders(nursing, of=facility_a, code=OFFER)
    task_c = coordinator.orders(nursing, of=facility_b, code=OFFER)
    assert coordinator.places(task_b) == done({task_b: "requested"}, facility_a)
    assert facility_a.was_told.has(task_b, nursing)
    assert coordinator.places(task_c) == done({task_c: "requested"}, facility_b)

    assert facility_a.accepts(task_b) == done({task_b: "accepted"}, coordinator)
    assert coordinator.accepts(order) == done({order: "accepted"}, hospital)
    selected = coordinator.selects(task_b)
    assert selected == done({task_b: "accepted", task_c: "cancelled"}, facility_a, facility_b)
    assert facility_a.begins(task_b) == done({task_b: "in-progress"}, coordinator)
    assert coordinator.begins(order) == done({order: "in-progress"}, hospital)
    assert [who for _, who in order.history] == ["hospital", "coordinator", "coordinator"]
    assert [who for _, who in task_b.history] == ["coordinator", "facility-a", "coordinator", "facility-a"]
