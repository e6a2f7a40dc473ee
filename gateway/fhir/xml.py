"""FHIR XML: bytes to the dict that FHIR JSON gives, and back, losing nothing (https://hl7.org/fhir/R4/xml.html).

What the two do differently (arrays, attributes, `_field`, order, numbers) comes from `gateway.fhir.definitions`.
The order of elements is not asked of what is read; what is written has it.
"""

import re
from typing import NoReturn

from lxml import etree

from gateway.errors import Issue, NotAMessage, Unreadable
from gateway.fhir.definitions import FHIR
from gateway.fhir.issues import reason, shown
from gateway.fhir.json import MAX_ELEMENTS, Resource
from gateway.fhir.xml_reader import Reader
from gateway.fhir.xml_writer import Writer

_BOM = b"\xef\xbb\xbf"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\r"))
_DECLARED = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
_READABLE_AS_IT_IS = ("utf-8", "utf8", "us-ascii", "ascii", "utf-16")
"""A declaration of UTF-16 that can be read byte by byte is wrong: some programs declare what they do not write."""
_EIGHT_BIT = re.compile(r"iso-8859-\d{1,2}|windows-125\d|latin1")
_DOCTYPE = re.compile(rb"(?:\s|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
_INSTRUCTIONS = etree.XPath("//processing-instruction()")
_HAS_TEXT = etree.XPath("boolean(//f:*/text()[normalize-space()])", namespaces={"f": FHIR})
_PARSER = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def parse(data: bytes) -> Resource:
    """The resource that `data` is, its members in the order of the definitions.

    Unreadable if it is not XML as FHIR allows it, NotAMessage with all issues found if it is no resource of R4.
    """
    root = _root(_utf8(data))
    return Reader(bool(_HAS_TEXT(root))).read(root)


def serialize(resource: Resource) -> bytes:
    """UTF-8 with an XML declaration. NotAMessage with all issues found if `resource` is not built as R4 defines it.

    What says nothing (a member that is null or an empty array) is left out.
    """
    text = _DECLARATION + Writer().write(resource)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _unwritable() from None
    if len(data.translate(None, _CONTROLS)) != len(data) or "\ufffe" in text or "\uffff" in text:
        raise _unwritable()
    return data


def _unwritable() -> NotAMessage:
    return NotAMessage(Issue("invalid", "The resource has a character that XML does not allow. Leave it out."))


def _utf8(data: bytes) -> bytes:
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
    declared = _DECLARED.match(data)
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
    if data.count(b"<?") > data.startswith(b"<?xml ") and _INSTRUCTIONS(root):
        _refuse("invalid", "The XML has a processing instruction, which FHIR forbids. Send it without.")
    return root


def _refuse(code: str, text: str) -> NoReturn:
    raise Unreadable(Issue(code, text, severity="fatal"))
