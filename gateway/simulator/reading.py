"""How a played partner reads what it is sent: by the words of its network, in `templates/<dialect>/words.toml`.

It is told nothing by the gateway's own dialects: what these write is read here as a partner's software would.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gateway.fhir.json import Resource
from gateway.fhir.task.outcomes import Outcome

Quotes = Literal["header", "bundle", "bundle-identifier"]
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class Place:
    """A resource of a message, and a value in it: `path` is dotted. In `where` each path has one of the values, in
    `unless` none has."""

    type: str
    path: str = ""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def resources(self, message: Resource) -> Iterator[Resource]:
        """Those of the message that are meant."""
        for resource in resources_in(message):
            if resource.get("resourceType") == self.type and self._fits(resource):
                yield resource

    def find(self, message: Resource) -> Any:
        """The first value there."""
        return next((value for one in self.resources(message) for value in values_at(one, self.path)), None)

    def _fits(self, resource: Resource) -> bool:
        return all(_has(resource, path, wanted) for path, wanted in self.where.items()) and not any(
            _has(resource, path, unwanted) for path, unwanted in self.unless.items()
        )


@dataclass(frozen=True, slots=True)
class Word:
    """What a message says when all that is asked for fits: its event, one resource, the status of HTTP.

    `means` is the simulator's own word for it, `word` the network's.
    """

    means: str
    word: str
    place: Place | None = None
    event: tuple[str, ...] = ()
    http: tuple[int, ...] = ()

    def fits(self, message: Resource | None, status: int | None) -> bool:
        if self.http and status not in self.http:
            return False
        if message is None:
            return self.place is None and not self.event
        if self.event and event_of(message) not in self.event:
            return False
        return self.place is None or next(self.place.resources(message), None) is not None


@dataclass(frozen=True, slots=True)
class Words:
    """What a network's messages say: to a fulfiller (order, cancellation, cancelled), to a placer (how an order goes
    on), and of a cancellation (the outcomes of the gateway). `values` are what is read to be said again; `quotes` is
    what a response quotes of a message."""

    order_system: str
    quotes: Quotes
    values: Mapping[str, tuple[Place, ...]]
    fulfiller: tuple[Word, ...]
    placer: tuple[Word, ...]
    outcome: tuple[Word, ...]

    def read(self, name: str, message: Resource) -> tuple[str, str] | None:
        """The Identifier (system, value) that a message has as one of the `values`."""
        for place in self.values.get(name, ()):
            found = place.find(message)
            if isinstance(found, dict) and isinstance(found.get("value"), str):
                return str(found.get("system", "")), found["value"]
        return None

    def quoted(self, message: Resource) -> str:
        """What a response to a message quotes of it."""
        identifier = message.get("identifier")
        if self.quotes == "bundle-identifier" and isinstance(identifier, dict):
            return str(identifier.get("value", ""))
        own = header_of(message).get("id") if self.quotes == "header" else None
        return str(own or message.get("id", ""))


def dialects() -> list[str]:
    """The dialects that can be played."""
    return sorted(path.parent.name for path in TEMPLATES.glob("*/words.toml"))


def read_words(dialect: str) -> Words:
    said = tomllib.loads((TEMPLATES / dialect / "words.toml").read_text())
    fulfiller, placer, outcome = (tuple(map(_word, said.get(name, ()))) for name in ("fulfiller", "placer", "outcome"))
    return Words(
        said["order_system"],
        said.get("quotes", "header"),
        {name: tuple(map(_place, places)) for name, places in said.get("value", {}).items()},
        fulfiller,
        placer,
        tuple(_in_our_words(said.get("outcome_codes", ()))) + outcome,
    )


def find_word(words: Sequence[Word], message: Resource | None, status: int | None = None) -> Word | None:
    """The first that fits; `message` is None where nothing was in the body."""
    return next((word for word in words if word.fits(message, status)), None)


def resources_in(message: Resource) -> Iterator[Resource]:
    """The resources of a Bundle; one that is no Bundle is alone."""
    if message.get("resourceType") != "Bundle":
        yield message
        return
    for entry in message.get("entry", []):
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            yield entry["resource"]


def header_of(message: Resource | None) -> Resource:
    """The MessageHeader; empty where there is none."""
    found = resources_in(message) if message else ()
    return next((one for one in found if one.get("resourceType") == "MessageHeader"), {})


def event_of(message: Resource) -> str | None:
    header = header_of(message)
    coding = header.get("eventCoding")
    said = coding.get("code") if isinstance(coding, dict) else header.get("eventUri")
    return said if isinstance(said, str) else None


def response_of(message: Resource | None) -> tuple[str, str] | None:
    """What a message quotes and its code, where it is a response."""
    response = header_of(message).get("response")
    if not isinstance(response, dict):
        return None
    quoted = response.get("identifier")
    said = quoted.get("value") if isinstance(quoted, dict) else quoted
    return str(said or ""), str(response.get("code", ""))


def values_at(value: Any, path: str) -> Iterator[Any]:
    """What is at a dotted path, through lists."""
    if isinstance(value, list):
        for item in value:
            yield from values_at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        name, _, rest = path.partition(".")
        yield from values_at(value.get(name), rest)


def _has(resource: Resource, path: str, wanted: Sequence[str]) -> bool:
    return any(_fits(value, one) for value in values_at(resource, path) for one in wanted)


def _fits(value: Any, wanted: str) -> bool:
    """`*` at its end stands for anything."""
    return value == wanted or (wanted.endswith("*") and isinstance(value, str) and value.startswith(wanted[:-1]))


def _place(said: Mapping[str, Any]) -> Place:
    conditions = ({path: tuple(each) for path, each in said.get(name, {}).items()} for name in ("where", "unless"))
    return Place(said["type"], said.get("path", ""), *conditions)


def _in_our_words(places: Sequence[Mapping[str, Any]]) -> Iterator[Word]:
    """The gateway's own outcomes, where a network has them as they are: `path` is where their code is."""
    for said in places:
        place = _place(said)
        for code in Outcome:
            yield Word(code, code, replace(place, where={**place.where, place.path: (code.value,)}))


def _word(said: Mapping[str, Any]) -> Word:
    place = _place(said) if "type" in said else None
    word = said.get("word", said["means"])
    return Word(said["means"], word, place, tuple(said.get("event", ())), tuple(said.get("http", ())))
