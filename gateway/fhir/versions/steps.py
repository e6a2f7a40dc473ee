"""The ways in which what one version says in some members of an object is said in other members by another.

Each can be taken in both directions. What does not come back as it was when it is turned back is lossy: then the
original is carried along beside it (`gateway.fhir.versions.conversion`). A turn takes any JSON and only moves it: what
is inside the values is converted afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Members = dict[str, Any]
Turn = Callable[[Members], Members]

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_UUID = "urn:uuid:"


@dataclass(frozen=True, slots=True)
class Step:
    """`turn` makes the members that `makes` names of those that `takes` names, as far as they are there."""

    takes: tuple[str, ...]
    makes: tuple[str, ...]
    turn: Turn
    back: Turn

    def reversed(self) -> Step:
        return Step(self.makes, self.takes, self.back, self.turn)


def split(
    element: str,
    concept: str,
    reference: str,
    *,
    many: bool = False,
    several: tuple[str, ...] = (),
    choice: bool = False,
) -> Step:
    """A CodeableReference that is two elements elsewhere: `reason`, and `reasonCode` with `reasonReference`.

    Those of the two that `several` names are lists. Of a choice only the concept is there if there are both.
    """

    def turn(given: Members) -> Members:
        items = _dicts(given.get(element))
        made = {
            concept: [item["concept"] for item in items if "concept" in item],
            reference: [item["reference"] for item in items if "reference" in item],
        }
        if choice and made[concept]:
            del made[reference]
        return {name: values if name in several else values[0] for name, values in made.items() if values}

    def back(given: Members) -> Members:
        items = [{"concept": value} for value in _list(given.get(concept))]
        items += [{"reference": value} for value in _list(given.get(reference))]
        one = {name: value for item in reversed(items) for name, value in item.items()}
        return {element: items if many else one} if items else {}

    return Step((element,), (concept, reference), turn, back)


def unwrapped(
    element: str, inner: str, plain: str | None = None, *, many_here: bool = False, many_there: bool = False
) -> Step:
    """Objects of which only one member has a place elsewhere: `requester.agent`, which is `requester`."""
    name_there = plain or element

    def turn(given: Members) -> Members:
        found = [item[inner] for item in _dicts(given.get(element)) if inner in item]
        return {name_there: found if many_there else found[0]} if found else {}

    def back(given: Members) -> Members:
        made = [{inner: value} for value in _list(given.get(name_there))]
        return {element: made if many_here else made[0]} if made else {}

    return Step((element,), (name_there,), turn, back)


def gathered(members: dict[str, str], into: str, *, many: bool = False) -> Step:
    """Members that are in an object of their own elsewhere, by the names that they have there."""

    def turn(given: Members) -> Members:
        inside = {members[name]: value for name, value in given.items() if name in members}
        return {into: [inside] if many else inside}

    def back(given: Members) -> Members:
        inside = next(iter(_dicts(given.get(into))), {})
        return {name: inside[there] for name, there in members.items() if there in inside}

    return Step(tuple(members), (into,), turn, back)


def coded(element: str, system: str) -> Step:
    """A code that is a CodeableConcept elsewhere."""

    def turn(given: Members) -> Members:
        return {element: {"coding": [{"system": system, "code": given[element]}]}} if element in given else {}

    def back(given: Members) -> Members:
        codings = _dicts(next(iter(_dicts(given.get(element))), {}).get("coding"))
        codes = [coding["code"] for coding in codings if coding.get("system") == system and "code" in coding]
        return {element: codes[0]} if codes else {}

    return Step((element, f"_{element}"), (element,), turn, back)


def identified() -> Step:
    """`MessageHeader.response.identifier`, an Identifier in R5 and an id before."""

    def turn(given: Members) -> Members:
        value = next(iter(_dicts(given.get("identifier"))), {}).get("value")
        plain = value.removeprefix(_UUID) if isinstance(value, str) else ""
        return {"identifier": plain} if _ID.fullmatch(plain) else {}

    def back(given: Members) -> Members:
        return {"identifier": {"value": given["identifier"]}} if "identifier" in given else {}

    return Step(("identifier",), ("identifier", "_identifier"), turn, back)


def either(first: str, second: str, first_there: str, second_there: str) -> Step:
    """Two elements that are one choice elsewhere: the first if it is there."""

    def turn(given: Members) -> Members:
        if first in given:
            return {first_there: given[first]}
        return {second_there: _list(given[second])[0]} if _list(given.get(second)) else {}

    def back(given: Members) -> Members:
        made = {first: given[first_there]} if first_there in given else {}
        return made | ({second: [given[second_there]]} if second_there in given else {})

    return Step((first, second), (first_there, second_there), turn, back)


def mapped(element: str, values: dict[Any, Any], plain: str | None = None) -> Step:
    """An element whose values are others elsewhere, for each its own; one of another value is not there."""
    name_there = plain or element
    others = {there: here for here, there in values.items()}

    def turn(given: Members) -> Members:
        return _mapped(given.get(element), name_there, values)

    def back(given: Members) -> Members:
        return _mapped(given.get(name_there), element, others)

    return Step((element,), (name_there,), turn, back)


def _mapped(value: Any, name: str, values: dict[Any, Any]) -> Members:
    return {name: values[value]} if isinstance(value, (str, bool)) and value in values else {}


def recoded(element: str, forth: dict[str, str], back: dict[str, str] | None = None) -> Step:
    """A code of which some values are others elsewhere; those that are not named are the same."""
    others = {there: here for here, there in forth.items()} if back is None else back

    def turned(given: Members, codes: dict[str, str]) -> Members:
        value = given.get(element)
        return {element: codes.get(value, value) if isinstance(value, str) else value}

    return Step(
        (element,),
        (element,),
        lambda given: turned(given, forth) if element in given else {},
        lambda given: turned(given, others) if element in given else {},
    )


def received_by() -> Step:
    """`MessageHeader.receiver`, which is said of each destination since R4."""

    def turn(given: Members) -> Members:
        destinations = given.get("destination")
        is_list = isinstance(destinations, list) and all(isinstance(item, dict) for item in destinations)
        if "receiver" not in given or not destinations or not is_list:
            return {name: value for name, value in given.items() if name == "destination"}
        first, *others = destinations
        return {"destination": [{**first, "receiver": given["receiver"]}, *others]}

    def back(given: Members) -> Members:
        destinations = _dicts(given.get("destination"))
        if not destinations or "receiver" not in destinations[0]:
            return given
        first = {name: value for name, value in destinations[0].items() if name != "receiver"}
        return {"receiver": destinations[0]["receiver"], "destination": [first, *destinations[1:]]}

    return Step(("receiver", "destination"), ("destination",), turn, back)


def sorted_by_type(element: str, places: dict[str, str]) -> Step:
    """A list of {type, target} that is a list for each type elsewhere: `Observation.related`."""

    def turn(given: Members) -> Members:
        made: Members = {}
        for item in _dicts(given.get(element)):
            place = places.get(str(item.get("type")))
            if place and "target" in item:
                made.setdefault(place, []).append(item["target"])
        return made

    def back(given: Members) -> Members:
        items = [
            {"type": kind, "target": target} for kind, place in places.items() for target in _list(given.get(place))
        ]
        return {element: items} if items else {}

    return Step((element,), tuple(places.values()), turn, back)


def _dicts(value: Any) -> list[Members]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _list(value: Any) -> list[Any]:
    """The items of a list; else the value alone, if there is one."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
