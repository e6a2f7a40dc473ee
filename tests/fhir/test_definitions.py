"""gateway.fhir.definitions, and the compiler that makes its table."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from gateway.fhir import compile_definitions
from gateway.fhir.definitions import TABLE, get_type, is_resource

PACKAGE = Path(__file__).parents[3] / "shared" / "definitions" / "hl7.fhir.r4.core-4.0.1.zip"


def test_a_type_has_the_fields_of_its_base_first() -> None:
    names = list(get_type("Patient").fields)

    assert names[:10] == [
        *("id", "meta", "implicitRules", "language"),
        *("text", "contained", "extension", "modifierExtension"),
        *("identifier", "active"),
    ]


def test_a_choice_is_one_element_with_a_field_for_each_type() -> None:
    fields = [field for field in get_type("Task.output").fields.values() if field.element == "value"]

    assert len(fields) == 50
    assert len({field.order for field in fields}) == 1
    assert {"valueReference", "valueBase64Binary", "valueDosage"} < {field.name for field in fields}


@pytest.mark.parametrize(
    ("type_name", "field_name", "field_type", "kind", "many"),
    [
        ("Patient", "active", "boolean", "boolean", False),
        ("Patient", "contact", "Patient.contact", "complex", True),
        ("Patient", "multipleBirthInteger", "integer", "integer", False),
        ("Attachment", "size", "unsignedInt", "integer", False),
        ("Task.restriction", "repetitions", "positiveInt", "integer", False),
        ("Quantity", "value", "decimal", "decimal", False),
        ("Age", "value", "decimal", "decimal", False),
        ("HumanName", "given", "string", "string", True),
        ("Bundle.entry", "resource", "Resource", "resource", False),
        ("Bundle.entry", "link", "Bundle.link", "complex", True),
        ("Parameters.parameter", "part", "Parameters.parameter", "complex", True),
        ("Timing", "repeat", "Timing.repeat", "complex", False),
        ("Narrative", "div", "xhtml", "xhtml", False),
        ("Resource", "id", "id", "string", False),
    ],
)
def test_a_field_says_its_type_and_how_json_writes_it(
    type_name: str, field_name: str, field_type: str, kind: str, many: bool
) -> None:
    field = get_type(type_name).fields[field_name]

    assert (field.type, field.kind, field.many) == (field_type, kind, many)


def test_xml_attributes_are_told_from_elements() -> None:
    assert list(get_type("Extension").attributes) == ["id", "url"]
    assert list(get_type("Coding").attributes) == ["id"]
    assert list(get_type("Patient").attributes) == []


def test_only_primitives_have_a_sibling() -> None:
    assert set(get_type("Period").siblings) == {"_start", "_end"}
    assert not get_type("Narrative").fields["div"].sibling


def test_a_type_that_does_not_exist_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        get_type("Nothing")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[("Task", True), ("Bundle", True), ("Parameters", True), ("Binary", True)],
        *[
            ("Resource", False),
            ("DomainResource", False),
            ("HumanName", False),
            ("Patient.contact", False),
            ("", False),
        ],
    ],
)
def test_resources_are_told_from_other_and_abstract_types(name: str, expected: bool) -> None:
    assert is_resource(name) is expected


def test_every_type_that_a_field_names_exists() -> None:
    types = json.loads(TABLE.read_text(encoding="utf-8"))["types"]

    fields = [field for name in types for field in get_type(name).fields.values()]

    assert len(types) > 600
    assert all(field.type in types for field in fields if field.kind in ("complex", "resource"))


@pytest.mark.skipif(not PACKAGE.exists(), reason="the definitions are not beside the project")
def test_the_table_is_what_the_compiler_makes_of_the_specification() -> None:
    with ZipFile(PACKAGE) as package:
        assert compile_definitions.compile_table(package) == TABLE.read_text(encoding="utf-8")


def test_the_table_keeps_cardinality_types_and_attributes() -> None:
    package = _package(
        _definition("Element", None, _element("Element.id", "0..1", "string", representation=["xmlAttr"])),
        _definition(
            "Thing",
            "Element",
            _element("Thing.id", "0..1", "string", representation=["xmlAttr"]),
            _element("Thing.value[x]", "1..1", "string", "Thing"),
            _element("Thing.part", "0..*", "BackboneElement"),
            _element("Thing.part.id", "0..1", "string", representation=["xmlAttr"]),
            _element("Thing.part.name", "0..1", "string"),
            {"path": "Thing.other", "min": 0, "max": "*", "contentReference": "#Thing.part"},
        ),
        _definition(
            "BackboneElement", "Element", _element("BackboneElement.id", "0..1", "string", representation=["xmlAttr"])
        ),
        _definition("Element-profile", "Element", derivation="constraint"),
    )

    table = json.loads(compile_definitions.compile_table(package))

    assert table["version"] == "4.0.1"
    assert list(table["types"]) == ["BackboneElement", "Element", "Thing", "Thing.part"]
    assert table["types"]["Element"] == {"base": "", "elements": {"id": "0..1 @string"}}
    assert table["types"]["Thing"] == {
        "base": "Element",
        "elements": {"value[x]": "1..1 string Thing", "part": "0..* Thing.part", "other": "0..* Thing.part"},
    }
    assert table["types"]["Thing.part"] == {"base": "BackboneElement", "elements": {"name": "0..1 string"}}


def test_a_type_whose_own_elements_come_first_cannot_be_compiled() -> None:
    package = _package(
        _definition("Element", None, _element("Element.id", "0..1", "string")),
        _definition("Thing", "Element", _element("Thing.a", "0..1", "string"), _element("Thing.id", "0..1", "string")),
    )

    with pytest.raises(ValueError, match="Thing: the elements of its base do not come first"):
        compile_definitions.compile_table(package)


def _package(*definitions: dict[str, Any]) -> ZipFile:
    package = ZipFile(BytesIO(), "w")
    for definition in definitions:
        package.writestr(f"package/StructureDefinition-{definition['id']}.json", json.dumps(definition))
    return package


def _definition(
    name: str, base: str | None, *elements: dict[str, Any], derivation: str = "specialization"
) -> dict[str, Any]:
    return {
        "id": name,
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "derivation": derivation,
        **({"baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{base}"} if base else {}),
        "snapshot": {"element": [{"path": name, "min": 0, "max": "*"}, *elements]},
    }


def _element(path: str, cardinality: str, *types: str, **more: Any) -> dict[str, Any]:
    least, _, most = cardinality.partition("..")
    codes = []
    for name in types:
        url = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
        system = {"code": "http://hl7.org/fhirpath/System.String", "extension": [{"url": url, "valueUrl": name}]}
        codes.append(system if more else {"code": name})
    return {"path": path, "min": int(least), "max": most, "type": codes, **more}
