"""gateway.fhir.xml: what is read, what is refused, and that nothing is lost."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NotAMessage, Refused, Unreadable
from gateway.fhir import json, xml
from gateway.fhir.json import MAX_DEPTH, Number
from tests.fhir.comparing import canonical_xml, lexemes
from tests.fhir.generated import SAMPLES, damaged, resources

_XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def _patient(content: str) -> bytes:
    return f'<Patient xmlns="http://hl7.org/fhir">{content}</Patient>'.encode()


def _narrative(div: str) -> bytes:
    return _patient(f'<text><status value="generated"/>{div}</text>')


def _refusal(data: bytes) -> list[tuple[str | None, str]]:
    with pytest.raises(NotAMessage) as refusal:
        xml.parse(data)
    return [(issue.expression, issue.text) for issue in refusal.value.issues]


def _unwritable(resource: dict[str, Any]) -> list[tuple[str | None, str]]:
    with pytest.raises(NotAMessage) as refusal:
        xml.serialize(resource)
    return [(issue.expression, issue.text) for issue in refusal.value.issues]


# --- both ways ---


@pytest.mark.parametrize("name", ["patient", "bundle"])
def test_xml_becomes_json(name: str) -> None:
    resource = xml.parse((SAMPLES / f"{name}.xml").read_bytes())

    assert lexemes(resource) == lexemes(json.parse((SAMPLES / f"{name}.json").read_bytes()))


@pytest.mark.parametrize("name", ["patient", "bundle"])
def test_json_becomes_xml(name: str) -> None:
    written = xml.serialize(json.parse((SAMPLES / f"{name}.json").read_bytes()))

    expected = (
        (SAMPLES / f"{name}.xml").read_bytes().replace(b'xsi:schemaLocation="http://hl7.org/fhir bundle.xsd"', b"")
    )
    expected = expected.replace(b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"', b"")
    assert canonical_xml(written) == canonical_xml(expected)


@pytest.mark.parametrize("name", ["patient", "bundle"])
def test_the_canonical_form_is_the_same_for_xml_and_json(name: str) -> None:
    from_json = json.parse((SAMPLES / f"{name}.json").read_bytes())
    from_xml = xml.parse((SAMPLES / f"{name}.xml").read_bytes())

    assert json.canonical(from_json) == json.canonical(from_xml)


@given(resources())
def test_every_resource_survives_xml(resource: dict[str, Any]) -> None:
    assert json.canonical(xml.parse(xml.serialize(resource))) == json.canonical(resource)


@given(st.binary(max_size=200) | damaged("xml"))
def test_whatever_the_bytes_they_are_read_or_refused(data: bytes) -> None:
    try:
        resource = xml.parse(data)
    except Refused as refusal:
        for issue in refusal.issues:
            json.serialize({"text": issue.text, "expression": issue.expression})
    else:
        assert lexemes(json.parse(json.serialize(resource))) == lexemes(resource)
        assert json.canonical(xml.parse(xml.serialize(resource))) == json.canonical(resource)


@given(damaged("json"))
def test_whatever_json_was_read_it_is_written_as_xml_or_refused(data: bytes) -> None:
    try:
        written = xml.serialize(json.parse(data))
    except Refused as refusal:
        for issue in refusal.issues:
            json.serialize({"text": issue.text, "expression": issue.expression})
    else:
        xml.parse(written)


# --- reading ---


def test_members_come_in_the_order_of_the_definitions_whatever_the_order_of_elements() -> None:
    resource = xml.parse(
        _patient('<birthDate value="2000"/><name/><active id="a" value="true"/><id value="1"/><name/>')
    )

    assert list(resource) == ["resourceType", "id", "active", "_active", "name", "birthDate"]
    assert resource["name"] == [{}, {}]


def test_an_extension_within_an_extension_comes_before_its_url() -> None:
    resource = xml.parse(_patient('<extension url="u"><extension url="v"/></extension>'))

    assert list(resource["extension"][0]) == ["extension", "url"]


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ('<multipleBirthInteger value="+5"/>', 5),
        ('<multipleBirthBoolean value="false"/>', False),
        ('<extension url="u"><valueDecimal value="1.0"/></extension>', Number("1.0")),
        ('<extension url="u"><valueDecimal value="1"/></extension>', 1),
        ('<extension url="u"><valueString value="1"/></extension>', "1"),
        ('<extension url="u"><valueString value=""/></extension>', ""),
        ('<extension url="u"><valueUnsignedInt value="0"/></extension>', 0),
    ],
)
def test_a_value_has_the_json_type_of_its_fhir_type(element: str, value: object) -> None:
    resource = xml.parse(_patient(element))

    found = [*resource.values(), *resource.get("extension", [{}])[0].values()][-1]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "element",
    [
        '<multipleBirthInteger value="1.0"/>',
        '<multipleBirthInteger value="01"/>',
        '<multipleBirthInteger value="9999999999999999999"/>',
        '<multipleBirthInteger value=""/>',
        '<multipleBirthBoolean value="True"/>',
        '<multipleBirthBoolean value="1"/>',
    ],
)
def test_a_value_that_json_cannot_have_is_refused(element: str) -> None:
    ((expression, text),) = _refusal(_patient(element))

    assert expression == "Patient.multipleBirth"
    assert " is no " in text


@pytest.mark.parametrize(
    ("content", "expression", "text"),
    [
        ("<nickname/>", "Patient", "Patient has no element 'nickname'"),
        ("<multipleBirth value='1'/>", "Patient", "Write it as multipleBirthBoolean or multipleBirthInteger"),
        ("<name><family value='a'/></name><name><surname/></name>", "Patient.name[1]", "HumanName has no element"),
        (
            "<contact><name><given value='a'/><given val='b'/></name></contact>",
            "Patient.contact[0].name.given[1]",
            "val",
        ),
        ("<name use='official'/>", "Patient.name[0]", "no attribute 'use'"),
        ("<active value='true'/><active value='false'/>", "Patient.active", "more than once"),
        ("<birthDate value='2'/><active value='true'/><birthDate id='2'/>", "Patient.birthDate", "more than once"),
        ("<deceasedBoolean value='true'/><deceasedDateTime value='2'/>", "Patient.deceased", "more than once"),
        ("<active/>", "Patient.active", "is empty"),
        ("<active>true</active>", "Patient.active", "Text is not allowed here: 'true'"),
        ("<name>Anna</name>", "Patient.name[0]", "Text is not allowed here: 'Anna'"),
        ("<name/>\u00a0", "Patient", "Text is not allowed here"),
        ("<active value='true'>x</active>", "Patient.active", "Text is not allowed here"),
        ("<contained/>", "Patient.contained[0]", "Exactly one resource"),
        ("<contained><Basic/><Basic/></contained>", "Patient.contained[0]", "Exactly one resource"),
        ("<contained id='1'><Basic/></contained>", "Patient.contained[0]", "no attribute"),
        ("<contained><Base/></contained>", "Patient.contained[0]", "no resource 'Base'"),
        ("<contained><DomainResource/></contained>", "Patient.contained[0]", "no resource 'DomainResource'"),
        ("<contained><Basic><x/></Basic></contained>", "Patient.contained[0]", "Basic has no element 'x'"),
        ("<a xmlns='urn:other'/>", "Patient", "in the namespace 'urn:other'"),
        ("<a xmlns=''/>", "Patient", "in the namespace ''"),
        ("<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>", "Patient", "XInclude"),
        ("<text><div/></text>", "Patient.text", "Narrative has no element 'div'"),
        (f"<text><div {_XHTML}/><div {_XHTML}/></text>", "Patient.text.div", "more than once"),
        (f"<text><div {_XHTML}><a xmlns='u'/></div></text>", "Patient.text.div", "not XHTML"),
    ],
)
def test_what_r4_does_not_define_is_refused_with_its_place(content: str, expression: str, text: str) -> None:
    issues = _refusal(_patient(content))

    assert issues[0][0] == expression
    assert text in issues[0][1]


def test_the_place_within_a_bundle_is_a_path_through_its_entries() -> None:
    data = (
        b'<Bundle xmlns="http://hl7.org/fhir"><entry/><entry><resource><Bundle><entry><response><outcome>'
        b"<Basic><x/></Basic></outcome></response></entry></Bundle></resource></entry></Bundle>"
    )

    assert _refusal(data)[0][0] == "Bundle.entry[1].resource.entry[0].response.outcome"


def test_all_issues_are_reported_up_to_a_limit() -> None:
    assert len(_refusal(_patient("<a/><b/><active value='1'/><name x='1'/>"))) == 4
    assert len(_refusal(_patient("<a/>" * 1000))) == 50


@pytest.mark.parametrize(
    "data",
    [
        b"<Patient/>",
        b'<Patient xmlns="http://hl7.org/fhir/"/>',
        b'<Bundel xmlns="http://hl7.org/fhir"/>',
        b'<Resource xmlns="http://hl7.org/fhir"/>',
        b'<HumanName xmlns="http://hl7.org/fhir"/>',
    ],
)
def test_a_root_that_is_no_resource_is_refused(data: bytes) -> None:
    assert len(_refusal(data)) == 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "Not well-formed XML"),
        (b"<Patient", "Not well-formed XML"),
        (_patient("&nbsp;"), "Not well-formed XML"),
        (b'<!DOCTYPE Patient [<!ENTITY a "b">]>' + _patient("<id value='&a;'/>"), "DOCTYPE"),
        (b'<?xml version="1.0"?><!-- a --><!DOCTYPE Patient SYSTEM "file:///etc/passwd">' + _patient(""), "DOCTYPE"),
        (b"<?xml-stylesheet href='a.xsl'?>" + _patient(""), "processing instruction"),
        (_patient("<?php 1?>"), "processing instruction"),
        (_narrative(f"<div {_XHTML}><?php 1?></div>"), "processing instruction"),
        (b'<?xml version="1.0" encoding="utf-7"?>' + _patient(""), "'utf-7' is not supported"),
        (b'<?xml version="1.0" encoding="iso-8859-99"?>' + _patient(""), "not in the encoding"),
        (_patient("<id value='\u00e9'/>").decode().encode("latin1"), "Not well-formed XML"),
        (_patient("<id value='&#0;'/>"), "Not well-formed XML"),
        (_patient("<id/>" * 1_000_001), "more than 1000000 elements"),
        (_patient("<extension>" * 1000 + "</extension>" * 1000), "Not well-formed XML"),
    ],
)
def test_what_is_not_xml_as_fhir_allows_it_is_unreadable(data: bytes, text: str) -> None:
    with pytest.raises(Unreadable, match=text):
        xml.parse(data)


def test_a_limit_of_the_parser_is_told_without_its_advice_to_programmers() -> None:
    with pytest.raises(Unreadable) as refusal:
        xml.parse(_patient("<extension>" * 1000))

    assert refusal.value.issues[0].text.startswith("Not well-formed XML: Excessive depth in document: 256, line 1")


def test_entities_within_entities_cost_nothing() -> None:
    levels = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 20))
    data = f'<!DOCTYPE x [<!ENTITY a0 "ha">{levels}]>'.encode() + _patient("<id value='&a19;'/>")

    with pytest.raises(Unreadable, match="DOCTYPE"):
        xml.parse(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_unicode_encoding_is_read(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding[:6].removesuffix("-")}"?>'

    resource = xml.parse((declared + _patient("<id value='Ä€'/>").decode()).encode(encoding))

    assert resource["id"] == "Ä€"


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "iso-8859-15"])
def test_an_eight_bit_encoding_is_read_as_declared_and_answered_in_utf_8(encoding: str) -> None:
    declared = f"<?xml version='1.0' encoding='{encoding}'?>"

    resource = xml.parse((declared + _patient("<id value='Ä'/>").decode()).encode(encoding))

    assert "Ä".encode() in xml.serialize(resource)


def test_utf_8_that_is_declared_as_utf_16_is_read() -> None:
    assert xml.parse(b'<?xml version="1.0" encoding="utf-16"?>' + _patient("<id value='1'/>"))["id"] == "1"


def test_the_depth_is_bounded_as_in_json() -> None:
    deepest = MAX_DEPTH // 2 - 1
    nested = '<extension url="u">' * deepest + "</extension>" * deepest

    assert json.parse(json.serialize(xml.parse(_patient(nested))))
    with pytest.raises(NotAMessage, match="levels deep"):
        xml.parse(_patient(f'<extension url="u">{nested}</extension>'))


def test_the_deepest_json_can_be_written_as_xml_and_read_again() -> None:
    resource: dict[str, Any] = {"resourceType": "Bundle"}
    for _ in range(MAX_DEPTH // 3 - 1):
        resource = {"resourceType": "Bundle", "entry": [{"resource": resource}]}

    assert xml.parse(xml.serialize(json.parse(json.serialize(resource)))) == resource


# --- narrative ---


@pytest.mark.parametrize(
    ("element", "text"),
    [
        (f"<div {_XHTML}> a <b>b</b> <i>c</i>\n<!-- d -->&amp;&#160;</div>", None),
        (f'<div {_XHTML} xml:lang="en"><p/></div>', None),
        (f"<div {_XHTML}><![CDATA[<a>]]></div>", f"<div {_XHTML}>&lt;a&gt;</div>"),
        (
            '<h:div xmlns:h="http://www.w3.org/1999/xhtml" xmlns:x="u">a<h:b>c</h:b><!-- d --> e</h:div>',
            f"<div {_XHTML}>a<b>c</b><!-- d --> e</div>",
        ),
        (f'<div {_XHTML}>a<h:b xmlns:h="http://www.w3.org/1999/xhtml"/></div>', f"<div {_XHTML}>a<b/></div>"),
        (f"<div {_XHTML}>xmlns='u'</div>", None),
    ],
)
def test_a_narrative_becomes_text_that_is_xhtml_by_itself(element: str, text: str | None) -> None:
    resource = xml.parse(_narrative(element))

    assert resource["text"]["div"] == (text or element.replace("&#160;", "\u00a0"))


def test_a_namespace_of_the_root_does_not_get_into_the_narrative() -> None:
    data = _narrative(f"<div {_XHTML}>a</div>").replace(b"<Patient", b'<Patient xmlns:xsi="urn:x"', 1)

    assert xml.parse(data)["text"]["div"] == f"<div {_XHTML}>a</div>"


@pytest.mark.parametrize(
    ("text", "element"),
    [
        (f"<div {_XHTML}>a&nbsp;b &lt;&eacute;</div>", f"<div {_XHTML}>a\u00a0b &lt;é</div>"),
        ("<div>without a namespace<br></br></div>", f"<div {_XHTML}>without a namespace<br/></div>"),
    ],
)
def test_a_narrative_that_is_nearly_xhtml_is_written_as_xhtml(text: str, element: str) -> None:
    written = xml.serialize({"resourceType": "Patient", "text": {"div": text}})

    assert element.encode() in written


@pytest.mark.parametrize(
    "div",
    [
        "",
        "text",
        "<p>no div</p>",
        "<div>",
        "<div/><div/>",
        "<div>&unknown;</div>",
        '<div xmlns="urn:other"/>',
        '<div xmlns=""/>',
        f"<div {_XHTML}><script xmlns='u'/></div>",
        f"<div {_XHTML}><?php 1?></div>",
        f"<!DOCTYPE div><div {_XHTML}/>",
        f"<?xml version='1.0'?><div {_XHTML}/>",
        "<div>\ud800</div>",
        "<div>" * 300 + "</div>" * 300,
    ],
)
def test_a_narrative_that_is_no_xhtml_is_refused(div: str) -> None:
    ((expression, _),) = _unwritable({"resourceType": "Patient", "text": {"div": div}})

    assert expression == "Patient.text.div"


# --- writing ---


@pytest.mark.parametrize(
    ("members", "expression", "text"),
    [
        ({"nickname": 1}, "Patient", "no element 'nickname'"),
        ({"_name": []}, "Patient", "no element '_name'"),
        ({"deceased": True}, "Patient", "Write it as deceasedBoolean or deceasedDateTime"),
        ({"name": {}}, "Patient.name", "Here is an object, where FHIR R4 has an array"),
        ({"name": ["Anna"]}, "Patient.name[0]", "Here is a string, where FHIR R4 has an object"),
        ({"name": [None]}, "Patient.name[0]", "Here is null"),
        ({"name": [{"given": "Anna"}]}, "Patient.name[0].given", "Here is a string, where FHIR R4 has an array"),
        ({"name": [{"given": ["a"], "_given": {"id": "b"}}]}, "Patient.name[0].given", "Here is an object"),
        ({"name": [{"given": ["a", None]}]}, "Patient.name[0].given[1]", "Here is null"),
        ({"active": "true"}, "Patient.active", "Here is a string, where FHIR R4 has true or false"),
        ({"active": 1}, "Patient.active", "Here is an integer"),
        ({"active": [True]}, "Patient.active", "Here is an array"),
        ({"birthDate": 2000}, "Patient.birthDate", "Here is an integer, where FHIR R4 has a string"),
        ({"_birthDate": "x"}, "Patient.birthDate", "Here is a string, where FHIR R4 has an object"),
        ({"_birthDate": {"value": "x"}}, "Patient.birthDate", "Element has no element 'value'"),
        ({"multipleBirthInteger": True}, "Patient.multipleBirth", "where FHIR R4 has an integer"),
        ({"multipleBirthInteger": Number("1.0")}, "Patient.multipleBirth", "Here is a number"),
        ({"multipleBirthInteger": 1, "multipleBirthBoolean": True}, "Patient.multipleBirth", "Only one of"),
        ({"maritalStatus": {"id": 1}}, "Patient.maritalStatus.id", "Here is an integer, where FHIR R4 has a string"),
        ({"extension": [{"url": "u", "valueDecimal": float("inf")}]}, "Patient.extension[0].value", "a number"),
        ({"contained": [{}]}, "Patient.contained[0]", "no resourceType"),
        ({"contained": [{"resourceType": "Base"}]}, "Patient.contained[0]", "no resource 'Base'"),
        ({"contained": "x"}, "Patient.contained", "Here is a string, where FHIR R4 has an array"),
        ({"text": {"div": 1}}, "Patient.text.div", "Here is an integer"),
        ({"name": [{"resourceType": "HumanName"}]}, "Patient.name[0]", "no element 'resourceType'"),
    ],
)
def test_what_r4_does_not_define_is_not_written(members: dict[str, Any], expression: str, text: str) -> None:
    resource = {"resourceType": "Patient", **members}

    first, second = _unwritable(resource), _unwritable(resource)

    assert first[0][0] == expression
    assert text in first[0][1]
    assert first == second


@pytest.mark.parametrize(
    "resource", [{}, {"resourceType": 1}, {"resourceType": "Nothing"}, {"resourceType": "Element"}]
)
def test_what_is_no_resource_is_not_written(resource: dict[str, Any]) -> None:
    assert len(_unwritable(resource)) == 1


@pytest.mark.parametrize(
    "members",
    [
        {"active": None},
        {"name": []},
        {"_active": None},
        {"_active": {}},
        {"text": None},
        {"name": None, "contained": []},
    ],
)
def test_what_says_nothing_is_left_out(members: dict[str, Any]) -> None:
    resource = {"resourceType": "Patient", "id": "1", **members}

    assert xml.parse(xml.serialize(resource)) == {"resourceType": "Patient", "id": "1"}


def test_arrays_beside_each_other_need_not_be_of_one_length() -> None:
    name = {"given": ["a"], "_given": [None, {"id": "b"}]}

    written = xml.parse(xml.serialize({"resourceType": "Patient", "name": [name]}))

    assert written["name"] == [{"given": ["a", None], "_given": [None, {"id": "b"}]}]


def test_a_float_of_python_is_written_as_a_number() -> None:
    resource = {"resourceType": "Patient", "extension": [{"url": "u", "valueDecimal": 1e22}]}

    assert xml.parse(xml.serialize(resource)) == resource


@pytest.mark.parametrize("character", ["\0", "\x1b", "\ud800", "\uffff"])
def test_a_character_that_xml_does_not_have_is_not_written(character: str) -> None:
    assert len(_unwritable({"resourceType": "Patient", "id": character})) == 1


def test_members_in_every_order_are_written_in_one_order() -> None:
    members = {"id": "1", "gender": "male", "active": True, "birthDate": "2000", "language": "en", "implicitRules": "u"}

    written = {
        xml.serialize({"resourceType": "Patient"} | {name: members[name] for name in names})
        for names in permutations(members)
    }
    written |= {xml.serialize({**dict(reversed(members.items())), "resourceType": "Patient"})}

    assert len(written) == 1


@pytest.mark.parametrize("sibling", [{"extension": None}, {"extension": []}, {"id": None}])
def test_a_primitive_of_which_nothing_is_left_is_not_written(sibling: dict[str, Any]) -> None:
    resource = {"resourceType": "Patient", "name": [{"given": ["a", None], "_given": [None, sibling]}]}

    assert _unwritable(resource) == [("Patient.name[0].given[1]", "given is empty. Give it a value, or leave it out.")]


def test_a_resource_that_contains_itself_is_not_written() -> None:
    resource: dict[str, Any] = {"resourceType": "Patient"}
    resource["contained"] = [resource]

    assert "too deeply" in _unwritable(resource)[0][1]


def test_reading_and_writing_opens_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    data = f'<!DOCTYPE x [<!ENTITY s SYSTEM "{secret.as_uri()}">]>'.encode() + _patient("<id value='&s;'/>")
    div = f'<!DOCTYPE x [<!ENTITY s SYSTEM "{secret.as_uri()}">]><div {_XHTML}>&s;</div>'

    with pytest.raises(Unreadable):
        xml.parse(data)
    with pytest.raises(NotAMessage):
        xml.serialize({"resourceType": "Patient", "text": {"div": div}})
