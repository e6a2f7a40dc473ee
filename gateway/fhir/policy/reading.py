"""A policy pack as TOML, read into what it says: each fault is a sentence with file, place and remedy.

docs/policies.md describes the form; the tables of keys below are what there is and what each takes. What the parts of a
pack must have of each other is in `soundness`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from gateway.fhir import definitions
from gateway.fhir.keys import Keys, Reader, UnfitError, advice, matching, one_of, text, truth
from gateway.fhir.policy import soundness
from gateway.fhir.policy.model import STATUSES, Effect, Expiry, Machine, Policy, Role, Roles

_LONGEST_HOLD = 30 * 24 * 3600
_LONGEST_GRACE = 366 * 24 * 3600
_STATE = re.compile(r"([a-z-]+)(?:/(\S+))?")
_RULED = ("status", "intent", "requester", "for", "basedOn", "partOf", "focus", "identifier", "id", "meta")
"""Elements of a Task whose rules are not those of `fields`."""


# --- what a key may hold ----------------------------------------------------------------------------------------------


def _seconds(most: int) -> Callable[[Any], timedelta]:
    def read(value: Any) -> timedelta:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise UnfitError(f"a number of seconds from 0 to {most}")
        return timedelta(seconds=value)

    return read


def _table(says: str) -> Callable[[Any], dict[str, Any]]:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise UnfitError(f"a table, {says}")
        return value

    return read


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise UnfitError('a list of tables, like [{ from = ["requested"], to = ["accepted"], by = ["fulfiller"] }]')
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise UnfitError('a list of texts, like ["requested", "ready"]')
    return value


PACK: Keys = {
    "name": matching(r"[a-z][a-z0-9-]{0,31}", "a short name of small letters, digits and hyphens"),
    "title": text,
    "description": text,
    "source": text,
    "accepted": one_of(*get_args(Effect)),
    "hold": _seconds(_LONGEST_HOLD),
    "bidding": one_of("selection", "first-claim"),
    "expiry": _table("begun by [expiry]"),
    "order": _table("begun by [order]"),
    "request": _table("begun by [request]"),
}
EXPIRY: Keys = {"action": one_of("flag", "expire"), "status": text, "after": _seconds(_LONGEST_GRACE)}
MACHINE: Keys = {
    "states": _texts,
    "initial": _texts,
    "create": _texts,
    "unsettled": _texts,
    "moves": _tables,
    "fields": _table('of roles and elements, like fulfiller = ["output"]'),
    "business_system": matching(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", "an absolute address"),
    "business_status": _table('of statuses and codes, like accepted = "3.0"'),
}
MOVE: Keys = {"from": _texts, "to": _texts, "by": _texts, "on_request": truth}


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: Path, wrong: list[str]) -> Policy | None:
    """The pack that a file has; None when it cannot be used, with a sentence for each fault added to `wrong`."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        wrong.append(f"{file} is not TOML: {error}. docs/policies.md has a whole pack to begin with.")
        return None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        wrong.append(f"{file} cannot be read: {said}. Let the setting `policies` name files that can be.")
        return None
    before = len(wrong)
    policy = _Reader(file, wrong).pack(content)
    return policy if len(wrong) == before else None


