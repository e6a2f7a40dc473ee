"""gateway.fhir.json: what is read, what is refused, and that nothing is lost."""

import copy
import math
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NotAMessage, Refused, Unreadable
from gateway.fhir import json, xml
from gateway.fhir.json import MAX_DEPTH, Number
from tests.fhir.comparing import lexemes, tokens
from tests.fhir.generated import SAMPLES, damaged, resources


def _patient(members: str) -> bytes:
    return f'{{"resourceType":"Patient",{members}}}'.encode()


@pytest.mark.parametrize(
    "lexeme",
    [
        "1.00",
        "0.0",
        "-0",
        "-0.0",
        "1e400",
        "-1E-400",
        "1.5e+3",
        "123456789012345678901234567890",
        "0",
        "-7",
        "1" * 5000,
    ],
)
def test_a_number_keeps_its_digits(lexeme: str) -> None:
    data = _patient(f'"multipleBirthInteger":{lexeme}')

    assert json.serialize(json.parse(data)) == data


def test_a_number_with_a_fraction_is_a_float_that_knows_how_it_was_written() -> None:
    value = json.parse(_patient('"x":1.50'))["x"]

    assert value == 1.5
    assert isinstance(value, Number)
    assert value.lexeme == "1.50"


def test_an_integer_is_an_int() -> None:
    assert type(json.parse(_patient('"x":-12'))["x"]) is int


def test_a_number_survives_copying_and_pickling() -> None:
    far = Number("1e400")

    copies = [copy.copy(far), copy.deepcopy([far])[0], pickle.loads(pickle.dumps(far))]

    assert [one.lexeme for one in copies] == ["1e400"] * 3
    assert math.isinf(far)


@pytest.mark.parametrize("lexeme", ["", "NaN", "inf", "01", "1.", ".5", "+1", "0x1", "1_000", "\u0661", " 1"])
def test_what_is_no_number_of_json_is_no_number(lexeme: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        Number(lexeme)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.name)
def test_what_is_read_is_written_lexeme_by_lexeme(path: Path) -> None:
    data = path.read_bytes()

    assert tokens(json.serialize(json.parse(data))) == tokens(data)


def test_a_byte_order_mark_is_tolerated() -> None:
    assert json.parse(b"\xef\xbb\xbf" + _patient('"id":"1"')) == {"resourceType": "Patient", "id": "1"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "line 1, column 1"),
        (b'{"resourceType":"Patient"', "line 1, column 26"),
        (_patient('"x":NaN'), "NaN is not a number"),
        (_patient('"x":-Infinity'), "-Infinity is not a number"),
        (_patient('"x":01'), "Not well-formed"),
        (_patient('"x":"\t"'), "control character"),
        (_patient('"x":"\\x"'), "Not well-formed"),
        (_patient('"id":"1"') + b"{}", "Extra data"),
        (_patient('"id":"1"').decode().encode("utf-16"), "not UTF-8"),
        (b'{"x":"\xed\xa0\x80"}', "not UTF-8"),
        (b"[" * 100_000, "levels deep"),
        (_patient('"x":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH), "levels deep"),
        (_patient('"x":[' + "0," * 1_000_000 + "0]"), "more than 1000000 elements"),
    ],
)
def test_what_is_not_json_as_fhir_allows_it_is_unreadable(data: bytes, text: str) -> None:
    with pytest.raises(Unreadable, match=text):
        json.parse(data)


