"""Reports of replays: a line for each item, in a table, CSV or JSON; or a Bundle of the responses. docs/replay.md

All of them are streamed: the memory that a report takes does not grow with the replay.
"""

from __future__ import annotations

import base64
import csv
import heapq
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import Any, Literal, get_args

import orjson

from gateway.errors import Refused
from gateway.fhir import formats, json
from gateway.replay import reporting_text
from gateway.replay.life import Replays
from gateway.replay.model import Line, Progress
from gateway.store import replay_lines
from gateway.store.database import Database
from gateway.store.replay_lines import Response, Row
from gateway.store.replays import FIRST

Form = Literal["table", "csv", "json", "bundle"]
FORMS: tuple[Form, ...] = get_args(Form)
MEDIA_TYPES: dict[Form, str] = {
    "table": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "bundle": "application/fhir+json",
}
COLUMNS = tuple(field.name for field in fields(Line))
_IN_MEMORY = 4000
_LEAST = 50
_RESPONSES = 50
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def rows(database: Database, replay_id: int, outcomes: Sequence[str] = ()) -> Iterator[Line]:
    """The lines of a replay's report in the order of receipt, or of the files; a dry run's, Task by Task.

    With `outcomes`, those that have one of them. Raises DatabaseUnavailable.
    """
    with database.reading() as connection:
        parts = replay_lines.find_parts(connection, replay_id)
    at_once = max(_LEAST, _IN_MEMORY // max(len(parts), 1))
    merged = heapq.merge(*(_part(database, replay_id, part, at_once, outcomes) for part in parts), key=_position)
    return map(_line, merged)


def _part(database: Database, replay_id: int, part: str, at_once: int, outcomes: Sequence[str]) -> Iterator[Row]:
    after = FIRST
    while True:
        with database.reading() as connection:
            found = replay_lines.lines(connection, replay_id, part, after, at_once, outcomes)
        yield from found
        if len(found) < at_once:
            return
        after = found[-1].position


def _position(row: Row) -> int:
    return row.position


def _line(row: Row) -> Line:
    arrival: dict[str, Any] = orjson.loads(row.arrival)["arrival"] if row.arrival else {}
    return Line(
        number=row.position,
        message_id=row.message_id,
        outbox_id=row.outbox_id,
        file=row.file,
        event=row.event or arrival.get("event_code"),
        sender=row.sender or arrival.get("partner") or arrival.get("sender"),
        bundle_id=row.bundle_id or arrival.get("bundle_id"),
        before=row.before,
        first_error=row.first_error,
        outcome=row.outcome,
        detail=row.detail,
        made_id=row.made_id,
        changes=orjson.loads(row.changes) if row.changes else None,
    )


def described(progress: Progress) -> dict[str, Any]:
    """A replay with how far it has come, as its JSON says it."""
    replay = progress.replay
    said = {field.name: getattr(replay, field.name) for field in fields(replay)}
    said["selection"] = {name: value for name, value in replay.selection.given.items() if name != "digests"}
    said["options"] = asdict(replay.options)
    said["forecast"] = asdict(replay.forecast) if replay.forecast else None
    return {**said, "counts": dict(progress.counts), "remaining": progress.remaining, "held": progress.held}


def write(
    form: Form, replays: Replays, replay_id: int, outcomes: Sequence[str] = (), most: int | None = None
) -> Iterator[bytes]:
    """A report, in pieces. `most`: so many lines in a table, which says where the others are.

    Raises UnknownReplayError at once; DatabaseUnavailable.
    """
    progress = replays.progress(replay_id)
    found = rows(replays.database, replay_id, outcomes)
    if form == "csv":
        return _csv(found)
    if form == "json":
        return _json(progress, found)
    if form == "bundle":
        return _bundle(replays.database, found)
    text = reporting_text.Text(progress, _kinds(replays.database, progress), most)
    lines = text.lines(lambda wanted: rows(replays.database, replay_id, wanted), outcomes)
    return (f"{line}\n".encode() for line in lines)


def _kinds(database: Database, progress: Progress) -> Sequence[tuple[str | None, str | None, int]]:
    """How many have which event and outcome. What is in files and not in the inbox is counted by its lines."""
    replay = progress.replay
    if replay.source == "files" and (replay.mode == "dry-run" or progress.remaining):
        counted = Counter((line.event, line.outcome) for line in rows(database, replay.id))
        return [(event, outcome, number) for (event, outcome), number in sorted(counted.items(), key=str)]
    with database.reading() as connection:
        return replay_lines.count_kinds(connection, replay.id)


def _csv(found: Iterable[Line]) -> Iterator[bytes]:
    """By RFC 4180. What a spreadsheet would take for a formula has an apostrophe before it."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for line in found:
        writer.writerow([_cell(getattr(line, name)) for name in COLUMNS])
        yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode(errors="replace")


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(line.strip() for line in reporting_text.changes(value))
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _json(progress: Progress, found: Iterable[Line]) -> Iterator[bytes]:
    """An object with the replay, and `lines`, of which each is on a line of its own."""
    head = orjson.dumps({"replay": described(progress)}, option=orjson.OPT_UTC_Z)
    yield head[:-1] + b',"lines":['
    begin = b"\n"
    for line in found:
        yield begin + orjson.dumps(asdict(line))
        begin = b",\n"
    yield b"\n]}\n"


# --- the responses ----------------------------------------------------------------------------------------------------


def _bundle(database: Database, found: Iterator[Line]) -> Iterator[bytes]:
    """A Bundle of type batch-response: an entry for each message that has a reply, as it has it by now.

    A response is in the version of FHIR that it was sent in, and in JSON. https://hl7.org/fhir/R4/bundle.html
    """
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    yield b'{"resourceType":"Bundle","type":"batch-response","timestamp":"%b"' % now.encode()
    begin = b',"entry":[\n'
    while some := list(islice(found, _RESPONSES)):
        for response in _responses(database, some):
            yield begin + _entry(response)
            begin = b",\n"
    yield b"\n]}\n" if begin == b",\n" else b"}\n"


def _responses(database: Database, some: Sequence[Line]) -> Iterator[Response]:
    of = [(line, line.made_id if _is_made(line) else line.message_id) for line in some]
    with database.reading() as connection:
        kept = replay_lines.find_replies(connection, [id_ for line, id_ in of if id_ and line.outbox_id is None])
        sent = replay_lines.find_replies_sent(connection, [line.outbox_id for line in some if line.outbox_id])
    for line, message_id in of:
        found = sent.get(line.outbox_id) if line.outbox_id else kept.get(message_id or 0)
        if found is not None:
            yield found


def _is_made(line: Line) -> bool:
    """Whether it was carried out again, as another message; what was sent again is no message."""
    return line.made_id is not None and line.outcome not in ("sent", "held")


def _entry(response: Response) -> bytes:
    status = HTTPStatus(response.http_status or 200)
    at = f"{response.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    said = b'"response":{"status":"%d %b","lastModified":"%b"}' % (status, status.phrase.encode(), at.encode())
    if not response.content:
        return b"{%b}" % said
    return b'{"resource":%b,%b}' % (_in_json(response), said)


def _in_json(response: Response) -> bytes:
    if response.format == "json":
        return response.content.strip()
    try:
        resource, _ = formats.parse_told(response.content, "xml", response.version)  # type: ignore[arg-type]
    except Refused:  # written in a dialect that is not FHIR's own
        data = base64.b64encode(response.content)
        return b'{"resourceType":"Binary","contentType":"application/fhir+xml","data":"%b"}' % data
    return json.serialize(resource)
