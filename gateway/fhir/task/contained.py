"""The contained resources of a Task, which several messages write under ids that each chooses for itself.

What an element refers to by `#id` is what its own author has put there: never what another message has under that id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from gateway.fhir import json
from gateway.fhir.task.elements import dicts, names_of

Resource = dict[str, Any]

_REFERRING = ("Canonical", "Uri", "Url")
_LONGEST_ID = 64


def set_apart(sent: Resource, kept: Resource) -> Resource:
    """What a message has of a Task; what it contains gets another id where the kept Task has something else by that."""
    known = {resource.get("id"): resource for resource in dicts(kept.get("contained"))}
    own = {resource.get("id"): resource for resource in dicts(sent.get("contained"))}
    clashing = {name for name, resource in own.items() if name in known and known[name] != resource}
    while further := {name for name, item in own.items() if name not in clashing and _named(item) & clashing}:
        clashing |= further
    return _renamed(sent, {name: _id_by_content(name, own) for name in clashing})


def carried(task: Resource, name: str, reference: str) -> tuple[list[Resource], list[Resource]]:
    """The items of one list of a Task for another Task to have, and the contained resources that they refer to.

    These get ids of their own by what they say; what means the Task itself (`#`) becomes `reference`.
    """
    items = dicts(task.get(name))
    own = {resource.get("id"): resource for resource in dicts(task.get("contained"))}
    if not any(_named(item) for item in items):
        return items, []
    wanted = _reached(items, own)
    renamed = _renamed(
        {"items": items, "contained": [own[each] for each in wanted]},
        {each: _id_by_content(each, own) for each in wanted},
        reference,
    )
    return renamed["items"], renamed["contained"]


def with_contained(task: Resource, *groups: list[Resource]) -> Resource:
    """The Task with those of the contained resources that it refers to; of one id the last stands for all."""
    found = {resource.get("id"): resource for group in groups for resource in group}
    plain = {name: value for name, value in task.items() if name != "contained"}
    wanted = _reached([plain], found)
    back = [name for name, resource in found.items() if "" in _named(resource)]
    staying = [resource for name, resource in found.items() if name in wanted or name in back]
    return plain | ({"contained": staying} if staying else {})


def same_contained(kept: Resource, one: Resource, sent: Resource, other: Resource) -> bool:
    """Whether a Reference in one Task and one in another mean contained resources with one business identifier."""
    return bool({*names_of(_contained(kept, one))} & {*names_of(_contained(sent, other))})


def _contained(task: Resource, reference: Resource) -> Resource:
    literal = str(reference.get("reference"))
    found = (item for item in dicts(task.get("contained")) if f"#{item.get('id')}" == literal)
    return next(found, {})


def _reached(elements: list[Resource], by_id: dict[Any, Resource]) -> list[Any]:
    """The ids of what the elements refer to, and of what that refers to, and so on."""
    found: dict[Any, None] = {}
    ahead = [name for element in elements for name in sorted(_named(element))]
    while ahead:
        name = ahead.pop()
        if name in by_id and name not in found:
            found[name] = None
            ahead += sorted(_named(by_id[name]))
    return list(found)


def _id_by_content(name: Any, by_id: dict[Any, Resource]) -> str:
    said = [by_id[each] for each in [name, *sorted(map(str, _reached([by_id[name]], by_id)))] if each in by_id]
    digest = hashlib.blake2b(b"".join(map(json.canonical, said)), digest_size=6).hexdigest()
    return f"{str(name)[: _LONGEST_ID - len(digest) - 1]}-{digest}"


def _named(element: Any) -> set[str]:
    """The ids that an element refers to, its own contained resources included; "" for what contains it."""
    return {text[1:] for text in _literals(element)}


def _literals(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("#") and _is_referring(name):
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _literals(item, name)
    elif isinstance(value, dict):
        for member, item in value.items():
            yield from _literals(item, member)


def _is_referring(name: str) -> bool:
    return name == "reference" or name.endswith(_REFERRING)


def _renamed(task: Resource, ids: dict[Any, str], itself: str | None = None) -> Resource:
    if not ids and itself is None:
        return task
    texts = {f"#{old}": f"#{new}" for old, new in ids.items()} | ({"#": itself} if itself else {})
    result: Resource = _rewritten(task, texts)
    if "contained" in task:
        result["contained"] = [
            item | {"id": ids[item["id"]]} if isinstance(item, dict) and item.get("id") in ids else item
            for item in result["contained"]
        ]
    return result


def _rewritten(value: Any, texts: dict[str, str], name: str = "") -> Any:
    if isinstance(value, str):
        return texts.get(value, value) if _is_referring(name) else value
    if isinstance(value, list):
        return [_rewritten(item, texts, name) for item in value]
    if isinstance(value, dict):
        return {member: _rewritten(item, texts, member) for member, item in value.items()}
    return value
