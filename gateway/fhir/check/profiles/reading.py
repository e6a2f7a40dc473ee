"""The table of profiles as TOML, read into what it says: each fault is a sentence with file, place and remedy.

docs/profiles.md describes the form; `PROFILE`, `RULE` and `INVARIANT` below are the keys there are and what each takes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Literal, get_args

from gateway.fhir import definitions
from gateway.fhir.check.profiles import expressions, paths
from gateway.fhir.check.profiles.paths import Path, PathError
from gateway.fhir.definitions import Version
from gateway.fhir.keys import Keys, Reader, UnfitError, matching, one_of, text, truth

Strength = Literal["required", "extensible", "preferred", "example"]
ANY = "*"
"""Of a system, every code; of a maximum, any number."""
SELF = "$this"
"""In a slice's `where`, the element itself."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A FHIRPath expression that must be true of the element that it is about ("Task.input"), its key and its words."""

    key: str
    human: str
    expression: str
    severity: Literal["error", "warning"]
    about: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What a profile says of one element, or of one slice of it; `slice` names the slice that the rule declares.

    `value` is what `fixed` or `pattern` holds, `exact` tells which; `codes` has systems and their codes, the system
    "" for codes of any; `where` has the paths that tell the slice and what is there.
    """

    path: Path
    slice: str = ""
    where: tuple[tuple[Path, Any], ...] = ()
    closed: bool = False
    min: int = 0
    max: int | None = None
    value: Any = None
    exact: bool = False
    types: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    codes: Mapping[str, frozenset[str]] | None = None
    strength: Strength = "required"
    valueset: str = ""
    invariant: Invariant | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One profile as it is written; `base` is the url of the profile whose rules it has as well, or empty."""

    file: Traversable
    url: str
    name: str
    title: str
    type: str
    versions: tuple[str, ...]
    base: str
    fhir: Version
    rules: tuple[Rule, ...]


