"""resource-update: a party changes what is its own and no Task: a Request, a report, a dispense, a result.

Needs one resource in focus that is no Task. Keeps it with what it refers to, if it is new or the sender's own. Answers
ok with it as kept, and with the orders that it concerns. How to add a handler is written in `handlers/__init__.py`.
"""

from dataclasses import replace

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.policy.model import Role
from gateway.fhir.references import unresolved_references
from gateway.fhir.task.elements import REQUESTS, dicts
from handlers.rules import open_requests, requests

_RESULTS = ("DiagnosticReport", "MedicationDispense", "Observation", "Procedure", "ImagingStudy", "Specimen")
_BASED_ON = ("basedOn", "authorizingPrescription", "request")
_BOOKING = "Appointment"
"""What is no Request, and yet what some orders are about."""
_MOST_REQUESTS = 50
_PARTIES = {Role.PLACER, Role.FULFILLER}
_BESIDE = (
    "AllergyIntolerance",
    "Appointment",
    "CareTeam",
    "Communication",
    "Condition",
    "Coverage",
    "Device",
    "DocumentReference",
    "Encounter",
    "HealthcareService",
    "Location",
    "Media",
    "Medication",
    "MedicationAdministration",
    "MedicationStatement",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "QuestionnaireResponse",
    "RelatedPerson",
    "SupplyDelivery",
)
"""What Requests and results refer to."""
_TYPES = (*REQUESTS, *_RESULTS, *_BESIDE)


@handles(
    Event("urn:x-fhir-gateway:message-event", "resource-update"),
    category="consequence",
    title="Resource update",
    focus=_TYPES,
)
def resource_update(message: Message, records: Records) -> Reply:
    """Keeps a resource that is no Task: one in focus, new to the gateway or the sender's own.

    - It is found again by its business `identifier`; what it refers to in the Bundle is kept with it.
    - It takes the place of the one kept: send it whole. Only the party that created it changes it; from others it is
      refused (`forbidden`): a change of another's Request is asked for by a Task with the code change or replace.
    - When it is a Request or an Appointment, or refers to a Request (a report by `basedOn`), the orders about that are
      in the answer's focus, and their parties are told.
    - A Request that is revoked, stopped or entered in error does not end the orders about it: those that go on are
      named in a warning. To end them, send their Tasks with the status cancelled, or a cancellation request. An open
      proposal to cancel the Request ends with it: as completed, or as rejected when the Request is completed.
    - Answered with `ok` and the resource as the gateway keeps it; one that is as it was makes no new version.
    """
    entry = _only_one(message)
    known = records.find(entry)
    if known is not None and not records.parties.has_sent(known.sender):
        raise Refused(_not_yours(known, entry))
    if known is not None and not records.parties.may_change(known, entry):
        raise Refused(_another_party(known, entry))
    kept = records.keep(entry)
    about, uncounted = _orders(kept, entry, records)
    closed = open_requests.close_by_requests(None, None, message, records)
    issues = [
        *uncounted,
        *closed.issues,
        *(requests.warn_of_ended(kept, about, entry.path, records) if kept.resource_type in REQUESTS else ()),
        *requests.warn_of_copies(message, records),
        *unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None),
    ]
    return Reply((kept, *about, *closed.focus), tuple(issues))


def _only_one(message: Message) -> Entry:
    found = message.focus(*_TYPES)
    if len(found) > 1:
        text = f"The message has {len(found)} resources in focus. Send one message for each of them."
        raise Refused(Issue("not-supported", text, "Bundle.entry[0].resource.focus[1]"))
    return found[0]


def _not_yours(known: Kept, entry: Entry) -> Issue:
    instead = (
        "To have it changed, send a modification request: a Task with the code change or replace, the status requested "
        "and the order's Task in focus."
        if known.resource_type in REQUESTS
        else "Give your own an identifier that was not used before."
    )
    text = f"This {known.resource_type} is another party's, and only who created it changes it. {instead}"
    return Issue("forbidden", text, entry.path)


def _another_party(known: Kept, entry: Entry) -> Issue:
    text = (
        f"This {known.resource_type} would mean another party than it is kept as, and with it the Tasks that name it. "
        "Send its identifiers as they were; give another party a resource of its own."
    )
    return Issue("business-rule", text, f"{entry.path}.identifier")


def _orders(kept: Kept, entry: Entry, records: Records) -> tuple[list[Kept], list[Issue]]:
    """The orders that a resource concerns: all about one's own Request, one's own about what a result is based on.

    With a warning for Requests that very many orders are about, whoever placed them: that is no reason to refuse.
    """
    if kept.resource_type in (*REQUESTS, _BOOKING):
        about = [kept]
    else:
        authorised_by = [reference for name in _BASED_ON for reference in dicts(entry.resource.get(name))]
        if len(authorised_by) > _MOST_REQUESTS:
            text = (
                f"The resource is based on {len(authorised_by)} Requests. Send several, on {_MOST_REQUESTS} at most "
                "each."
            )
            raise Refused(Issue("too-costly", text, entry.path))
        about = [request for one in authorised_by if (request := records.follow(one, entry))]
    orders: dict[str, Kept] = {}
    too_many = []
    for request in {one.id: one for one in about}.values():
        try:
            found = requests.orders_about(request, records)
        except Refused as refused:
            too_many += [replace(issue, severity="warning", expression=entry.path) for issue in refused.issues]
        else:
            orders |= {order.id: order for order in found if request is kept or records.roles(order) & _PARTIES}
    return list(orders.values()), too_many
