"""What a message is about, by which messages are put in order: those about the same take effect one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.errors import Issue, NotAMessage
from gateway.fhir.identity import address_key, identifier_key, identifier_keys, own_address, reference_keys
from gateway.fhir.message import Message
from gateway.fhir.references import Entry

MOST_KEYS = 100
_MOST_FOCUSES = 100
_FOCUS = "Bundle.entry[0].resource.focus"


def find_lane(message: Message, base_url: str | None = None) -> tuple[list[bytes], list[str]]:
    """The `lane_keys` of a message, and the ids of the Tasks that it names by the addresses we gave them, each once.

    Our addresses begin with `base_url`; without it there are none. Raises NotAMessage when the message is about more
    than can be put in order.
    """
    if (number := len(_focuses(message))) > _MOST_FOCUSES:
        text = f"The message has {number} resources in focus; it can have at most {_MOST_FOCUSES}. Send several."
        raise NotAMessage(Issue("too-costly", text, _FOCUS))
    keys, own_ids = lane_keys(message), _own_tasks(message, base_url) if base_url else []
    if (number := len(keys) + len(own_ids)) > MOST_KEYS:
        text = (
            f"The Tasks that the message is about have {number} identifiers and addresses; they can have at most "
            f"{MOST_KEYS}. Send several messages, or fewer identifiers."
        )
        raise NotAMessage(Issue("too-costly", text, _FOCUS))
    return keys, own_ids


def lane_keys(message: Message) -> list[bytes]:
    """What the Tasks in focus, and the Tasks that these are about, are known by; in order, each once.

    Messages with a key in common take effect in the order in which they were received. Without any, the sender's do.
    """
    keys = [key for reference, source in _about(message) for key in _task_keys(message, reference, source)]
    return list(dict.fromkeys(keys))


def _about(message: Message) -> Iterator[tuple[Any, Entry]]:
    """The references to what a message is about, each with the entry that it is in."""
    header = next(iter(message.entries))
    for reference in _focuses(message):
        yield reference, header
        entry = _resolve(message, reference, header)
        if entry is not None and entry.resource.get("resourceType") == "Task":
            yield entry.resource.get("focus"), entry


def _focuses(message: Message) -> list[Any]:
    focus = message.header.get("focus")
    return focus if isinstance(focus, list) else []


def _task_keys(message: Message, reference: Any, source: Entry) -> Iterator[bytes]:
    """The keys of the Task that a reference can mean: those of its entry, and what `Records.follow` goes by else."""
    entry = _resolve(message, reference, source)
    if entry is not None and entry.resource.get("resourceType") != "Task":
        return
    identifiers = identifier_keys(entry, message.sender) if entry is not None else []
    yield from identifiers
    if entry is not None and (address := address_key(entry, message.sender)):
        yield address
    if isinstance(reference, dict):
        if not identifiers and isinstance(reference.get("reference"), str):
            yield from reference_keys(reference["reference"], source, message.sender)
        if named := identifier_key("Task", reference.get("identifier"), message.sender):
            yield named


def _own_tasks(message: Message, base_url: str) -> list[str]:
    literals = [reference.get("reference") for reference, _ in _about(message) if isinstance(reference, dict)]
    addresses = [own_address(literal, base_url) for literal in literals if isinstance(literal, str)]
    return list(dict.fromkeys(address[1] for address in addresses if address and address[0] == "Task"))


def _resolve(message: Message, reference: Any, source: Entry) -> Entry | None:
    literal = reference.get("reference") if isinstance(reference, dict) else None
    return message.entries.resolve(literal, source) if isinstance(literal, str) else None
