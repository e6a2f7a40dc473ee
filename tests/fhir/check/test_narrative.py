"""What a narrative may be made of, at a glance and in full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.check import check, narrative
from gateway.fhir.check.levels import Levels
from gateway.fhir.check.narrative import ATTRIBUTES, ELEMENTS, MOST_FAULTS, faults
from gateway.fhir.definitions import XHTML
from gateway.fhir.narrative import MAX_MARKUP, to_xml


def div(inside: str, attributes: str = "") -> str:
    return f'<div xmlns="{XHTML}"{attributes}>{inside}</div>'


SOUND = [
    div("text"),
    div("\n <p>text</p>\n "),
    div('<p class="a" title="b">text<br/>text<br />text</p><hr/>'),
    div("<table border='1'><tr><td colspan='2'>text</td></tr></table>"),
    div('<table class="grid"><tr><td>a &amp; b &lt; c &#160;&nbsp;&copy;&#x26;</td></tr></table>'),
    div('<img src="data:image/png;base64,AAAA" alt="x"/>'),
    div('<a href="#x">text</a><a name="y"></a><a href="http://x.example/?a=1&amp;b=2">text</a>'),
    div('<p style="color: red; background: url(#a)">text</p>', ' lang="en" xml:lang="en"'),
    div("<!-- remark --><p>text</p>"),
    div("<![CDATA[text]]>"),
    div("a > b"),
    div(f'<p xmlns="{XHTML}">text</p>'),
    f'<h:div xmlns:h="{XHTML}"><h:p>text</h:p></h:div>',
    "  " + div("text") + "\n",
    div('<table><tr><td cellhalign="left" cellvalign="top">text</td></tr></table>'),
    f'<div title="a>b" xmlns="{XHTML}">text</div>',
    f"<div title='a>b' xmlns='{XHTML}'>text</div>",
]


@pytest.mark.parametrize("text", SOUND)
def test_sound_narratives_have_no_faults(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (div("<script>x</script>"), "an element 'script'"),
        (div("<p><form>x</form></p>"), "an element 'form'"),
        (div('x<iframe src="http://x"/>'), "an element 'iframe'"),
        (div('x<object data="x"/>'), "an element 'object'"),
        (div('x<link rel="stylesheet" href="http://x"/>'), "an element 'link'"),
        (div("x<style>p {}</style>"), "an element 'style'"),
        (div("<head/><body>x</body>"), "an element 'head'"),
        (div("<font>x</font>"), "an element 'font'"),
        (div("<P>x</P>"), "an element 'P'"),
        (div('x<svg xmlns="http://www.w3.org/2000/svg"/>'), "an element '{http://www.w3.org/2000/svg}svg'"),
        (div('<p onclick="x">x</p>'), "'p' with 'onclick'"),
        (div('<p ONCLICK="x">x</p>'), "'p' with 'ONCLICK'"),
        (div("x", ' onload="x"'), "'div' with 'onload'"),
        (div('<p x:y="z" xmlns:x="urn:x">x</p>'), "'p' with '{urn:x}y'"),
        (div('<a href="javascript:x">x</a>'), "'a' with a script in 'href'"),
        (div('<a href=" java&#x09;script:x">x</a>'), "'a' with a script in 'href'"),
        (div('<a href="JaVaScRiPt&colon;x">x</a>'), "not well-formed"),
        (div('<a title="x" href="vbscript:x">x</a>'), "'a' with a script in 'href'"),
        (div('<a href="data:text/html,x">x</a>'), "'a' with a script in 'href'"),
        (div('<img src="data:image/svg+xml,x" alt="x"/>'), "'img' with a script in 'src'"),
        (div('<p style="width: expression(x)">x</p>'), "'p' with a script in 'style'"),
        (div('<p class="x" style="background: url(javascript:x)">x</p>'), "'p' with a script in 'style'"),
        (div(""), "no text and no image"),
        (div(" \n<p> </p><br/>"), "no text and no image"),
        (div("<!-- remark -->"), "no text and no image"),
        (div('<p title="x"></p>'), "no text and no image"),
        ("<div>x</div>", "has no namespace"),
        ('<div title="xmlns">x</div>', "has no namespace"),
        (div('<p xmlns="">x</p>'), "an element 'p' that is not XHTML"),
        ('<div xmlns="http://www.w3.org/1999/html">x</div>', "not a div in the namespace"),
        (f'<p xmlns="{XHTML}">x</p>', "not a div in the namespace"),
        (f"<!DOCTYPE div>{div('x')}", "does not begin with a div"),
        (div("<?php x ?>x"), "a processing instruction"),
        (div("&unknown;"), "not well-formed"),
        (div("&#0;"), "not well-formed"),
        (div("a & b"), "not well-formed"),
        (div("]]>"), "not well-formed"),
        (div("<p>x"), "not well-formed"),
        (div("<b><i>x</b></i>"), "not well-formed"),
        (div("x") + div("x"), "not well-formed"),
        (div("x</div><div>x"), "not well-formed"),
        (div('<p class="a" class="b">x</p>'), "not well-formed"),
        (div("<p class=a>x</p>"), "not well-formed"),
        ("", "does not begin with a div"),
        ("text", "does not begin with a div"),
    ],
)
def test_what_fhir_does_not_allow_is_said(text: str, said: str) -> None:
    found = faults(text)

    assert any(said in fault.sentence for fault in found), found


def test_each_fault_has_its_sentence_but_not_more_than_some() -> None:
    assert len(faults(div("<script>x</script><form>x</form>"))) == 2
    assert len(faults(div("<script>x</script>" * 10_000))) == MOST_FAULTS
    assert len(faults(div('<script>x</script><svg xmlns=""><g/></svg>'))) == 2


def is_refused(text: str) -> bool:
    """Whether it cannot be written as XML."""
    try:
        to_xml(text)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    "text",
    [
        "text",
        "<p>text</p>",
        div("<p>text"),
        div("&unknown;"),
        '<div xmlns="http://hl7.org/fhir">text</div>',
        div('<p xmlns="">text</p>'),
        div('text<svg xmlns="http://www.w3.org/2000/svg"/>'),
        div("<?php x ?>text"),
        div("<script>x</script>" * (MOST_FAULTS + 1) + "<?php x ?>"),
        div("<p>" * 300 + "text" + "</p>" * 300),
        div("text" * 2_500_001),
        div(f'<p title="{"text" * 2_500_001}">text</p>'),
        div(">" * (MAX_MARKUP + 1)),
        div("&nbsp;" * (MAX_MARKUP + 1)),
        div("&amp;" * (MAX_MARKUP + 1)),
        div("<b>text</b>" * 60_000 + "&amp;" * 60_000),
        div(f"<![CDATA[{'&' * (MAX_MARKUP + 1)}]]>"),
    ],
    ids=range(17),
)
def test_what_cannot_be_written_as_xml_is_told_first(text: str) -> None:
    assert is_refused(text)
    assert faults(text)[0].is_markup


@pytest.mark.parametrize(
    "text",
    [
        *SOUND,
        "<div>text</div>",
        div(""),
        div("<script>x</script>"),
        div("<p onclick='x'>text</p>"),
        div("<p x:y='z' xmlns:x='urn:x'>text</p>"),
        div("<p>" * 200 + "text" + "</p>" * 200),
        div("<b>text</b>" * 50_000),
        div("&amp;" * 90_000),
    ],
    ids=range(len(SOUND) + 8),
)
def test_what_can_be_written_as_xml_is_at_most_forbidden(text: str) -> None:
    assert not is_refused(text)
    assert not any(fault.is_markup for fault in faults(text))


def test_a_narrative_of_ten_megabytes_or_a_thousand_levels_is_looked_at_soon() -> None:
    assert faults(div("<p>text</p>" * 50_000)) == []
    assert "more than 100000 elements" in faults(div("<p>text</p>" * 1_000_000))[0].sentence
    assert "Excessive depth" in faults(div("<p>" * 1_000 + "text" + "</p>" * 1_000))[0].sentence
    assert "not well-formed" in faults(div("<p>" * 200 + "text & text" + "</p>" * 200))[0].sentence
    assert faults(div('<p class="' + " x" * 100_000))
    assert faults(div("<" * 100_000))


def test_only_what_is_merely_forbidden_can_be_allowed() -> None:
    def rules(text: str) -> list[str | None]:
        resource = {"resourceType": "Basic", "text": {"status": "generated", "div": text}, "code": {"text": "x"}}
        return [issue.rule for issue in check(resource, levels=Levels({"narrative": "ignore", "*": "ignore"}))]

    assert rules(div("<script>x</script>")) == []
    assert rules(div("<p>x")) == ["narrative-markup"]


_PIECES = st.sampled_from(
    [
        *(f"<{name}>" for name in sorted(ELEMENTS)),
        *(f"</{name}>" for name in sorted(ELEMENTS)),
        "<br/>",
        "<hr />",
        "<x>",
    ]
)
_TAGS = st.tuples(st.sampled_from(["p", "td", "a", "img"]), st.sampled_from([*sorted(ATTRIBUTES), "onclick", "xmlns"]))
_TEXTS = st.lists(
    _PIECES
    | _TAGS.map(lambda tag: f'<{tag[0]} {tag[1]}="x">')
    | st.sampled_from(["</p>", "</td>", "</a>", "</img>", "</div>", " ", "&amp;", "&nbsp;", "&x;", "&#39;", "]]>", ">"])
    | st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=4),
    max_size=8,
).map("".join)


@given(_TEXTS)
def test_what_is_plain_is_sound_when_it_is_parsed(inside: str) -> None:
    if narrative._is_plain(div(inside)):
        assert list(narrative._faults(div(inside))) == []


@given(_TEXTS)
def test_what_has_faults_of_markup_is_what_cannot_be_written_as_xml(inside: str) -> None:
    for text in (inside, div(inside), f"<div>{inside}</div>"):
        assert any(fault.is_markup for fault in faults(text)) is is_refused(text)


@given(st.text() | _TEXTS)
def test_any_text_has_faults_or_none(text: str) -> None:
    assert isinstance(faults(text), list)
    assert isinstance(faults(div(text)), list)
