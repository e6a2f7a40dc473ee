"""The partners: the parties that a site has registered, what they are known by, and how they are told of changes.

A party is known by names: its business identifiers (`system|value`), the endpoints that its messages come from, and the
resources that the gateway keeps of it (`Organization/…`). Two sets of names with one in common mean one party. What a
partner is known by is what is registered, and nothing else: docs/partners.md says why.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.keys import UnfitError, one_of, truth
from gateway.fhir.message import is_uri
from gateway.settings import SettingsError

Names = frozenset[str]
Tell = Literal["message", "subscription", "nothing"]
Content = Literal["empty", "id-only", "full-resource"]
Format = Literal["json", "xml"]

OWN = Path("conf/partners")
"""The default of the setting `partners`: it may be missing."""
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a notification to a partner says of the subscription that it answers.

    `reference` is its url, or its id on this gateway; `content` is how much of a Task a notification has.
    """

    reference: str
    topic: str
    content: Content = "id-only"


@dataclass(frozen=True, slots=True)
class Partner:
    """A registered party: what it is known by, and how it is told of changes (`tell`, in this version and format).

    The first of `identifiers` is what it is called by, the first of `endpoints` where what is sent to it goes.
    `accepts_cancellation` is whether it agrees at once to whatever cancellation its placers ask for.
    """

    name: str
    identifiers: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    tell: Tell = "message"
    version: Version = "R4"
    format: Format = "json"
    accepts_cancellation: bool = False
    subscription: Subscription | None = None

    @property
    def names(self) -> Names:
        return frozenset((*self.identifiers, *self.endpoints))


@dataclass(frozen=True)
class Partners:
    """The partners there are, found by any of their names."""

    partners: tuple[Partner, ...] = ()
    _by_name: Mapping[str, Partner] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {name: partner for partner in self.partners for name in partner.names})

    def all(self, names: Iterable[str]) -> frozenset[Partner]:
        """The partners that have these names."""
        return frozenset(self._by_name[name] for name in names if name in self._by_name)

    def find(self, names: Iterable[str]) -> Partner | None:
        """The one partner that has some of these names; None where there is none, and where there are several."""
        found = self.all(names)
        return next(iter(found)) if len(found) == 1 else None

    def recognise(self, names: Names) -> Names:
        """What a party with these names is known by: a partner by what is registered, another party by all of them.

        Who has names of two partners is neither of them, and known by nothing.
        """
        found = self.all(names)
        if not found:
            return names
        return next(iter(found)).names if len(found) == 1 else frozenset()


def load(paths: Iterable[Path]) -> Partners:
    """The partners in TOML files and in directories of such. Raises SettingsError with every fault in them."""
    wrong: list[str] = []
    found: list[tuple[str, Partner]] = []
    for file in [file for path in paths for file in _files(path, wrong)]:
        found += _read_file(file, wrong)
    wrong += _shared(found)
    if wrong:
        raise SettingsError(*wrong)
    return Partners(tuple(partner for _, partner in found))


def _files(path: Path, wrong: list[str]) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.toml"))
    if path.exists():
        return [path]
    if path != OWN:
        wrong.append(f"{path} is not there. Let the setting `partners` name files and directories that are.")
    return []


# --- what a key may hold: each reader turns a TOML value into the partner's own, or raises UnfitError ----------------


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise UnfitError("a text that is not empty, on one line")
    return value.strip()


def _uri(value: Any) -> str:
    if not isinstance(value, str) or not is_uri(value) or ":" not in value or value.startswith(OWN_SYSTEMS):
        raise UnfitError(f"a url or a urn without white space, none that begins with {OWN_SYSTEMS}")
    return value


def _identifier(value: Any) -> str:
    system, _, code = value.partition("|") if isinstance(value, str) else ("", "", "")
    try:
        return f"{_uri(system)}|{_text(code)}"
    except UnfitError:
        raise UnfitError("a business identifier as system|value, the system a url or a urn") from None


def _endpoint(value: Any) -> str:
    if "|" in (url := _uri(value)):
        raise UnfitError("a url or a urn without | in it")
    return url


def _reference(value: Any) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    try:
        return _uri(value)
    except UnfitError:
        raise UnfitError("the url of a Subscription, or its id on this gateway") from None


