"""What must hold before any handler looks at a message: the versions that it names are current, what is new is new.

https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

from gateway.errors import Issue, Refused
from gateway.fhir.message import Message
from gateway.fhir.references import Entry
from gateway.fhir.task.checks import check_version
from gateway.kept import Kept
from gateway.records import Records


def check(message: Message, records: Records) -> None:
    """Raises Refused: `conflict` when what is in focus names another version than the one that the gateway keeps,
    `duplicate` when it was to be created and is kept already.

    The rules of a new Task say themselves what becomes of one that is known.
    """
    issues = []
    header = next(iter(message.entries))
    focus = {message.entries.resolve(literal, header): None for literal in message.entries.literals(header)}
    for entry in filter(None, focus):
        is_to_be_new = message.creates and entry.resource["resourceType"] != "Task"
        kept = records.find(entry) if is_to_be_new or _names_a_version(entry) else None
        if kept is not None and is_to_be_new:
            issues.append(_is_known(entry, kept, records))
        elif kept is not None:
            at_ours = records.is_at_own_address(entry)
            issues += check_version(kept.version, entry.resource, at_ours, kept.id, entry.path)
    if issues:
        raise Refused(*issues)


def _is_known(entry: Entry, kept: Kept, records: Records) -> Issue:
    """What is another's is not named: who may not see it must not learn where it is."""
    is_own = records.parties.has_sent(kept.sender)
    known = f"The gateway keeps {kept.reference} under this identifier. Read that one, and update it"
    others = f"Another party's {kept.resource_type} has this identifier. Refer to it by that, if it is meant"
    text = f"{known if is_own else others}; or give the new one an identifier that was not used before."
    return Issue("duplicate", text, f"{entry.path}.identifier")


def _names_a_version(entry: Entry) -> bool:
    meta = entry.resource.get("meta")
    return isinstance(meta, dict) and "versionId" in meta
