"""The 445 pairs of R4 4.0.1 examples that HL7 publishes in both formats, and the messages of the corpus.

Where two published twins differ, the table below says how and why; what it does not say must be equal.
"""

from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from gateway.errors import Refused
from gateway.fhir import formats, json, narrative, xml
from gateway.fhir.json import Number
from tests.fhir.comparing import canonical_xml, lexemes, tokens

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
PAIRS = CORPUS / "r4-pairs.zip"

TEST_LABEL = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
"""The published XML has this label as meta.security (383 files). The JSON has it as meta.tag (346 files) or not."""

SHORTENED = {
    "claim-example-cms1500-medical": 3,
    "claim-example-oral-bridge": 11,
    "claim-example-oral-orthoplan": 18,
    "claim-example-pharmacy": 2,
    "claim-example-vision": 2,
    "claim-example-vision-glasses": 8,
    "claim-example-vision-glasses-3tier": 14,
    "claimresponse-example": 2,
    "claimresponse-example-additem": 22,
    "claimresponse-example-unsolicited-preauth": 11,
    "devicerequest-left-lens": 2,
    "devicerequest-right-lens": 3,
    "diagnosticreport-example": 1,
    "diagnosticreport-examples-general": 2,
    "explanationofbenefit-example": 13,
    "explanationofbenefit-example-2": 1,
    "location-example-hl7hq": 2,
    "observation-example-body-height": 1,
    "visionprescription-example": 5,
}
"""How many decimals the published JSON has with fewer digits than the XML: 12500.0 for 12500.00."""

RESPELLED = {
    "bundle-response-medsallergies": "the JSON writes the quotation marks around Jim as &quot;, the XML as themselves",
    "bundle-response-simplesummary": "the JSON writes the quotation marks around Jim as &quot;, the XML as themselves",
    "external-resources": "lines are broken in other places",
}
"""Narratives that the published twins spell differently."""

NO_R4 = {
    "fhir-core-examples-google/patient-link-response-3a109f6a.json": "DSTU2: MessageHeader.data, event, receiver",
    "fhir-test-cases/ITK003D-request-854d02d9.xml": "STU3: MessageHeader.event, receiver",
    "medcom-dk-carecommunication/no-event-request-6c567269.xml": "not well-formed: < in an attribute",
    "medcom-dk-early/care-communication-message-request-3ac343f6.json": "an element named content[x]",
    "nchs-reference-api/vrdr_submission-request-c6904a2a.json": "elements of a Composition in a Patient",
    "nhs-bars/371528001-request-6b5a33cc.json": "objects where arrays are due",
    "nhs-bars/admin-notify-request-01429e5b.json": "objects where arrays are due",
    "nhs-bars/booking-request-request-e5b40fd7.json": "an element Slot.Schedule",
    "nhs-bars/no-event-request-b9332f12.json": "objects where arrays are due, Slot.ServiceCategory",
    "nhs-gpconnect-itk3/ITK007C-request-a6249791.xml": "STU3: MessageHeader.event",
    "nhs-gpconnect-itk3/ITK007C-request-cf8e1890.xml": "STU3: MessageHeader.event",
    "nhs-gpconnect-itk3/ITK007C-request-d48da9fe.xml": "STU3: MessageHeader.event",
    "nhs-gpconnect-itk3/ITK007C-request-f2d3924f.xml": "STU3: MessageHeader.event",
    "nhs-gpconnect-itk3/ITK007C-request-f503f92d.xml": "STU3: MessageHeader.event",
    "nhs-lab-results-adaptor/no-event-request-3498e4c5.json": "STU3: ProcedureRequest",
    "nhs-lab-results-adaptor/no-event-request-88d7eafe.json": "STU3: ProcedureRequest",
    "nhs-lab-results-adaptor/no-event-request-951564c8.json": "STU3: ProcedureRequest",
    "nhs-lab-results-adaptor/no-event-request-ef716497.json": "STU3: performer.actor",
}
"""The files of the corpus that no converter for R4 can convert, and what stands in its way."""

pytestmark = pytest.mark.skipif(not PAIRS.exists(), reason="the corpus is not beside the project")


