"""Which format a request is in, and which one its answer: https://hl7.org/fhir/R4/http.html#mime-type"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from gateway.errors import Issue, Refused

Format = Literal["json", "xml"]

_FORMATS: Mapping[str, Format] = {
    "application/fhir+json": "json",
    "application/fhir+xml": "xml",
    "application/json": "json",
    "application/xml": "xml",
    "text/json": "json",
    "text/xml": "xml",
    "application/json+fhir": "json",
    "application/xml+fhir": "xml",
}
"""The media types there are, those we answer with first if the caller leaves the choice to us."""

_SHORT = {"json": "application/fhir+json", "xml": "application/fhir+xml"}
_VERSIONS = ("4.0", "4.3")
_CHARSETS = ("utf-8", "utf8")
_SUPPORTED = "application/fhir+json or application/fhir+xml, in UTF-8, with fhirVersion 4.0 or 4.3 or none"
_LONGEST_QUOTE = 100

_BARE_FRACTION = re.compile(r";\s*q=(?=\.)", re.IGNORECASE)
"""Java's own client says `q=.2`, where HTTP wants `q=0.2`."""


class UnsupportedMediaType(Refused):
    """The body is of a media type, version of FHIR, charset or encoding that the gateway does not read."""


class NotAcceptable(Refused):
    """The caller accepts no media type that the gateway writes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The format to write an answer in, and the Content-Type to declare."""

    format: Format
    content_type: str


def request_format(content_type: str | None) -> Format:
    """The format of a body with this Content-Type. Raises UnsupportedMediaType."""
    if not content_type:
        raise UnsupportedMediaType(
            Issue("not-supported", f"The request has no Content-Type. Send {_SUPPORTED}, and say which.")
        )
    media_type, parameters = parse_options_header(content_type)
    media_type = media_type.lower()
    if media_type not in _FORMATS or not _is_ours(parameters):
        text = f'The gateway does not read "{content_type[:_LONGEST_QUOTE]}". Send {_SUPPORTED}.'
        raise UnsupportedMediaType(Issue("not-supported", text))
    return _FORMATS[media_type]


def response_format(accept: str | None, format_parameter: str | None, request: Format | None) -> Answer:
    """How to answer a request that has this Accept, this `_format`, and a body in this format. Raises NotAcceptable.

    `_format` overrides Accept; where neither chooses, the answer is in the format of the request, else in JSON.
    """
    if format_parameter and format_parameter.strip():
        return _asked_by_parameter(format_parameter.strip())
    if not accept or not accept.strip():
        return _answer(_SHORT[request or "json"], None)
    return _asked_by_header(accept, request or "json")


def _asked_by_parameter(parameter: str) -> Answer:
    media_type, parameters = parse_options_header(parameter)
    media_type = media_type.lower().replace(" ", "+")  # a + that the caller did not encode arrives as a space
    media_type = _SHORT.get(media_type, media_type)
    if media_type not in _FORMATS or not _is_ours(parameters):
        raise _not_acceptable("_format", parameter)
    return _answer(media_type, parameters.get("fhirversion"))


@lru_cache(maxsize=256)
def _asked_by_header(accept: str, preferred: Format) -> Answer:
    ranges: list[tuple[str, float]] = []
    versions: dict[str, str | None] = {}
    for item, quality in parse_accept_header(_BARE_FRACTION.sub(r"\g<0>0", accept)):
        media_range, parameters = parse_options_header(item)
        if _is_ours(parameters):
            ranges.append((media_range.lower(), quality))
            versions.setdefault(media_range.lower(), parameters.get("fhirversion"))
    offers = sorted(_FORMATS, key=lambda media_type: _preference(media_type, preferred))
    media_type = MIMEAccept(ranges).best_match(offers)
    if media_type is None:
        raise _not_acceptable("Accept", accept)
    return _answer(media_type, versions.get(media_type))


def _preference(media_type: str, preferred: Format) -> tuple[int, bool]:
    """Each pair of media types in its order, and within the pair the preferred format first."""
    return [*_FORMATS].index(media_type) // 2, _FORMATS[media_type] != preferred


def _is_ours(parameters: Mapping[str, str]) -> bool:
    version, charset = parameters.get("fhirversion"), parameters.get("charset")
    return (version is None or _short_version(version) in _VERSIONS) and (
        charset is None or charset.lower() in _CHARSETS
    )


def _short_version(version: str) -> str:
    """`4.0` for `4.0.1`."""
    return ".".join(version.split(".")[:2])


def _answer(media_type: str, version: str | None) -> Answer:
    echoed = "" if version is None else f"; fhirVersion={_short_version(version)}"
    return Answer(_FORMATS[media_type], f"{media_type}{echoed}; charset=utf-8")


def _not_acceptable(where: str, asked: str) -> NotAcceptable:
    text = f'The gateway cannot answer with what {where} asks for, "{asked[:_LONGEST_QUOTE]}". Ask for {_SUPPORTED}.'
    return NotAcceptable(Issue("not-supported", text))
