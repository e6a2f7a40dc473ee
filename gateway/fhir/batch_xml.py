"""The messages in a Bundle of type batch, or in a collection, out of XML that comes in pieces.

Each is written as a document of its own; the memory that it takes is that of one entry, however long the Bundle is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lxml import etree

from gateway.errors import Issue, Unreadable
from gateway.fhir.batch_json import KINDS, NoBatch
from gateway.fhir.definitions import FHIR
from gateway.fhir.issues import reason

_BUNDLE, _ENTRY, _RESOURCE, _TYPE = (f"{{{FHIR}}}{name}" for name in ("Bundle", "entry", "resource", "type"))
_PARAMETERS = f"{{{FHIR}}}Parameters"
_KINDS = tuple(kind.decode() for kind in KINDS)


def messages(pieces: Iterable[bytes], largest: int) -> Iterator[bytes | None]:
    """The resource of each entry: b"" where it has none, None where it is larger than `largest` bytes.

    Raises NoBatch before the first one if it is no batch, nor a collection, that begins with a message; Unreadable
    where it breaks off, or is not well-formed.
    """
    reading = _Reading(largest)
    parser: etree.XMLPullParser = etree.XMLPullParser(
        events=("start", "end"), tag=[_BUNDLE, _TYPE, _ENTRY], resolve_entities=False, no_network=True, load_dtd=False
    )
    try:
        for piece in pieces:
            parser.feed(piece)
            yield from reading.read(parser)
            reading.count(len(piece))
        parser.close()
        yield from reading.read(parser)
    except etree.XMLSyntaxError as error:
        if not reading.is_batch:
            raise NoBatch from None
        raise Unreadable(Issue("structure", f"is not well-formed XML: {reason(error)}", severity="fatal")) from None
    if not reading.is_batch:
        raise NoBatch


class _Reading:
    """How far a Bundle is read."""

    def __init__(self, largest: int) -> None:
        self.is_batch = False
        self._largest = largest
        self._root: etree._Element | None = None
        self._kind: str | None = None
        self._unread = 0
        self._is_large = False

    def read(self, parser: etree.XMLPullParser) -> Iterator[bytes | None]:
        for event, element in parser.read_events():
            assert isinstance(element, etree._Element)
            if self._root is None:
                self._begin(element)
            elif element.getparent() is self._root:
                yield from self._of_bundle(str(event), element)

    def count(self, size: int) -> None:
        """So many bytes more were read. What was read of an entry that is too large is let go."""
        self._unread += size
        if self._root is not None and self._unread > self._largest + size:
            self._is_large = True
            element = self._root
            while len(element):
                del element[:-1]
                element = element[-1]

    def _begin(self, element: etree._Element) -> None:
        self._root = element
        tree = element.getroottree()
        if element.tag != _BUNDLE or element.getparent() is not None or tree.docinfo.internalDTD is not None:
            raise NoBatch

    def _of_bundle(self, event: str, element: etree._Element) -> Iterator[bytes | None]:
        if element.tag == _TYPE:
            self._kind = element.get("value")
        elif element.tag == _ENTRY and event == "start":
            if self._kind not in _KINDS:
                raise NoBatch
        elif element.tag == _ENTRY:
            content = self._resource(element)
            if not self.is_batch and not self._begins_well(element):
                raise NoBatch
            self.is_batch, self._is_large, self._unread = True, False, 0
            yield content
            element.clear()
            while element.getprevious() is not None and self._root is not None:
                del self._root[0]

    def _begins_well(self, entry: etree._Element) -> bool:
        """Whether the first entry has a message, or in a batch what may be one."""
        if self._kind == "batch":
            return self._is_large or any(entry.find(f"{_RESOURCE}/{tag}") is not None for tag in (_BUNDLE, _PARAMETERS))
        kind = entry.find(f"{_RESOURCE}/{_BUNDLE}/{_TYPE}")
        return kind is not None and kind.get("value") == "message"

    def _resource(self, entry: etree._Element) -> bytes | None:
        if self._is_large:
            return None
        resource = entry.find(f"{_RESOURCE}/{{*}}*")
        if resource is None:
            return b""
        content = etree.tostring(resource, encoding="UTF-8", xml_declaration=True, with_tail=False)
        return content if len(content) <= self._largest else None
