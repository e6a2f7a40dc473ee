"""Which messages of the inbox, or entries of the outbox, an operator means."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.store.schema import lane_key, message, outbox, resource_version

reply = outbox.alias("reply")
_REPLY = sa.and_(
    reply.c.message_id == message.c.id, sa.text("reply.kind = 'reply'"), sa.text("reply.resent_of IS NULL")
)
with_reply = message.outerjoin(reply, _REPLY)
"""The messages, each with its reply, where it has one: as `reply`."""
BEFORE = sa.case(
    (message.c.state != "done", message.c.state), else_=sa.func.coalesce(reply.c.response_code, "response")
)
"""What has become of a message: new, failed or dead; the code of its reply; response: it is one itself."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is meant; of each that is given, any will do, and all that are given must fit. Nothing given: everything.

    `since` and `until` (which is not included) are of its receipt, or for the outbox of when it was written. `partners`
    are names of partners, their endpoints, or `Message.sender`s; `events` codes. `states`: new, failed, dead or done;
    for the outbox its own. `outcomes`: codes of replies. `cause` is part of what went wrong, without regard to case.
    `digests` are the keys of the business identifiers of Tasks, `tasks` their ids here. `ids` are numbers of the inbox,
    or of the outbox, or ids of Bundles and MessageHeaders. `kinds` are of the outbox: reply, message, notification.
    """

    since: datetime | None = None
    until: datetime | None = None
    partners: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    cause: str | None = None
    identifiers: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """What was read in place of the inbox, and the SHA-256 of it."""

    @property
    def given(self) -> dict[str, Any]:
        """The fields that say something."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}


def of_inbox(selection: Selection) -> list[sa.ColumnElement[bool]]:
    """The conditions on `with_reply`. What was deliberately carried out again is meant only where its id is given."""
    c, given = message.c, selection
    return [
        *_received(c.received_at, given),
        *_if(given.partners, sa.or_(c.partner.in_(given.partners), c.sender.in_(given.partners), _has_sent(given))),
        *_if(given.events, c.event_code.in_(given.events)),
        *_if(given.states, c.state.in_(given.states)),
        *_if(given.outcomes, reply.c.response_code.in_(given.outcomes)),
        *_if(given.cause, _has_cause(given.cause or "")),
        *_in_lanes(c.lane, given),
        _is_one(given.ids, c.id, c.bundle_id, c.header_id) if given.ids else c.replay_of.is_(None),
    ]


def of_outbox(selection: Selection) -> list[sa.ColumnElement[bool]]:
    """The conditions on the outbox; what sends another entry again is meant only where its id is given."""
    c, given = outbox.c, selection
    answers = sa.or_(c.response_code.in_(given.outcomes), c.closed_code.in_(given.outcomes))
    return [
        *_received(c.created_at, given),
        *_if(given.partners, sa.or_(c.recipient.in_(given.partners), c.party.in_(given.partners), _is_at(given))),
        *_if(given.events, c.event_code.in_(given.events)),
        *_if(given.kinds, c.kind.in_(given.kinds)),
        *_if(given.states, c.state.in_(given.states)),
        *_if(given.outcomes, answers),
        *_if(given.cause, _contains(c.error, given.cause or "")),
        *_in_lanes(c.lane, given),
        _is_one(given.ids, c.id, c.bundle_id, c.header_id) if given.ids else c.resent_of.is_(None),
    ]


def _if(given: object, condition: sa.ColumnElement[bool]) -> list[sa.ColumnElement[bool]]:
    return [condition] if given else []


def _received(column: sa.Column[datetime], given: Selection) -> list[sa.ColumnElement[bool]]:
    since = [column >= given.since] if given.since else []
    return since + ([column < given.until] if given.until else [])


def _is_at(selection: Selection) -> sa.ColumnElement[bool]:
    """At an address of a partner's elsewhere, as `gateway.recipients` writes it."""
    return sa.or_(
        sa.false(), *(outbox.c.recipient.startswith(f"{one} at ", autoescape=True) for one in selection.partners)
    )


def _has_sent(selection: Selection) -> sa.ColumnElement[bool]:
    """By the first word of what a sender is known by, its endpoint."""
    starts = (message.c.sender.startswith(f"{one} ", autoescape=True) for one in selection.partners)
    return sa.or_(sa.false(), *starts)


def _has_cause(cause: str) -> sa.ColumnElement[bool]:
    """In the error of what failed, or in the reply of what was refused: an issue's code, or any of its text."""
    c = message.c
    in_error = sa.or_(_contains(c.error, cause), _contains(c.first_error, cause))
    is_refused = sa.and_(reply.c.response_code != "ok", _Position(reply.c.content, cause.encode()) > 0)
    return sa.or_(in_error, is_refused)


def _contains(column: sa.ColumnElement[str], text: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(column).contains(text.lower(), autoescape=True)


class _Position(sa.ColumnElement[int]):
    """Where some bytes begin in others, from 1; 0: they are not in them."""

    type = sa.Integer()
    inherit_cache = False

    def __init__(self, within: sa.ColumnElement[bytes], part: bytes) -> None:
        self.within = within
        self.part = sa.literal(part, sa.LargeBinary)


@compiles(_Position, "sqlite")
def _instr(element: _Position, compiler: SQLCompiler, **given: Any) -> str:
    return f"instr({compiler.process(element.within, **given)}, {compiler.process(element.part, **given)})"


@compiles(_Position, "postgresql")
def _position(element: _Position, compiler: SQLCompiler, **given: Any) -> str:
    return f"position({compiler.process(element.part, **given)} IN {compiler.process(element.within, **given)})"


def _in_lanes(column: sa.Column[Any], selection: Selection) -> list[sa.ColumnElement[bool]]:
    """In the lanes of Tasks that are named by business identifiers, or by their ids here."""
    wanted: list[sa.Select[Any]] = []
    if selection.digests:
        digests = [bytes.fromhex(digest) for digest in selection.digests]
        wanted.append(sa.select(lane_key.c.lane).where(lane_key.c.digest.in_(digests)))
    if selection.tasks:
        made = sa.select(resource_version.c.message_id).where(resource_version.c.resource_id.in_(selection.tasks))
        wanted.append(sa.select(message.c.lane).where(message.c.id.in_(made)))
    return [sa.or_(*(column.in_(lanes) for lanes in wanted))] if wanted else []


def _is_one(ids: tuple[str, ...], number: sa.Column[int], *names: sa.Column[Any]) -> sa.ColumnElement[bool]:
    numbers = [int(one) for one in ids if one.isascii() and one.isdigit() and len(one) <= 18]
    return sa.or_(number.in_(numbers), *(name.in_(ids) for name in names))
