"""Ways to compare resources that `==` does not have."""

import re
from typing import Any

from lxml import etree

from gateway.fhir.definitions import FHIR
from gateway.fhir.json import Number


def lexemes(value: Any) -> Any:
    """`value` with each Number as its lexeme, so that == compares digits."""
    if isinstance(value, Number):
        return ("number", value.lexeme)
    if isinstance(value, dict):
        return {name: lexemes(item) for name, item in value.items()}
    if isinstance(value, list):
        return [lexemes(item) for item in value]
    return value


def tokens(data: bytes) -> list[bytes]:
    """The tokens of JSON as they are written."""
    return re.findall(rb'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,\s"]+', data)


def canonical_xml(data: bytes) -> bytes:
    """Canonical XML without comments, and without the white space between the elements of FHIR."""
    root = etree.fromstring(data, etree.XMLParser(remove_comments=True))
    for element in root.iter(f"{{{FHIR}}}*"):
        for node, place in [(element, "text"), *((child, "tail") for child in element)]:
            if not (getattr(node, place) or "").strip():
                setattr(node, place, None)
    return etree.tostring(root, method="c14n")
