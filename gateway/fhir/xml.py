"""FHIR XML: bytes to the dict that FHIR JSON gives, and back, losing nothing (https://hl7.org/fhir/R4/xml.html).

What the two do differently (arrays, attributes, `_field`, order, numbers) comes from `gateway.fhir.definitions`.
The order of elements is not asked of what is read; what is written has it.
"""

import re
from collections.abc import Callable
from itertools import chain
from typing import Any, NoReturn

from lxml import etree

from gateway.errors import Issue, NotAMessage, Unreadable
from gateway.fhir.definitions import FHIR, Version
from gateway.fhir.issues import reason, shown
from gateway.fhir.json import MAX_ELEMENTS, Resource
from gateway.fhir.narrative import MAX_ATTRIBUTES
from gateway.fhir.xml_reader import Reader
from gateway.fhir.xml_writer import Writer

_BOM = b"\xef\xbb\xbf"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\r"))
_DECLARED = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
_LONGEST_DECLARATION = 1024
_READABLE_AS_IT_IS = ("utf-8", "utf8", "us-ascii", "ascii", "utf-16")
"""A declaration of UTF-16 that can be read byte by byte is wrong: some programs declare what they do not write."""
_EIGHT_BIT = re.compile(r"iso-8859-\d{1,2}|windows-125\d|latin1")
_DOCTYPE = re.compile(rb"(?:\s|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
_IN_PARAMETERS = tuple(f"{{{FHIR}}}{name}" for name in ("parameter", "resource", "Bundle"))
_IN_BUNDLE = tuple(f"{{{FHIR}}}{name}" for name in ("entry", "resource", "MessageHeader"))
_CROWDED = etree.XPath(f"boolean(//@*[{MAX_ATTRIBUTES + 1}])")
_HAS_TEXT = etree.XPath("boolean(//f:*/text()[normalize-space()])", namespaces={"f": FHIR})
_PARSER = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def parse(data: bytes, version: Version = "R4") -> Resource:
    """The resource that `data` is, its members in the order of the definitions.

    Unreadable if it is not XML as FHIR allows it, NotAMessage with all issues found if it is no such resource.
    """
    return parse_told(data, lambda _: version)[0]


def parse_told(data: bytes, tell: Callable[[Resource | None], Version]) -> tuple[Resource, Version]:
    """As `parse`, in the version that `tell` makes of an outline of the MessageHeader; None if there is no message."""
    root = _root(utf8(data))
    version = tell(_outline(root))
    return Reader(bool(_HAS_TEXT(root)), version).read(root), version


def serialize(resource: Resource, version: Version = "R4") -> bytes:
    """UTF-8 with an XML declaration. NotAMessage with all issues found if it is not built as the version defines it.

    What says nothing (a member that is null or an empty array) is left out.
    """
    text = _DECLARATION + Writer(version).write(resource)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _unwritable() from None
    if len(data.translate(None, _CONTROLS)) != len(data) or "\ufffe" in text or "\uffff" in text:
        raise _unwritable()
    return data


def _outline(root: etree._Element) -> Resource | None:
    """What tells the version of a message: its header's children and theirs, with their values or as empty objects."""
    bundle = _first(root, _IN_PARAMETERS) if root.tag == f"{{{FHIR}}}Parameters" else root
    header = _first(bundle, _IN_BUNDLE)
    return None if header is None else _branch(header, 3)


def _first(element: etree._Element | None, steps: tuple[str, ...]) -> etree._Element | None:
    """The first child of the first name, the first child of the second name in that, and so on."""
    for step in steps:
        element = None if element is None else element.find(step)
    return element


def _branch(element: etree._Element, depth: int) -> Any:
    value = element.get("value")
    if value is not None:
        return value
    children = element.iterchildren(f"{{{FHIR}}}*") if depth else ()
    return {child.tag.rpartition("}")[2]: _branch(child, depth - 1) for child in children}


def _unwritable() -> NotAMessage:
    return NotAMessage(Issue("invalid", "The resource has a character that XML does not allow. Leave it out."))


def utf8(data: bytes) -> bytes:
    """`data` in UTF-8, whatever encoding it declares."""
    if data.startswith(_BOM):
        return data.removeprefix(_BOM)
    encoding = _encoding(data)
    if encoding is None:
        return data
    try:
        return data.decode(encoding).encode()
    except (LookupError, UnicodeError):
        _refuse("structure", f"The XML is not in the encoding it declares, {encoding}. Send UTF-8.")


def _encoding(data: bytes) -> str | None:
    """The encoding `data` has to be decoded from; None if it is, or has to turn out to be, UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if data.startswith((b"<\0", b"\0<")):
        return "utf-16-le" if data.startswith(b"<") else "utf-16-be"
    declared = _DECLARED.match(data, 0, _LONGEST_DECLARATION)
    name = declared[1].decode().lower() if declared else "utf-8"
    if name in _READABLE_AS_IT_IS:
        return None
    if not _EIGHT_BIT.fullmatch(name):
        _refuse("not-supported", f"The encoding {shown(name)} is not supported. Send UTF-8.")
    return name


def _root(data: bytes) -> etree._Element:
    if data.count(b"<") - data.count(b"</") > MAX_ELEMENTS:
        _refuse("too-costly", f"The XML has more than {MAX_ELEMENTS} elements. Send it as several messages.")
    if _DOCTYPE.match(data):
        _refuse("invalid", "The XML has a DOCTYPE, which FHIR forbids. Send it without.")
    try:
        root = etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError as error:
        _refuse("structure", f"Not well-formed XML: {reason(error)}.")
    if _CROWDED(root):
        _refuse("too-costly", f"An element of the XML has more than {MAX_ATTRIBUTES} attributes. Send a simpler one.")
    if data.count(b"<?") > data.startswith(b"<?xml ") and _has_instruction(root):
        _refuse("invalid", "The XML has a processing instruction, which FHIR forbids. Send it without.")
    return root


def _has_instruction(root: etree._Element) -> bool:
    """Whether one is in `root`, before or after it. XPath takes the square of their number to find that out."""
    instruction = etree.ProcessingInstruction
    around = (root.itersiblings(instruction, preceding=True), root.itersiblings(instruction))
    return any(True for _ in chain(root.iter(instruction), *around))


def _refuse(code: str, text: str) -> NoReturn:
    raise Unreadable(Issue(code, text, severity="fatal"))
