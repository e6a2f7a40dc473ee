"""The lists of a Task that several messages write, and none alone: its inputs, its outputs, its notes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from gateway.errors import Issue
from gateway.fhir import json
from gateway.fhir.task.elements import dicts

Resource = dict[str, Any]

GROWING = ("input", "output", "note")
MOST = 1000
"""So many items has each of these at most."""


def added(kept: list[Resource], sent: list[Resource]) -> list[Resource]:
    """A list after a message that has `sent` of it: nothing goes, what is new comes, what is known may be amended.

    An input or output is known by its type and the resource that it refers to. Of those that are values (how many of
    ten sessions are done), the message's are the latest of their type, and take the place of the earlier ones.
    """
    latest = {_type_of(item) for item in sent if "type" in item and _target_of(item) is None}
    stays = [item for item in kept if item in sent or _target_of(item) is not None or _type_of(item) not in latest]
    by_key = {_key(item): item for item in sent}
    known = {_key(item) for item in stays}
    return [by_key.get(_key(item), item) for item in stays] + [item for item in sent if _key(item) not in known]


def check_growth(kept: Resource, changed: Resource, path: str) -> list[Issue]:
    """A list that a message makes longer than any order needs: every change of the order costs what is in it."""
    return [
        Issue(
            "too-costly",
            f"Task.{name} would have {len(now)} items, and {MOST} is the most. Put them together in fewer resources.",
            f"{path}.{name}",
        )
        for name in GROWING
        if len(now := dicts(changed.get(name))) > max(MOST, len(dicts(kept.get(name))))
    ]


def raised(outputs: list[Resource], now: list[Resource], taken_back: list[Resource]) -> list[Resource]:
    """The outputs of a whole after a part of it has those of `now`: each once, none lost but what is `taken_back`."""
    gone = {_key(item) for item in taken_back}
    stays = [item for item in outputs if _key(item) not in gone]
    known = {_key(item) for item in stays}
    return [*stays, *(item for item in now if _key(item) not in known)]


def values_gone(before: list[Resource], now: list[Resource]) -> list[Resource]:
    """The values that are in a list no more; without what refers to a resource, which says itself what became of it."""
    still = {_key(item) for item in now}
    return [item for item in before if _target_of(item) is None and _key(item) not in still]


def lost(kept: Resource, changed: Resource, name: str) -> bool:
    """Whether a note, or what refers to a resource, that is in a list of one Task is not in that of the other."""
    there = {_key(item) for item in dicts(changed.get(name))}
    return any(
        _key(item) not in there for item in dicts(kept.get(name)) if name == "note" or _target_of(item) is not None
    )


def _key(item: Resource) -> Hashable:
    target = _target_of(item)
    return json.canonical(item) if target is None else (_type_of(item), target)


def _type_of(item: Resource) -> Hashable:
    """The codes of an input's or output's type, else its text: a display does not make it another."""
    concept = item.get("type")
    if not isinstance(concept, dict):
        return json.canonical({"type": concept})
    codes = sorted((str(coding.get("system")), str(coding.get("code"))) for coding in dicts(concept.get("coding")))
    return tuple(codes) or json.canonical({"text": concept.get("text")})


def _target_of(item: Resource) -> Hashable:
    """What an item's value refers to; None when it is no Reference."""
    value = item.get("valueReference")
    if not isinstance(value, dict):
        return None
    literal = value.get("reference")
    return literal if isinstance(literal, str) else json.canonical({"identifier": value.get("identifier")})