@cache
def _pairs() -> dict[str, tuple[bytes, bytes]]:
    if not PAIRS.exists():
        return {}
    with ZipFile(PAIRS) as pairs:
        names = sorted(name.removesuffix(".json") for name in pairs.namelist() if name.endswith(".json"))
        return {name: (pairs.read(f"{name}.json"), pairs.read(f"{name}.xml")) for name in names}


def _files() -> list[str]:
    return sorted(str(path.relative_to(CORPUS)) for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("name", _pairs())
def test_xml_becomes_its_published_json_twin(name: str) -> None:
    json_twin, xml_twin = _pairs()[name]

    resource = xml.parse(xml_twin)

    assert lexemes(resource) == lexemes(_corrected(name, json.parse(json_twin), resource))


@pytest.mark.parametrize("name", _pairs())
def test_json_becomes_its_published_xml_twin(name: str) -> None:
    json_twin, xml_twin = _pairs()[name]
    resource = _corrected(name, json.parse(json_twin), xml.parse(xml_twin))

    written = xml.serialize(resource)

    assert canonical_xml(written) == canonical_xml(xml_twin)


@pytest.mark.parametrize("name", _pairs())
def test_json_stays_the_same_in_every_lexeme(name: str) -> None:
    json_twin, _ = _pairs()[name]

    written = json.serialize(json.parse(json_twin))

    assert tokens(written) == tokens(json_twin)


def test_the_table_of_differences_says_no_more_than_there_are() -> None:
    differing = {name for name, twins in _pairs().items() if not _are_equal_as_published(*twins)}
    labelled = {name for name, twins in _pairs().items() if any(b'"HTEST"' in twin for twin in twins)}

    assert len(_pairs()) == 445
    assert len(labelled) == 384
    assert differing == labelled | set(SHORTENED) | set(RESPELLED)
    assert len(differing) == 384


@pytest.mark.parametrize("name", _files())
def test_a_file_of_the_corpus_survives_the_other_format(name: str) -> None:
    data = (CORPUS / name).read_bytes()
    source = formats.guess(data)
    target = "xml" if source == "json" else "json"

    if name in NO_R4:
        with pytest.raises(Refused):
            formats.serialize(formats.parse(data, source), target)
        return
    resource = formats.parse(data, source)
    converted = formats.parse(formats.serialize(resource, target), target)

    assert json.canonical(converted) == json.canonical(resource)


def _are_equal_as_published(json_twin: bytes, xml_twin: bytes) -> bool:
    return bool(lexemes(json.parse(json_twin)) == lexemes(xml.parse(xml_twin)))


def _corrected(name: str, twin: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """The JSON twin with what the tables explain, and nothing else, put right from the XML twin."""
    if _meta_without_label(twin) == _meta_without_label(right):
        twin = {key: value for key, value in twin.items() if key != "meta"}
        twin |= {"meta": right["meta"]} if "meta" in right else {}
    put_right: list[str] = []
    twin = _put_right(twin, right, put_right)
    assert put_right.count("number") == SHORTENED.get(name, 0)
    assert put_right.count("narrative") == (name in RESPELLED)
    return twin


def _meta_without_label(resource: dict[str, Any]) -> dict[str, Any]:
    meta = {
        name: [label for label in value if label != TEST_LABEL] if name in ("tag", "security") else value
        for name, value in resource.get("meta", {}).items()
    }
    return {name: value for name, value in meta.items() if value}


def _put_right(value: Any, right: Any, put_right: list[str]) -> Any:
    """`value` with the digits and the narrative of `right` where they say the same in another way."""
    if isinstance(value, dict) and isinstance(right, dict):
        return {name: _put_right(item, right.get(name), put_right) for name, item in value.items()}
    if isinstance(value, list) and isinstance(right, list):
        return [_put_right(item, other, put_right) for item, other in zip_longest(value, right)]
    if isinstance(value, Number) and value == right and value.lexeme != right.lexeme:
        put_right.append("number")
        return right
    if isinstance(value, str) and value.startswith("<div") and value != right and _spelled(value) == _spelled(right):
        put_right.append("narrative")
        return right
    return value


def _spelled(div: str) -> list[str]:
    return narrative.canonical(div).split()
