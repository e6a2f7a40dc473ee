"""What a narrative may be made of: https://hl7.org/fhir/R4/narrative.html#rules (invariants txt-1 and txt-2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.entities import name2codepoint
from itertools import islice
from typing import NamedTuple

from lxml import etree

from gateway.fhir import narrative
from gateway.fhir.definitions import XHTML
from gateway.fhir.issues import shown

MOST_FAULTS = 5
"""Of one narrative: whoever has made so many makes them everywhere."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTS = _words(
    """
    a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd dfn div dl dt em
    h1 h2 h3 h4 h5 h6 hr i img kbd li map ol p pre q samp small span strong sub sup
    table tbody td tfoot th thead tr tt ul var
    """
)
"""Chapters 7 to 11 (without 9.4) and 15 of HTML 4.0 without what is deprecated there; links and images."""

ATTRIBUTES = _words(
    """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset
    cite class clear color colspan compact coords dir frame headers height href hreflang hspace id ismap lang longdesc
    name nohref noshade nowrap rel rev rowspan rules scope shape size span src start style summary tabindex title type
    usemap valign value vspace width xml:lang xml:space
    """
)
"""Those that HTML 4.0 gives these elements, without the events; and two that only FHIR's txt-1 lists."""

_MOST_CHARACTERS = 9_000_000
_MOST_LEVELS = 200
"""What is longer or deeper has to be parsed: libxml2 takes some 10,000,000 characters in a text, and 256 levels."""

_XML = "{http://www.w3.org/XML/1998/namespace}"
_BLANK = " \t\r\n"
_ROOT = f'<div xmlns="{XHTML}"'
_VOID = _words("br/ hr/") | {"br /", "hr /"}
_TAG = re.compile(r'([a-z][a-z0-9]*+)((?:\s++[a-z:]++="[^"]*+")*+)\s*+(/?)')
_TAG_WITH_ONE = re.compile(r'([a-z][a-z0-9]*+) ([a-z:]++)="([^"]*+)" ?/?')
_ATTRIBUTE = re.compile(r'([a-z:]++)="([^"]*+)"')
_CONTENT = re.compile(r">[ \t\r\n]*+[^ \t\r\n<]")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*+|#(?:[0-9]{2,3}|x[0-9A-Fa-f]{2}));")
_URLS = _words("href src cite longdesc usemap")
_RISKY = _URLS | {"style"}
_HARMLESS = ("#", "http://", "https://", "mailto:")
_SCRIPT_URL = re.compile(r"(?:java|vb|live)script:|data:(?!image/(?!svg))", re.IGNORECASE)
_SCRIPT_IN_STYLE = re.compile(r"(?:java|vb|live)script:|expression\s*\(|@import|-moz-binding", re.IGNORECASE)
_INVISIBLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")
"""What browsers pass over in the scheme of a URL."""


class Fault(NamedTuple):
    """A sentence on what is wrong; `is_markup` if it can for that not be written as XML (gateway.fhir.narrative)."""

    sentence: str
    is_markup: bool = False


def faults(text: str) -> list[Fault]:
    """What is wrong with the text of a `Narrative.div`, at most `MOST_FAULTS`; what is wrong with its markup first.

    What is written in the usual way is told to be right by its tags alone, and only the rest is parsed. That no
    character is one that XML cannot have is for the reader of the JSON to see.
    """
    return [] if _is_plain(text) else list(islice(_faults(text), MOST_FAULTS))


# --- at a glance -----------------------------------------------------------------------------------------------------


def _is_plain(text: str) -> bool:
    """Whether it can be seen without parsing that nothing is wrong; False says nothing."""
    if not text.startswith(_ROOT) or not text.endswith("</div>"):
        return False
    root, *tags = text[1:].split("<")
    if (
        len(text) > _MOST_CHARACTERS
        or len(tags) + text.count("&") > narrative.MAX_MARKUP
        or len(tags) + 1 != text.count(">")
        or "]]>" in text
        or ("&" in text and not _has_known_entities(text))
    ):
        return False
    return (
        _is_known(root.partition(">")[0].replace(f' xmlns="{XHTML}"', "", 1))
        and _is_balanced(tags)
        and ("<img" in text or _CONTENT.search(text) is not None)
    )


