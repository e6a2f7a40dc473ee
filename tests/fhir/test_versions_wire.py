"""The wire formats of every version: JSON and XML, to and fro, without loss."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unreadable
from gateway.fhir import formats, json, xml
from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.versions import from_r4, to_r4
from gateway.fhir.versions.telling import tell
from tests.fhir.comparing import lexemes
from tests.fhir.generated_versions import resource_of, resource_types, resources
from tests.orders import MESSAGES

VERSIONED = [(version, resource) for version in VERSIONS for resource in resource_types(version)]


@pytest.mark.parametrize(("version", "name"), VERSIONED)
def test_every_type_of_every_version_survives_both_formats(version: Version, name: str) -> None:
    for seed in range(3):
        resource = resource_of(name, version, seed)
        from_xml = xml.parse(xml.serialize(resource, version), version)
        assert json.canonical(from_xml) == json.canonical(resource)
        assert lexemes(json.parse(json.serialize(from_xml))) == lexemes(from_xml)


@given(st.sampled_from(VERSIONS).flatmap(lambda version: st.tuples(st.just(version), resources(version))))
def test_every_resource_of_a_version_survives_both_formats(versioned: tuple[Version, dict[str, Any]]) -> None:
    version, resource = versioned
    from_xml = xml.parse(xml.serialize(json.parse(json.serialize(resource)), version), version)
    assert json.canonical(from_xml) == json.canonical(resource)


@pytest.mark.parametrize(("version", "directory"), [("R5", "r5"), ("STU3", "stu3")])
def test_a_message_is_told_in_either_format(version: Version, directory: str) -> None:
    data = (MESSAGES / directory / "new-order.json").read_bytes()
    resource, told = formats.parse_told(data, "json", None)
    written = formats.serialize(resource, "xml", version)
    assert told == version
    again, told = formats.parse_told(written, "xml", None)
    assert told == version
    assert json.canonical(again) == json.canonical(resource)


ITK3 = [f"nhs-gpconnect-itk3/ITK007C-request-{name}.xml" for name in ("cf8e1890", "d48da9fe", "f2d3924f", "f503f92d")]


@pytest.mark.parametrize("path", ITK3)
def test_messages_of_the_corpus_in_stu3_survive(corpus: Path, path: str) -> None:
    resource, version = formats.parse_told((corpus / path).read_bytes(), "xml", None)
    assert version == "STU3"
    assert json.canonical(xml.parse(xml.serialize(resource, "STU3"), "STU3")) == json.canonical(resource)
    in_r4, lost = to_r4(resource, "STU3")
    assert not lost
    assert from_r4(in_r4, "STU3") == (resource, [])


R4_HEADER: dict[str, Any] = {"eventCoding": {"code": "x"}, "source": {"endpoint": "urn:a"}}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (R4_HEADER, "R4"),
        ({"eventUri": "urn:x"}, "R4"),
        ({"eventCoding": {"code": "x"}}, "R4"),
        ({"event": {"code": "x"}}, "STU3"),
        ({"event": {"code": "x"}, "timestamp": "2026"}, "STU3"),
        ({"eventCanonical": "urn:x"}, "R5"),
        ({"eventCoding": {"code": "x"}, "source": {"endpointUrl": "urn:a"}}, "R5"),
        ({"eventCoding": {"code": "x"}, "source": {"endpointReference": {}}}, "R5"),
        ({"eventCoding": {"code": "x"}, "destination": [{"endpointUrl": "urn:a"}]}, "R5"),
        ({"eventCoding": {"code": "x"}, "response": {"identifier": {"value": "1"}}}, "R5"),
        ({"eventCoding": {"code": "x"}, "response": {"identifier": "1"}}, "R4"),
        ({"eventCanonical": "urn:x", "source": {"endpoint": "urn:a"}}, "R4"),
        ({}, "R4"),
        (None, "R4"),
        ({"source": 1, "destination": [2], "response": []}, "R4"),
    ],
)
def test_a_version_that_is_not_declared_is_told_by_the_header(header: dict[str, Any] | None, expected: Version) -> None:
    assert tell(header, None) == expected


@pytest.mark.parametrize(
    ("header", "declared"),
    [
        (R4_HEADER, "R5"),
        (R4_HEADER | {"eventUri": "urn:x"}, "STU3"),
        ({"event": {}}, "R4"),
        ({"eventCanonical": ""}, "R4B"),
    ],
)
def test_a_version_that_the_header_contradicts_is_refused(header: dict[str, Any], declared: Version) -> None:
    with pytest.raises(Unreadable, match="is written as FHIR") as refused:
        tell(header, declared)
    assert refused.value.issues[0].code == "invalid"


@pytest.mark.parametrize(
    ("header", "declared"),
    [
        (R4_HEADER, "R4"),
        (R4_HEADER, "R4B"),
        ({"eventCoding": {}}, "R5"),
        (None, "R5"),
        ({"eventUri": "", "event": {}}, "R5"),
    ],
)
def test_a_version_that_the_header_allows_is_the_one_declared(header: dict[str, Any] | None, declared: Version) -> None:
    assert tell(header, declared) == declared


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/fhir+json", None),
        ("application/fhir+json; fhirVersion=4.0", "R4"),
        ("application/fhir+json;FHIRVERSION=5.0.0 ;charset=utf-8", "R5"),
        ('application/fhir+xml; fhirVersion="3.0"', "STU3"),
        ("application/fhir+xml; fhirVersion=4.3.0", "R4B"),
        ("application/fhir+xml; fhirVersion=2.0", None),
        ("application/fhir+json; fhirVersion=4.0; charset=utf-8; fhirVersion=4.0.1", "R4"),
        ("application/fhir+json; fhirVersion=4.0; fhirVersion=5.0", None),
        ("application/fhir+json; fhirVersion=4.0.1; fhirVersion=5.0.0", None),
        ("application/fhir+json; fhirVersion=4.0, application/fhir+json; fhirVersion=4.0", None),
        ('application/fhir+json; x="; fhirVersion=5.0"', None),
        ('application/fhir+json; x="; fhirVersion=5.0', None),
        ('application/fhir+json; x="\\"; fhirVersion=5.0"; fhirVersion=3.0', "STU3"),
        ('application/fhir+json; x="; fhirVersion=5.0\\', None),
        ('application/fhir+json; FhirVersion = "5\\.0"', "R5"),
    ],
)
def test_the_media_type_names_the_version(media_type: str, expected: Version | None) -> None:
    assert formats.version_of(media_type) == expected
