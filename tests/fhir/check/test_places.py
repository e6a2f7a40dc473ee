"""The line and column of an issue are those of the very thing that its expression names."""

import json as stdlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import Issue
from gateway.fhir import json, xml
from gateway.fhir.check.places import locate, with_places
from gateway.fhir.definitions import FHIR
from gateway.fhir.issues import step
from tests.fhir.generated import resources

PATIENT = """{
  "resourceType": "Patient",
  "name": [{"family": "O'Ñeil",
            "given": ["A", null], "_given": [null, {"extension": [{"url": "urn:x"}]}]},
           {"text": "b"}], "_birthDate": {"id": "1"}, "birthDate": "1980",
  "deceasedBoolean": true, "odd name": 1,
  "contained": [{"resourceType": "Basic", "id": "c"}]
}"""
XML = """<?xml version="1.0" encoding="UTF-8"?>
<Patient xmlns="http://hl7.org/fhir">
  <contained><Basic><id value="c"/></Basic></contained>
  <name><family value="O'Ñeil"/> <given value="A"/>
    <given><extension url="urn:x"/></given></name><name><text value="b"/></name>
  <deceasedBoolean value="true"/>
</Patient>"""


def text_at(text: str, place: tuple[int, int]) -> str:
    line, column = place
    return "\n".join(text.split("\n")[line - 1 :])[column - 1 :]


@pytest.mark.parametrize(
    ("expression", "begins"),
    [
        ("Patient", '{\n  "resourceType"'),
        ("Patient.name", '[{"family"'),
        ("Patient.name[0].family", '"O\'Ñeil"'),
        ("Patient.name[0].given[0]", '"A"'),
        ("Patient.name[0].given[1]", '{"extension"'),
        ("Patient.name[0].given[1].extension[0].url", '"urn:x"'),
        ("Patient.name[1].text", '"b"'),
        ("Patient.birthDate", '"1980"'),
        ("Patient.birthDate.id", '"1"'),
        ("Patient.deceased", "true"),
        ("Patient.`odd name`", "1,"),
        ("Patient.contained[0].id", '"c"'),
        ("Patient.name[1].period.start", '{"text"'),
        ("Patient.name[7].text", '[{"family"'),
        ("Patient.gender", '{\n  "resourceType"'),
        ("Patient.name[0].family.where(x = 'y')", '"O\'Ñeil"'),
        ("", '{\n  "resourceType"'),
        ("resourceType", '{\n  "resourceType"'),
    ],
)
def test_in_json_it_is_the_value(expression: str, begins: str) -> None:
    place = locate(PATIENT.encode(), "json", [expression])[expression]

    assert text_at(PATIENT, place).startswith(begins)


@pytest.mark.parametrize(
    ("expression", "begins"),
    [
        ("Patient", "<Patient xmlns"),
        ("Patient.name", "<name><family"),
        ("Patient.name[0].family", "<family"),
        ("Patient.name[0].given[0]", '<given value="A"'),
        ("Patient.name[0].given[1].extension[0].url", "<extension"),
        ("Patient.name[1].text", "<text"),
        ("Patient.deceased", "<deceasedBoolean"),
        ("Patient.contained[0].id", '<id value="c"'),
        ("Patient.contained[0]", "<contained><Basic"),
        ("Patient.name[1].period.start", "<name><text"),
        ("Patient.gender", "<Patient xmlns"),
    ],
)
def test_in_xml_it_is_the_start_tag(expression: str, begins: str) -> None:
    place = locate(XML.encode(), "xml", [expression])[expression]

    assert text_at(XML, place).startswith(begins)