def test_nesting_up_to_the_limit_is_read_and_written() -> None:
    data = _patient('"x":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))

    assert json.serialize(json.parse(data)) == data


def test_commas_in_strings_are_no_elements() -> None:
    assert json.parse(_patient('"x":"' + '\\",' * 1_100_000 + '"'))["resourceType"] == "Patient"


@pytest.mark.parametrize(
    "data", [b"[]", b"1", b'"Patient"', b"null", b"{}", b'{"resourceType":1}', b'{"resourceType":""}']
)
def test_json_that_is_no_resource_is_no_message(data: bytes) -> None:
    with pytest.raises(NotAMessage):
        json.parse(data)


def test_every_repeated_name_is_reported_with_its_place() -> None:
    data = _patient('"id":"1","id":"2","name":[{},{"use":"x","use":"y","use":"z"}]')

    with pytest.raises(Unreadable) as refusal:
        json.parse(data)

    assert [(issue.expression, issue.text) for issue in refusal.value.issues] == [
        ("Patient", "The name 'id' is given 2 times in one object. Give it once."),
        ("Patient.name[1]", "The name 'use' is given 3 times in one object. Give it once."),
    ]


@pytest.mark.parametrize(
    ("member", "expression", "character"),
    [
        ('"x":"a\\ud800b"', "Patient.x", "U+D800"),
        ('"x":[{"_y":"\\u0000"}]', "Patient.x[0].y", "U+0000"),
        ('"x":"\\b"', "Patient.x", "U+0008"),
        ('"x":"\uffff"', "Patient.x", "U+FFFF"),
        ('"\\udc00":1', "Patient", "U+DC00"),
    ],
)
def test_characters_that_xml_or_a_database_cannot_hold_are_unreadable(
    member: str, expression: str, character: str
) -> None:
    with pytest.raises(Unreadable) as refusal:
        json.parse(_patient(member))

    (issue,) = refusal.value.issues
    assert issue.expression == expression
    assert character in issue.text


def test_an_escaped_backslash_is_no_escape() -> None:
    assert json.parse(_patient('"x":"C:\\\\backup\\\\u0000"'))["x"] == "C:\\backup\\u0000"


@pytest.mark.parametrize("colon", [":", "\\u003a", "\\u003A"])
def test_a_repeated_name_is_found_beside_colons_in_strings(colon: str) -> None:
    value = json.parse(_patient(f'"id":"{colon}"'))

    assert value["id"] == ":"
    with pytest.raises(Unreadable, match="'id' is given 2 times"):
        json.parse(_patient(f'"id":"1","id":"2","language":"{colon}"'))


def test_a_name_made_up_by_the_sender_is_fit_to_be_shown() -> None:
    with pytest.raises(Unreadable) as refusal:
        json.parse(_patient('"a\\ud800 b":{"\\u0000":1,"\\u0000":2}'))

    (issue,) = refusal.value.issues
    assert issue.expression == "Patient.`a\\ud800 b`"
    assert issue.text.encode().isascii()


@pytest.mark.parametrize(
    "rest", [b',"x":NaN}', b",}", b',"x":' + b"[" * 5000, b',"x":' + b"[" * 300 + b"]" * 300 + b"}"]
)
def test_a_repeated_name_does_not_hide_what_is_worse(rest: bytes) -> None:
    with pytest.raises(Unreadable, match=r"NaN|Not well-formed|levels deep"):
        json.parse(b'{"a":{"id":1,"id":2}' + rest)


def test_no_more_issues_are_reported_than_anybody_reads() -> None:
    members = ",".join(f'"x{index}":{{"y":1,"y":2}}' for index in range(1000))

    with pytest.raises(Unreadable) as refusal:
        json.parse(_patient(members))

    assert len(refusal.value.issues) == 50


def test_the_canonical_form_does_not_depend_on_order_padding_or_the_spelling_of_narrative() -> None:
    div = '<div xmlns=\\"http://www.w3.org/1999/xhtml\\">a<br/>b</div>'
    respelled = div.replace("<br/>", "<br></br>")
    one = _patient(f'"text":{{"div":"{div}"}},"given":["a","b"],"_given":[null,{{"id":"1"}}]')
    other = _patient(f'"_given":[null,{{"id":"1"}},null],"text":{{"div":"{respelled}"}},"given":["a","b"],"_x":[null]')

    assert json.canonical(json.parse(one)) == json.canonical(json.parse(other))


@pytest.mark.parametrize("spelling", ["<div {}>a<b/></div>", "<div id='i' {}>&nbsp;</div>", "<h:div {}><h:b/></h:div>"])
def test_the_canonical_form_of_a_narrative_is_the_same_when_it_came_as_xml(spelling: str) -> None:
    prefix = ":h" if spelling.startswith("<h:") else ""
    div = spelling.format(f"xmlns{prefix}='http://www.w3.org/1999/xhtml'")
    resource = {"resourceType": "Patient", "text": {"div": div}}

    assert json.canonical(xml.parse(xml.serialize(resource))) == json.canonical(resource)


@pytest.mark.parametrize(
    "div", [*("text", "<div>", "<h:div xmlns:h='u'><?php 1?></h:div>", "<p/>"), "<div xmlns:u='relative' u:x='1'/>"]
)
def test_a_narrative_that_is_none_has_a_canonical_form_too(div: str) -> None:
    resource = {"resourceType": "Patient", "text": {"div": div}}

    assert json.canonical(resource) == json.canonical(json.parse(json.serialize(resource)))


@pytest.mark.parametrize("other", ['"x":1.0', '"x":1', '"x":"1.00"', '"y":1.00', '"x":[1.00]', '"x":[null,1.00]'])
def test_the_canonical_form_differs_when_the_content_does(other: str) -> None:
    assert json.canonical(json.parse(_patient('"x":1.00'))) != json.canonical(json.parse(_patient(other)))


@given(resources())
def test_every_resource_survives_json(resource: dict[str, object]) -> None:
    assert lexemes(json.parse(json.serialize(resource))) == lexemes(resource)


@given(st.binary(max_size=200) | damaged("json"))
def test_whatever_the_bytes_they_are_read_or_refused(data: bytes) -> None:
    try:
        resource = json.parse(data)
    except Refused as refusal:
        for issue in refusal.issues:
            json.serialize({"text": issue.text, "expression": issue.expression})
    else:
        assert lexemes(json.parse(json.serialize(resource))) == lexemes(resource)
        json.canonical(resource)
