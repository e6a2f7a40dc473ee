"""What the invariants cost: a message that is large, or nested deeply, takes no more than its size."""

from time import process_time
from typing import Any

import pytest

from gateway.fhir.check.levels import Levels
from gateway.fhir.check.walk import Fault, Walk

Element = dict[str, Any]

MANY = 20_000
MOST_SECONDS = 3
"""Each takes half a second or so; what takes the square of its size, or walks at each level all that is below, many."""

NUMBERS = [str(number) for number in range(MANY)]
LISTED: Element = {"resourceType": "List", "entry": [{"item": {"reference": "Patient/1"}}] * (10 * MANY)}
PARTICIPANTS = [{"member": {"reference": f"#{number}"}, "onBehalfOf": {"reference": "#o"}} for number in NUMBERS]
LONG_PATH = "A" * 5_000
LONG_PATHS = [{"path": LONG_PATH}, *({"path": f"{LONG_PATH}.{number}"} for number in range(2_000))]


def coded(systems: str) -> list[Element]:
    return [{"system": f"http://{systems}.example", "code": number} for number in NUMBERS]


def contained(inside: Element, levels: int) -> Element:
    for _ in range(levels):
        inside = {"resourceType": "List", "contained": [{**inside, "id": "a"}]}
    return inside


def in_parameters(inside: Element, levels: int) -> Element:
    for _ in range(levels):
        parameters = {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": inside}]}
        inside = {"resourceType": "List", "contained": [{**parameters, "id": "a"}]}
    return inside


LARGE: dict[str, Element] = {
    "bdl-7": {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": "urn:x", "resource": {"meta": {"versionId": number}}} for number in NUMBERS],
    },
    "cpb-7, cpb-9": {
        "resourceType": "CapabilityStatement",
        "document": [{"mode": "producer", "profile": number} for number in NUMBERS],
        "rest": [{"resource": [{"type": number, "searchParam": [{"name": "a"}]} for number in NUMBERS]}],
    },
    "cpb-12": {
        "resourceType": "CapabilityStatement",
        "rest": [{"resource": [{"searchParam": [{"name": number} for number in NUMBERS]}]}],
    },
    "csd-1": {
        "resourceType": "CodeSystem",
        "concept": [{"code": number, "concept": [{"code": f"{number}.1"}]} for number in NUMBERS],
    },
    "ctm-1": {
        "resourceType": "CareTeam",
        "contained": [{"resourceType": "Practitioner", "id": number} for number in NUMBERS],
        "participant": PARTICIPANTS,
    },
    "ctm-1 of teams that are contained": {
        "resourceType": "Basic",
        "contained": [{"resourceType": "CareTeam", "id": "a", "participant": [one]} for one in PARTICIPANTS],
    },
    "ctm-1 where nothing has an id": {
        "resourceType": "CareTeam",
        "contained": [{"resourceType": "Practitioner"}] * MANY,
        "participant": PARTICIPANTS,
    },
    "dom-3": contained(LISTED, 90),
    "dom-3 in Parameters": in_parameters(LISTED, 45),
    "dom-3 of many": {**LISTED, "contained": [{"resourceType": "Patient", "id": number} for number in NUMBERS]},
    "eld-13, eld-14": {
        "resourceType": "StructureDefinition",
        "snapshot": {
            "element": [{"type": [{"code": n} for n in NUMBERS], "constraint": [{"key": n} for n in NUMBERS]}]
        },
    },
    "ig-1": {
        "resourceType": "ImplementationGuide",
        "definition": {
            "grouping": [{"id": number} for number in NUMBERS],
            "resource": [{"groupingId": number} for number in NUMBERS],
        },
    },
    "ig-2": {
        "resourceType": "ImplementationGuide",
        "fhirVersion": NUMBERS,
        "definition": {"resource": [{"fhirVersion": NUMBERS * 2}]},
    },
    "lst-2, lst-3": {"resourceType": "List", "entry": [{"item": {"display": "a"}}] * MANY},
    "mea-1": {
        "resourceType": "Measure",
        "group": [{"stratifier": [{"component": [{"description": "a"}]}]} for _ in range(MANY)],
    },
    "mrp-2": {
        "resourceType": "MeasureReport",
        "group": [{"stratifier": [{"stratum": [{"component": [{}]}]}]} for _ in range(MANY)],
    },
    "nsd-2": {"resourceType": "NamingSystem", "uniqueId": [{"type": n, "preferred": True} for n in NUMBERS]},
    "obs-7": {
        "resourceType": "Observation",
        "code": {"coding": coded("a")},
        "valueString": "a",
        "component": [{"code": {"coding": coded("b")}}],
    },
    "obs-7 of many components": {
        "resourceType": "Observation",
        "code": {"coding": coded("a")},
        "valueString": "a",
        "component": [{"code": {"coding": [coding]}} for coding in coded("b")],
    },
    "obs-7 of one code with many displays": {
        "resourceType": "Observation",
        "code": {"coding": [{"code": "a", "display": f"a {number}"} for number in NUMBERS]},
        "valueString": "a",
        "component": [{"code": {"coding": [{"code": "a", "display": number} for number in NUMBERS]}}],
    },
    "opd-1": {
        "resourceType": "OperationDefinition",
        "parameter": [{"name": number, "part": [{"name": "a"}]} for number in NUMBERS],
    },
    "que-2": {
        "resourceType": "Questionnaire",
        "item": [{"linkId": n, "item": [{"linkId": f"{n}.1"}], "enableWhen": [{"operator": "="}]} for n in NUMBERS],
    },
    "sdf-8": {
        "resourceType": "StructureDefinition",
        "type": LONG_PATH,
        "snapshot": {"element": LONG_PATHS},
        "differential": {"element": LONG_PATHS},
    },
    "sdf-1, sdf-10, sdf-16, sdf-19": {
        "resourceType": "StructureDefinition",
        "url": "http://hl7.org/fhir/StructureDefinition/a",
        "snapshot": {"element": [{"id": n, "path": f"A.{n}", "binding": {}, "type": [{"code": n}]} for n in NUMBERS]},
    },
    "smp-1": {
        "resourceType": "StructureMap",
        "group": [{"rule": [{"target": [{"element": "a"}]}]} for _ in range(MANY)],
    },
    "tst-2": {"resourceType": "TestScript", "test": [{"action": [{"operation": {"url": "a"}}] * MANY}]},
    "vsd-1": {"resourceType": "ValueSet", "compose": {"include": [{"concept": [{"code": n}]} for n in NUMBERS]}},
}


class Unending(Walk):
    """One that no number of faults ends."""

    def note(self, fault: Fault) -> None:
        """Passes over it."""


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_takes_no_more_than_its_size(name: str) -> None:
    walk = Unending("R4", Levels(), 1)
    start = process_time()

    walk.start(LARGE[name])

    assert process_time() - start < MOST_SECONDS