@pytest.mark.parametrize("name", ["a`b", "a.b", "`", "\\", "a\\`.b[1]", "\x9b\u202e", "\U0001f600", "é"])
def test_an_odd_name_is_found_by_its_step(name: str) -> None:
    body = stdlib.dumps({"resourceType": "Basic", "first": 0, name: [{"a": 1}]}).encode()
    expression = f"Basic.{step(name)}[0].a"

    assert locate(body, "json", [expression]) == {expression: (1, len(body) - 3)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_a_column_counts_characters_in_any_encoding(encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?><Patient xmlns="{FHIR}"><name><text value="ÄÖ"/>\r\n</name>'
    text += '<birthDate value=""/></Patient>'

    places = locate(text.encode(encoding), "xml", ["Patient.name[0].text", "Patient.birthDate"])

    assert places["Patient.name[0].text"] == (1, text.index("<text") + 1)
    assert places["Patient.birthDate"] == (2, len("</name>") + 1)


def test_a_byte_order_mark_is_no_column() -> None:
    assert locate(b'\xef\xbb\xbf{"resourceType": "Basic"}', "json", ["Basic"]) == {"Basic": (1, 1)}


WRAPPED = """{"parameter": [{"name": "mode"},
{"resource": {"entry": [1, 2]}, "name": "content"}],
"resourceType": "Parameters"}"""
WRAPPED_XML = (
    f'<Parameters xmlns="{FHIR}"><parameter><name value="mode"/></parameter>\n<parameter><name value="content"/>'
    "<resource><Bundle><entry/><entry/></Bundle></resource></parameter></Parameters>"
)


@pytest.mark.parametrize(("text", "format_name"), [(WRAPPED, "json"), (WRAPPED_XML, "xml")])
def test_what_is_inside_a_parameters_is_found_there(text: str, format_name: str) -> None:
    inner = "Bundle.entry[1]"

    [place] = locate(text.encode(), format_name, [inner], ("parameter", 1, "resource")).values()

    assert place[0] == 2
    assert text_at(text, place).startswith(("2]", "<entry/></Bundle>"))


@pytest.mark.parametrize(("text", "format_name"), [(WRAPPED, "json"), (WRAPPED_XML, "xml")])
def test_a_parameters_itself_has_places_too(text: str, format_name: str) -> None:
    [place] = locate(text.encode(), format_name, ["Parameters.parameter[0].name"]).values()

    assert text_at(text, place).startswith(('"mode"', '<name value="mode"'))


@pytest.mark.parametrize(
    ("body", "format_name"),
    [
        (b"{", "json"),
        (b"\xff", "json"),
        (b"[" * 100_000, "json"),
        (b"", "json"),
        (b"", "xml"),
        (b'<?xml version="1.0" encoding="ebcdic"?><a/>', "xml"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "xml"),
    ],
)
def test_what_cannot_be_read_has_no_places(body: bytes, format_name: str) -> None:
    assert locate(body, format_name, ["Bundle.entry[0]"]) == {}


def test_xml_that_breaks_off_has_places_up_to_there() -> None:
    assert locate(b"<Basic>\n<id/><", "xml", ["Basic.id"]) == {"Basic.id": (2, 1)}


@pytest.mark.parametrize("body", [b"[1]", b"1", b'"a"', b"null", b'{"resourceType": 1, "parameter": 2}'])
def test_json_that_is_no_resource_has_a_place_all_the_same(body: bytes) -> None:
    assert locate(body, "json", ["Bundle.entry[0]"]) == {"Bundle.entry[0]": (1, 1)}


def test_issues_are_given_places_if_they_have_none() -> None:
    issues = [
        Issue("value", "a", "Patient.birthDate"),
        Issue("value", "b"),
        Issue("value", "c", "Patient.name", line=1, column=2),
    ]

    placed = with_places(issues, PATIENT.encode(), "json")

    assert [(issue.text, issue.line, issue.column) for issue in placed] == [
        ("a", 5, 68),
        ("b", None, None),
        ("c", 1, 2),
    ]


# --- generated --------------------------------------------------------------------------------------------------------


def members(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every expression that a checker could write of a resource, with what is there in JSON."""
    yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            if name != "resourceType" and (name[0] != "_" or name[1:] not in value):
                yield from items(item, f"{path}.{name.removeprefix('_')}")


def items(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if item is not None:
                yield from members(item, f"{path}[{index}]")
    else:
        yield from members(value, path)


@settings(deadline=None)
@given(resources(), st.sampled_from([None, 0, 3]), st.booleans())
def test_of_generated_json_every_value_is_found(resource: dict[str, Any], indent: int | None, only_ascii: bool) -> None:
    plain = stdlib.loads(json.serialize(resource), parse_float=str)
    text = stdlib.dumps(plain, indent=indent, ensure_ascii=only_ascii)
    expected = dict(members(plain, plain["resourceType"]))

    places = locate(text.encode(), "json", expected)

    for expression, value in expected.items():
        assert stdlib.JSONDecoder().raw_decode(text_at(text, places[expression]))[0] == value


@settings(deadline=None)
@given(resources(), st.sampled_from(["", "\n", "\r\n  ", " <!-- ä -->"]))
def test_of_generated_xml_every_start_tag_is_found(resource: dict[str, Any], between: str) -> None:
    tree = etree.fromstring(xml.serialize(resource))
    text = etree.tostring(tree, encoding="unicode").replace("><", f">{between}<")
    expected = dict(elements(tree, tree.tag.rpartition("}")[2]))

    places = locate(text.encode(), "xml", expected)

    in_order = list(tree.iter())
    for expression, element in expected.items():
        before = text[: len(text) - len(text_at(text, places[expression]))]
        assert in_order[len(re.findall("<[A-Za-z]", before))] is element


def elements(element: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, element
    counts: dict[str, int] = {}
    several = [child.tag for child in element]
    for child in element:
        name = child.tag.rpartition("}")[2]
        counts[name] = counts.get(name, -1) + 1
        if name[:1].isupper():
            yield from ((inner, one) for inner, one in elements(child, path) if inner != path)
        elif child.tag.startswith(f"{{{FHIR}}}"):
            yield from elements(child, f"{path}.{name}" + (f"[{counts[name]}]" if several.count(child.tag) > 1 else ""))
