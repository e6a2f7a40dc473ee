"""The partners in force, as the database has them, and every way to change them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import orjson
import structlog

from gateway.partners import document
from gateway.partners.contradictions import find_forbidden
from gateway.partners.document import Document
from gateway.partners.model import Partner, Partners, State
from gateway.settings import SettingsError
from gateway.store import admission, circuits, deliveries, subscriptions
from gateway.store import partners as kept
from gateway.store.database import Connection, Database
from gateway.store.partners import Change, Row

log = structlog.get_logger()

_LOOK_EVERY = 1.0
_STATES: Mapping[State, str] = {"active": "resumed", "paused": "paused", "blocked": "blocked"}


class UnknownPartnerError(Exception):
    """There is no partner with this name; the text says what to do."""


class OutdatedError(Exception):
    """The partner has changed since the caller looked; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A partner as it is kept; `document` is as `document.write` makes it."""

    name: str
    document: Document
    version: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class _Step:
    """What becomes of one partner: its document after it (None: it goes), and what that is called."""

    name: str
    after: Document | None
    what: str


Rows = Mapping[str, Row]


class Directory:
    """The partners of a database, for many threads. `loopback`: their addresses may be on this machine.

    What others have changed is seen within `look_every` seconds, what is changed here at once. No transaction of the
    thread may be open. Everything raises DatabaseUnavailable.
    """

    def __init__(self, database: Database, *, loopback: bool, look_every: float = _LOOK_EVERY) -> None:
        self._database = database
        self._loopback = loopback
        self._look_every = look_every
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._revision = -1
        self._partners = Partners()

    # --- who they are ------------------------------------------------------------------------------------------------

    def current(self) -> Partners:
        """All that can be read; one that cannot is left out, and logged: who it is cannot be told."""
        if time.monotonic() < self._look_at:
            return self._partners
        with self._lock:
            if time.monotonic() >= self._look_at:
                self._look()
                self._look_at = time.monotonic() + self._look_every
        return self._partners

    def _look(self) -> None:
        with self._database.reading() as connection:
            revision = kept.revision(connection)
            if revision == self._revision:
                return
            rows = kept.read_all(connection)
        wrong: list[str] = []
        found = [partner for row in rows if (partner := _partner_of(row, wrong)) is not None]
        for sentence in wrong:
            log.error("partner left out", cause=sentence)
        self._partners, self._revision = Partners(tuple(found)), revision

    def is_new(self) -> bool:
        """Whether there has never been a partner."""
        with self._database.reading() as connection:
            return kept.revision(connection) == 0

    def find_faults(self) -> list[str]:
        """What is wrong with the partners that are kept: with another version, they may not be readable."""
        wrong: list[str] = []
        for row in self._rows():
            _partner_of(row, wrong)
        return wrong

    def all(self) -> list[Registered]:
        """All of them, by name."""
        return [_registered(row) for row in self._rows()]

    def get(self, name: str) -> Registered:
        """Raises UnknownPartnerError."""
        with self._database.reading() as connection:
            row = kept.find(connection, name)
        return _registered(row) if row is not None else _registered(_get({one.name: one for one in self._rows()}, name))

    def changes(self, name: str, limit: int, before: int | None = None) -> list[Change]:
        """What was done to a partner, the last first, to one that is gone too."""
        with self._database.reading() as connection:
            return kept.read_changes(connection, name, limit, before)

    def _rows(self) -> list[Row]:
        with self._database.reading() as connection:
            return kept.read_all(connection)

    # --- what is changed: each raises SettingsError with every fault, and is audited as done `by` somebody -----------

    def add(self, said: Any, by: str) -> Registered:
        partner = _read(said, "The partner")

        def steps(rows: Rows) -> list[_Step]:
            if partner.name in rows:
                raise SettingsError(f"There is a partner {partner.name} already. Change it, or choose another name.")
            return [_Step(partner.name, document.write(partner), "added")]

        return self._take(steps, by)[partner.name]

    def put(self, name: str, said: Any, by: str, version: int | None = None) -> Registered:
        """The whole document anew. Raises UnknownPartnerError, OutdatedError."""
        return self._change(name, lambda _before: said, "changed", by, version)

    def change(self, name: str, patch: Mapping[str, Any], by: str, version: int | None = None) -> Registered:
        """By a JSON merge patch. Raises UnknownPartnerError, OutdatedError."""
        return self._change(name, lambda before: document.merged(before, patch), "changed", by, version)

    def set_state(self, name: str, state: State, by: str, version: int | None = None) -> Registered:
        """Raises UnknownPartnerError, OutdatedError."""
        patch = {"state": None if state == "active" else state}
        return self._change(name, lambda before: document.merged(before, patch), _STATES[state], by, version)

    def remove(self, name: str, by: str, version: int | None = None) -> None:
        """Its keys, tokens and subscriptions go with it, and what is due to it is set aside.

        Raises UnknownPartnerError, OutdatedError.
        """

        def steps(rows: Rows) -> list[_Step]:
            _expect(_get(rows, name), version)
            return [_Step(name, None, "removed")]

        self._take(steps, by)

    def bring_in(self, found: Iterable[tuple[str, Partner]], by: str, *, only_first: bool = False) -> list[str]:
        """Adds and changes partners as files have them, and returns the names of those that this concerned.

        `only_first`: nothing, where there has ever been a partner. A state that a file does not tell stays.
        """
        found = list(found)

        def steps(rows: Rows) -> list[_Step]:
            return [
                _Step(name, after, "changed" if name in rows else "added")
                for name, after in _wanted(rows, found).items()
                if name not in rows or after != orjson.loads(rows[name].document)
            ]

        return list(self._take(steps, by, only_first=only_first))

    def differences(self, found: Iterable[tuple[str, Partner]]) -> list[tuple[str, Document | None, Document | None]]:
        """Where files differ from what is kept: each partner's name, document in the files, and document here."""
        rows = {row.name: row for row in self._rows()}
        wanted: dict[str, Document | None] = {**dict.fromkeys(rows), **_wanted(rows, list(found))}
        here = {name: orjson.loads(row.document) for name, row in rows.items()}
        return [(name, said, here.get(name)) for name, said in sorted(wanted.items()) if said != here.get(name)]

    def _change(
        self, name: str, make: Callable[[Document], Any], what: str, by: str, version: int | None
    ) -> Registered:
        def steps(rows: Rows) -> list[_Step]:
            row = _get(rows, name)
            _expect(row, version)
            partner = _read(make(orjson.loads(row.document)), name)
            if partner.name != name:
                text = f"{name}: its name cannot become {partner.name}. Remove it and add the other, or keep the name."
                raise SettingsError(text)
            after = document.write(partner)
            return [_Step(name, after, what)] if after != orjson.loads(row.document) else []

        return self._take(steps, by).get(name) or self.get(name)

    def _take(
        self, make: Callable[[Rows], Sequence[_Step]], by: str, *, only_first: bool = False
    ) -> dict[str, Registered]:
        """Takes the steps that are made of what there is, in one transaction with the checks over all partners."""
        taken: dict[str, Registered] = {}
        with self._database.transaction() as connection:
            kept.lock(connection)
            if not only_first or kept.revision(connection) == 0:
                rows = {row.name: row for row in kept.read_all(connection)}
                steps = make(rows)
                self._refuse_faults(rows, steps)
                for step in steps:
                    row = _record(connection, rows.get(step.name), step, by, datetime.now(UTC))
                    if row is not None:
                        taken[step.name] = _registered(row)
        with self._lock:
            self._look_at = 0.0
        return taken

    def _refuse_faults(self, rows: Rows, steps: Sequence[_Step]) -> None:
        """What is wrong with one partner that stays as it is hinders nobody."""
        wrong: list[str] = []
        changed = {step.name: step.after for step in steps}
        found = [(name, _partner_of(row, [])) for name, row in rows.items() if name not in changed]
        stay = [(name, partner) for name, partner in found if partner is not None]
        new = [(name, _read(after, name)) for name, after in changed.items() if after is not None]
        for name, partner in new:
            wrong += (f"{name}: {sentence}" for sentence in find_forbidden(partner, loopback=self._loopback))
        wrong += document.find_shared([*stay, *new])
        if wrong:
            raise SettingsError(*wrong)