def _list_of(read_one: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise UnfitError("a list that is not empty")
        try:
            return tuple(dict.fromkeys(read_one(item) for item in value))
        except UnfitError as wrong:
            raise UnfitError(f"a list, each {wrong}") from None

    return read


Keys = Mapping[str, tuple[Callable[[Any], Any], bool]]

SUBSCRIPTION: Keys = {
    "reference": (_reference, True),
    "topic": (_uri, True),
    "content": (one_of(*get_args(Content)), False),
}
PARTNER: Keys = {
    "name": (_text, True),
    "identifiers": (_list_of(_identifier), True),
    "endpoints": (_list_of(_endpoint), False),
    "tell": (one_of(*get_args(Tell)), False),
    "version": (one_of(*VERSIONS), False),
    "format": (one_of(*get_args(Format)), False),
    "accepts_cancellation": (truth, False),
    "subscription": (lambda value: value, False),
}
"""The keys there are, what each may hold, and whether it must be there."""


def _read_file(file: Path, wrong: list[str]) -> Iterator[tuple[str, Partner]]:
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        wrong.append(f"{file} is not TOML: {error}.")
        return
    except (OSError, UnicodeDecodeError) as error:
        wrong.append(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.")
        return
    listed = said.pop("partner", [])
    if said or not isinstance(listed, list):
        unknown = ", ".join(said) or "partner"
        wrong.append(f"{file} has {unknown} at its top. Write [[partner]] before each partner, and nothing else there.")
    for number, one in enumerate(listed if isinstance(listed, list) else []):
        place = f"{file}, partner {number + 1}"
        if (partner := _read(one, place, wrong)) is not None:
            yield place, partner


def _read(said: Any, place: str, wrong: list[str]) -> Partner | None:
    before = len(wrong)
    values = _values(said, PARTNER, place, wrong)
    if "subscription" in values:
        inner = _values(values["subscription"], SUBSCRIPTION, f"{place}, subscription", wrong)
        values["subscription"] = Subscription(**inner) if len(wrong) == before else None
    if len(wrong) > before:
        return None
    partner = Partner(**values)
    wrong += _contradictions(partner, place)
    return partner


def _values(said: Any, keys: Keys, place: str, wrong: list[str]) -> dict[str, Any]:
    if not isinstance(said, dict):
        wrong.append(f"{place} is no table. Write each key as: name = …")
        return {}
    values: dict[str, Any] = {}
    for key, value in said.items():
        if key not in keys:
            near = get_close_matches(key, keys, n=1, cutoff=0.6)
            instead = f"Did you mean {near[0]}?" if near else f"It has {', '.join(keys)}."
            wrong.append(f"{place}: {key} is no key of a partner. {instead}")
            continue
        try:
            values[key] = keys[key][0](value)
        except UnfitError as says:
            wrong.append(f"{place}: {key} is {value!r}, but takes {says}.")
    missing = [key for key, (_, is_required) in keys.items() if is_required and key not in said]
    wrong += [f"{place}: {key} is missing. Write it." for key in missing]
    return values


def _contradictions(partner: Partner, place: str) -> Iterator[str]:
    if partner.tell != "nothing" and not partner.endpoints:
        yield f'{place}: tell is {partner.tell}, but it has no endpoints to send to. Write them, or tell = "nothing".'
    if partner.tell == "subscription" and partner.subscription is None:
        yield f"{place}: it is told by subscription. Write [partner.subscription] with its reference and topic."
    if partner.tell != "subscription" and partner.subscription is not None:
        yield f'{place}: it has a subscription, but tell is {partner.tell}. Write tell = "subscription", or neither.'
    if partner.tell == "subscription" and partner.version == "STU3":
        yield f"{place}: STU3 has no topic-based subscriptions. Write another version, or another tell."


def _shared(found: Iterable[tuple[str, Partner]]) -> Iterator[str]:
    first: dict[tuple[str, str], str] = {}
    for place, partner in found:
        names = [("name", partner.name), *(("identifier", one) for one in partner.identifiers)]
        for what, name in (*names, *(("endpoint", one) for one in partner.endpoints)):
            other = first.setdefault((what, name), place)
            if other != place:
                yield f"{place}: the {what} {name} is that of {other} too. A partner is told from all others by it."
