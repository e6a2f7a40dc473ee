"""NHS Electronic Prescription Service: prescriptions of several lines, cancelled line by line. docs/dialects/nhs-eps.md

https://digital.nhs.uk/developer/api-catalogue/electronic-prescription-service-fhir. Each line, one MedicationRequest,
is an order of its own, known by the numbers of prescription and line together; the Tasks of the lines are one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import Issue, Refused
from gateway.fhir.dialects import composing
from gateway.fhir.dialects.matching import focused, names, text
from gateway.fhir.dialects.model import Manner, Rule
from gateway.fhir.dialects.nhs_eps_answers import HISTORY, MESSAGE_IDS, R_CODES, answer, tell
from gateway.fhir.dialects.pieces import answered_request, order_named, own_name
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, name_of
from gateway.fhir.task.outcomes import Outcome

PRESCRIPTIONS = "https://fhir.nhs.uk/Id/prescription-order-number"
ITEMS = "https://fhir.nhs.uk/Id/prescription-order-item-number"
LINES = "urn:x-nhs-eps:line"
"""The system of what a line is known by: the number of its prescription, a slash, and its own."""
WHOLE = "urn:x-nhs-eps:prescription"
"""The system of an identifier that the first line of a prescription has: so no second one has the same number."""
NOTIFICATIONS = "urn:x-nhs-eps:output"
BUSINESS_STATUSES = "https://fhir.nhs.uk/CodeSystem/EPS-task-business-status"
_BUSINESS_STATUS = "https://fhir.nhs.uk/StructureDefinition/Extension-EPS-TaskBusinessStatus"
_OF_DISPENSE: Mapping[str, str | None] = {
    "0001": "completed",
    "0002": "failed",
    "0003": "in-progress",
    "0004": "in-progress",
    "0006": "failed",
    "0007": None,
    "0008": "accepted",
}
"""What a line is, by MedicationDispense.type; None: as it was. 0005, cancelled, is an answer to who asked for that."""
_OF_BUSINESS_STATUS: Mapping[str, str | None] = {
    "0001": None,
    "0002": "accepted",
    "0003": "in-progress",
    "0004": "failed",
    "0006": "completed",
    "0007": "failed",
}
"""The same by the business status, for want of a type."""
_CANCELLED = "0005"
_EXPIRED = ("0006", "0004")
"""MedicationDispense.type, and the business status, of what has expired."""
_DECISIONS: Mapping[str, str] = {
    "R-0001": "accepted",
    "R-0002": "received",
    "R-0003": "received",
    "R-0006": "accepted",
}
"""What a dispenser's code is as an answer to the cancellation that it was sent; any other refuses it."""
_HEADER = "Bundle.entry[0].resource"


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a prescription: what it is known by, and the group that its prescription is."""

    number: str
    item: str

    @property
    def name(self) -> composing.Identifier:
        return {"system": LINES, "value": f"{self.number.upper()}/{self.item.lower()}"}

    @property
    def group(self) -> composing.Identifier:
        return {"system": PRESCRIPTIONS, "value": self.number}


# --- prescribing ------------------------------------------------------------------------------------------------------


def _prescription(message: Message, manner: Manner, rule: Rule) -> Message:
    """An order for each line: all are placed, or none is."""
    entries = [entry for entry in _of_type(message.entries, "MedicationRequest") if entry.full_url]
    if not entries:
        said = "A prescription has one or more MedicationRequests, each in an entry with a fullUrl; this one has none."
        raise Refused(_invalid(said, f"{_HEADER}.focus", "required"))
    lines = [_line_of(entry.resource, entry.path) for entry in entries]
    if len({line.number.upper() for line in lines}) > 1:
        said = (
            "The MedicationRequests have different prescription-order-numbers. Send one message for each prescription."
        )
        raise Refused(_invalid(said, f"{entries[0].path}.groupIdentifier"))
    if len({line.name["value"] for line in lines}) < len(lines):
        said = "Two MedicationRequests have one prescription-order-item-number. Give each line a number of its own."
        raise Refused(_invalid(said, f"{entries[0].path}.identifier"))
    whole = {"use": "secondary", "system": WHOLE, "value": lines[0].number.upper()}
    tasks = [
        _task(message, manner, entry, line, [line.name, *([whole] if number == 0 else [])])
        for number, (entry, line) in enumerate(zip(entries, lines, strict=True))
    ]
    return composing.translated(message, manner, rule.means, tasks)


def _task(
    message: Message, manner: Manner, entry: Entry, line: _Line, identifiers: list[composing.Identifier]
) -> Resource:
    dispense = _dict(entry.resource.get("dispenseRequest"))
    performer = _dict(_dict(dispense.get("performer")).get("identifier"))
    nominated = composing.identifier_of({"identifier": [performer]})
    task = composing.order(
        message,
        identifiers,
        [entry],
        requester=composing.sender_of(message, manner),
        owner={"identifier": nominated} if nominated else composing.reference_to(manner.owner),
        group=line.group,
    )
    until = text(_dict(dispense.get("validityPeriod")).get("end"))
    return task | _business("0001") | ({"restriction": {"period": {"end": until}}} if until else {})


def _line_cancellation(message: Message, manner: Manner, rule: Rule) -> Message:
    """A request to cancel one line, known to its sender by the `Bundle.identifier`."""
    entries = list(_of_type(message.entries, "MedicationRequest"))
    if len(entries) != 1:
        said = f"A cancellation has exactly one MedicationRequest; this one has {len(entries)}. Cancel line by line."
        raise Refused(_invalid(said, f"{_HEADER}.focus"))
    [entry] = entries
    line, reason = _line_of(entry.resource, entry.path), entry.resource.get("statusReason")
    issues = []
    if text(entry.resource.get("status")) != "cancelled":
        issues.append(
            _invalid("The MedicationRequest of a cancellation is cancelled.", f"{entry.path}.status", "value")
        )
    if not names(reason):
        said = "MedicationRequest.statusReason is required, with a code of medicationrequest-status-reason."
        issues.append(_invalid(said, f"{entry.path}.statusReason", "required"))
    if issues:
        raise Refused(*issues)
    task = composing.cancellation(
        message,
        line.name,
        own=own_name(MESSAGE_IDS, composing.bundle_identifier(message)),
        requester=composing.sender_of(message, manner),
        reason=reason,
    )
    return composing.translated(message, manner, rule.means, [task], without=[entry])


# --- dispensing -------------------------------------------------------------------------------------------------------


def _decision(message: Message, manner: Manner, rule: Rule) -> Message:
    """A dispenser's answer to the cancellation that it was sent: by the line, and the code R-0001 to R-5888."""
    entry = next(_of_type(message.entries, "MedicationRequest"), None)
    if entry is None:
        said = "The response names no line: it has no MedicationRequest. Send that with its PrescriptionStatusHistory."
        raise Refused(_invalid(said, f"{_HEADER}.focus", "required"))
    code = next((code for code in _history(entry.resource) if code in R_CODES), None)
    if code is None:
        known = ", ".join(R_CODES)
        said = f"The MedicationRequest says not what became of the cancellation: its history has none of {known}."
        raise Refused(_invalid(said, f"{entry.path}.extension", "required"))
    status = _DECISIONS.get(code, "rejected")
    reason = {"coding": [{"system": HISTORY, "code": code, "display": R_CODES[code].display}]}
    line = _line_of(entry.resource, entry.path)
    task = answered_request(line.name, status, reason if status == "rejected" else None)
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _dispensing(message: Message, manner: Manner, rule: Rule) -> Message:
    """What was dispensed, line by line."""
    found = list(_of_type(message.entries, "MedicationDispense"))
    if not found:
        said = "A dispense-notification has a MedicationDispense for each line that it is about; this one has none."
        raise Refused(_invalid(said, f"{_HEADER}.focus", "required"))
    lines: dict[str, tuple[_Line, list[Entry]]] = {}
    for entry in found:
        line = _authorised_by(message, entry)
        lines.setdefault(line.name["value"], (line, []))[1].append(entry)
    if len(lines) == 1:
        [(line, entries)] = lines.values()
        if _CANCELLED in {_dispense_code(entry) for entry in entries}:
            task = answered_request(line.name, "accepted")
            return composing.translated(message, manner, "cancellation-request", [task])
    tasks = [_dispensed(message, line, entries) for line, entries in lines.values()]
    return replace(composing.translated(message, manner, rule.means, tasks), skips=True)


