"""Bidirectional Services eReferral: Task.status and businessStatus say what a message means. docs/dialects/bser.md

http://hl7.org/fhir/us/bser. The business statuses are 2.0 created, 3.0 accepted, 4.0 declined, 5.1.1 event scheduled,
5.1.2 unattended, 5.1.3 event cancelled, 5.1.4 event completed, 5.2 cancellation requested, 6.0 cancelled and 7.0
completed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.errors import Issue, Refused
from gateway.fhir.dialects import composing, told
from gateway.fhir.dialects.matching import focused, names, text
from gateway.fhir.dialects.model import Answer, Answering, Composed, Manner, Rule, Telling
from gateway.fhir.dialects.pieces import absolute_url, answered_request, outcome_in, said_again, with_resource
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.emptiness import without_empty
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, request_code, status_of
from gateway.fhir.task.outcomes import Outcome

BUSINESS_STATUSES = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
_I12 = {"eventCoding": {"system": "http://terminology.hl7.org/CodeSystem/v2-0003", "code": "I12"}}
_DISPLAYS = {
    "2.0": "Service Request Created",
    "3.0": "Service Request Accepted",
    "4.0": "Service Request Declined",
    "5.2": "Service Request Cancellation Requested",
    "6.0": "Service Request Fulfillment Cancelled",
    "7.0": "Service Request Fulfillment Completed",
}
_FITTING: Mapping[str, tuple[str, ...]] = {
    "draft": (),
    "requested": ("2.0",),
    "received": ("2.0",),
    "accepted": ("3.0",),
    "rejected": ("4.0",),
    "in-progress": ("5.1", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.2", "5.4"),
    "cancelled": ("6.0",),
    "completed": ("7.0",),
    "entered-in-error": (),
}
"""The business statuses that go with a status. One of these with another status means two things at once."""
_KNOWN = frozenset(code for codes in _FITTING.values() for code in codes)
_WORDS: Mapping[str, tuple[str, str | None]] = {
    "draft": ("draft", None),
    "requested": ("received", "2.0"),
    "received": ("received", "2.0"),
    "accepted": ("accepted", "3.0"),
    "ready": ("accepted", "3.0"),
    "in-progress": ("in-progress", None),
    "on-hold": ("in-progress", None),
    "rejected": ("rejected", "4.0"),
    "failed": ("rejected", "4.0"),
    "cancelled": ("cancelled", "6.0"),
    "completed": ("completed", "7.0"),
    "entered-in-error": ("entered-in-error", None),
}
"""Status and business status in which BSeR says a status of ours."""
_ASKED = ("in-progress", "5.2")
_OUTCOMES: Mapping[Outcome, tuple[str, str | None]] = {
    Outcome.CANCELLED: ("cancelled", "6.0"),
    Outcome.ACCEPTED: ("cancelled", "6.0"),
    Outcome.ALREADY_CANCELLED: ("cancelled", "6.0"),
    Outcome.EXPIRED: ("cancelled", "6.0"),
    Outcome.PENDING: _ASKED,
    Outcome.HELD: _ASKED,
    Outcome.ALREADY_PENDING: _ASKED,
    Outcome.TOO_LATE: ("completed", "7.0"),
    Outcome.ALREADY_ENDED: ("rejected", "4.0"),
}
"""What an outcome of a cancellation is in BSeR; the others have no state of a referral."""
_SAID = ("identifier", "status", "businessStatus", "statusReason", "executionPeriod", "lastModified")
_GROWING = ("note", "input", "output", "contained")


def _referral(message: Message, manner: Manner, rule: Rule) -> Message:
    """A new referral: its Task, as one that is requested. A draft stays one."""
    entry = _task(message)
    task = entry.resource | {"status": "draft" if status_of(entry.resource) == "draft" else "requested"}
    for name, party in (
        ("requester", composing.sender_of(message, manner)),
        ("owner", composing.receiver_of(message, manner)),
    ):
        if party and not task.get(name):
            task[name] = party
    return _about(message, manner, rule, entry, task)


def _progress(message: Message, manner: Manner, rule: Rule) -> Message:
    """How a referral goes on: what the network lets change of its Task, and the feedback in its output."""
    entry = _task(message)
    said = {name: entry.resource[name] for name in (*_SAID, *_GROWING) if name in entry.resource}
    return _about(message, manner, rule, entry, {"resourceType": "Task", **said})


def _cancellation_asked(message: Message, manner: Manner, rule: Rule) -> Message:
    """5.2: the initiator asks for the referral to be cancelled."""
    entry = _task(message)
    reason, requester = entry.resource.get("statusReason"), composing.sender_of(message, manner)
    task = composing.cancellation(message, _placer_number(entry), requester=requester, reason=reason)
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _cancellation_answered(message: Message, manner: Manner, rule: Rule) -> Message:
    """6.0: the recipient has cancelled the referral, as it was asked to."""
    entry = _task(message)
    task = answered_request(_placer_number(entry), "accepted")
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _task(message: Message) -> Entry:
    """The one Task in focus. Raises Refused where there are others, or its two statuses contradict each other."""
    entries = focused(message)
    if len(entries) != 1:
        said = f"A message of BSeR has exactly one Task in focus; this one has {len(entries)} resources there."
        raise Refused(Issue("business-rule", said, "Bundle.entry[0].resource.focus"))
    task, path = entries[0].resource, entries[0].path
    status = text(task.get("status"))
    fitting = _FITTING.get(status, ())
    code = _business_code(task)
    if code in _KNOWN and code not in fitting:
        wanted = " or ".join(fitting) or "none"
        said = (
            f"The status {status} and the business status {code} contradict each other: with {status} goes {wanted}. "
            "Send the two that belong together."
        )
        raise Refused(Issue("business-rule", said, f"{path}.businessStatus"))
    return entries[0]


def _business_code(task: Resource) -> str | None:
    return next((name for name in names(task.get("businessStatus")) if name in _KNOWN), None)


def _placer_number(entry: Entry) -> composing.Identifier:
    """What the initiator calls the referral: the identifier of the type PLAC, for want of one the first."""
    found = dicts(entry.resource.get("identifier"))
    placers = [one for one in found if "PLAC" in names(one.get("type"))]
    name = composing.identifier_of({"identifier": [*placers, *found]})
    if name is None:
        said = "The Task has no identifier. Give it that of the referral, of the type PLAC."
        raise Refused(Issue("required", said, f"{entry.path}.identifier"))
    return name


def _about(message: Message, manner: Manner, rule: Rule, entry: Entry, task: Resource) -> Message:
    if entry.full_url is None:
        ours = composing.translated(message, manner, rule.means, [task], without=[entry])
    else:
        ours = composing.translated(with_resource(message, entry, task), manner, rule.means)
    return replace(ours, skips=True)


def _answer(message: Message, composed: Composed, plainly: Answering) -> Answer:
    """A message with the one Task in focus that the sent one was about, in the state that it is in."""
    given = plainly(message, composed)
    sent = composing.as_sent(message)
    shown = _shown(sent, composed)
    return Answer(given.status, said_again(given.resource, shown)) if given.resource else given


def _shown(sent: Message, composed: Composed) -> list[tuple[str, Resource]]:
    outcome = outcome_in(composed.issues)
    state = _OUTCOMES.get(outcome) if outcome else None
    for item in dicts(composed.reply["entry"]):
        task = item["resource"]
        if task["resourceType"] == "Task" and request_code(task) is None:
            return [(item["fullUrl"], _worded(task, state))]
    entry = next(iter(focused(sent)), None)
    if state is None or entry is None or entry.resource.get("resourceType") != "Task":
        return []
    return [(absolute_url(sent, entry), _worded(without_empty(entry.resource), state))]


def _worded(task: Resource, state: tuple[str, str | None] | None = None) -> Resource:
    """A Task in the words of BSeR: its state, or the one given, as status and business status."""
    status, code = state or _WORDS.get(status_of(task), ("in-progress", None))
    said = _business_code(task)
    if code is None and said in _FITTING.get(status, ()) and said not in ("5.2", "5.4"):
        code = said
    plain = {name: value for name, value in task.items() if name not in ("businessStatus", "text")}
    if code is None:
        return plain | {"status": status}
    display = {"display": _DISPLAYS[code]} if code in _DISPLAYS else {}
    coding = {"system": BUSINESS_STATUSES, "code": code, **display}
    return plain | {"status": status, "businessStatus": {"coding": [coding]}}


def _tell(bundle: Resource, _plainly: Telling) -> Resource | None:
    """The referral's Task in its state; a request to cancel it is the Task in 5.2."""
    change = told.take_apart(bundle)
    if change.order is None or status_of(change.order.resource) == "draft":
        return None
    request = change.request.resource if change.request else {}
    asked = change.asked == "abort"
    worded = _worded(change.order.resource, _ASKED if asked else None)
    if (asked or status_of(request) == "rejected") and request.get("statusReason"):
        worded["statusReason"] = request["statusReason"]
    return told.retold(change, _I12, [(told.url_of(change.order), worded)])


MODULE = Module(
    {
        "referral": _referral,
        "progress": _progress,
        "cancellation-asked": _cancellation_asked,
        "cancellation-answered": _cancellation_answered,
    },
    _answer,
    _tell,
)
