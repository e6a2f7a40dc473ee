"""Which rule of a dialect a message fits: what a message says of itself that rules can ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.fhir.dialects.model import Rule
from gateway.fhir.message import Message
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts


def find_rule(message: Message, rules: Sequence[Rule]) -> Rule | None:
    """The first rule that a message fits, which is as it was sent, in R4."""
    return next((rule for rule in rules if fits(message, rule)), None)


def fits(message: Message, rule: Rule) -> bool:
    header = message.header
    return (
        (not rule.event or is_among([str(message.event), message.event.code], rule.event))
        and (not rule.reason or is_among(names(header.get("reason")), rule.reason))
        and (rule.response is None or rule.response == ("response" in header))
        and (not rule.activity or is_among(_activities(message), rule.activity))
        and _fits_focus(message, rule)
    )


def focused(message: Message) -> list[Entry]:
    """The entries that `MessageHeader.focus` names, in its order; one that is no list counts as one."""
    header = next(iter(message.entries))
    said = message.header.get("focus")
    literals = [reference.get("reference") for reference in dicts(said if isinstance(said, list) else [said])]
    found = [message.entries.resolve(literal, header) for literal in literals if isinstance(literal, str)]
    return list({entry.path: entry for entry in found if entry is not None}.values())


def names(concept: Any) -> list[str]:
    """The codings of a CodeableConcept (or a list of them) as `system|code` and as the code alone."""
    found = []
    for one in dicts(concept if isinstance(concept, list) else [concept]):
        for coding in dicts(one.get("coding")):
            code = text(coding.get("code"))
            found += [code, f"{text(coding.get('system'))}|{code}"] if code else []
    return found


def is_among(found: Iterable[str], wanted: Sequence[str]) -> bool:
    return any(_is(name, pattern) for name in found for pattern in wanted)


def text(value: Any) -> str:
    """A string without the white space around it; "" for anything else."""
    return value.strip() if isinstance(value, str) else ""


def _is(name: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name.endswith(pattern[1:]) if pattern.startswith("*") else name == pattern


def _fits_focus(message: Message, rule: Rule) -> bool:
    if not (rule.focus or rule.status or rule.code or rule.business_status):
        return True
    return any(_fits_entry(entry, rule) for entry in focused(message))


def _fits_entry(entry: Entry, rule: Rule) -> bool:
    resource = entry.resource
    return (
        (not rule.focus or resource.get("resourceType") in rule.focus)
        and (not rule.status or text(resource.get("status")) in rule.status)
        and (not rule.code or is_among(names(resource.get("code")), rule.code))
        and (not rule.business_status or is_among(names(resource.get("businessStatus")), rule.business_status))
    )


def _activities(message: Message) -> list[str]:
    """What was done, by the Provenance that targets this message's header; for want of one, by any."""
    header = next(iter(message.entries))
    provenances = [entry for entry in message.entries if entry.resource.get("resourceType") == "Provenance"]
    of_this = [entry for entry in provenances if _targets(entry, header, message)]
    return [name for entry in of_this or provenances for name in names(entry.resource.get("activity"))]


def _targets(entry: Entry, header: Entry, message: Message) -> bool:
    literals = [reference.get("reference") for reference in dicts(entry.resource.get("target"))]
    return any(message.entries.resolve(each, entry) is header for each in literals if isinstance(each, str))
