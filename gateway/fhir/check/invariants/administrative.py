"""The invariants of administrative and financial resources, of documents and of what is kept about care."""

from __future__ import annotations

from gateway.fhir.check.invariants.rules import (
    SINCE_R4,
    Context,
    Element,
    Holds,
    Rules,
    any_of,
    error,
    has,
    has_coding,
    items,
    just_one,
    not_both,
    text,
    together,
)

_SCOPES = ("http://terminology.hl7.org/CodeSystem/consentscope", "something")
"""The code system of the scopes, and what stands in its place in the FHIRPath of R4."""


def _app_3(appointment: Element, _context: Context) -> bool:
    status = text(appointment, "status")
    if status is None or status in ("proposed", "cancelled", "waitlist"):
        return True
    return has(appointment, "start") and has(appointment, "end")


def _app_4(appointment: Element, _context: Context) -> bool:
    """The FHIRPath has "no-show", but the code is "noshow"."""
    status = text(appointment, "status")
    return "cancelationReason" not in appointment or status in (None, "cancelled", "noshow", "no-show")


def _with_patient(scope: str) -> Holds:
    def holds(consent: Element, _context: Context) -> bool:
        return "patient" in consent or not any(has_coding(consent, "scope", system, scope) for system in _SCOPES)

    return holds


def _grp_1(group: Element, _context: Context) -> bool:
    return "member" not in group or group.get("actual") is not False


def _lnk_1(linkage: Element, _context: Context) -> bool:
    item = linkage.get("item")
    return type(item) is not list or len(item) > 1


def _just_in(mode: str, name: str) -> Holds:
    """No entry has a child of this name unless the List is of this mode."""

    def holds(listed: Element, _context: Context) -> bool:
        if listed.get("mode") == mode:
            return True
        return not any(has(entry, name) for entry in items(listed, "entry"))

    return holds


def _without_use(name: str, use: str) -> Holds:
    def holds(element: Element, _context: Context) -> bool:
        return name not in element or not any(item.get("use") == use for item in items(element, name))

    return holds


_ORGANIZATION = "The organization SHALL at least have a name or an identifier, and possibly more than one"
_CATEGORY_OR_CODE = "SHALL contain a category or a billcode but not both."

RULES: Rules = {
    "Appointment": (
        error("app-2", "Either start and end are specified, or neither", together("start", "end"), SINCE_R4),
        error("app-3", "Only proposed or cancelled appointments can be missing start/end dates", _app_3, SINCE_R4),
        error("app-4", "Cancelation reason is only used for appointments that have been cancelled, or no-show", _app_4),
    ),
    "Appointment.participant": (
        error(
            "app-1", "Either the type or actor on the participant SHALL be specified", any_of("type", "actor"), SINCE_R4
        ),
    ),
    "AppointmentResponse": (
        error(
            "apr-1",
            "Either the participantType or actor must be specified",
            any_of("participantType", "actor"),
            SINCE_R4,
        ),
    ),
    "AuditEvent.entity": (error("sev-1", "Either a name or a query (NOT both)", not_both("name", "query")),),
    "Composition.section": (
        error(
            "cmp-1",
            "A section must contain at least one of text, entries, or sub-sections",
            any_of("text", "entry", "section"),
            SINCE_R4,
        ),
        error(
            "cmp-2", "A section can only have an emptyReason if it is empty", not_both("emptyReason", "entry"), SINCE_R4
        ),
    ),
    "Consent": (
        error("ppc-1", "Either a Policy or PolicyRule", any_of("policy", "policyRule")),
        error("ppc-2", "IF Scope=privacy, there must be a patient", _with_patient("patient-privacy")),
        error("ppc-3", "IF Scope=research, there must be a patient", _with_patient("research")),
        error("ppc-4", "IF Scope=adr, there must be a patient", _with_patient("adr")),
        error("ppc-5", "IF Scope=treatment, there must be a patient", _with_patient("treatment")),
    ),
    "CoverageEligibilityResponse.insurance.item": (
        error("ces-1", _CATEGORY_OR_CODE, just_one("category", "productOrService"), SINCE_R4),
    ),
    "Group": (error("grp-1", 'Can only have members if group is "actual"', _grp_1),),
    "InsurancePlan": (
        error(
            "ipn-1",
            "The organization SHALL at least have a name or an idendtifier, and possibly more than one",
            any_of("identifier", "name"),
            SINCE_R4,
        ),
    ),
    "Linkage": (error("lnk-1", "Must have at least two items", _lnk_1, SINCE_R4),),
    "List": (
        error(
            "lst-1", "A list can only have an emptyReason if it is empty", not_both("emptyReason", "entry"), SINCE_R4
        ),
        error(
            "lst-2",
            'The deleted flag can only be used if the mode of the list is "changes"',
            _just_in("changes", "deleted"),
        ),
        error(
            "lst-3", 'An entry date can only be used if the mode of the list is "working"', _just_in("working", "date")
        ),
    ),
    "Organization": (
        error("org-1", _ORGANIZATION, any_of("identifier", "name"), SINCE_R4),
        error(
            "org-2",
            "An address of an organization can never be of use 'home'",
            _without_use("address", "home"),
            path="address",
        ),
        error(
            "org-3",
            "The telecom of an organization can never be of use 'home'",
            _without_use("telecom", "home"),
            path="telecom",
        ),
    ),
    "Patient.contact": (
        error(
            "pat-1",
            "SHALL at least contain a contact's details or a reference to an organization",
            any_of("name", "telecom", "address", "organization"),
            SINCE_R4,
        ),
    ),
}
