"""Laboratory orders: https://hl7.org/fhir/uv/cow, "ex1" to "ex3", "ex5" and "ex6"."""

from __future__ import annotations

from tests.journeys.flows.network import Named, done, refused
from tests.journeys.flows.parties import Party, coded
from tests.journeys.flows.resources import as_input, laboratory_test, placed, report_of, serum, taken_up, under_way

CONDITIONS = "http://terminology.hl7.org/CodeSystem/v2-0493"


def test_a_simple_laboratory_order(hospital: Party, laboratory: Party, patient: Named, glucose: Named) -> None:
    blood = serum(hospital, patient, glucose)
    order = hospital.orders(glucose, of=laboratory, input=as_input(blood), **{"for": patient})

    assert hospital.places(order) == done({order: "requested", glucose: "active"}, laboratory)
    assert laboratory.was_told.focus == (order,)
    assert laboratory.was_told.has(order, glucose, blood, patient)

    assert laboratory.accepts(order, businessStatus=coded("visit-scheduled")) == done({order: "accepted"}, hospital)
    assert hospital.was_told.has(order, glucose, blood)
    assert order.business_status == "visit-scheduled"

    begun = laboratory.begins(order, businessStatus=coded("specimen-collected"))
    assert begun == done({order: "in-progress"}, hospital)
    assert order.business_status == "specimen-collected"

    report = report_of(laboratory, patient, glucose)
    assert laboratory.completes(order, report) == done({order: "completed"}, hospital)
    assert order.outputs == [report]
    assert hospital.was_told.has(order, report, glucose)
    assert hospital.was_told.version_of(report)["conclusion"] == "Within the reference range"
    assert glucose.status == "active"

    hospital.changes(glucose, status="completed")
    assert hospital.updates(order, focus=glucose) == done({glucose: "completed"}, laboratory)
    assert laboratory.was_told.version_of(glucose)["status"] == "completed"
    assert glucose.history == [("active", "hospital"), ("completed", "hospital")]
    assert order.history == [
        ("requested", "hospital"),
        ("accepted", "laboratory"),
        ("in-progress", "laboratory"),
        ("completed", "laboratory"),
    ]


def test_a_fulfiller_who_does_not_decline_sends_the_result_and_nothing_before(
    hospital: Party, laboratory: Party, patient: Named, glucose: Named
) -> None:
    order = placed(hospital, glucose, of=laboratory)

    report = report_of(laboratory, patient, glucose)
    assert laboratory.reports(order, report) == done({order: "requested"}, hospital)

    assert order.outputs == [report]
    assert hospital.was_told.has(report)
    assert order.history == [("requested", "hospital"), ("requested", "laboratory")]


def test_a_laboratory_order_with_a_phlebotomist(
    hospital: Party, laboratory: Party, phlebotomist: Party, patient: Named, glucose: Named
) -> None:
    collection = hospital.orders(glucose, of=phlebotomist)
    assert hospital.places(collection) == done({collection: "requested", glucose: "active"}, phlebotomist)
    assert phlebotomist.was_told.has(collection, glucose)
    taken_up(collection, by=phlebotomist, placer=hospital)
    blood = serum(phlebotomist, patient, glucose)
    assert phlebotomist.completes(collection, blood) == done({collection: "completed"}, hospital)
    assert collection.outputs == [blood]
    assert hospital.was_told.has(blood)

    order = hospital.orders(glucose, of=laboratory, input=as_input(blood))
    assert hospital.places(order) == done({order: "requested"}, laboratory)
    assert laboratory.was_told.has(order, glucose, blood)
    taken_up(order, by=laboratory, placer=hospital)
    report = report_of(laboratory, patient, glucose)
    assert laboratory.completes(order, report) == done({order: "completed"}, hospital)

    hospital.changes(glucose, status="completed")
    assert hospital.updates(order, focus=glucose) == done({glucose: "completed"}, laboratory)
    assert [status for status, _ in collection.history] == ["requested", "accepted", "in-progress", "completed"]
    assert order.outputs == [report]
    assert order.history[-1] == ("completed", "laboratory")


def test_the_laboratory_is_handed_the_specimen_that_the_phlebotomist_has_described(
    hospital: Party, laboratory: Party, phlebotomist: Party, patient: Named, glucose: Named
) -> None:
    collection = under_way(hospital, glucose, of=phlebotomist)
    blood = serum(phlebotomist, patient, glucose)
    phlebotomist.completes(collection, blood)

    hospital.changes(blood)  # its own copy of what it was told
    order = hospital.orders(glucose, of=laboratory, input=as_input(blood))
    assert hospital.places(order) == done({order: "requested"}, laboratory)
    assert laboratory.was_told.has(order, glucose, blood)


