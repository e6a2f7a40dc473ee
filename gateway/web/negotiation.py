"""Which format a request is in, and which one and which version its answer.

https://hl7.org/fhir/R4/http.html#mime-type, https://hl7.org/fhir/R4/http.html#version-parameter
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from gateway.errors import Issue, Refused
from gateway.fhir import formats
from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.versions import NUMBERS

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
R4_AND_R4B: tuple[Version, ...] = ("R4", "R4B")
"""The versions in which what the gateway writes is the same."""
_CHARSETS = ("utf-8", "utf8")
_LONGEST_QUOTE = 100

_BARE_FRACTION = re.compile(r";\s*q=(?=\.)", re.IGNORECASE)
"""Java's own client says `q=.2`, where HTTP wants `q=0.2`."""


class UnsupportedMediaType(Refused):
    """The body is of a media type, version of FHIR, charset or encoding that the gateway does not read."""


class NotAcceptable(Refused):
    """The caller accepts no media type that the gateway writes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The format to write an answer in, the Content-Type to declare, and the version that the caller named."""

    format: Format
    content_type: str
    version: Version | None = None


def alike(version: Version) -> tuple[Version, ...]:
    """The versions that an answer in this one may be called."""
    return R4_AND_R4B if version in R4_AND_R4B else (version,)


@lru_cache(maxsize=256)
def request_format(content_type: str | None) -> Format:
    """The format of a body with this Content-Type. Raises UnsupportedMediaType."""
    if not content_type:
        raise UnsupportedMediaType(
            Issue("not-supported", f"The request has no Content-Type. Send {_supported(VERSIONS)}, and say which.")
        )
    media_type, parameters = parse_options_header(content_type)
    media_type = media_type.lower()
    number = formats.declared_number(content_type)
    is_known = number is None or formats.version_numbered(number) is not None
    if media_type not in _FORMATS or not is_known or not _is_ours(parameters, VERSIONS):
        text = f'The gateway does not read "{content_type[:_LONGEST_QUOTE]}". Send {_supported(VERSIONS)}.'
        raise UnsupportedMediaType(Issue("not-supported", text))
    return _FORMATS[media_type]


def response_format(
    accept: str | None,
    format_parameter: str | None,
    request: Format | None,
    versions: Sequence[Version] = R4_AND_R4B,
    named: Version | None = None,
) -> Answer:
    """How to answer a request that has this Accept, this `_format`, and a body in this format. Raises NotAcceptable.

    `_format` overrides Accept; where neither chooses, the answer is in the format of the request, else in JSON. The
    answer can be in any of `versions`; `named` is the one of them that the Content-Type of the request names.
    """
    can = tuple(versions)
    if format_parameter and format_parameter.strip():
        return _asked_by_parameter(format_parameter.strip(), can, named)
    if not accept or not accept.strip():
        return _answer(_SHORT[request or "json"], None, named)
    return _asked_by_header(accept, request or "json", can, named)


def _asked_by_parameter(parameter: str, versions: tuple[Version, ...], named: Version | None) -> Answer:
    media_type, parameters = parse_options_header(parameter)
    media_type = media_type.lower().replace(" ", "+")  # a + that the caller did not encode arrives as a space
    media_type = _SHORT.get(media_type, media_type)
    if media_type not in _FORMATS or not _is_ours(parameters, versions):
        raise _not_acceptable("_format", parameter, versions)
    return _answer(media_type, parameters.get("fhirversion"), named)


@lru_cache(maxsize=256)
def _asked_by_header(accept: str, preferred: Format, versions: tuple[Version, ...], named: Version | None) -> Answer:
    ranges: list[tuple[str, float]] = []
    asked: dict[str, str | None] = {}
    for item, quality in parse_accept_header(_BARE_FRACTION.sub(r"\g<0>0", accept)):
        media_range, parameters = parse_options_header(item)
        if _is_ours(parameters, versions):
            ranges.append((media_range.lower(), quality))
            asked.setdefault(media_range.lower(), parameters.get("fhirversion"))
    offers = sorted(_FORMATS, key=lambda media_type: _preference(media_type, preferred))
    media_type = MIMEAccept(ranges).best_match(offers)
    if media_type is None:
        raise _not_acceptable("Accept", accept, versions)
    return _answer(media_type, asked.get(media_type), named)


def _preference(media_type: str, preferred: Format) -> tuple[int, bool]:
    """Each pair of media types in its order, and within the pair the preferred format first."""
    return [*_FORMATS].index(media_type) // 2, _FORMATS[media_type] != preferred


def _is_ours(parameters: Mapping[str, str], versions: tuple[Version, ...]) -> bool:
    number, charset = parameters.get("fhirversion"), parameters.get("charset")
    return (number is None or formats.version_numbered(number) in versions) and (
        charset is None or charset.lower() in _CHARSETS
    )


def _answer(media_type: str, asked: str | None, named: Version | None) -> Answer:
    """`asked` is the number of the version that the answer is asked for in."""
    version = named if asked is None else formats.version_numbered(asked)
    echoed = "" if version is None else f"; fhirVersion={NUMBERS[version]}"
    return Answer(_FORMATS[media_type], f"{media_type}{echoed}; charset=utf-8", version)


def _supported(versions: Sequence[Version]) -> str:
    *others, last = [NUMBERS[version] for version in versions]
    numbers = f"{', '.join(others)} or {last}" if others else last
    return f"application/fhir+json or application/fhir+xml, in UTF-8, with fhirVersion {numbers} or none"


def _not_acceptable(where: str, asked: str, versions: tuple[Version, ...]) -> NotAcceptable:
    why = " A reply is in the version of the request." if len(versions) == 1 else ""
    text = (
        f'The gateway cannot answer with what {where} asks for, "{asked[:_LONGEST_QUOTE]}".{why} Ask for '
        f"{_supported(versions)}."
    )
    return NotAcceptable(Issue("not-supported", text))
