"""References: which entry of a Bundle one means, where a resource has them, and how they are rewritten."""

from typing import Any

import pytest

from gateway.fhir.json import Number
from gateway.fhir.references import Entries, Entry, Resource, references_in, rewrite, unresolved_references

SERVER = "http://hospital.example/fhir"
UUID = "0b5b1b38-1f1b-4f2c-9d8e-2f6d8a1c7e11"


def bundle(*entries: tuple[str | None, Resource]) -> Resource:
    listed = [{"fullUrl": url, "resource": resource} if url else {"resource": resource} for url, resource in entries]
    return {"resourceType": "Bundle", "type": "message", "entry": listed}


def patient(resource_id: str = "1", version: str | None = None) -> Resource:
    meta = {"meta": {"versionId": version}} if version else {}
    return {"resourceType": "Patient", "id": resource_id, **meta}


def task() -> Resource:
    return {"resourceType": "Task", "id": "t"}


def resolved(reference: str, *entries: tuple[str | None, Resource]) -> str | None:
    """The path of the entry that `reference`, written in the first entry, means."""
    found = Entries(bundle(*entries))
    target = found.resolve(reference, next(iter(found)))
    return target.path if target else None


SECOND = "Bundle.entry[1].resource"


@pytest.mark.parametrize(
    ("reference", "full_url"),
    [
        (f"urn:uuid:{UUID}", f"urn:uuid:{UUID}"),
        (f"urn:uuid:{UUID.upper()}", f"urn:uuid:{UUID}"),
        (f"URN:UUID:{UUID}", f"urn:uuid:{UUID}"),
        ("urn:oid:1.2.3", "URN:OID:1.2.3"),
        (f"{SERVER}/Patient/1", f"{SERVER}/Patient/1"),
        (f"{SERVER}/Patient/1/_history/4", f"{SERVER}/Patient/1"),
        (f"{SERVER}/Patient/1", f"{SERVER}/Patient/1/_history/4"),
        (f" {SERVER}/Patient/1 ", f"{SERVER}/Patient/1"),
    ],
)
def test_an_absolute_reference_means_the_entry_with_that_full_url(reference: str, full_url: str) -> None:
    assert resolved(reference, (f"{SERVER}/Task/t", task()), (full_url, patient("other"))) == SECOND


def test_a_relative_reference_means_an_entry_of_the_same_server() -> None:
    entries = (
        (f"{SERVER}/Task/t", task()),
        (f"{SERVER}/Patient/1", patient()),
        ("http://other.example/fhir/Patient/1", patient()),
    )
    assert resolved("Patient/1", *entries) == SECOND
    assert resolved("Patient/1/_history/2", *entries) == SECOND


def test_a_relative_reference_beside_urns_means_the_one_entry_of_that_type_and_id() -> None:
    assert resolved("Patient/1", (f"urn:uuid:{UUID}", task()), ("urn:uuid:1", patient())) == SECOND


def test_a_relative_reference_means_the_entry_that_has_it_as_its_full_url() -> None:
    assert resolved("Patient/1", (None, task()), ("Patient/1", {"resourceType": "Patient"})) == SECOND


def test_a_relative_reference_that_fits_two_entries_means_none() -> None:
    assert resolved("Patient/1", (None, task()), (None, patient()), (None, patient())) is None


def test_a_bare_uuid_means_the_entry_with_its_urn() -> None:
    assert resolved(UUID.upper(), (None, task()), (f"urn:uuid:{UUID}", patient())) == SECOND


def test_of_two_versions_the_one_asked_for_is_meant() -> None:
    url = f"{SERVER}/Patient/1"
    entries = ((url + "/x", task()), (url, patient(version="1")), (url, patient(version="2")))
    assert resolved(f"{url}/_history/2", *entries) == "Bundle.entry[2].resource"
    assert resolved(url, *entries) is None


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        "/",
        "#",
        "#contained",
        "Patient",
        "Patient/",
        "Patient?identifier=1",
        "urn:uuid:",
        "http://",
        "a b",
        "\x00",
    ],
)
def test_odd_references_mean_nothing_and_raise_nothing(reference: str) -> None:
    assert resolved(reference, (None, task()), (f"urn:uuid:{UUID}", patient())) is None


