"""gateway.fhir.definitions, and the compiler that makes its tables."""

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from gateway.fhir import compile_definitions
from gateway.fhir.compile_packages import Package, open_package
from gateway.fhir.definitions import TABLES, VERSIONS, Version, get_type, is_resource, type_names

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


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_that_a_field_names_exists(version: Version) -> None:
    names = type_names(version)

    fields = [field for name in names for field in get_type(name, version).fields.values()]

    assert len(names) > 480
    assert all(field.type in names for field in fields if field.kind in ("complex", "resource"))


@pytest.mark.parametrize(
    ("version", "number", "resources"),
    [("STU3", "3.0.2", 117), ("R4", "4.0.1", 146), ("R4B", "4.3.0", 141), ("R5", "5.0.0", 158)],
)
def test_each_version_has_its_own_resources(version: Version, number: str, resources: int) -> None:
    assert f'"version":"{number}"' in table_of(version)[:100]
    assert sum(is_resource(name, version) for name in type_names(version)) == resources


def test_the_versions_define_the_same_type_otherwise() -> None:
    assert {"requester", "context"} < get_type("Task", "STU3").fields.keys()
    assert get_type("Task", "STU3").fields["requester"].type == "Task.requester"
    assert "performer" not in get_type("Task", "R4B").fields
    assert get_type("Task", "R5").fields["performer"].type == "Task.performer"
    assert get_type("Attachment", "R5").fields["size"].kind == "string"
    assert get_type("Attachment", "R4").fields["size"].kind == "integer"


@pytest.mark.skipif(not PACKAGE.exists(), reason="the definitions are not beside the project")
def test_the_table_is_what_the_compiler_makes_of_the_specification() -> None:
    assert compile_definitions.compile_table(open_package(PACKAGE)) == table_of("R4")


def table_of(version: Version) -> str:
    return Path(compile_definitions.__file__).with_name(TABLES[version]).read_text(encoding="utf-8")


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


def test_a_package_is_read_from_zip_and_tgz_alike(tmp_path: Path) -> None:
    definitions = (
        _definition("Element", None),
        _definition("Thing", "Element", _element("Thing.name", "0..1", "string")),
    )
    zipped, tarred = tmp_path / "thing.zip", tmp_path / "thing.tgz"
    with ZipFile(zipped, "w") as archive, tarfile.open(tarred, "w:gz") as other:
        for name, content in _files(*definitions).items():
            archive.writestr(name, content)
            item = tarfile.TarInfo(name)
            item.size = len(content)
            other.addfile(item, BytesIO(content))

    tables = [compile_definitions.compile_table(open_package(path)) for path in (zipped, tarred)]

    assert tables[0] == tables[1]
    assert json.loads(tables[0])["types"]["Thing"] == {"base": "Element", "elements": {"name": "0..1 string"}}


def test_the_jar_of_stu3_is_read_into_the_same_shape(tmp_path: Path) -> None:
    jar = tmp_path / "stu3.jar"
    with ZipFile(jar, "w") as archive:
        archive.writestr("org/model/profile/profiles-types.xml", STU3_TYPES)
        archive.writestr("org/model/valueset/valuesets.xml", STU3_VALUE_SETS)
        archive.writestr("org/model/schema/other.xml", "<no/>")

    table = json.loads(compile_definitions.compile_table(open_package(jar)))

    assert table["version"] == "3.0.2"
    assert table["primitives"] == {"code": "string", "integer": "integer", "string": "string"}
    assert table["types"]["Element"]["abstract"]
    assert table["types"]["Thing"] == {
        "base": "Element",
        "elements": {"kind": "1..1 code", "about": "0..* Reference"},
        "bindings": {"kind": "required http://example/ValueSet/kinds"},
        "targets": {"about": "Patient Group"},
        "invariants": [["thg-1", "error", "It is about something", "about.exists()"]],
    }
    assert table["codes"] == {"http://example/ValueSet/kinds": {"http://example/kinds": ["large", "small"]}}


