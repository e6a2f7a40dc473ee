"""The code systems of the gateway's own, as resources: what its answers can say of a cancellation or a
modification, and its flags.

https://hl7.org/fhir/R4/codesystem.html, https://hl7.org/fhir/R4/valueset.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.fhir.task.deadlines import FLAG_SYSTEM, OVERDUE
from gateway.fhir.task.modification import MODIFICATION_OUTCOME_SYSTEM, MODIFICATIONS
from gateway.fhir.task.outcomes import MEANINGS, OUTCOME_SYSTEM

Resource = dict[str, Any]
Concept = tuple[str, str, str]
"""Code, display, definition."""

_VERSION = "1.0.0"
_OUTCOMES: list[Concept] = [(outcome.value, said.display, said.definition) for outcome, said in MEANINGS.items()]
_MODIFICATIONS: list[Concept] = [
    (outcome.value, said.display, said.definition) for outcome, said in MODIFICATIONS.items()
]
_FLAGS: list[Concept] = [
    (
        OVERDUE,
        "Overdue",
        "The order had not ended when its period had. The mark goes when the period is moved on, or the order ends.",
    )
]


def code_systems() -> dict[str, Resource]:
    """The CodeSystems, by id."""
    found = [
        _code_system(
            "cancellation-outcome",
            OUTCOME_SYSTEM,
            "CancellationOutcome",
            "Outcomes of a cancellation",
            "What became of a request to cancel an order: in OperationOutcome.issue.details of each answer to it, in "
            "Task.statusReason of a cancellation request that the gateway has closed, and in Task.output of one that "
            "has had its effect.",
            _OUTCOMES,
        ),
        _code_system(
            "modification-outcome",
            MODIFICATION_OUTCOME_SYSTEM,
            "ModificationOutcome",
            "Outcomes of a modification",
            "What became of a request to change, replace, suspend or resume an order: in "
            "OperationOutcome.issue.details of each answer to it, in Task.statusReason of one that the gateway has "
            "closed, and in Task.output of one that has had its effect.",
            _MODIFICATIONS,
        ),
        _code_system(
            "task-flag",
            FLAG_SYSTEM,
            "TaskFlag",
            "Flags of a Task",
            "What the gateway marks a Task with, in meta.tag.",
            _FLAGS,
        ),
    ]
    return {system["id"]: system for system in found}


def value_sets() -> dict[str, Resource]:
    """The ValueSets, by id: one for each of the code systems, with all codes of it."""
    return {name: _value_set(system) for name, system in code_systems().items()}


def _code_system(
    name: str, url: str, title_as_name: str, title: str, description: str, concepts: Iterable[Concept]
) -> Resource:
    listed = [{"code": code, "display": display, "definition": definition} for code, display, definition in concepts]
    return {
        "resourceType": "CodeSystem",
        "id": name,
        "url": url,
        "version": _VERSION,
        "name": title_as_name,
        "title": title,
        "status": "active",
        "experimental": False,
        "description": description,
        "caseSensitive": True,
        "valueSet": _url_of_value_set(url),
        "content": "complete",
        "count": len(listed),
        "concept": listed,
    }


def _value_set(system: Resource) -> Resource:
    said = ("version", "name", "title", "status", "experimental", "description")
    return {
        "resourceType": "ValueSet",
        "id": system["id"],
        "url": _url_of_value_set(system["url"]),
        **{name: system[name] for name in said},
        "compose": {"include": [{"system": system["url"]}]},
    }


def _url_of_value_set(url: str) -> str:
    return f"{url}-codes"