class _Reader(Reader):
    """Reads one pack."""

    def pack(self, content: Mapping[str, Any]) -> Policy | None:
        place = "the pack"
        before = len(self.wrong)
        needed = ("name", "title", "accepted", "hold", "bidding", "order", "request")
        found = self.keys(content, PACK, place, needed)
        expiry = self.keys(found.get("expiry", {"action": "flag"}), EXPIRY, "expiry", ("action",))
        name = found.get("name", "")
        machines = {
            part: self.machine(f"{name} {part}", part, found[part]) for part in ("order", "request") if part in found
        }
        if len(self.wrong) > before:
            return None
        policy = Policy(
            name=name,
            title=found["title"],
            description=found.get("description", found["title"]),
            source=found.get("source", ""),
            accepted=found["accepted"],
            hold=found["hold"],
            bidding=found["bidding"],
            expiry=Expiry(expiry["action"], expiry.get("status", ""), expiry.get("after", timedelta(0))),
            **machines,
        )
        for where, sentence in soundness.faults(policy):
            self.fault(where, sentence)
        return policy

    def machine(self, name: str, place: str, written: Mapping[str, Any]) -> Machine:
        found = self.keys(written, MACHINE, place, ("states", "initial", "create", "moves"))
        states = self.states(found, place)
        moves, on_request = self.moves(found.get("moves", []), place, states)
        return Machine(
            name=name,
            states=tuple(states),
            moves=moves,
            initial=frozenset(self.among(found.get("initial", []), states, place, "initial", "state")),
            create=self.roles(found.get("create", []), place, "create"),
            on_request=on_request,
            unsettled=frozenset(self.among(found.get("unsettled", []), states, place, "unsettled", "state")),
            fields=self.fields(found.get("fields", {}), f"{place}, fields"),
            business_system=found.get("business_system"),
            business_status=self.business_status(found, f"{place}, business_status", states),
        )

    def states(self, found: Mapping[str, Any], place: str) -> list[str]:
        """The states, each once; those that are none are told of, and stay, so that moves may name them."""
        states: list[str] = list(dict.fromkeys(found.get("states", [])))
        for state in states:
            match = _STATE.fullmatch(state)
            if match is None or match[1] not in STATUSES:
                near = advice(state.partition("/")[0], STATUSES)
                self.fault(place, f"the state {state!r} is no status of a Task, nor one with a code behind it. {near}")
            elif match[2] and "business_system" not in found:
                sentence = f"the state {state} has a business status: write business_system = … too, the system of its"
                self.fault(place, f"{sentence} code.")
        for state in states:
            if found["states"].count(state) > 1:
                self.fault(place, f"the state {state} is there twice. Leave one out.")
        return states

    def moves(
        self, written: Iterable[Mapping[str, Any]], place: str, states: list[str]
    ) -> tuple[dict[str, dict[str, Roles]], dict[str, frozenset[str]]]:
        """Who may make each move, and what comes by request."""
        moves: dict[str, dict[str, Roles]] = {state: {} for state in states}
        on_request: dict[str, dict[str, Roles]] = {}
        first: dict[tuple[str, str, bool], int] = {}
        for number, move in enumerate(written, 1):
            where = f"{place}, move {number}"
            found = self.keys(move, MOVE, where, ("from", "to"))
            by_request = found.get("on_request", False)
            by = self.roles(found.get("by", []), where, "by")
            self.whose(where, by_request, found.get("by"))
            for old in self.among(found.get("from", []), states, where, "from", "state"):
                for new in self.among(found.get("to", []), states, where, "to", "state"):
                    other = first.setdefault((old, new, by_request), number)
                    if other != number:
                        self.fault(where, f"{old} to {new} is in move {other} already. Leave one out.")
                    if old == new:
                        self.fault(
                            where, f"{old} to {new} is no move: the same state again always may be. Leave it out."
                        )
                    (on_request if by_request else moves).setdefault(old, {})[new] = by
        return moves, {old: frozenset(new) for old, new in on_request.items()}

    def whose(self, where: str, by_request: bool, by: list[str] | None) -> None:
        if by_request and by:
            self.fault(where, "no party makes a move on request itself. Leave out by, or on_request.")
        if not by_request and by is not None and not by:
            self.fault(where, "by is empty, so that nobody makes it. Name roles, or write on_request = true.")
        if not by_request and by is None:
            self.fault(where, "by is missing. Write by = […] with the roles that make it, or on_request = true.")

    def fields(self, written: Mapping[str, Any], place: str) -> dict[str, Roles]:
        fields: dict[str, Roles] = {}
        elements = definitions.get_type("Task", "R4").fields
        readers = dict.fromkeys(Role, _texts)
        for role, named in self.keys(written, {str(role): read for role, read in readers.items()}, place).items():
            for element in self.among(named, elements, place, role, "element of a Task"):
                fields[element] = fields.get(element, frozenset()) | {Role(role)}
                if element in _RULED:
                    self.fault(place, f"{element} has rules of its own, in moves or in every pack. Leave it out.")
        return fields

    def business_status(self, found: Mapping[str, Any], place: str, states: list[str]) -> dict[str, str]:
        written = found.get("business_status", {})
        if written and "business_system" not in found:
            self.fault(place, "business_system is missing. Write the system of these codes.")
        for state, code in written.items():
            if state not in states:
                self.fault(place, f"{state} is no state. {advice(state, [s for s in states if '/' not in s])}")
            if not isinstance(code, str) or not re.fullmatch(r"\S+", code):
                self.fault(place, f'{state} is {code!r:.60}, but takes a code, like "3.0".')
        return {state: str(code) for state, code in written.items()}

    def roles(self, named: list[str], place: str, key: str) -> Roles:
        return frozenset(Role(role) for role in self.among(named, [*Role], place, key, "role"))

    def among(self, named: Iterable[str], known: Iterable[str], place: str, key: str, what: str) -> list[str]:
        """Those of the names that are known; the others are told of."""
        known, found = list(known), []
        for name in named:
            if name in known:
                found.append(name)
            else:
                self.fault(place, f"{key} has {name!r}, which is no {what}. {advice(name, known)}")
        return found
