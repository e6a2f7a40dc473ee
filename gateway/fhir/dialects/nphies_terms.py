"""The code systems of nphies, and how its Tasks have their outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import Issue
from gateway.fhir.dialects.matching import names
from gateway.fhir.json import Resource
from gateway.fhir.task.elements import dicts

_TERMINOLOGY = "http://nphies.sa/terminology"
EVENTS = f"{_TERMINOLOGY}/CodeSystem/ksa-message-events"
TASK_CODES = f"{_TERMINOLOGY}/CodeSystem/task-code"
REASONS = f"{_TERMINOLOGY}/CodeSystem/task-reason-code"
ERRORS = f"{_TERMINOLOGY}/CodeSystem/adjudication-error"
TAGS = f"{_TERMINOLOGY}/CodeSystem/meta-tags"
OUTPUT_TYPES = f"{_TERMINOLOGY}/ValueSet/task-output-type"
"""A value set's address, which nphies writes as that of a code system."""
EXPRESSION = "http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-error-expression"
MESSAGE_IDS = "urn:ietf:rfc:3986"
"""The system in which an order is known by the message that placed it, too."""
_BY_OUTCOME: Mapping[str, str] = {"no-such-order": "RE-00169"}
"""The codes of nphies that say what an outcome of ours does. RE-00169: what is referred to is not a valid resource."""


def event(code: str) -> Resource:
    return {"eventCoding": {"system": EVENTS, "code": code}}


def tag(code: str) -> Resource:
    return {"system": TAGS, "code": code}


def reason_in(concept: Any) -> Resource | None:
    """The reason of a cancellation in nphies's own codes: WI, NP or TAS."""
    codings = dicts(concept.get("coding")) if isinstance(concept, dict) else []
    return next(({"coding": [coding]} for coding in codings if coding.get("system") == REASONS), None)


def output_of(task: Resource, kind: str) -> Resource | None:
    """The CodeableConcept that a Task has as its output of a type: `error`."""
    found = [one.get("valueCodeableConcept") for one in dicts(task.get("output")) if kind in names(one.get("type"))]
    return next((one for one in found if isinstance(one, dict)), None)


def error_of(issue: Issue) -> Resource:
    """An issue as an error of nphies: with a code where nphies has one, the place in an extension, and the sentence."""
    code = _BY_OUTCOME.get(issue.outcome[1]) if issue.outcome else None
    coding: Resource = {"system": ERRORS, "code": code} if code else {}
    if not coding and issue.outcome:
        coding = {"system": issue.outcome[0], "code": issue.outcome[1]}
    if coding and issue.expression:
        coding = {"extension": [{"url": EXPRESSION, "valueString": issue.expression}], **coding}
    concept: Resource = {"coding": [coding]} if coding else {}
    if not coding and issue.expression:
        concept = {"extension": [{"url": EXPRESSION, "valueString": issue.expression}]}
    return concept | {"text": issue.text}


def task_output(kind: str, value: Resource) -> Resource:
    return {"type": {"coding": [{"system": OUTPUT_TYPES, "code": kind}]}, **value}
