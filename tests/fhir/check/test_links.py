"""What a resource says of others: References to what may not be there, and fullUrls that mean something else."""

from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir.check import check
from gateway.fhir.references import Entries

TASK = {"resourceType": "Task", "id": "t1", "status": "requested", "intent": "order"}
PATIENT = {"resourceType": "Patient", "id": "p1", "active": True}
URN = "urn:uuid:6f1b2c3d-0000-4000-8000-00000000000"


def collection(*resources: dict[str, Any], urls: tuple[str | None, ...] = ()) -> dict[str, Any]:
    given = [*urls, *(f"{URN}{number}" for number in range(len(urls), len(resources)))]
    entries = [{"fullUrl": url, "resource": one} for url, one in zip(given, resources, strict=True)]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{name: part for name, part in entry.items() if part is not None} for entry in entries],
    }


def found(resource: dict[str, Any], *rules: str) -> list[Issue]:
    return [issue for issue in check(resource) if issue.rule in rules]


TARGETS: list[tuple[dict[str, Any], str | None]] = [
    # what Task.owner is, and what it is told to refer to
    ({"reference": "Organization/1"}, None),
    ({"reference": "https://a.example/fhir/Organization/1/_history/2"}, None),
    ({"reference": "https://a.example/some/address"}, None),
    ({"identifier": {"value": "1"}, "type": "Organization"}, None),
    ({"identifier": {"value": "1"}, "type": "https://a.example/logical-model"}, None),
    ({"display": "somebody"}, None),
    ({"reference": "Observation/1"}, "an Observation"),
    ({"reference": "https://a.example/fhir/Observation/1/_history/2"}, "an Observation"),
    ({"identifier": {"value": "1"}, "type": "Observation"}, "an Observation"),
    ({"reference": "Organization/1", "type": "Device"}, "says Device"),
]


@pytest.mark.parametrize(("owner", "told"), TARGETS)
def test_a_reference_is_to_one_of_the_types_that_it_may_be_to(owner: dict[str, Any], told: str | None) -> None:
    issues = found({**TASK, "owner": owner}, "reference-target")

    assert [issue.expression for issue in issues] == ([] if told is None else ["Task.owner"])
    assert all(told in issue.text for issue in issues if told)


@pytest.mark.parametrize("reference", [f"{URN}1", "Patient/p1", "#p1"])
def test_the_type_of_what_is_at_hand_counts(reference: str) -> None:
    task = {**TASK, "encounter": {"reference": reference}, "contained": [PATIENT]}

    (issue,) = found(collection(task, PATIENT), "reference-target")

    assert issue.expression == "Bundle.entry[0].resource.encounter"
    assert issue.text == "Task.encounter refers to a Patient. FHIR allows Encounter there."


def test_a_reference_to_any_resource_may_be_to_any() -> None:
    assert not found({**TASK, "focus": {"reference": "Basic/1"}}, "reference-target")


UNRESOLVED = [(f"{URN}9", True), ("Patient/9", True), ("https://a.example/Patient/9", False), (f"{URN}1", False)]


@pytest.mark.parametrize(("reference", "is_told"), UNRESOLVED)
def test_what_is_not_in_the_bundle_is_told(reference: str, is_told: bool) -> None:
    issues = found(collection({**TASK, "for": {"reference": reference}}, PATIENT), "reference-unresolved")

    assert [(issue.expression, issue.severity) for issue in issues] == (
        [("Bundle.entry[0].resource.for", "warning")] if is_told else []
    )


def test_a_resource_that_is_in_no_bundle_refers_to_what_its_receiver_has() -> None:
    assert not found({**TASK, "for": {"reference": "Patient/9"}}, "reference-unresolved")


def test_a_bundle_in_a_bundle_is_one_of_its_own() -> None:
    inner = collection({**TASK, "for": {"reference": f"{URN}1"}})
    outer = collection(inner, PATIENT)

    (issue,) = found(outer, "reference-unresolved")

    assert issue.expression == "Bundle.entry[0].resource.entry[0].resource.for"


CONTAINED = [("#p1", True), ("#", True), ("#p2", False), ("#p1 ", False)]


@pytest.mark.parametrize(("reference", "is_there"), CONTAINED)
def test_what_is_said_to_be_contained_is(reference: str, is_there: bool) -> None:
    issues = found({**TASK, "contained": [PATIENT], "focus": {"reference": reference}}, "ref-1")

    assert [issue.expression for issue in issues] == ([] if is_there else ["Task.focus"])


def test_what_is_contained_refers_to_its_neighbours() -> None:
    neighbour = {"resourceType": "Basic", "id": "b1", "code": {"text": "c"}, "subject": {"reference": "#p1"}}

    assert not found({**TASK, "contained": [PATIENT, neighbour]}, "ref-1")


FULL_URLS = [
    (None, "missing"),
    ("Patient/p1", "not an absolute URI"),
    ("6f1b2c3d-0000-4000-8000-000000000000", "not an absolute URI"),
    ("https://a.example/Patient/p2", "another id"),
    ("https://a.example/Observation/p1", "another type"),
    ("https://a.example/Patient/p1", None),
    ("https://a.example/whatever", None),
    (f"{URN}0", None),
    ("urn:oid:1.2.3", None),
]


@pytest.mark.parametrize(("url", "told"), FULL_URLS)
def test_a_full_url_is_an_absolute_address_of_its_resource(url: str | None, told: str | None) -> None:
    issues = found(collection(PATIENT, urls=(url,)), "full-url")

    assert [(issue.expression, issue.severity) for issue in issues] == (
        [("Bundle.entry[0].fullUrl", "warning")] if told else []
    )
    assert all(told in issue.text for issue in issues if told)


def test_a_transaction_needs_no_full_urls() -> None:
    bundle = {**collection(PATIENT, urls=(None,)), "type": "transaction"}

    assert not found(bundle, "full-url")


def test_entries_that_were_read_before_serve_again() -> None:
    bundle = collection({**TASK, "for": {"reference": f"{URN}1"}}, PATIENT)
    entries = Entries(bundle)

    assert check(bundle, entries=entries) == check(bundle)


@pytest.mark.parametrize("odd", [None, 1, [], {}, ["#"], {"reference": 1}, {"reference": None}, {"reference": "#\0"}])
def test_odd_references_are_no_harm(odd: Any) -> None:
    check(collection({**TASK, "owner": odd, "basedOn": [odd]}))
    check({"resourceType": "Bundle", "entry": [odd, {"fullUrl": odd, "resource": odd}]})


NO_TYPE = [
    "Patient?identifier=http://acme.org/Practitioner/123",
    "http://acme.org/fhir?x=/Practitioner/1",
    "http://acme.org/fhir#/Practitioner/1",
    "urn:x:/Practitioner/1",
]


@pytest.mark.parametrize("reference", NO_TYPE)
def test_a_type_is_told_by_an_address_only(reference: str) -> None:
    assert not found({**TASK, "encounter": {"reference": reference}}, "reference-target")


def test_what_a_server_is_to_search_for_need_not_be_in_the_transaction() -> None:
    task = {**TASK, "for": {"reference": "Patient?identifier=1"}}

    assert not found({**collection(task), "type": "transaction"}, "reference-unresolved")
    assert found(collection(task), "reference-unresolved")


def test_what_tells_about_a_search_needs_no_full_url() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "processing"}]}
    entry = {"resource": outcome, "search": {"mode": "outcome"}}

    assert not found({"resourceType": "Bundle", "type": "searchset", "entry": [entry]}, "full-url")