def _dispensed(message: Message, line: _Line, entries: list[Entry]) -> Resource:
    """The order of a line, with what was dispensed as its outputs, and the latest notification about it."""
    last = entries[-1]
    code, status = _dispense_code(last), _business_code(last)
    known_as = composing.bundle_identifier(message)
    outputs: list[Resource] = [
        {"type": {"text": "MedicationDispense"}, "valueReference": {"reference": entry.full_url}}
        for entry in entries
        if entry.full_url
    ]
    if known_as:
        kind = {"coding": [{"system": NOTIFICATIONS, "code": "dispense-notification"}]}
        outputs.append({"type": kind, "valueString": known_as})
    has_expired = _EXPIRED[0] == code or (not code and _EXPIRED[1] == status)
    return order_named(
        [line.name],
        status=_OF_DISPENSE.get(code) if code in _OF_DISPENSE else _OF_BUSINESS_STATUS.get(status),
        groupIdentifier=line.group,
        output=outputs,
        statusReason=Outcome.EXPIRED.concept if has_expired else None,
        **(_business(status) if status else {}),
    )


def _return(message: Message, manner: Manner, rule: Rule) -> Message:
    """A dispenser gives back the lines that the message names, undispensed."""
    entry = next(entry for entry in focused(message) if entry.resource.get("resourceType") == "Task")
    known = [*_of_type(message.entries, "MedicationRequest"), *_contained(entry, "MedicationRequest")]
    if not known:
        said = "The return names no line: put the MedicationRequest of each line that is given back into the Bundle."
        raise Refused(_invalid(said, entry.path, "required"))
    reason = _dict(entry.resource.get("statusReason"))
    lines = [_line_of(one.resource, one.path) for one in known]
    tasks = [
        order_named([line.name], status="rejected", groupIdentifier=line.group, statusReason=reason) for line in lines
    ]
    without = [entry, *_of_type(message.entries, "MedicationRequest")]
    return replace(composing.translated(message, manner, rule.means, tasks, without=without), skips=True)


