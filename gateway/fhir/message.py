"""A FHIR message: reading its envelope, and composing the message that answers it.

https://hl7.org/fhir/R4/messaging.html, https://hl7.org/fhir/R4/messageheader.html
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from gateway.errors import Issue, NotAMessage, Refused
from gateway.fhir import json
from gateway.fhir.definitions import Version, is_resource
from gateway.fhir.references import Entries, Entry
from gateway.fhir.versions.carrying import url_of
from gateway.fhir.versions.telling import find_header

Resource = dict[str, Any]
ResponseCode = Literal["ok", "transient-error", "fatal-error"]
Replayed = Literal["apply", "reprocess", "dry-run"]

_HEADER = "Bundle.entry[0].resource"
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_VISIBLE = "[^\\s\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
"""No white space, and nothing that a database or XML cannot hold."""
_CODE = re.compile(f"{_VISIBLE}+(?: {_VISIBLE}+)*")
_URI = re.compile(f"{_VISIBLE}{{1,2048}}")
_LONGEST_CODE = 256
URIS = "urn:ietf:rfc:3986"
_PARTIES = ("Organization", "Practitioner", "PractitionerRole")
_CODING = ("system", "version", "code", "display")
_LONGEST_PARTY = 2048
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_HEADER_URL = re.compile(
    r"(?:urn:uuid:|(?:\S*/)?MessageHeader/)(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"
    f"|(?P<uuid>(?i:{_UUID}))"
)
_RENEWED = ("id", "_id", "identifier", "timestamp", "_timestamp", "meta")
_ALIKE = ("R4", "R4B")
"""The versions in which the same message is written in the same way."""
_OF_ONE_MESSAGE = re.compile(f"urn:uuid:.*|{_UUID}", re.IGNORECASE | re.DOTALL)
"""A reference that was made up for the Bundle it is in."""


@dataclass(frozen=True, slots=True)
class Event:
    """`MessageHeader.event[x]`: a Coding's system ("" when it has none) and code, or a uri (`system` is None)."""

    system: str | None
    code: str

    def __str__(self) -> str:
        return f"{self.system}|{self.code}" if self.system else self.code


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message as it was received: the Bundle, in R4, and what its header says of it.

    `sender` is how the sender is told from others: `source.endpoint`, with what `MessageHeader.sender` is known by.
    `sent` is the Bundle in the `version` it was sent in, of which R4 has no place for what `lost` says. A message that
    `replaces` says all there is to say of what is in its focus: what it leaves out goes. What one that `creates` has in
    focus is to be new. `partner` is the name of the partner that has proved to be its sender. In a dialect that is not
    the gateway's own, `sent` is what was sent, of which `bundle` is the translation; `refusal` is why there is none;
    one that `skips` comes of a network that has not all the states in between, and of one that does not `hold` nothing
    waits for an order that is not known. `replayed` is how one that an operator puts through again is carried out.
    """

    bundle: Resource
    header: Resource
    entries: Entries
    event: Event
    bundle_id: str | None
    header_id: str | None
    sender: str
    received_at: datetime
    version: Version = "R4"
    sent: Resource = field(default_factory=dict)
    lost: Sequence[Issue] = ()
    replaces: bool = False
    creates: bool = False
    partner: str | None = None
    refusal: Sequence[Issue] = ()
    skips: bool = False
    holds: bool = True
    replayed: Replayed | None = None

    @property
    def identifier(self) -> tuple[str, str] | None:
        """`Bundle.identifier`, system and value, by which R5 knows a message; None in other versions."""
        identifier = _dict(self.bundle.get("identifier")) if self.version == "R5" else {}
        value = _text(identifier.get("value")).strip()
        return (_text(identifier.get("system")), value) if value else None

    @property
    def quoted_id(self) -> str:
        """What a response names as `response.identifier`: MessageHeader.id, for want of one Bundle.id."""
        return self.header_id or self.bundle_id or ""

    @property
    def source_endpoint(self) -> str | None:
        """Where, for want of a better address, the sender can be answered."""
        return _text(_dict(self.header.get("source")).get("endpoint")) or None

    @property
    def is_response(self) -> bool:
        return isinstance(self.header.get("response"), dict)

    def focus(self, *types: str) -> list[Entry]:
        """The entries that `MessageHeader.focus` names, in its order.

        Raises Refused when there is none, when one is not in the Bundle, or when one is of none of `types`.
        """
        found, issues = [], []
        header = next(iter(self.entries))
        for number, reference in enumerate(_list(self.header.get("focus"))):
            target = _text(_dict(reference).get("reference"))
            entry = self.entries.resolve(target, header) if target else None
            if entry is None or (types and entry.resource.get("resourceType") not in types):
                issues.append(_wrong_focus(f"{_HEADER}.focus[{number}]", target, entry, types))
            else:
                found.append(entry)
        if not found and not issues:
            text = f"The message has no focus. Name the {_wanted(types)} it is about."
            issues.append(Issue("required", text, _HEADER))
        if issues:
            raise Refused(*issues)
        return found


def _wrong_focus(path: str, target: str, entry: Entry | None, types: Sequence[str]) -> Issue:
    if entry is not None:
        kind = entry.resource.get("resourceType")
        return Issue("invalid", f"The focus of this event is a {_wanted(types)}, not a {kind}.", path)
    text = (
        f"The focus {target or '(without a reference)'} is not in the Bundle. Put the {_wanted(types)} into an entry "
        "of the Bundle and refer to it by that entry's fullUrl."
    )
    return Issue("not-found", text, path)


def _wanted(types: Sequence[str]) -> str:
    return " or ".join(types) or "resource"


def read_message(bundle: Resource, received_at: datetime, proven: str | None = None) -> Message:
    """The message in a Bundle of R4, of the `proven` sender if it names none. Raises NotAMessage with every reason why
    it cannot be taken for one."""
    header, issues = _find_header(bundle)
    if header is None:
        raise NotAMessage(*issues)
    event = _read_event(header, issues)
    bundle_id = _read_id(bundle.get("id"), "Bundle.id", issues)
    header_id = _read_id(header.get("id"), f"{_HEADER}.id", issues) or _id_in_full_url(bundle["entry"][0])
    if not (bundle_id or header_id or issues):
        text = "The message has no identity. Give MessageHeader.id (and Bundle.id) a new value for each new message."
        issues.append(Issue("required", text, f"{_HEADER}.id"))
    entries = Entries(bundle)
    sender = _read_sender(header, entries, issues, proven)
    if not isinstance(header.get("response", {}), dict):
        text = "MessageHeader.response is not an object. Leave it out of a message that answers no other."
        issues.append(Issue("structure", text, f"{_HEADER}.response"))
    if issues or event is None:
        raise NotAMessage(*issues)
    return Message(bundle, header, entries, event, bundle_id, header_id, sender, received_at, sent=bundle)


def is_uri(text: str) -> bool:
    """Whether it has 1 to 2048 characters, none of them white space or a control character."""
    return _URI.fullmatch(text) is not None


def content_hash(bundle: Resource, version: Version = "R4") -> bytes:
    """SHA-256 of what a message says: the Bundle without what a sender renews when it sends the same again.

    The same content in another version is another: its answer is in that one. R5 knows a message by its
    `Bundle.identifier`: the ids of what is in it may be new too.
    """
    said = {name: value for name, value in bundle.items() if name not in _RENEWED}
    if version == "R5" and "identifier" in bundle and (header := find_header(bundle)):
        first = {"resource": {name: value for name, value in header.items() if name not in _RENEWED}}
        said["entry"] = [first, *bundle["entry"][1:]]
    content = json.canonical(said)
    return hashlib.sha256(content if version in _ALIKE else version.encode() + content).digest()


@dataclass(frozen=True, slots=True)
class Ourselves:
    """How the gateway names itself: `source.name`, `source.endpoint`, and the base of its resources' addresses."""

    name: str
    endpoint: str
    base_url: str

    def address(self, resource_type: str, resource_id: str, version: Version) -> str:
        """The address of a resource here; none of a server's, where the version has another type for it."""
        if not is_resource(resource_type, version):
            return f"urn:uuid:{resource_id}"
        return f"{self.base_url}/{resource_type}/{resource_id}"


