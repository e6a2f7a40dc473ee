"""What a RESTful request says in its headers beside the resource: who calls, which version, what is preferred.

https://hl7.org/fhir/R4/http.html#concurrency, https://hl7.org/fhir/R4/http.html#ops
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote

from werkzeug.datastructures import Headers

from gateway.authentication.model import Identity
from gateway.errors import Issue, Refused
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.json import FORBIDDEN, Resource
from gateway.fhir.message import is_uri
from gateway.fhir.wrapping import Caller
from gateway.partners import Partner, Partners

Return = Literal["minimal", "representation", "OperationOutcome"]

PARTY = "X-Party"
_RETURNS: Mapping[str, Return] = {
    "minimal": "minimal",
    "representation": "representation",
    "operationoutcome": "OperationOutcome",
}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_TAG = re.compile(r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"|([A-Za-z0-9\-.]{1,64})')


class Declined(Refused):
    """A request that is answered with a status of its own, and `headers`; with 405, `allowed` are the methods."""

    def __init__(
        self, status: int, *issues: Issue, allowed: Sequence[str] = (), headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        super().__init__(*issues)
        self.status = status
        self.allowed = allowed
        self.headers = headers


def read_caller(party: str | None, identity: Identity, partners: Partners) -> Caller:
    """Who calls: the partner that it has proved to be.

    In a sandbox, who has proved nothing is who its header says: a business identifier (`system|value`) or an endpoint.
    A registered partner is one caller, by whichever of its names. Raises Declined: 401 without the header, 400 for one
    that is no name, 403 for a name of the gateway's own, and for another's than is proved.
    """
    if identity.partner is not None:
        return _proven_caller(party, identity.partner)
    if not party or not party.strip():
        text = (
            f"Who writes says who it is: send the header {PARTY} with your business identifier (system|value) or the "
            "endpoint of your messages."
        )
        raise Declined(401, Issue("login", text), headers={"WWW-Authenticate": PARTY})
    party = _utf8(party).strip()
    if party.startswith(OWN_SYSTEMS):
        text = f"Names that begin with {OWN_SYSTEMS} are the gateway's own. Send your own in {PARTY}."
        raise Declined(403, Issue("forbidden", text))
    partner = partners.find([party])
    if partner is None and "|" not in party and is_uri(party):
        return Caller(party)
    known_as = partner.identifiers[0] if partner else party
    system, _, value = known_as.partition("|")
    stand_in = f"{OWN_SYSTEMS}party:{quote(known_as, safe='')}"
    endpoint = partner.endpoints[0] if partner and partner.endpoints else stand_in
    if not (is_uri(system) and value.strip() and is_uri(endpoint)) or FORBIDDEN.search(value):
        text = f"The header {PARTY} is neither system|value nor an endpoint (a uri), or is too long. Send one of them."
        raise Declined(400, Issue("value", text))
    return Caller(endpoint, (system, value))


def _proven_caller(party: str | None, partner: Partner) -> Caller:
    if party is not None and _utf8(party).strip() not in partner.names:
        text = f"The caller has proved to be {partner.name}; {PARTY} says another. Leave the header out."
        raise Declined(403, Issue("forbidden", text))
    system, _, value = partner.identifiers[0].partition("|")
    return Caller(partner.address, (system, value))


def check_conditions(headers: Headers) -> None:
    """Raises Declined (400) for a condition that HTTP has for a write, and the gateway does not look at."""
    for name in ("If-None-Match", "If-Unmodified-Since"):
        if name in headers:
            text = f"The header {name} is not taken with a write. Send If-Match with the version it is meant for."
            raise Declined(400, Issue("not-supported", text))


def read_if_match(header: str | None) -> str | None:
    """The version that an update is meant for; None for any. Raises Declined (400)."""
    if header is None or not header.strip() or header.strip() == "*":
        return None
    match = _TAG.fullmatch(header.strip())
    if match is None:
        text = 'The header If-Match names one version, as the ETag of an answer does: If-Match: W/"3".'
        raise Declined(400, Issue("value", text))
    return match[1] or match[2]


def is_known_by_caller(if_none_match: str | None, if_modified_since: str | None, resource: Resource) -> bool:
    """Whether the caller has this version already: https://hl7.org/fhir/R4/http.html#cread"""
    meta = resource["meta"]
    if if_none_match is not None:
        tags = [_TAG.fullmatch(tag.strip()) for tag in if_none_match.split(",")]
        return if_none_match.strip() == "*" or meta["versionId"] in [tag[1] or tag[2] for tag in tags if tag]
    if if_modified_since is None:
        return False
    try:
        since, updated = parsedate_to_datetime(if_modified_since), parsedate_to_datetime(last_modified(resource))
        return updated <= since
    except (ValueError, TypeError):
        return False


def read_return(prefer: str | None) -> Return:
    """What a write is to be answered with: `Prefer: return=…`, else the resource."""
    return _RETURNS.get(_preferences(prefer).get("return", "").lower(), "representation")


def is_strict(prefer: str | None) -> bool:
    """Whether what is not known is to be refused, not ignored: `Prefer: handling=strict`."""
    return _preferences(prefer).get("handling", "").lower() == "strict"


def is_lenient(prefer: str | None) -> bool:
    """Whether what is not known is to be ignored even where it is refused else: `Prefer: handling=lenient`."""
    return _preferences(prefer).get("handling", "").lower() == "lenient"


def etag(resource: Resource) -> str:
    return f'W/"{resource["meta"]["versionId"]}"'


def last_modified(resource: Resource) -> str:
    """When a kept resource was last changed, as HTTP writes it."""
    return format_datetime(datetime.fromisoformat(resource["meta"]["lastUpdated"]).astimezone(UTC), usegmt=True)


def _utf8(header: str) -> str:
    """A header as its sender wrote it: HTTP hands its bytes over as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _preferences(prefer: str | None) -> dict[str, str]:
    """https://www.rfc-editor.org/rfc/rfc7240: the first of each name counts."""
    found: dict[str, str] = {}
    for part in re.split(r"[,;]", prefer or ""):
        name, _, value = part.partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found
