"""What the orders are about: Requests and what comes of them, written by a party; and the first steps of an order."""

from __future__ import annotations

from typing import Any

from tests.journeys.flows.network import Named, done
from tests.journeys.flows.parties import WRITTEN, Party, coded

Resource = dict[str, Any]

LOINC = "http://loinc.org"
SPECIMENS = "http://terminology.hl7.org/CodeSystem/v2-0487"
MEDICINES = "http://www.nlm.nih.gov/research/umls/rxnorm"
GLUCOSE = "2345-7"
AMOXICILLIN, AZITHROMYCIN = "308191", "308460"


def laboratory_test(party: Party, code: str, patient: Named, **elements: Any) -> Named:
    """A ServiceRequest for a laboratory test, by its LOINC code."""
    said = {"status": "active", "intent": "order", "code": coded(code, LOINC), "subject": patient}
    return party.writes("ServiceRequest", **(said | elements))


def care(party: Party, patient: Named, **elements: Any) -> Named:
    """A ServiceRequest for skilled nursing."""
    said = {"status": "active", "intent": "order", "code": {"text": "Skilled nursing"}, "subject": patient}
    return party.writes("ServiceRequest", **(said | elements))


def serum(party: Party, patient: Named, request: Named, **elements: Any) -> Named:
    return party.writes("Specimen", type=coded("SER", SPECIMENS), subject=patient, request=[request], **elements)


def as_input(named: Named, kind: str = "specimen") -> list[Resource]:
    return [{"type": coded(kind), "valueReference": named}]


def report_of(party: Party, patient: Named, *requests: Named) -> Named:
    return party.writes(
        "DiagnosticReport",
        status="final",
        code=coded("11502-2", LOINC),
        subject=patient,
        basedOn=list(requests),
        conclusion="Within the reference range",
    )


def prescription(party: Party, medicine: str, patient: Named, **elements: Any) -> Named:
    """A MedicationRequest, by the RxNorm code of the medicine."""
    said = {
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": coded(medicine, MEDICINES),
        "subject": patient,
        "authoredOn": WRITTEN,
    }
    return party.writes("MedicationRequest", **(said | elements))


def dispense(party: Party, medicine: str, patient: Named, request: Named, quantity: int = 21) -> Named:
    return party.writes(
        "MedicationDispense",
        status="completed",
        medicationCodeableConcept=coded(medicine, MEDICINES),
        subject=patient,
        authorizingPrescription=[request],
        quantity={"value": quantity},
    )


def placed(placer: Party, request: Named, of: Party, **elements: Any) -> Named:
    """An order of a new Request."""
    order = placer.orders(request, of=of, **elements)
    assert placer.places(order) == done({order: "requested", request: "active"}, of)
    return order


def taken_up(order: Named, by: Party, placer: Party) -> Named:
    """The order, accepted and begun by its fulfiller."""
    assert by.accepts(order) == done({order: "accepted"}, placer)
    assert by.begins(order) == done({order: "in-progress"}, placer)
    return order


def under_way(placer: Party, request: Named, of: Party, **elements: Any) -> Named:
    """An order of a new Request that its fulfiller has begun."""
    return taken_up(placed(placer, request, of, **elements), by=of, placer=placer)
