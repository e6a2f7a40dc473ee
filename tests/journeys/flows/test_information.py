"""How an order goes on, and who needs to know more: "Tracking progress" and "Need for additional information"."""

from __future__ import annotations

import pytest

from gateway.fhir.check import check
from gateway.fhir.check.profiles import load
from tests.journeys.flows.network import Named, done, refused
from tests.journeys.flows.parties import Party, because, coded
from tests.journeys.flows.resources import LOINC, as_input, laboratory_test, placed, report_of, taken_up

PROFILES = load()


@pytest.fixture
def order(hospital: Party, laboratory: Party, glucose: Named) -> Named:
    return placed(hospital, glucose, of=laboratory)


@pytest.mark.parametrize("status", ["requested", "received"])
def test_more_information_is_needed_and_comes_with_the_request(
    hospital: Party, laboratory: Party, patient: Named, glucose: Named, order: Named, status: str
) -> None:
    needed = {"businessStatus": coded("awaiting-information"), "statusReason": because("Is the patient fasting?")}
    assert laboratory.updates(order, status, **needed) == done({order: status}, hospital)
    assert hospital.was_told.version_of(order)["statusReason"] == because("Is the patient fasting?")
    assert order.business_status == "awaiting-information"

    fasting = hospital.writes(
        "Observation", status="final", code=coded("49541-6", LOINC), subject=patient, valueString="fasting"
    )
    hospital.changes(glucose, supportingInfo=[fasting])
    answered = hospital.updates(order, focus=glucose)

    assert answered == done({glucose: "active"}, laboratory)
    assert laboratory.was_told.focus == (order,)
    assert laboratory.was_told.has(glucose, fasting)
    assert laboratory.was_told.version_of(fasting)["valueString"] == "fasting"
    accepted = laboratory.accepts(order, businessStatus=coded("visit-scheduled"))
    assert accepted == done({order: "accepted"}, hospital)
    assert order.reason is None
    assert order.history == [("requested", "hospital"), (status, "laboratory"), ("accepted", "laboratory")]
    assert glucose.history == [("active", "hospital"), ("active", "hospital")]


def test_more_information_for_the_fulfiller_comes_as_an_input(
    hospital: Party, laboratory: Party, patient: Named, order: Named
) -> None:
    laboratory.receives(order, businessStatus=coded("awaiting-information"))
    fasting = hospital.writes(
        "Observation", status="final", code=coded("49541-6", LOINC), subject=patient, valueString="fasting"
    )

    answered = hospital.updates(order, input=as_input(fasting, "information"))

    assert answered == done({order: "received"}, laboratory)
    assert laboratory.was_told.has(order, fasting)
    assert order.business_status == "awaiting-information"
    assert laboratory.accepts(order) == done({order: "accepted"}, hospital)


def test_an_instruction_back_to_the_placer_is_a_part_of_the_order(
    hospital: Party, laboratory: Party, patient: Named, glucose: Named, order: Named
) -> None:
    laboratory.receives(order, businessStatus=coded("awaiting-information"))
    swab = laboratory_test(laboratory, "94500-6", patient, intent="proposal")
    instruction = laboratory.orders(swab, of=hospital, partOf=[order])
    assert laboratory.places(instruction) == done({instruction: "requested", swab: "active"}, hospital)
    assert hospital.was_told.has(instruction, swab)

    taken_up(instruction, by=hospital, placer=laboratory)
    result = report_of(hospital, patient, swab)
    completed = hospital.completes(instruction, result)

    assert completed.code == "ok"
    assert completed.changed[instruction] == "completed"
    assert completed.told == {"laboratory"}
    assert laboratory.was_told.has(result)
    assert order.status == "received"
    assert laboratory.accepts(order) == done({order: "accepted"}, hospital)


def test_progress_is_shown_as_a_ratio(hospital: Party, laboratory: Party, order: Named) -> None:
    taken_up(order, by=laboratory, placer=hospital)
    units = {"system": "http://unitsofmeasure.org", "code": "{session}"}
    for sessions in (4, 10):
        ratio = {"numerator": {"value": sessions, **units}, "denominator": {"value": 10, **units}}
        output = [{"type": {"text": "sessions-progress"}, "valueRatio": ratio}]
        assert laboratory.updates(order, output=output) == done({order: "in-progress"}, hospital)
        assert hospital.was_told.version_of(order)["output"][0]["valueRatio"]["numerator"]["value"] == sessions
    assert len(order.content["output"]) == 1