def compose_reply(
    request: Message,
    code: ResponseCode,
    ourselves: Ourselves,
    now: datetime,
    focus: Sequence[Resource] = (),
    outcome: Resource | None = None,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Resource:
    """The response message: new ids, the same event, source and destination exchanged, the request's id quoted.

    `focus` are resources as the gateway keeps them (they have an `id`); `outcome` is an OperationOutcome.
    """
    header_id = new_id()
    response: Resource = {**_quoted(request), "code": code}
    header: Resource = {"resourceType": "MessageHeader", "id": header_id, **same_event(request.header)}
    header |= _exchanged_addresses(request, ourselves) | {"response": response}
    entries: list[Resource] = [{"fullUrl": f"urn:uuid:{header_id}", "resource": header}]
    for resource in focus:
        address = ourselves.address(resource["resourceType"], resource["id"], request.version)
        header.setdefault("focus", []).append({"reference": address})
        entries.append({"fullUrl": address, "resource": resource})
    if outcome is not None:
        outcome_id = new_id()
        response["details"] = {"reference": f"urn:uuid:{outcome_id}"}
        identified = {"resourceType": "OperationOutcome", "id": outcome_id, **outcome}
        entries.append({"fullUrl": f"urn:uuid:{outcome_id}", "resource": identified})
    bundle_id = new_id()
    return {
        "resourceType": "Bundle",
        "id": bundle_id,
        **({"identifier": {"system": URIS, "value": f"urn:uuid:{bundle_id}"}} if request.version == "R5" else {}),
        "type": "message",
        "timestamp": instant(now),
        "entry": entries,
    }


def _quoted(request: Message) -> Resource:
    """`response.identifier`, and what it is in R5 as R4 carries it: the request's own `Bundle.identifier`."""
    if request.identifier is None:
        return {"identifier": request.quoted_id}
    system, value = request.identifier
    identifier = {"system": system, "value": value} if is_uri(system) else {"value": value}
    carried = [{"url": url_of("R5", "MessageHeader.response.identifier"), "valueIdentifier": identifier}]
    plain = value.removeprefix("urn:uuid:")
    return {"extension": carried, **({"identifier": plain} if ID.fullmatch(plain) else {})}


def instant(when: datetime) -> str:
    """A FHIR instant in UTC with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _find_header(bundle: Resource) -> tuple[Resource | None, list[Issue]]:
    kind = bundle.get("resourceType")
    if kind != "Bundle":
        text = f"$process-message takes a Bundle of type message; this is a {kind}."
        return None, [Issue("invalid", text, str(kind) if isinstance(kind, str) else None)]
    issues = []
    if bundle.get("type") != "message":
        shown = _text(bundle.get("type"))[:40] or "missing"
        text = f"The Bundle's type is {shown}; a message has the type message."
        issues.append(Issue("value", text, "Bundle.type"))
    entries = _list(bundle.get("entry"))
    header = _dict(_dict(entries[0] if entries else None).get("resource"))
    if header.get("resourceType") != "MessageHeader":
        text = "The first entry of a message is its MessageHeader; this Bundle's is not."
        issues.append(Issue("required", text, "Bundle.entry[0].resource"))
    return (None if issues else header), issues


def _read_event(header: Resource, issues: list[Issue]) -> Event | None:
    coding, uri = header.get("eventCoding"), header.get("eventUri")
    if isinstance(coding, dict) and uri is None:
        code, system = _text(coding.get("code")), _text(coding.get("system"))
        if _CODE.fullmatch(code) and len(code) <= _LONGEST_CODE and (not system or is_uri(system)):
            return Event(system, code)
    elif coding is None and is_uri(_text(uri)):
        return Event(None, _text(uri))
    text = (
        "MessageHeader has no usable event. Give it one: an eventCoding with system and code (no white space around "
        "them), or an eventUri; not both."
    )
    issues.append(Issue("required", text, f"{_HEADER}.event"))
    return None


def _read_id(value: Any, path: str, issues: list[Issue]) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and ID.fullmatch(value):
        return value
    text = f"{path.rsplit('.', 2)[-2]}.id is not a FHIR id: 1 to 64 of the characters A-Z a-z 0-9 - and ."
    issues.append(Issue("value", text.replace("resource.id", "MessageHeader.id"), path))
    return None


def _id_in_full_url(entry: Resource) -> str | None:
    """Some networks give the header no id: its fullUrl then holds the only one."""
    named = _HEADER_URL.fullmatch(_text(entry.get("fullUrl")).strip())
    return named["id"] or named["uuid"] if named else None


def _read_sender(header: Resource, entries: Entries, issues: list[Issue], proven: str | None) -> str:
    endpoint, party = _text(_dict(header.get("source")).get("endpoint")), _party(header.get("sender"), entries)
    if not (endpoint or party or proven):
        text = "The message does not say who sent it. Put the sender's address into MessageHeader.source.endpoint."
        issues.append(Issue("required", text, f"{_HEADER}.source.endpoint"))
    if endpoint and not is_uri(endpoint):
        text = (
            "MessageHeader.source.endpoint is not a url: it has white space or control characters in it, or more than "
            "2048 characters."
        )
        issues.append(Issue("value", text, f"{_HEADER}.source.endpoint"))
    if len(party) > _LONGEST_PARTY or json.FORBIDDEN.search(party):
        text = f"What MessageHeader.sender is known by has control characters or more than {_LONGEST_PARTY} characters."
        issues.append(Issue("value", text, f"{_HEADER}.sender"))
    return " ".join(filter(None, (endpoint, party))) or proven or ""


def _party(reference: Any, entries: Entries) -> str:
    """What a party is known by from message to message: its identifier, else a reference that lasts."""
    identifier, _ = _identified(reference, entries)
    literal = _text(_dict(reference).get("reference")).split("/_history/")[0].strip()
    known_by = "|".join(filter(None, (_text(identifier.get("system")), _text(identifier.get("value")))))
    return known_by or ("" if _OF_ONE_MESSAGE.fullmatch(literal) else literal)


def _identified(reference: Any, entries: Entries) -> tuple[Resource, Any]:
    """The Identifier, empty if there is none, and the type of what is referred to, by the Bundle where it is in it."""
    given, literal = _dict(reference), _text(_dict(reference).get("reference"))
    if _dict(given.get("identifier")) or not literal:
        return _dict(given.get("identifier")), given.get("type")
    entry = entries.resolve(literal, next(iter(entries)))
    if entry is None:
        return {}, given.get("type")
    first = next(iter(_list(entry.resource.get("identifier"))), None)
    return _dict(first), entry.resource.get("resourceType")


def same_event(header: Resource) -> Resource:
    """The event of a message, as another has it too."""
    if uri := _text(header.get("eventUri")):
        return {"eventUri": uri}
    coding = header["eventCoding"]
    return {"eventCoding": {name: coding[name] for name in _CODING if _is_string(coding.get(name))}}


def _exchanged_addresses(request: Message, ourselves: Ourselves) -> Resource:
    addressed = [_dict(destination) for destination in _list(request.header.get("destination"))]
    to_us = next((d for d in addressed if d.get("endpoint") == ourselves.endpoint), addressed[0] if addressed else {})
    endpoint = _text(to_us.get("endpoint"))
    exchanged: Resource = {}
    source = _dict(request.header.get("source"))
    if _text(source.get("endpoint")):
        named = {"name": source["name"]} if _is_string(source.get("name")) else {}
        destination = named | {"endpoint": source["endpoint"]}
        if receiver := logical(request, request.header.get("sender")):
            destination["receiver"] = receiver
        exchanged["destination"] = [destination]
    if sender := logical(request, to_us.get("receiver")):
        exchanged["sender"] = sender
    usable = endpoint if is_uri(endpoint) else ourselves.endpoint
    return exchanged | {"source": {"name": ourselves.name, "endpoint": usable}}


def logical(request: Message, reference: Any) -> Resource | None:
    """The party by its identifier: what refers into the request's Bundle would refer to nothing in the response's."""
    identifier, kind = _identified(reference, request.entries)
    value, system = identifier.get("value"), _text(identifier.get("system"))
    if not _is_string(value) or (system and not is_uri(system)):
        return None
    logical: Resource = {"identifier": {"system": system, "value": value} if system else {"value": value}}
    return {"type": kind} | logical if kind in _PARTIES else logical


def _is_string(value: Any) -> bool:
    """Whether it can be said again: FHIR's string is never blank."""
    return isinstance(value, str) and not value.isspace() and value != "" and not json.FORBIDDEN.search(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> Resource:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
