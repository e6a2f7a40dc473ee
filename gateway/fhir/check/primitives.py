"""What the values of FHIR's primitive types look like: https://hl7.org/fhir/R4/datatypes.html#primitive"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.json import FORBIDDEN, Number

LONGEST_STRING = 1024 * 1024
"""Characters: https://hl7.org/fhir/R4/datatypes.html#string"""

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][48]|[13579][26]|[2468]0)00)"
_MONTH = "(?:0[1-9]|1[0-2])"
_DAY_OF_MONTH = "(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_DAY = f"(?:{_YEAR}-{_DAY_OF_MONTH}|{_LEAP_YEAR}-02-29)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_OFFSET = "(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"


_INTEGER64 = re.compile(r"0|[-+]?[1-9][0-9]{0,18}")
_MEDIA_WORD = r"[^\x00-\x20\x7f-\xff()<>@,;:\\\"/\[\]?=]+"
_MEDIA_TYPE = rf"{_MEDIA_WORD}/{_MEDIA_WORD}(?:\s*;\s*{_MEDIA_WORD}=[^;]+)*+"
"""Parameters may be sloppier than RFC 2045 has them: the specification's own examples are."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive type: the Python types of its JSON values, whether one `fits`, and what to write, in words."""

    json: tuple[type, ...]
    fits: Callable[[Any], object]
    wording: str


def _text(pattern: str, wording: str) -> Primitive:
    """Blanks are those of ASCII, as in the regular expressions of the specification."""
    return Primitive((str,), re.compile(pattern, re.ASCII).fullmatch, wording)


def _whole(least: int, most: int, wording: str) -> Primitive:
    return Primitive((int,), range(least, most + 1).__contains__, wording)


def _is_string(value: str) -> bool:
    """Not only white space, for where that is trimmed nothing is left."""
    return (
        len(value) <= LONGEST_STRING
        and value != ""
        and not value.isspace()
        and (value.isprintable() or not FORBIDDEN.search(value))
    )


def _is_base64(value: str) -> bool:
    try:
        return bool(value) and binascii.a2b_base64("".join(value.split()), strict_mode=True) is not None
    except ValueError:
        return False


def _is_integer64(value: str) -> bool:
    return _INTEGER64.fullmatch(value) is not None and -(2**63) <= int(value) < 2**63


def _anything(_value: object) -> bool:
    return True


_STRING = Primitive((str,), _is_string, "a string: not empty, and of at most 1,048,576 characters")
_URI = _text(r"\S+", "a URI: not empty and without blanks")
_INTEGER = 2**31 - 1

PRIMITIVES: Mapping[str, Primitive] = {
    "base64Binary": Primitive((str,), _is_base64, "base64, padded with = to a multiple of four characters"),
    "boolean": Primitive((bool,), _anything, "true or false, without quotes"),
    "canonical": _URI,
    "code": _text(r"\S+(?: \S+)*+", "a code: not empty, no blank at either end, no two blanks together"),
    "date": _text(f"{_YEAR}(?:-{_MONTH})?|{_DAY}", "a date of the calendar: YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": _text(
        f"{_YEAR}(?:-{_MONTH})?|{_DAY}(?:T{_TIME}{_OFFSET})?",
        "a date of the calendar, with seconds and an offset if it has a time:"
        " YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz",
    ),
    "decimal": Primitive((Number, int, float), _anything, "a number, without quotes"),
    "id": _text(r"[A-Za-z0-9\-.]{1,64}", "an id: 1 to 64 letters, digits, hyphens and dots"),
    "instant": _text(f"{_DAY}T{_TIME}{_OFFSET}", "an instant: YYYY-MM-DDThh:mm:ss.sss+zz:zz"),
    "integer": _whole(-_INTEGER - 1, _INTEGER, "a whole number from -2147483648 to 2147483647, without quotes"),
    "integer64": Primitive(
        (str,), _is_integer64, "a whole number from -9223372036854775808 to 9223372036854775807, in quotes"
    ),
    "markdown": _STRING,
    "oid": _text(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*+))++", "an OID: urn:oid:1.2.3"),
    "positiveInt": _whole(1, _INTEGER, "a whole number from 1 to 2147483647, without quotes"),
    "string": _STRING,
    "time": _text(_TIME, "a time: hh:mm:ss"),
    "unsignedInt": _whole(0, _INTEGER, "a whole number from 0 to 2147483647, without quotes"),
    "uri": _URI,
    "url": _URI,
    "uuid": _text(
        "urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID: urn:uuid: and 8-4-4-4-12 hex digits, a-f small"
    ),
    "xhtml": _STRING,
}

ELEMENT_ID = re.compile("[^ ]+").fullmatch
"""The id of an element within its resource: https://hl7.org/fhir/R4/element.html"""

SHAPES: Mapping[str, Callable[[str], object]] = {
    "http://hl7.org/fhir/ValueSet/currencies": re.compile("[A-Z]{3}").fullmatch,
    "http://hl7.org/fhir/ValueSet/mimetypes": re.compile(f"{_MEDIA_TYPE}|json|xml|ttl|none").fullmatch,
}
"""Value sets whose codes are in no table, but in a standard that gives them a form (ISO 4217, BCP 13).

FHIR's own short names stand for media types too: https://hl7.org/fhir/R4/http.html#mime-type
"""