def _withdrawal(_message: Message, _manner: Manner, _rule: Rule) -> Message:
    said = (
        "A dispense-notification is not withdrawn here: what was dispensed stays. To correct it, send another one with "
        "the extension replacementOf and the MedicationDispense as it is now."
    )
    raise Refused(Issue("not-supported", said, f"{_HEADER}.focus"))


def _authorised_by(message: Message, entry: Entry) -> _Line:
    """The line that a MedicationDispense is about: its authorizingPrescription, contained or in the message."""
    path = f"{entry.path}.authorizingPrescription"
    for reference in dicts(entry.resource.get("authorizingPrescription")):
        literal = text(reference.get("reference"))
        within = next((one for one in _contained(entry, "MedicationRequest") if one.full_url == literal), None)
        found = within or (message.entries.resolve(literal, entry) if literal else None)
        if found is not None and found.resource.get("resourceType") == "MedicationRequest":
            return _line_of(found.resource, path)
    said = "The MedicationDispense names no line: authorizingPrescription refers to none in it, or in the Bundle."
    raise Refused(_invalid(said, path, "required"))


# --- what lines say of themselves -------------------------------------------------------------------------------------


def _line_of(request: Resource, path: str) -> _Line:
    """Raises Refused for a MedicationRequest without the numbers of its prescription and of itself."""
    number = name_of(composing.identifier_of({"identifier": [request.get("groupIdentifier")]}, PRESCRIPTIONS) or {})[1]
    item = name_of(composing.identifier_of(request, ITEMS) or {})[1]
    issues = []
    if not number:
        said = f"MedicationRequest.groupIdentifier has no prescription-order-number ({PRESCRIPTIONS})."
        issues.append(_invalid(said, f"{path}.groupIdentifier", "required"))
    if not item:
        said = f"MedicationRequest.identifier has no prescription-order-item-number ({ITEMS})."
        issues.append(_invalid(said, f"{path}.identifier", "required"))
    if issues:
        raise Refused(*issues)
    return _Line(number.strip(), item.strip())


def _dispense_code(entry: Entry) -> str:
    return next((name for name in names(entry.resource.get("type")) if name in {*_OF_DISPENSE, _CANCELLED}), "")


def _business_code(entry: Entry) -> str:
    said = [
        one.get("valueCoding") for one in dicts(entry.resource.get("extension")) if one.get("url") == _BUSINESS_STATUS
    ]
    return next((text(one.get("code")) for one in dicts(said)), "")


def _business(code: str) -> Resource:
    return {"businessStatus": {"coding": [{"system": BUSINESS_STATUSES, "code": code}]}}


def _history(request: Resource) -> Iterator[str]:
    """The codes of the extensions that say what became of a cancellation, in either of the forms that are sent."""
    for extension in dicts(request.get("extension")):
        for inner in dicts(extension.get("extension")):
            coding = _dict(inner.get("valueCoding"))
            if coding.get("system") == HISTORY:
                yield text(coding.get("code"))


def _of_type(entries: Iterable[Entry], kind: str) -> Iterator[Entry]:
    return (entry for entry in entries if entry.resource.get("resourceType") == kind)


def _contained(entry: Entry, kind: str) -> list[Entry]:
    """What an entry contains, each at the address by which it refers to that."""
    return [
        Entry(entry.path, f"#{one.get('id')}", one)
        for one in dicts(entry.resource.get("contained"))
        if one.get("resourceType") == kind
    ]


def _invalid(said: str, path: str, code: str = "business-rule") -> Issue:
    return Issue(code, said, path)


def _dict(value: Any) -> Resource:
    return value if isinstance(value, dict) else {}


MODULE = Module(
    {
        "prescription": _prescription,
        "line-cancellation": _line_cancellation,
        "decision": _decision,
        "dispensing": _dispensing,
        "return": _return,
        "withdrawal": _withdrawal,
    },
    answer,
    tell,
)