@pytest.mark.parametrize(
    "entry", [None, {}, [], "x", {"entry": {}}, {"resource": None}, {"resource": "x"}, {"fullUrl": 1}]
)
def test_odd_entries_are_passed_over(entry: Any) -> None:
    sound = {"fullUrl": 7, "resource": patient()}
    assert [found.path for found in Entries({"entry": [entry, sound]})] == [SECOND]
    assert len(Entries({"entry": entry})) == 0


def test_every_reference_is_found_with_its_path() -> None:
    resource = {
        "resourceType": "Task",
        "contained": [{"resourceType": "Group", "id": "g", "managingEntity": {"reference": "Organization/1"}}],
        "focus": {"reference": "MedicationRequest/1"},
        "for": {"type": "Patient", "identifier": {"system": "s", "value": "v"}},
        "owner": {"display": "nobody in particular"},
        "basedOn": [{"reference": "#g"}, {"reference": "urn:oid:1"}],
        "output": [{"type": {"text": "x"}, "valueReference": {"reference": "DiagnosticReport/1"}}],
    }
    assert [path for path, _ in references_in(resource)] == [
        "contained[0].managingEntity",
        "focus",
        "for",
        "basedOn[0]",
        "basedOn[1]",
        "output[0].valueReference",
    ]


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "DetectedIssue", "reference": "http://guideline.example"},
        {
            "resourceType": "Immunization",
            "education": [{"documentType": "leaflet", "reference": "http://leaflet.example"}],
        },
        {"resourceType": "Contract", "term": [{"identifier": {"value": "1"}, "type": {"text": "x"}}]},
        {"resourceType": "Patient", "identifier": [{"value": "1"}]},
        {"resourceType": "Bundle", "entry": [{"resource": {"subject": {"reference": "Patient/1"}}}]},
    ],
)
def test_what_only_looks_like_a_reference_is_none(resource: Resource) -> None:
    assert list(references_in(resource)) == []
    assert rewrite(resource, lambda _: "X/1") == resource


def test_rewriting_replaces_references_in_a_copy_and_keeps_everything_else() -> None:
    resource = {
        "focus": {"reference": "urn:uuid:1", "display": "as it was"},
        "basedOn": [{"reference": "urn:uuid:2"}],
        "input": [{"valueDecimal": Number("1.00")}],
    }
    copy = rewrite(resource, {"urn:uuid:1": "Task/1"}.get)
    assert copy["focus"] == {"reference": "Task/1", "display": "as it was"}
    assert copy["basedOn"] == resource["basedOn"]
    assert copy["input"][0]["valueDecimal"].lexeme == "1.00"
    copy["basedOn"].append("changed")
    assert resource["focus"]["reference"] == "urn:uuid:1"
    assert len(resource["basedOn"]) == 1


def test_a_reference_that_means_no_entry_is_a_warning_with_its_place() -> None:
    resource = {
        "resourceType": "Task",
        "for": {"reference": "Patient/9"},
        "owner": {"reference": "http://pharmacy.example/fhir/Organization/1"},
        "requester": {"reference": "Organization/known"},
        "focus": {"reference": "#contained"},
    }
    header = {"resourceType": "MessageHeader", "sender": {"reference": "Organization/9"}}

    def is_known(reference: Resource, _: Entry) -> bool:
        return bool(reference["reference"].endswith("known"))

    issues = unresolved_references(Entries(bundle((None, header), (None, resource))), is_known)
    assert [(issue.code, issue.severity, issue.expression) for issue in issues] == [
        ("not-found", "warning", "Bundle.entry[1].resource.for")
    ]
    assert "Patient/9" in issues[0].text


def test_an_entry_rewritten_to_be_read_says_what_its_deep_copy_says_and_leaves_the_entry_as_it_was() -> None:
    def resource() -> Resource:
        return {
            "resourceType": "Task",
            "focus": {"reference": "urn:uuid:1", "display": "as it was"},
            "basedOn": [{"reference": "urn:uuid:2"}, {"reference": "urn:uuid:1"}, {"display": "none"}],
            "output": [{"valueReference": {"reference": "urn:uuid:1"}, "extension": [{"url": "u"}]}],
            "contained": [{"resourceType": "List", "entry": [{"item": {"reference": "urn:uuid:3"}}]}],
        }

    new = {"urn:uuid:1": "Task/1", "urn:uuid:3": "Patient/3"}.get
    entries = Entries(bundle((f"urn:uuid:{UUID}", resource())))
    (entry,) = entries

    copy = entries.rewritten(entry, new)

    assert copy == rewrite(resource(), new)
    assert entry.resource == resource()
