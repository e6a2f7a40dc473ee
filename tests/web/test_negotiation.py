"""Content negotiation: the whole matrix of what is sent, what is asked for, and what is answered."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.definitions import VERSIONS, Version
from gateway.web.negotiation import (
    Answer,
    Format,
    NotAcceptable,
    UnsupportedMediaType,
    request_format,
    response_format,
)

FHIR_JSON = "application/fhir+json; charset=utf-8"
FHIR_XML = "application/fhir+xml; charset=utf-8"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/fhir+json", "json"),
        ("application/fhir+xml", "xml"),
        ("application/json", "json"),
        ("application/xml", "xml"),
        ("text/json", "json"),
        ("text/xml", "xml"),
        ("application/json+fhir", "json"),
        ("application/xml+fhir", "xml"),
        ("APPLICATION/FHIR+JSON", "json"),
        ("application/fhir+json;charset=utf-8", "json"),
        ('application/fhir+json; charset="UTF-8"', "json"),
        ("application/fhir+json; charset=utf8", "json"),
        ("application/fhir+json; fhirVersion=4.0", "json"),
        ("application/fhir+json; FHIRVERSION=4.0.1; charset=utf-8", "json"),
        ("application/fhir+xml; fhirVersion=4.3", "xml"),
        ("application/fhir+xml; fhirVersion=5.0", "xml"),
        ('application/fhir+json; fhirVersion="3.0.2"', "json"),
        ("application/fhir+json; fhirVersion=4.0; fhirVersion=4.0.1", "json"),
        ('application/fhir+json; x="; fhirVersion=9.0"; fhirVersion=4.0', "json"),
        ("application/json; something=else", "json"),
        ("application/json;", "json"),
    ],
)
def test_a_body_is_read_in_the_format_its_content_type_says(content_type: str, expected: Format) -> None:
    assert request_format(content_type) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/html",
        "application/x-www-form-urlencoded",
        "application/fhir+turtle",
        "application/octet-stream",
        "json",
        "*/*",
        "application/*",
        ";",
        "application/fhir+json, application/fhir+xml",
        "application/fhir+json; fhirVersion=1.0",
        "application/fhir+json; fhirVersion=4.1",
        "application/fhir+json; fhirVersion=",
        "application/fhir+json; fhirVersion=4.0; fhirVersion=5.0",
        "application/fhir+json; fhirVersion=5.0; fhirVersion=4.0",
        "application/fhir+json; fhirVersion=4",
        "application/fhir+json; charset=iso-8859-1",
        "text/xml; charset=utf-16",
    ],
)
def test_a_body_of_another_type_is_refused_with_what_to_send(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        request_format(content_type)

    (issue,) = refused.value.issues
    assert content_type in issue.text
    assert "Send application/fhir+json or application/fhir+xml" in issue.text
    assert "fhirVersion 3.0, 4.0, 4.3 or 5.0 or none" in issue.text


@pytest.mark.parametrize("content_type", [None, ""])
def test_a_body_without_content_type_is_refused_with_what_to_send(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"no Content-Type. Send application/fhir\+json or"):
        request_format(content_type)


@pytest.mark.parametrize(
    ("accept", "request_", "expected"),
    [
        # nothing chosen: the format of the request
        (None, "json", FHIR_JSON),
        (None, "xml", FHIR_XML),
        (None, None, FHIR_JSON),
        ("", "xml", FHIR_XML),
        (" ", "xml", FHIR_XML),
        ("*/*", "json", FHIR_JSON),
        ("*/*", "xml", FHIR_XML),
        ("*/*", None, FHIR_JSON),
        ("application/*", "xml", FHIR_XML),
        ("application/*", "json", FHIR_JSON),
        ("*/*;q=0.1", "xml", FHIR_XML),
        # one type: in kind
        ("application/fhir+json", "xml", FHIR_JSON),
        ("application/fhir+xml", "json", FHIR_XML),
        ("application/json", "xml", "application/json; charset=utf-8"),
        ("application/xml", "json", "application/xml; charset=utf-8"),
        ("text/json", "xml", "text/json; charset=utf-8"),
        ("text/xml", "json", "text/xml; charset=utf-8"),
        ("application/json+fhir", "xml", "application/json+fhir; charset=utf-8"),
        ("application/xml+fhir", "json", "application/xml+fhir; charset=utf-8"),
        ("Application/FHIR+JSON", "xml", FHIR_JSON),
        ("text/*", "xml", "text/xml; charset=utf-8"),
        ("text/*", "json", "text/json; charset=utf-8"),
        # parameters
        ("application/fhir+json;charset=utf-8", "xml", FHIR_JSON),
        ('application/fhir+json; charset="UTF-8"', "xml", FHIR_JSON),
        ("application/fhir+json; fhirVersion=4.0", "xml", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("application/fhir+json; fhirversion=4.0.1", "xml", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("application/fhir+xml;fhirVersion=4.3", "json", "application/fhir+xml; fhirVersion=4.3; charset=utf-8"),
        ("application/fhir+json; pretty=true", "xml", FHIR_JSON),
        # several: quality, then specificity, then the format of the request
        ("application/fhir+json;q=0.5, application/fhir+xml", "json", FHIR_XML),
        ("application/fhir+json, application/fhir+xml;q=0.5", "xml", FHIR_JSON),
        ("application/fhir+json, application/fhir+xml", "xml", FHIR_XML),
        ("application/fhir+xml, application/fhir+json", "json", FHIR_JSON),
        ("application/json, application/xml", "xml", "application/xml; charset=utf-8"),
        ("application/fhir+xml, */*", "json", FHIR_XML),
        ("application/fhir+xml;q=0.1, */*;q=0.9", "json", FHIR_JSON),
        ("application/fhir+json;q=0, */*", "json", FHIR_XML),
        ("application/fhir+json;q=0, */*", "xml", FHIR_XML),
        ("text/html, application/json", "xml", "application/json; charset=utf-8"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None, "application/xml; charset=utf-8"),
        ("application/json, text/plain, */*", "xml", "application/json; charset=utf-8"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "xml", FHIR_XML),
        ("application/fhir+json;fhirVersion=5.0, application/fhir+xml;q=0.2", "json", FHIR_XML),
        ("application/fhir+json;fhirVersion=5.0, application/fhir+json;q=0.2", "xml", FHIR_JSON),
        ("application/fhir+json;q=7, application/fhir+xml", "json", FHIR_XML),
        ("nonsense, application/fhir+xml", "json", FHIR_XML),
        (",,application/fhir+xml,", "json", FHIR_XML),
    ],
)
def test_accept_chooses_the_answer(accept: str | None, request_: Format | None, expected: str) -> None:
    answer = response_format(accept, None, request_)

    assert answer.content_type == expected
    assert answer.format == ("xml" if "xml" in expected else "json")


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/plain, image/*",
        "application/fhir+turtle",
        "application/fhir+json;fhirVersion=5.0",
        "application/fhir+json;fhirVersion=3.0, application/fhir+xml;fhirVersion=1.0",
        "application/fhir+json;charset=iso-8859-1",
        "*/*;q=0",
        "application/fhir+json;q=0",
        "application/fhir+json;q=x",
        "json",
        "*/json",
        ";",
    ],
)
def test_an_accept_that_nothing_fits_is_refused_with_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        response_format(accept, None, "json")

    (issue,) = refused.value.issues
    assert f'what Accept asks for, "{accept}"' in issue.text
    assert "Ask for application/fhir+json or application/fhir+xml" in issue.text


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("json", FHIR_JSON),
        ("xml", FHIR_XML),
        ("JSON", FHIR_JSON),
        (" xml ", FHIR_XML),
        ("application/fhir+json", FHIR_JSON),
        ("application/fhir json", FHIR_JSON),
        ("application/fhir+xml", FHIR_XML),
        ("application/fhir xml", FHIR_XML),
        ("application/json", "application/json; charset=utf-8"),
        ("application/xml", "application/xml; charset=utf-8"),
        ("text/json", "text/json; charset=utf-8"),
        ("text/xml", "text/xml; charset=utf-8"),
        ("application/json+fhir", "application/json+fhir; charset=utf-8"),
        ("application/xml fhir", "application/xml+fhir; charset=utf-8"),
        ("application/fhir json; fhirVersion=4.0", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("application/fhir+xml;charset=utf-8", FHIR_XML),
    ],
)
@pytest.mark.parametrize("accept", [None, "*/*", "application/fhir+json", "application/fhir+xml", "text/html"])
@pytest.mark.parametrize("request_", ["json", "xml", None])
def test_the_format_parameter_overrides_accept(
    parameter: str, expected: str, accept: str | None, request_: Format | None
) -> None:
    assert response_format(accept, parameter, request_).content_type == expected


@pytest.mark.parametrize("parameter", ["", " "])
def test_an_empty_format_parameter_is_none(parameter: str) -> None:
    assert response_format("application/fhir+xml", parameter, "json") == Answer("xml", FHIR_XML)


@pytest.mark.parametrize("parameter", ["html", "ttl", "text/html", "*/*", "application/fhir+json;fhirVersion=5.0", ";"])
def test_a_format_parameter_that_nothing_fits_is_refused_whatever_accept_says(parameter: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        response_format("application/fhir+json", parameter, "json")

    (issue,) = refused.value.issues
    assert f'what _format asks for, "{parameter}"' in issue.text


@pytest.mark.parametrize(
    ("accept", "versions", "named", "expected"),
    [
        (None, ("R5",), "R5", "application/fhir+json; fhirVersion=5.0; charset=utf-8"),
        (None, ("R5",), None, FHIR_JSON),
        ("*/*", ("STU3",), "STU3", "application/fhir+json; fhirVersion=3.0; charset=utf-8"),
        (
            "application/fhir+xml; fhirVersion=5.0",
            ("R5",),
            None,
            "application/fhir+xml; fhirVersion=5.0; charset=utf-8",
        ),
        ("application/json; fhirVersion=4.3", ("R4", "R4B"), "R4", "application/json; fhirVersion=4.3; charset=utf-8"),
        (
            "application/fhir+json; fhirVersion=4.0, application/fhir+xml; fhirVersion=5.0;q=0.1",
            ("R5",),
            None,
            "application/fhir+xml; fhirVersion=5.0; charset=utf-8",
        ),
    ],
)
def test_the_answer_is_in_a_version_that_can_be(
    accept: str | None, versions: tuple[Version, ...], named: Version | None, expected: str
) -> None:
    answer = response_format(accept, None, "json", versions, named)

    assert answer.content_type == expected


@pytest.mark.parametrize(
    ("accept", "versions", "reason"),
    [
        ("application/fhir+json; fhirVersion=4.0", ("R5",), "A reply is in the version of the request."),
        ("application/fhir+json; fhirVersion=5.0", ("STU3",), "with fhirVersion 3.0 or none"),
        ("application/fhir+json; fhirVersion=5.0", ("R4", "R4B"), "with fhirVersion 4.0 or 4.3 or none"),
        ("application/fhir+json; fhirVersion=1.0", VERSIONS, "with fhirVersion 3.0, 4.0, 4.3 or 5.0 or none"),
    ],
)
def test_an_answer_in_another_version_is_refused_with_the_reason(
    accept: str, versions: tuple[Version, ...], reason: str
) -> None:
    with pytest.raises(NotAcceptable) as refused:
        response_format(accept, None, "json", versions)

    (issue,) = refused.value.issues
    assert reason in issue.text


HEADERS = st.text("aplicton/fhr+jsxmeVU-4.0;=,*q \"'\\%\u00e9", max_size=60) | st.text(max_size=60)


@given(header=HEADERS)
def test_no_header_breaks_the_negotiation(header: str) -> None:
    with contextlib.suppress(UnsupportedMediaType):
        request_format(header)
    for accept, parameter in ((header, None), (None, header)):
        with contextlib.suppress(NotAcceptable):
            response_format(accept, parameter, "xml")