def _has_known_entities(text: str) -> bool:
    found = _ENTITY.findall(text)
    names = [name for name in found if name[0] != "#"]
    numbers = [int(name[2:], 16) if name[1] == "x" else int(name[1:]) for name in found if name[0] == "#"]
    return (
        len(found) == text.count("&")
        and all(name in name2codepoint or name == "apos" for name in names)
        and all(number >= ord(" ") for number in numbers)
    )


def _is_balanced(tags: list[str]) -> bool:
    """Whether what follows each < inside a div closes what was opened last, or opens what is known."""
    opened = ["div"]
    for piece in tags:
        if not 0 < len(opened) <= _MOST_LEVELS:
            return False
        tag = piece.partition(">")[0]
        if tag in ELEMENTS:
            opened.append(tag)
        elif tag[:1] == "/":
            if tag[1:] != opened.pop():
                return False
        elif tag not in _VOID:
            if not _is_known(tag):
                return False
            if tag[-1] != "/":
                opened.append(tag.split(None, 1)[0])
    return not opened


def _is_known(tag: str) -> bool:
    """Whether `td class="x"` is an element and attributes that are allowed."""
    match = _TAG_WITH_ONE.fullmatch(tag)
    if match is not None:
        element, attribute, value = match.groups()
        return element in ELEMENTS and attribute in ATTRIBUTES and not _is_risky(attribute, value)
    match = _TAG.fullmatch(tag)
    if match is None or match[1] not in ELEMENTS:
        return False
    found = _ATTRIBUTE.findall(match[2])
    names = {name for name, _ in found}
    return len(names) == len(found) and names <= ATTRIBUTES and not any(_is_risky(name, value) for name, value in found)


def _is_risky(name: str, value: str) -> bool:
    """Whether an attribute makes a browser run something."""
    if name not in _RISKY or (name in _URLS and value.startswith(_HARMLESS)):
        return False
    plain = _INVISIBLE.sub("", unescape(value) if "&" in value else value)
    return bool(_SCRIPT_URL.match(plain) if name in _URLS else _SCRIPT_IN_STYLE.search(plain))


# --- in full ---------------------------------------------------------------------------------------------------------


def _faults(text: str) -> Iterator[Fault]:
    try:
        div, is_bare = narrative.read(text)
    except ValueError as error:
        yield Fault(str(error), is_markup=True)
        return
    if div.tag != f"{{{XHTML}}}div":
        yield Fault(f"The narrative is not a div in the namespace {XHTML}. Write <div xmlns=…> around it.", True)
        return
    try:
        narrative.to_text(div)
    except ValueError as error:
        yield Fault(str(error), is_markup=True)
    if is_bare:
        yield Fault(f'The div of the narrative has no namespace. Write <div xmlns="{XHTML}">.')
    for sentence in _forbidden(div):
        yield Fault(sentence)


def _forbidden(div: etree._Element) -> Iterator[str]:
    """What is not as FHIR allows it; what is not XHTML is passed over."""
    has_content = False
    for element in div.iter():
        tag: object = element.tag
        if isinstance(tag, str):
            if tag.startswith(f"{{{XHTML}}}"):
                yield from _forbidden_in(tag, element)
            has_content = has_content or tag == f"{{{XHTML}}}img" or _is_written(element.text)
        has_content = has_content or _is_written(element.tail)
    if not has_content:
        yield "The narrative has no text and no image. Say in it what the resource says, or leave it out."


def _is_written(text: str | None) -> bool:
    return text is not None and bool(text.strip(_BLANK))


def _forbidden_in(tag: str, element: etree._Element) -> Iterator[str]:
    name = tag.removeprefix(f"{{{XHTML}}}")
    if name not in ELEMENTS:
        yield f"The narrative has an element {shown(name)}, which FHIR does not allow there. Leave it out."
    for key, value in element.items():
        attribute = str(key).replace(_XML, "xml:")
        if attribute not in ATTRIBUTES:
            yield f"The narrative has {shown(name)} with {shown(attribute)}, which FHIR does not allow. Leave that out."
        elif _is_risky(attribute, str(value)):
            yield f"The narrative has {shown(name)} with a script in {shown(attribute)}. Leave that out."
