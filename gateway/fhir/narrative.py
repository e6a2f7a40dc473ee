"""The XHTML of a narrative: text in JSON, elements in XML (https://hl7.org/fhir/R4/narrative.html)."""

import re
from html.entities import name2codepoint
from typing import Any

from lxml import etree

from gateway.fhir.definitions import XHTML
from gateway.fhir.issues import reason, shown

MAX_MARKUP = 100_000
"""Elements, comments and entities in one narrative."""
MAX_ATTRIBUTES = 100
"""Of one element; lxml and libxml2 take the square of their number to list them, or to put them in order."""

_DIV = f"{{{XHTML}}}div"
_UNPREFIXED: Any = {None: XHTML}
_PLAIN_START = f'<div xmlns="{XHTML}"'
_FOREIGN = re.compile("<(?:[?]|xml:)")
"""What can be in a div that declares one namespace, and is not of that one."""
_START = re.compile(r"\s*<[A-Za-z]")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_PREDEFINED = ("amp", "lt", "gt", "quot", "apos")
_CROWDED = etree.XPath(f"boolean(descendant-or-self::*/@*[{MAX_ATTRIBUTES + 1}])")
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, strip_cdata=True)


def to_text(div: etree._Element) -> str:
    """The text that JSON has for `div`. ValueError, a sentence, if something in it is not XHTML."""
    if div.tag != _DIV:
        raise ValueError(f"The narrative is not a div in the namespace {XHTML}.")
    text = etree.tostring(div, encoding="unicode", with_tail=False)
    _bound_markup(text)
    _bound_attributes(text, div)
    if _is_plain(text):
        return text
    return etree.tostring(_simplified(div), encoding="unicode", with_tail=False)


def to_xml(text: str) -> str:
    """The markup that XML has for `text`. ValueError, a sentence, if it is not a div of XHTML.

    HTML's named entities become their characters, and a div without a namespace is taken for XHTML's.
    """
    return to_text(parse(text))


def canonical(text: str) -> str:
    """The same text for the same narrative, however it is spelled; `text` itself if it is none."""
    try:
        div = parse(text)
        if not _is_plain(text):
            div = _simplified(div)
    except ValueError:
        return text
    try:
        return etree.tostring(div, method="c14n", with_comments=False).decode()
    except etree.C14NError:  # an attribute's namespace is a relative address
        return etree.tostring(div, encoding="unicode", with_tail=False)


def parse(text: str) -> etree._Element:
    """The element that `text` is, of any namespace. ValueError, a sentence, if it is not well-formed or too large."""
    return read(text)[0]


def read(text: str) -> tuple[etree._Element, bool]:
    """What `parse` gives, and whether it is a div to which `text` gives no namespace, so that it has XHTML's."""
    if not _START.match(text):
        raise ValueError("The narrative does not begin with a div element.")
    _bound_markup(text)
    try:
        text = _ENTITY.sub(_character, text)
        div = _parse_xml(text)
        is_bare = div.tag == "div"
        if is_bare:
            div = _parse_xml(text.replace("<div", f'<div xmlns="{XHTML}"', 1))
    except etree.XMLSyntaxError as error:
        raise ValueError(f"The narrative is not well-formed XHTML: {reason(error)}.") from None
    _bound_attributes(text, div)
    return div, is_bare


def _bound_markup(text: str) -> None:
    if text.count("<") - text.count("</") + text.count("&") > MAX_MARKUP:
        raise ValueError(f"The narrative has more than {MAX_MARKUP} elements and entities. Send a shorter one.")


def _bound_attributes(text: str, div: etree._Element) -> None:
    if text.count("=") > MAX_ATTRIBUTES and _CROWDED(div):
        raise ValueError(f"An element of the narrative has more than {MAX_ATTRIBUTES} attributes. Leave some out.")


def _parse_xml(text: str) -> etree._Element:
    return etree.fromstring(text.encode("utf-8", "surrogatepass"), _PARSER)


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    if name in _PREDEFINED or name not in name2codepoint:
        return entity[0]
    return chr(name2codepoint[name])


def _is_plain(text: str) -> bool:
    """Whether `text` can be seen to be all XHTML, without a prefix."""
    return text.startswith(_PLAIN_START) and text.count("xmlns") == 1 and not _FOREIGN.search(text)


def _simplified(div: etree._Element) -> etree._Element:
    """`div` with no prefix and no namespace that it does not use. ValueError if not everything in it is XHTML."""
    for element in div.iter():
        tag: object = element.tag
        if isinstance(tag, str):
            if not tag.startswith(f"{{{XHTML}}}"):
                raise ValueError(f"The narrative has an element {shown(tag)} that is not XHTML.")
        elif tag is not etree.Comment:
            raise ValueError("The narrative has a processing instruction or an entity. Leave it out.")
    return _unprefixed(div)


def _unprefixed(element: etree._Element, parent: etree._Element | None = None) -> etree._Element:
    """A copy of `element` in which no element of XHTML has a prefix, and no namespace is declared but the used."""
    attributes = {str(name): str(value) for name, value in element.items()}
    if parent is None:
        copy = etree.Element(element.tag, attributes, nsmap=_UNPREFIXED)
    else:
        copy = etree.SubElement(parent, element.tag, attributes)
        copy.tail = element.tail
    copy.text = element.text
    for child in element:
        tag: object = child.tag
        if tag is etree.Comment:
            copy.append(_comment(child))
        else:
            _unprefixed(child, copy)
    return copy


def _comment(comment: etree._Element) -> etree._Element:
    copy = etree.Comment(comment.text or "")
    copy.tail = comment.tail
    return copy