def test_a_package_that_is_none_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "thing.zip"
    path.write_bytes(b"neither")

    with pytest.raises(Exception, match="not a zip file"):
        open_package(path)


STU3_TYPES = """<Bundle xmlns="http://hl7.org/fhir">
<entry><resource><StructureDefinition><id value="Element"/><fhirVersion value="3.0.2"/><kind value="complex-type"/>
 <abstract value="true"/><type value="Element"/>
 <snapshot><element id="Element"><path value="Element"/><min value="0"/><max value="*"/></element></snapshot>
</StructureDefinition></resource></entry>
<entry><resource><StructureDefinition><id value="string"/><fhirVersion value="3.0.2"/><kind value="primitive-type"/>
 <abstract value="false"/><type value="string"/><baseDefinition value="http://hl7.org/fhir/StructureDefinition/Element"/>
 <snapshot><element><path value="string"/></element><element><path value="string.value"/>
  <representation value="xmlAttr"/><type><code>
   <extension url="http://hl7.org/fhir/StructureDefinition/structuredefinition-xml-type">
    <valueString value="xsd:string"/></extension></code></type></element></snapshot>
</StructureDefinition></resource></entry>
<entry><resource><StructureDefinition><id value="integer"/><fhirVersion value="3.0.2"/><kind value="primitive-type"/>
 <abstract value="false"/><type value="integer"/><baseDefinition value="http://hl7.org/fhir/StructureDefinition/Element"/>
 <snapshot><element><path value="integer"/></element><element><path value="integer.value"/>
  <representation value="xmlAttr"/><type><code>
   <extension url="http://hl7.org/fhir/StructureDefinition/structuredefinition-xml-type"><valueString value="xsd:int"/>
   </extension></code></type></element></snapshot>
</StructureDefinition></resource></entry>
<entry><resource><StructureDefinition><id value="code"/><fhirVersion value="3.0.2"/><kind value="primitive-type"/>
 <abstract value="false"/><type value="code"/><baseDefinition value="http://hl7.org/fhir/StructureDefinition/string"/>
 <snapshot><element><path value="code"/></element></snapshot>
</StructureDefinition></resource></entry>
<entry><resource><StructureDefinition><id value="Thing"/><fhirVersion value="3.0.2"/><kind value="complex-type"/>
 <abstract value="false"/><type value="Thing"/><baseDefinition value="http://hl7.org/fhir/StructureDefinition/Element"/>
 <derivation value="specialization"/>
 <snapshot>
  <element><path value="Thing"/><min value="0"/><max value="*"/>
   <constraint><key value="thg-1"/><severity value="error"/><human value="It is about something"/>
    <expression value="about.exists()"/></constraint></element>
  <element><path value="Thing.kind"/><min value="1"/><max value="1"/><type><code value="code"/></type>
   <binding><strength value="required"/><valueSetReference><reference value="http://example/ValueSet/kinds"/>
   </valueSetReference></binding></element>
  <element><path value="Thing.about"/><min value="0"/><max value="*"/>
   <type><code value="Reference"/><targetProfile value="http://hl7.org/fhir/StructureDefinition/Patient"/></type>
   <type><code value="Reference"/><targetProfile value="http://hl7.org/fhir/StructureDefinition/Group"/></type></element>
 </snapshot>
</StructureDefinition></resource></entry>
</Bundle>"""
STU3_VALUE_SETS = """<Bundle xmlns="http://hl7.org/fhir">
<entry><resource><ValueSet><url value="http://example/ValueSet/kinds"/>
 <compose><include><system value="http://example/kinds"/></include></compose></ValueSet></resource></entry>
<entry><resource><CodeSystem><url value="http://example/kinds"/><content value="complete"/>
 <concept><code value="small"/></concept><concept><code value="large"/></concept></CodeSystem></resource></entry>
</Bundle>"""


def _package(*definitions: dict[str, Any]) -> Package:
    return Package(_files(*definitions))


def _files(*definitions: dict[str, Any]) -> dict[str, bytes]:
    return {
        f"package/StructureDefinition-{definition['id']}.json": json.dumps(definition).encode()
        for definition in definitions
    }


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