def test_a_reflex_test_that_the_laboratory_orders_of_itself(hospital: Party, laboratory: Party, patient: Named) -> None:
    thyrotropin = laboratory_test(hospital, "3016-3", patient)
    order = under_way(hospital, thyrotropin, of=laboratory)

    thyroxine = laboratory_test(laboratory, "3024-7", patient, intent="reflex-order", basedOn=[thyrotropin])
    report = report_of(laboratory, patient, thyrotropin, thyroxine)
    completed = laboratory.completes(order, report)
    assert completed == done({order: "completed", thyroxine: "active"}, hospital)
    assert order.outputs == [report]
    assert hospital.was_told.has(order, report, thyrotropin, thyroxine)
    assert thyrotropin.history == [("active", "hospital")]
    assert thyroxine.history == [("active", "laboratory")]

    hospital.changes(thyrotropin, status="completed")
    assert hospital.publishes(thyrotropin) == done({thyrotropin: "completed"}, laboratory)


def test_a_request_is_changed_by_its_creator_alone(hospital: Party, laboratory: Party, glucose: Named) -> None:
    order = placed(hospital, glucose, of=laboratory)

    laboratory.changes(glucose, status="revoked")
    assert laboratory.accepts(order, focus=glucose) == done({order: "accepted"}, hospital)

    assert glucose.status == "active"
    assert hospital.was_told.version_of(glucose)["status"] == "active"


def test_a_specimen_that_is_rejected(hospital: Party, laboratory: Party, patient: Named, glucose: Named) -> None:
    blood = serum(hospital, patient, glucose, status="available")
    order = under_way(hospital, glucose, of=laboratory, input=as_input(blood))

    laboratory.changes(blood, status="unsatisfactory", condition=[coded("HEM", CONDITIONS)])
    failed = laboratory.fails(order, "The specimen is hemolysed", blood)
    assert failed == done({order: "failed"}, hospital)
    assert order.outputs == [blood]
    assert order.reason == {"text": "The specimen is hemolysed"}
    assert blood.status == "unsatisfactory"
    assert hospital.was_told.version_of(blood)["status"] == "unsatisfactory"

    hospital.changes(glucose, status="revoked")
    assert hospital.updates(order, focus=glucose) == done({glucose: "revoked"}, laboratory)
    assert laboratory.begins(order) == refused("business-rule")
    assert order.history == [
        ("requested", "hospital"),
        ("accepted", "laboratory"),
        ("in-progress", "laboratory"),
        ("failed", "laboratory"),
    ]


def test_a_laboratory_order_with_a_reference_laboratory(
    hospital: Party, laboratory: Party, reference_laboratory: Party, patient: Named
) -> None:
    panel = laboratory_test(hospital, "43112-2", patient)
    blood = serum(hospital, patient, panel)
    order = under_way(hospital, panel, of=laboratory, input=as_input(blood))

    antibody = laboratory_test(laboratory, "16944-1", patient, basedOn=[panel])
    aliquot = serum(laboratory, patient, antibody, parent=[blood])
    referred = laboratory.orders(antibody, of=reference_laboratory, input=as_input(aliquot))
    placed = laboratory.places(referred)
    assert placed == done({referred: "requested", antibody: "active"}, reference_laboratory)
    assert reference_laboratory.was_told.has(referred, antibody, aliquot)
    taken_up(referred, by=reference_laboratory, placer=laboratory)
    theirs = report_of(reference_laboratory, patient, antibody)
    assert reference_laboratory.completes(referred, theirs) == done({referred: "completed"}, laboratory)
    assert laboratory.was_told.has(theirs)
    assert (order.status, order.content.get("output")) == ("in-progress", None)

    laboratory.changes(antibody, status="completed")
    assert laboratory.updates(referred, focus=antibody) == done({antibody: "completed"}, reference_laboratory)
    report = report_of(laboratory, patient, panel)
    assert laboratory.completes(order, report) == done({order: "completed"}, hospital)
    assert order.outputs == [report]
    hospital.changes(panel, status="completed")
    assert hospital.updates(order, focus=panel) == done({panel: "completed"}, laboratory)
    assert [who for _, who in referred.history] == ["laboratory", *["reference-laboratory"] * 3]
    assert [who for _, who in order.history] == ["hospital", *["laboratory"] * 3]


def test_a_referral_that_is_a_part_of_the_order_raises_its_report_to_it(
    hospital: Party, laboratory: Party, reference_laboratory: Party, patient: Named
) -> None:
    panel = laboratory_test(hospital, "43112-2", patient)
    order = under_way(hospital, panel, of=laboratory)
    antibody = laboratory_test(laboratory, "16944-1", patient, basedOn=[panel])
    part = under_way(laboratory, antibody, of=reference_laboratory, partOf=[order])

    theirs = report_of(reference_laboratory, patient, antibody)
    completed = reference_laboratory.completes(part, theirs)

    assert completed == done({part: "completed", order: "in-progress"}, laboratory, hospital)
    assert hospital.was_told.focus == (order,)
    assert laboratory.was_told.focus == (part,)
    assert laboratory.was_told.has(order)
    assert order.outputs == [theirs]
    assert order.history[-1] == ("in-progress", "reference-laboratory")
    report = report_of(laboratory, patient, panel)
    assert laboratory.completes(order, report) == done({order: "completed"}, hospital)
    assert set(order.outputs) == {theirs, report}
    assert hospital.was_told.has(theirs, report)