def _record(connection: Connection, before: Row | None, step: _Step, by: str, at: datetime) -> Row | None:
    """Keeps what one step leaves, and that it was taken."""
    after = orjson.dumps(step.after).decode() if step.after is not None else None
    row = None
    if after is None:
        kept.remove(connection, step.name)
        admission.expire_keys(connection, step.name, at)
        admission.expire_tokens(connection, step.name)
        _abandon(connection, step.name)
    else:
        row = Row(step.name, after, before.version + 1 if before else 1, at)
        kept.keep(connection, row)
    kept.record(connection, Change(step.name, at, by, step.what, before.document if before else None, after))
    return row


def _abandon(connection: Connection, name: str) -> None:
    """What a partner has not got, and its subscriptions: who has its name later is to have nothing of them."""
    its = subscriptions.hold_its(connection, name)
    recipients = sorted({name, *(row.recipient for row in its)})
    deliveries.abandon(connection, recipients, f"{name} was removed.")
    circuits.forget(connection, recipients)
    subscriptions.remove(connection, [name, *(row.id for row in its)])


def _wanted(rows: Rows, found: Sequence[tuple[str, Partner]]) -> dict[str, Document]:
    """The documents that files ask for. Whom the operator has paused or blocked, no file frees that is silent."""
    wanted = {}
    for _, partner in found:
        row = rows.get(partner.name)
        state: State = orjson.loads(row.document).get("state", "active") if row is not None else "active"
        wanted[partner.name] = document.write(replace(partner, state=state) if partner.state == "active" else partner)
    return wanted


def _read(said: Any, place: str) -> Partner:
    wrong: list[str] = []
    partner = document.read(said, place, wrong)
    if partner is None:
        raise SettingsError(*wrong)
    return partner


def _partner_of(row: Row, wrong: list[str]) -> Partner | None:
    return document.read(orjson.loads(row.document), row.name, wrong)


def _registered(row: Row) -> Registered:
    return Registered(row.name, orjson.loads(row.document), row.version, row.updated_at)


def _get(rows: Rows, name: str) -> Row:
    if name in rows:
        return rows[name]
    near = get_close_matches(name, rows, n=1)
    instead = f"Did you mean {near[0]}?" if near else "`fhir-gateway partners list` has all there are."
    raise UnknownPartnerError(f"There is no partner {name}. {instead}")


def _expect(row: Row, version: int | None) -> None:
    if version is not None and row.version != version:
        text = f"{row.name} has changed meanwhile: it has version {row.version}, not {version}. Look at it again."
        raise OutdatedError(text)
