"""What a message in one version of FHIR replaces of a Task that is kept in R4 with what is carried of all versions.

What an element of a version says can be in several places of a Task in R4: in one member or more, and in the extension
that carries it. A message replaces them together or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import cache

from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.versions.carrying import NUMBERS, Members, url_of
from gateway.fhir.versions.plans import plan

_TASK = "Task"
_HOLDERS = ("extension", "modifierExtension")
_CARRYING = re.compile(r"http://hl7\.org/fhir/[0-9]\.[0-9]/StructureDefinition/extension-[A-Z]")


def beside(sent: Members, version: Version) -> frozenset[str]:
    """The members of R4 that a Task has not, sent in this version and in R4 now, but that it replaces nevertheless.

    They stand beside those that it has, or beside what it carries, for one element of its own version.
    """
    places = _places(version)
    return frozenset().union(*(places[element] for element in _mentioned(sent, version))) - _names(sent)


def overlaid(kept: Members, new: Members, gone: Set[str], sent: Members, version: Version) -> Members:
    """A kept Task with new members, and without those that are gone, and with what is carried that counts still.

    What is carried of an element of the version in which the message was sent goes when the message has the element,
    that of an element of another version when what stands for it in R4 has changed. A message that has no extensions
    but those that carry its elements does not mention those of others.
    """
    result = {name: value for name, value in kept.items() if not (name.startswith("_") and name[1:] in new)} | new
    result = {name: value for name, value in result.items() if name.removeprefix("_") not in gone}
    _keep_carried(result, kept, sent, version)
    return result


def without(resource: Members, element: str) -> Members:
    """The resource without one of its elements, also as another version may have it."""
    result = {name: value for name, value in resource.items() if name != element}
    urls = {url_of(version, f"{resource.get('resourceType')}.{element}") for version in NUMBERS}
    for holder in _HOLDERS:
        items = _extensions(resource, holder)
        left = [item for item in items if item.get("url") not in urls]
        if len(left) < len(items):
            del result[holder]
            result |= {holder: left} if left else {}
    return result


def _keep_carried(changed: Members, kept: Members, sent: Members, version: Version) -> None:
    urls, mentioned = _carried_by(sent), _mentioned(sent, version)
    for holder in _HOLDERS:
        theirs = _extensions(sent, holder)
        has_others = any(not str(item.get("url")).startswith(url_of(version, "")) for item in theirs)

        def stays(url: str, has_others: bool = has_others) -> bool:
            if not _CARRYING.match(url):
                return not has_others
            origin, element = _elements().get(url, (None, ""))
            if url in urls or (origin == version and element in mentioned):
                return False
            return origin is None or all(changed.get(name) == kept.get(name) for name in _places(origin)[element])

        staying = [item for item in _extensions(kept, holder) if stays(str(item.get("url")))]
        if staying or not theirs:
            changed.pop(holder, None)
        if staying:
            changed[holder] = sorted([*staying, *theirs], key=_rank) if theirs else staying


@cache
def _places(version: Version) -> Mapping[str, frozenset[str]]:
    """The members of R4 that say what an element of the version's Task says; none for one that is only carried."""
    way = plan(_TASK, _TASK, version, "R4")
    places: dict[str, set[str]] = {}
    for name, (field, to) in way.fields.items():
        made = {made for step in way.steps if name in step.takes for made in step.makes}
        places.setdefault(field.element, set()).update(made, {to.name} if to is not None else ())
    return {element: frozenset(names) for element, names in places.items()}


@cache
def _elements() -> Mapping[str, tuple[Version, str]]:
    """The version and the element of it that each extension carries, by its url."""
    return {
        url_of(version, f"{_TASK}.{element}"): (version, element)
        for version in VERSIONS
        for element in _places(version)
    }


def _mentioned(sent: Members, version: Version) -> frozenset[str]:
    """The elements of the version that a Task has which was sent in it and is in R4 now."""
    names, urls = _names(sent), _carried_by(sent)
    return frozenset(
        element
        for element, places in _places(version).items()
        if names & places or url_of(version, f"{_TASK}.{element}") in urls
    )


def _names(resource: Members) -> set[str]:
    return {name.removeprefix("_") for name in resource}


def _carried_by(resource: Members) -> set[str]:
    urls = {str(item.get("url")) for holder in _HOLDERS for item in _extensions(resource, holder)}
    return {url for url in urls if _CARRYING.match(url)}


def _rank(item: Members) -> str:
    """Extensions of the sender's own first, as they are, and then those that carry, as a conversion has them."""
    url = str(item.get("url"))
    return url if _CARRYING.match(url) else ""


def _extensions(resource: Members, holder: str) -> list[Members]:
    items = resource.get(holder)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
