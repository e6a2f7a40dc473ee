"""gateway.fhir.versions: from each version into R4 and back."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from fhir.resources import get_fhir_model_class as r5_model
from fhir.resources.R4B import get_fhir_model_class as r4_model
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import NotAMessage, Refused
from gateway.fhir import json, xml
from gateway.fhir.check import check
from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.versions import from_r4, to_r4
from gateway.fhir.versions.carrying import url_of
from tests.fhir.generated_versions import resource_of, resource_types, resources
from tests.orders import Order, focus_of, header_of, medium_order
from tests.versioned import r5_order, stu3_order

Members = dict[str, Any]
OTHERS: tuple[Version, ...] = ("STU3", "R4B", "R5")
DEPTH = 3
"""Of the resources of every type; those of any type go deeper."""
TYPES = [(version, name) for version in OTHERS for name in resource_types(version)]


def in_r4(resource: Members, version: Version) -> Members:
    made, issues = to_r4(resource, version)
    assert not issues
    return made


def there_and_back(resource: Members, version: Version) -> Members:
    made, issues = from_r4(in_r4(resource, version), version)
    assert not issues
    return made


def carried(resource: Members, version: Version, path: str) -> list[Members]:
    return [item for item in resource.get("extension", ()) if item["url"] == url_of(version, path)]


# --- nothing vanishes ---


@pytest.mark.parametrize(("version", "name"), TYPES)
def test_every_type_comes_back_from_r4_as_it_was_or_what_is_lost_is_said(version: Version, name: str) -> None:
    for seed in range(4):
        resource = resource_of(name, version, seed, DEPTH)
        made, lost = to_r4(resource, version)
        again, more = from_r4(made, version)
        assert again == resource or lost or more
        xml.serialize(made)  # R4 as its definitions have it


@pytest.mark.parametrize("version", OTHERS)
@pytest.mark.parametrize("name", resource_types("R4"))
def test_every_type_of_r4_comes_back_from_each_version(version: Version, name: str) -> None:
    for seed in range(2):
        resource = resource_of(name, "R4", seed, DEPTH)
        made, lost = from_r4(resource, version)
        again, more = to_r4(made, version)
        assert again == resource or lost or more
        xml.serialize(made, version)


@settings(max_examples=200)
@example(("STU3", resource_of("Observation", "STU3", 1549)))  # an id beside a value that is elsewhere in R4
@given(st.sampled_from(OTHERS).flatmap(lambda version: st.tuples(st.just(version), resources(version))))
def test_any_resource_comes_back_as_it_was_or_what_is_lost_is_said(versioned: tuple[Version, Members]) -> None:
    version, resource = versioned
    before = json.serialize(resource)
    made, lost = to_r4(resource, version)
    again, more = from_r4(made, version)
    assert again == resource or lost or more
    assert json.serialize(resource) == before  # what is converted is not changed


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("status", "reason", "extension", "url", "valueCode", "requester", "x")), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    st.sampled_from(OTHERS), st.sampled_from(("Task", "MessageHeader", "Bundle", "Encounter", "Observation")), ANYTHING
)
def test_any_json_is_converted(version: Version, name: str, value: Any) -> None:
    resource = {"resourceType": name, **(value if isinstance(value, dict) else {"reason": value, "extension": value})}
    for convert in (to_r4, from_r4):
        made, _ = convert(resource, version)
        assert made["resourceType"]


@pytest.mark.parametrize("version", OTHERS)
@pytest.mark.parametrize("resource", [{}, {"resourceType": "Nothing"}, {"resourceType": 1}, {"resourceType": ["Task"]}])
def test_what_is_no_resource_stays_as_it_is(version: Version, resource: Members) -> None:
    assert to_r4(resource, version) == (resource, [])
    assert from_r4(resource, version) == (resource, [])


def test_r4_is_r4() -> None:
    resource = Order().new_order()
    assert to_r4(resource, "R4")[0] is resource
    assert from_r4(resource, "R4")[0] is resource


# --- bounds ---


def nested_extensions(depth: int) -> Members:
    extension: Members = {"url": "urn:x", "valueCode": "x"}
    for number in range(depth):
        extension = {"url": url_of(VERSIONS[number % 4], "Extension.value"), "extension": [extension]}
    return {"resourceType": "Task", "extension": [extension]}


def test_what_is_nested_too_deeply_is_refused_on_the_way_in_and_cut_on_the_way_out() -> None:
    with pytest.raises(NotAMessage, match="nested"):
        to_r4(nested_extensions(150), "R5")
    _, lost = from_r4(nested_extensions(150), "R5")
    assert lost


@pytest.mark.parametrize("version", OTHERS)
def test_the_time_it_takes_grows_with_the_resource_only(version: Version) -> None:
    def seconds(depth: int) -> float:
        resource = nested_extensions(depth)
        began = time.perf_counter()
        for _ in range(20):
            from_r4(resource, version)
        return time.perf_counter() - began

    seconds(5)
    assert seconds(80) < 200 * max(min(seconds(10) for _ in range(3)), 0.002)


# --- R5 ---


def test_an_order_of_r5_is_valid_in_r4_and_comes_back_as_it_was() -> None:
    order = r5_order()
    made = in_r4(order, "R5")
    r4_model("Bundle").model_validate(orjson.loads(json.serialize(made)))
    assert not [issue for issue in check(made) if issue.severity == "error"]
    assert there_and_back(order, "R5") == order


def test_an_order_of_r4_is_valid_in_r5() -> None:
    order = medium_order()
    made, lost = from_r4(order, "R5")
    assert not lost
    r5_model("Bundle").model_validate(orjson.loads(json.serialize(made)))
    assert header_of(made)["source"]["endpointUrl"]
    assert in_r4(made, "R5") == order


def test_a_header_of_r5_is_read_as_r4_has_it() -> None:
    header = {
        "resourceType": "MessageHeader",
        "eventCanonical": "http://one.example/EventDefinition/1",
        "source": {"endpointUrl": "urn:a", "contact": {"value": "1"}},
        "destination": [{"endpointUrl": "urn:b"}],
        "response": {"identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1-2"}, "code": "ok"},
    }
    made = in_r4(header, "R5")
    assert made["eventUri"] == header["eventCanonical"]
    assert (made["source"]["endpoint"], made["destination"][0]["endpoint"]) == ("urn:a", "urn:b")
    assert made["response"]["identifier"] == "1-2"
    assert carried(made["response"], "R5", "MessageHeader.response.identifier")
    assert there_and_back(header, "R5") == header


def test_an_endpoint_that_r5_refers_to_is_the_senders_address() -> None:
    order = r5_order()
    order["entry"].append(
        {
            "fullUrl": "http://hospital.example/Endpoint/1",
            "resource": {
                "resourceType": "Endpoint",
                "id": "1",
                "status": "active",
                "address": "http://hospital.example/",
            },
        }
    )
    header_of(order)["source"] = {"endpointReference": {"reference": "http://hospital.example/Endpoint/1"}}
    assert header_of(in_r4(order, "R5"))["source"]["endpoint"] == "http://hospital.example/"


def test_a_reason_is_a_code_and_a_reference_in_r4() -> None:
    code, reference = {"text": "why"}, {"reference": "Condition/1"}
    task = {"resourceType": "Task", "reason": [{"reference": reference}, {"concept": code}]}
    made = in_r4(task, "R5")
    assert (made["reasonCode"], made["reasonReference"]) == (code, reference)
    assert there_and_back(task, "R5") == task  # in their order, too

    changed = made | {"reasonCode": {"text": "another reason"}}
    again, _ = from_r4(changed, "R5")
    assert again["reason"] == [{"concept": {"text": "another reason"}}, {"reference": reference}]


@pytest.mark.parametrize(
    ("status", "in_r4_status", "is_carried"),
    [
        ("completed", "finished", False),
        ("discharged", "finished", True),
        ("on-hold", "onleave", False),
        ("planned", "planned", False),
    ],
)
def test_a_status_has_another_code_in_r4(status: str, in_r4_status: str, is_carried: bool) -> None:
    encounter = {"resourceType": "Encounter", "status": status}
    made = in_r4(encounter, "R5")
    assert made["status"] == in_r4_status
    assert bool(carried(made, "R5", "Encounter.status")) == is_carried
    assert there_and_back(encounter, "R5") == encounter
    changed, _ = from_r4(made | {"status": "planned"}, "R5")
    assert changed["status"] == "planned"


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (
            {"resourceType": "MedicationRequest", "medication": {"concept": {"text": "a"}}, "reported": True},
            {"medicationCodeableConcept": {"text": "a"}, "reportedBoolean": True},
        ),
        (
            {"resourceType": "MedicationDispense", "medication": {"reference": {"reference": "Medication/1"}}},
            {"medicationReference": {"reference": "Medication/1"}},
        ),
        (
            {"resourceType": "MedicationAdministration", "occurenceDateTime": "2026", "encounter": {"display": "e"}},
            {"effectiveDateTime": "2026", "context": {"display": "e"}},
        ),
        ({"resourceType": "DeviceRequest", "code": {"concept": {"text": "a"}}}, {"codeCodeableConcept": {"text": "a"}}),
        ({"resourceType": "ServiceRequest", "code": {"concept": {"text": "a"}}}, {"code": {"text": "a"}}),
        (
            {"resourceType": "ServiceRequest", "patientInstruction": [{"instructionMarkdown": "fast"}]},
            {"patientInstruction": "fast"},
        ),
        (
            {"resourceType": "Encounter", "class": [{"coding": [{"code": "AMB"}]}], "actualPeriod": {"start": "2026"}},
            {"class": {"code": "AMB"}, "period": {"start": "2026"}},
        ),
        ({"resourceType": "Observation", "valueQuantity": {"value": 1}}, {"valueQuantity": {"value": 1}}),
        ({"resourceType": "DiagnosticReport", "study": [{"display": "s"}]}, {"imagingStudy": [{"display": "s"}]}),
        (
            {"resourceType": "Coverage", "paymentBy": [{"party": {"display": "p"}}], "subscriberId": [{"value": "1"}]},
            {"payor": [{"display": "p"}], "subscriberId": "1"},
        ),
        (
            {"resourceType": "Practitioner", "communication": [{"language": {"text": "en"}}]},
            {"communication": [{"text": "en"}]},
        ),
        (
            {"resourceType": "Appointment", "participant": [{"required": True}], "cancellationReason": {"text": "c"}},
            {"participant": [{"required": "required"}], "cancelationReason": {"text": "c"}},
        ),
        (
            {"resourceType": "DocumentReference", "period": {"start": "2026"}, "context": [{"display": "e"}]},
            {"context": {"period": {"start": "2026"}, "related": [{"display": "e"}]}},
        ),
        ({"resourceType": "RequestOrchestration", "action": [{"title": "a"}]}, {"action": [{"title": "a"}]}),
        ({"resourceType": "Patient", "photo": [{"size": "12"}]}, {"photo": [{"size": 12}]}),
    ],
)
def test_what_r4_has_elsewhere_goes_there_and_comes_back(resource: Members, expected: Members) -> None:
    made = in_r4(resource, "R5")
    assert {name: item for name, item in made.items() if name != "resourceType"} == expected
    assert there_and_back(resource, "R5") == resource


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("performer", [{"function": {"text": "f"}, "actor": {"reference": "Practitioner/1"}}]),
        ("requestedPeriod", {"start": "2026"}),
        ("input", [{"type": {"text": "t"}, "valueInteger64": "9007199254740993"}]),
        ("output", [{"type": {"text": "t"}, "valueCodeableReference": {"reference": {"reference": "X/1"}}}]),
        ("output", [{"type": {"text": "t"}, "valueRatioRange": {"denominator": {"value": 1}}}]),
    ],
)
def test_what_r4_has_not_is_carried(element: str, value: Any) -> None:
    task = {"resourceType": "Task", element: value}
    made = in_r4(task, "R5")
    assert made != task
    xml.serialize(made)
    assert there_and_back(task, "R5") == task


def test_an_element_that_changes_the_meaning_is_carried_as_a_modifier() -> None:
    made = in_r4({"resourceType": "Task", "status": "requested", "doNotPerform": True}, "R5")
    assert made["modifierExtension"] == [{"url": url_of("R5", "Task.doNotPerform"), "valueBoolean": True}]


def test_a_resource_that_r4_has_not_is_a_basic_that_says_so() -> None:
    transport = {"resourceType": "Transport", "id": "1", "status": "completed", "identifier": [{"value": "1"}]}
    made = in_r4(transport, "R5")
    assert (made["resourceType"], made["code"]["coding"][0]["code"]) == ("Basic", "Transport")
    assert made["identifier"] == transport["identifier"]
    assert there_and_back(transport, "R5") == transport


def test_what_cannot_be_carried_is_said() -> None:
    bundle = {"resourceType": "Bundle", "issues": {"resourceType": "OperationOutcome"}}
    made, issues = to_r4(bundle, "R5")
    assert made == {"resourceType": "Bundle"}
    assert [(issue.severity, issue.code, issue.expression) for issue in issues] == [
        ("warning", "not-supported", "Bundle.issues")
    ]


# --- STU3 ---


def test_an_order_of_stu3_is_valid_in_r4_and_comes_back_as_it_was() -> None:
    order = stu3_order()
    made = in_r4(order, "STU3")
    r4_model("Bundle").model_validate(orjson.loads(json.serialize(made)))
    assert not [issue for issue in check(made) if issue.severity == "error"]
    header, task = header_of(made), focus_of(made)
    assert made["timestamp"] == header_of(order)["timestamp"]
    assert header["destination"][0]["receiver"] == header_of(order)["receiver"]
    assert header["eventCoding"] == header_of(order)["event"]
    assert task["requester"] == focus_of(order)["requester"]["agent"]
    assert there_and_back(order, "STU3") == order


ODD: list[Any] = [None, True, 1.5, "x", {}, [], [None], [1], [[]], {"endpoint": "urn:b"}, [{"endpoint": "urn:b"}, 1]]


@pytest.mark.parametrize("destination", ODD)
@pytest.mark.parametrize("receiver", [*ODD, {"reference": "Organization/1"}])
def test_a_receiver_is_read_whatever_the_destination_is(destination: Any, receiver: Any) -> None:
    order = stu3_order()
    header_of(order).update(destination=destination, receiver=receiver)
    made, _ = to_r4(order, "STU3")
    from_r4(made, "STU3")


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (
            {"resourceType": "ReferralRequest", "status": "cancelled", "recipient": [{"display": "r"}]},
            {"resourceType": "ServiceRequest", "status": "revoked", "performer": [{"display": "r"}]},
        ),
        (
            {"resourceType": "ProcedureRequest", "status": "suspended", "context": {"display": "c"}},
            {"resourceType": "ServiceRequest", "status": "on-hold", "encounter": {"display": "c"}},
        ),
        (
            {"resourceType": "MedicationRequest", "dosageInstruction": [{"doseQuantity": {"value": 1}}]},
            {"dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1}}]}]},
        ),
        (
            {"resourceType": "DiagnosticReport", "performer": [{"actor": {"display": "p"}}], "category": {"text": "c"}},
            {"performer": [{"display": "p"}], "category": [{"text": "c"}]},
        ),
        (
            {
                "resourceType": "Observation",
                "comment": "c",
                "related": [{"type": "has-member", "target": {"display": "t"}}],
            },
            {"note": [{"text": "c"}], "hasMember": [{"display": "t"}]},
        ),
        ({"resourceType": "Encounter", "reason": [{"text": "r"}]}, {"reasonCode": [{"text": "r"}]}),
        ({"resourceType": "Binary", "content": "YQ=="}, {"data": "YQ=="}),
        (
            {"resourceType": "Condition", "clinicalStatus": "active"},
            {
                "clinicalStatus": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
                }
            },
        ),
    ],
)
def test_what_stu3_has_elsewhere_goes_there_and_comes_back(resource: Members, expected: Members) -> None:
    made = in_r4(resource, "STU3")
    shown = {name: item for name, item in made.items() if name in expected}
    assert shown == expected
    assert there_and_back(resource, "STU3") == resource


def test_an_animal_is_no_ordinary_patient() -> None:
    patient = {"resourceType": "Patient", "animal": {"species": {"text": "dog"}}}
    made = in_r4(patient, "STU3")
    assert made["modifierExtension"][0]["url"] == url_of("STU3", "Patient.animal")
    assert there_and_back(patient, "STU3") == patient


# --- R4B ---


def test_an_order_is_the_same_in_r4_and_r4b() -> None:
    order = medium_order()
    assert to_r4(order, "R4B") == (order, [])
    assert from_r4(order, "R4B") == (order, [])


def test_what_only_r4b_has_is_carried() -> None:
    product = {"resourceType": "NutritionProduct", "status": "active", "manufacturer": [{"display": "m"}]}
    assert in_r4(product, "R4B")["resourceType"] == "Basic"
    assert there_and_back(product, "R4B") == product


def test_whatever_is_read_is_converted_or_refused() -> None:
    for version in OTHERS:
        with pytest.raises(Refused):
            to_r4(nested_extensions(120), version)