# --- what a key may hold ----------------------------------------------------------------------------------------------


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise UnfitError('a list of texts, like ["a", "b"]')
    return tuple(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnfitError("a whole number, 0 or more")
    return value


def _most(value: Any) -> int | None:
    try:
        return None if value == ANY else _whole(value)
    except UnfitError:
        raise UnfitError('a whole number, 0 or more, or "*"') from None


def _content(value: Any) -> Any:
    """What FHIR JSON can hold, which TOML's dates and times are not."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not isinstance(value, str | int | float | dict | list) or value in ("", [], {}):
        raise UnfitError('a value as FHIR JSON has it; a date is a text: "2024-05-01"')
    for item in items:
        _content(item)
    return value


def _codes(value: Any) -> Mapping[str, frozenset[str]]:
    says = 'a list of codes, ["a", "b"], or a table of systems and theirs, { "http://…" = ["a", "b"] } or = "*" for all'
    listed = value if isinstance(value, dict) else {"": value}
    try:
        codes = {system: frozenset([ANY] if its == ANY else _texts(its)) for system, its in listed.items()}
    except UnfitError:
        raise UnfitError(says) from None
    if not codes or codes == {"": {ANY}}:
        raise UnfitError(says)
    return codes


def _where(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise UnfitError('a table of paths and values, like { system = "http://…" }')
    return {path: _content(wanted) for path, wanted in value.items()}


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UnfitError("tables, each of which begins with [[profile.rule]]")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError('a table, like { key = "abc-1", human = "…", expression = "…" }')
    return value


_URL = matching(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s|]+", "an absolute address without a version")
_NAME = matching(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}", "a short name of letters, digits, dots and hyphens")
PROFILE: Keys = {
    "url": _URL,
    "name": _NAME,
    "title": text,
    "type": text,
    "versions": _texts,
    "base": _URL,
    "fhir": one_of(*definitions.TABLES),
    "rule": _tables,
}
RULE: Keys = {
    "path": text,
    "slice": matching(r"[A-Za-z0-9_-]+", "a name of letters, digits, hyphens and underscores"),
    "where": _where,
    "closed": truth,
    "min": _whole,
    "max": _most,
    "fixed": _content,
    "pattern": _content,
    "types": _texts,
    "targets": _texts,
    "profiles": _texts,
    "codes": _codes,
    "strength": one_of(*get_args(Strength)),
    "valueset": _URL,
    "invariant": _table,
}
INVARIANT: Keys = {"key": _NAME, "human": text, "expression": text, "severity": one_of("error", "warning")}


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: Traversable, wrong: list[str], trial: bool = True) -> list[Table]:
    """The profiles that a file has; what cannot be used is left out, with a sentence for each fault added to `wrong`.

    Its FHIRPath expressions are tried, unless `trial` is false: that takes the library that evaluates them.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        wrong.append(
            f"{file} is not TOML: {error}. Begin each profile with [[profile]], its rules with [[profile.rule]]."
        )
        return []
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        wrong.append(f"{file} cannot be read: {said}. Let the setting `profiles` name files that can be.")
        return []
    reader = _Reader(file, wrong, trial)
    written = reader.keys(content, {"profile": _tables}, "the file")
    return [
        table for number, each in enumerate(written.get("profile", []), 1) if (table := reader.profile(number, each))
    ]


class _Reader(Reader):
    """Reads one file of profiles; its expressions are tried where `trial` says so."""

    def __init__(self, file: Traversable, wrong: list[str], trial: bool) -> None:
        super().__init__(file, wrong)
        self.trial = trial

    def profile(self, number: int, written: Mapping[str, Any]) -> Table | None:
        place = f"profile {written.get('name', number)}"
        before = len(self.wrong)
        found = self.keys(written, PROFILE, place, ("url", "name", "type"))
        fhir: Version = found.get("fhir", "R4")
        if "type" in found and not definitions.is_resource(found["type"], fhir):
            self.fault(place, f"type is {found['type']!r}, which is no resource type of FHIR {fhir}.")
        if len(self.wrong) > before:
            return None
        rules = [
            self.rule(f"{place}, rule {index}", rule, found["type"], fhir)
            for index, rule in enumerate(found.get("rule", []), 1)
        ]
        return Table(
            file=self.file,
            url=found["url"],
            name=found["name"],
            title=found.get("title", found["name"]),
            type=found["type"],
            versions=found.get("versions", ()),
            base=found.get("base", ""),
            fhir=fhir,
            rules=tuple(rule for rule in rules if rule),
        )

    def rule(self, place: str, written: Mapping[str, Any], type_name: str, fhir: Version) -> Rule | None:
        if isinstance(written.get("path"), str):
            place = f"{place} ({written['path']})"
        before = len(self.wrong)
        found = self.keys(written, RULE, place)
        for sentence in _contradictions(found):
            self.fault(place, sentence)
        text = found.pop("path", "")
        kinds = frozenset({type_name})
        path, kinds = self._path(place, "" if text == type_name else text.removeprefix(f"{type_name}."), kinds, fhir)
        where = [
            (self._path(place, "" if key == SELF else key, kinds, fhir)[0], value)
            for key, value in found.pop("where", {}).items()
        ]
        if "invariant" in found:
            about = ".".join([type_name, *(step.name for step in path)])
            found["invariant"] = self._invariant(place, found["invariant"], about)
        value = {"value": found.pop(key), "exact": key == "fixed"} if (key := _value_key(found)) else {}
        if len(self.wrong) > before:
            return None
        return Rule(path=path, where=tuple(where), **value, **found)

    def _path(self, place: str, text: str, kinds: frozenset[str], fhir: Version) -> tuple[Path, frozenset[str]]:
        try:
            return paths.read(text, kinds, fhir)
        except PathError as error:
            self.fault(place, f"{error}.")
            return (), frozenset()

    def _invariant(self, place: str, written: Mapping[str, Any], about: str) -> Invariant | None:
        place = f"{place}, invariant"
        before = len(self.wrong)
        found = self.keys(written, INVARIANT, place, ("key", "human", "expression"))
        if len(self.wrong) > before:
            return None
        fault = expressions.fault(found["expression"], about) if self.trial else ""
        if fault:
            self.fault(place, f"expression is no FHIRPath that can be evaluated here: {fault}.")
        return Invariant(found["key"], found["human"], found["expression"], found.get("severity", "error"), about)


def _value_key(found: Mapping[str, Any]) -> str:
    return next((key for key in ("fixed", "pattern") if key in found), "")


def _contradictions(found: Mapping[str, Any]) -> Iterator[str]:
    most = found.get("max")
    if most is not None and found.get("min", 0) > most:
        yield f"min is {found['min']} and max {most}, which nothing can fulfil. Write a min that is not above max."
    if "fixed" in found and "pattern" in found:
        yield "there are both fixed and pattern. Write one: fixed is the whole value, pattern a part of it."
    if ("slice" in found) != ("where" in found):
        yield 'a slice has a name and what tells it: write both slice = "…" and where = { … }.'
    if "path" not in found and found.keys() & (RULE.keys() - {"path", "invariant"}):
        yield "path is missing: only an invariant can be about the whole resource. Write path = …"
    if ("strength" in found or "valueset" in found) and "codes" not in found:
        yield "strength and valueset are about codes: write codes = … too."
    if found.get("closed") and "slice" in found:
        yield "closed is said of the element, not of a slice: put it into a rule without slice."
