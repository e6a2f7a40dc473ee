"""The search parameters of Tasks and Requests, as a table.

Their names are those of https://hl7.org/fhir/R4/task.html#search and of each Request's page; `group-or-identifier` and
`activity-resource` are the clinical order workflows guide's. Where R4 names no parameter for an element that other
Requests are searched by, it has the name that those give it (or R5 does).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.fhir.definitions import get_type
from gateway.fhir.task.elements import REQUESTS

Kind = Literal["code", "concept", "coding", "identifier", "reference"]
"""What the element is: a `code` is bound to what FHIR defines; `concept` and `coding` say their system themselves."""

FOCUSES = (
    "http://hl7.org/fhir/4.0/StructureDefinition/extension-Task.focus",
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-Task.focus",
)
"""Extensions with the second and further focuses of a Task."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter of one type.

    `element` is where its values are, dotted; `targets`: the types that a bare id can mean. One with `of` is found by
    the tokens of those others. `with_status`: it has tokens for each value together with the status, so that a search
    for both is one look-up.
    """

    name: str
    kind: Kind
    element: str = ""
    targets: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    with_status: bool = False

    @property
    def type(self) -> Literal["token", "reference"]:
        """As in https://hl7.org/fhir/R4/valueset-search-param-type.html."""
        return "reference" if self.kind == "reference" else "token"


def codes_of(resource_type: str, parameter: Parameter) -> frozenset[tuple[str, str]]:
    """The (system, code) pairs that an element of kind `code` is bound to."""
    binding = get_type(resource_type).fields[parameter.element].binding
    return binding.codes if binding else frozenset()


_PARTIES = ("Organization", "Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Device")
_CARERS = (*_PARTIES, "CareTeam", "HealthcareService")
_SUBJECTS = ("Patient", "Group", "Location", "Device")
_ORDERS = ("CarePlan", *REQUESTS)
_RESULTS = ("DiagnosticReport", "DocumentReference", "MedicationDispense", "Observation", "Procedure", "Specimen")
_IDENTIFIER = Parameter("identifier", "identifier", "identifier")


_COMMON = (Parameter("_tag", "coding", "meta.tag"), _IDENTIFIER, Parameter("status", "code", "status"))


def _grouped(name: str = "group-identifier", element: str = "groupIdentifier") -> tuple[Parameter, ...]:
    return (
        Parameter(name, "identifier", element),
        Parameter("group-or-identifier", "identifier", of=(name, "identifier")),
    )


def _subject(element: str, targets: tuple[str, ...] = _SUBJECTS) -> tuple[Parameter, ...]:
    return (
        Parameter("subject", "reference", element, targets=targets, with_status=True),
        Parameter("patient", "reference", targets=("Patient",), of=("subject",)),
    )


def _requester(name: str = "requester", element: str = "requester") -> Parameter:
    return Parameter(name, "reference", element, targets=_PARTIES, with_status=True)


def _orders(name: str, element: str, targets: tuple[str, ...] = _ORDERS) -> Parameter:
    return Parameter(name, "reference", element, targets=targets)


_INTENT = Parameter("intent", "code", "intent")
_PRIORITY = Parameter("priority", "code", "priority")
_CODE = Parameter("code", "concept", "code", with_status=True)

_BY_TYPE: dict[str, tuple[Parameter, ...]] = {
    "Task": (
        *_COMMON,
        *_grouped(),
        Parameter("business-status", "concept", "businessStatus"),
        _CODE,
        _INTENT,
        _PRIORITY,
        Parameter("owner", "reference", "owner", targets=_CARERS, with_status=True),
        _requester(),
        *_subject("for"),
        _orders("focus", "focus", (*_ORDERS, "Task")),
        _orders("based-on", "basedOn", (*_ORDERS, "Task")),
        _orders("part-of", "partOf", ("Task",)),
        _orders("output", "output.valueReference", _RESULTS),
    ),
    "CommunicationRequest": (
        *_COMMON,
        *_grouped(),
        _PRIORITY,
        *_subject("subject"),
        _requester(),
        _orders("based-on", "basedOn"),
        _orders("replaces", "replaces", ("CommunicationRequest",)),
    ),
    "DeviceRequest": (
        *_COMMON,
        *_grouped(),
        _INTENT,
        _PRIORITY,
        Parameter("code", "concept", "codeCodeableConcept", with_status=True),
        *_subject("subject"),
        _requester(),
        _orders("based-on", "basedOn"),
        _orders("prior-request", "priorRequest"),
        Parameter("performer", "reference", "performer", targets=_CARERS),
    ),
    "MedicationRequest": (
        *_COMMON,
        *_grouped(),
        _INTENT,
        _PRIORITY,
        Parameter("code", "concept", "medicationCodeableConcept", with_status=True),
        *_subject("subject"),
        _requester(),
        _orders("based-on", "basedOn"),
        _orders("replaces", "priorPrescription", ("MedicationRequest",)),
        Parameter("intended-dispenser", "reference", "dispenseRequest.performer", targets=("Organization",)),
        Parameter("intended-performer", "reference", "performer", targets=_CARERS),
    ),
    "NutritionOrder": (
        *_COMMON,
        Parameter("group-or-identifier", "identifier", of=("identifier",)),
        _INTENT,
        *_subject("patient", ("Patient",)),
        _requester("provider", "orderer"),
    ),
    "RequestGroup": (
        *_COMMON,
        *_grouped(),
        _INTENT,
        _PRIORITY,
        _CODE,
        *_subject("subject"),
        _requester("author", "author"),
        _orders("based-on", "basedOn"),
        _orders("replaces", "replaces"),
        _orders("activity-resource", "action", (*_ORDERS, "Task", "Appointment")),
    ),
    "ServiceRequest": (
        *_COMMON,
        *_grouped("requisition", "requisition"),
        _INTENT,
        _PRIORITY,
        _CODE,
        *_subject("subject"),
        _requester(),
        _orders("based-on", "basedOn"),
        _orders("replaces", "replaces", ("ServiceRequest",)),
        Parameter("performer", "reference", "performer", targets=_CARERS),
    ),
    "SupplyRequest": (
        *_COMMON,
        Parameter("group-or-identifier", "identifier", of=("identifier",)),
        _PRIORITY,
        Parameter("code", "concept", "itemCodeableConcept", with_status=True),
        *_subject("deliverTo", ("Organization", "Location", "Patient")),
        _requester(),
        Parameter("supplier", "reference", "supplier", targets=("Organization", "HealthcareService")),
    ),
    "VisionPrescription": (
        *_COMMON,
        Parameter("group-or-identifier", "identifier", of=("identifier",)),
        *_subject("patient", ("Patient",)),
        _requester("prescriber", "prescriber"),
    ),
}

PARAMETERS = {kind: {parameter.name: parameter for parameter in found} for kind, found in _BY_TYPE.items()}
"""By type and name."""
SEARCHED = tuple(PARAMETERS)
MISSING = {"Task": ("owner", "part-of")}
"""Parameters that can be asked for by `:missing`."""