def test_a_preliminary_result_that_becomes_final(
    hospital: Party, laboratory: Party, patient: Named, glucose: Named, order: Named
) -> None:
    taken_up(order, by=laboratory, placer=hospital)
    report = report_of(laboratory, patient, glucose)
    laboratory.changes(report, status="preliminary")
    preliminary = laboratory.reports(order, report, businessStatus=coded("preliminary-outcome"))
    assert preliminary == done({order: "in-progress"}, hospital)
    assert hospital.was_told.version_of(report)["status"] == "preliminary"

    laboratory.changes(report, status="final")
    assert laboratory.completes(order, report) == done({order: "completed"}, hospital)
    assert hospital.was_told.version_of(report)["status"] == "final"
    assert order.outputs == [report]

    laboratory.changes(report, status="corrected", conclusion="Below the reference range")
    assert laboratory.reports(order, report) == done({}, hospital)
    assert hospital.was_told.version_of(report)["conclusion"] == "Below the reference range"
    assert report.history == [(status, "laboratory") for status in ("preliminary", "final", "corrected")]
    assert order.history[-1] == ("completed", "laboratory")


def test_a_fulfiller_declines_with_a_reason(hospital: Party, laboratory: Party, glucose: Named, order: Named) -> None:
    assert laboratory.rejects(order, "The analyser is down") == done({order: "rejected"}, hospital)
    assert hospital.was_told.version_of(order)["statusReason"] == because("The analyser is down")
    assert glucose.status == "active"
    assert laboratory.accepts(order) == refused("business-rule")
    assert order.history == [("requested", "hospital"), ("rejected", "laboratory")]


def test_a_message_that_changes_nothing_tells_nobody(hospital: Party, laboratory: Party, order: Named) -> None:
    laboratory.accepts(order)
    assert laboratory.accepts(order) == done({})
    assert hospital.updates(order) == done({})
    assert len(order.history) == 2


def test_a_partner_that_reads_for_itself_is_told_nothing(hospital: Party, reader: Party, glucose: Named) -> None:
    order = hospital.orders(glucose, of=reader)
    assert hospital.places(order) == done({order: "requested", glucose: "active"})
    assert reader.accepts(order) == done({order: "accepted"}, hospital)


def test_a_partner_is_told_by_notifications_in_order(hospital: Party, facility_a: Party, glucose: Named) -> None:
    order = hospital.orders(glucose, of=facility_a)
    numbers = []
    for sent in (lambda: hospital.places(order), lambda: hospital.updates(order, priority="urgent")):
        assert "facility-a" in sent().told
        status = facility_a.was_told.resources[0]
        parts = [one["part"] for one in status["parameter"] if one["name"] == "notification-event"]
        numbers += [part["valueString"] for part in parts[0] if part["name"] == "event-number"]
    first, second = map(int, numbers)
    assert second == first + 1


def test_what_parties_are_told_is_as_the_profiles_of_the_guide_say(
    hospital: Party, laboratory: Party, facility_a: Party, glucose: Named
) -> None:
    by_message, by_notification = (hospital.orders(glucose, of=party) for party in (laboratory, facility_a))
    hospital.places(by_message)
    header = laboratory.was_told.resources[0]
    hospital.places(by_notification)
    notification = facility_a.was_told.bundle

    assert _faults("cow-message-header", header) == []
    assert _faults("cow-subscription-notification", notification) == []
    assert _faults("coordination-task", facility_a.was_told.resources[1]) == []


def _faults(profile: str, resource: dict[str, object]) -> list[str]:
    """What breaks a profile of the guide."""
    found = PROFILES.find(f"http://hl7.org/fhir/uv/cow/StructureDefinition/{profile}")
    assert found is not None
    issues = check(resource, profile=found)
    return [issue.text for issue in issues if issue.severity == "error" and issue.rule.startswith("profile")]
