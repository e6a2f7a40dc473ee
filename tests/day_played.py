"""A day played into a gateway by its senders, and a day as files come out of an archive: mixed forms, in no order."""

from __future__ import annotations

import http.client
import io
import random
import time
import uuid
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import cast

import orjson
import sqlalchemy as sa

from gateway import routing
from gateway.fhir.message import Ourselves
from gateway.fhir.received import read_received
from gateway.receiving import Received, Submission, receive
from gateway.store import schema
from gateway.store.database import Connection, Database
from tests import day_messages
from tests.day import FHIR_JSON, HOSPITALS, PHARMACIES, Day, Said
from tests.orders import PARTIES

_OURSELVES = Ourselves("gateway", "http://127.0.0.1/fhir/$process-message", "http://127.0.0.1/fhir")
_TRIES = 20
_AT_ONCE = 200
_A_FILE = 5000
"""Messages in an .ndjson or a .zip, at most."""
_A_BATCH = 50
_SHARES = {"ndjson": 0.45, "zip": 0.35, "batch": 0.1, "single": 0.1}
_TOLD = (*HOSPITALS[:2], *PHARMACIES[:2])
_PARTNER = """
[[partner]]
name = "{name}"
identifiers = ["{system}|{name}"]
endpoints = [{endpoints}]
tell = "{tell}"
"""


def partners(receiver: int, tell: Sequence[str] = ("message", "poll", "nothing", "nothing", "nothing")) -> str:
    """The parties of a day as partners, in TOML: how the first of each side is told, the second, and so on.

    What is told by messages is sent to that port of this machine.
    """
    registered = []
    for names in (HOSPITALS, PHARMACIES):
        for name, how in zip(names, tell, strict=True):
            own = [f"http://127.0.0.1:{receiver}/{name}"] if how == "message" else []
            endpoints = ", ".join(f'"{endpoint}"' for endpoint in (*own, day_messages.endpoint(name)))
            registered.append(_PARTNER.format(name=name, system=PARTIES, endpoints=endpoints, tell=how))
    return "".join(registered)


def play(port: int, day: Day, connections: int = 16) -> Counter[int]:
    """Sends a day, as fast as it is taken, each line in its order. The statuses of HTTP that came back.

    Who is told anything wants its answers later (async=true), the others wait for theirs. What is not taken for now
    (429, 5xx, a connection that breaks) is sent again, as the rules say.
    """
    lots: dict[int, list[Said]] = defaultdict(list)
    for said in day.said:
        lots[said.line % connections].append(said)
    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(lambda lot: _post_all(port, lot), lots.values()), Counter[int]())


def _post_all(port: int, lot: Iterable[Said]) -> Counter[int]:
    statuses: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(connection):
        for said in lot:
            statuses += _post(connection, said)
    return statuses


def _post(connection: http.client.HTTPConnection, said: Said) -> Counter[int]:
    body, came = day_messages.body(said), Counter[int]()
    later = "true" if said.sender in _TOLD else "false"
    for _ in range(_TRIES):
        try:
            headers = {"Content-Type": said.media_type}
            connection.request("POST", f"/fhir/$process-message?async={later}", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            came[0] += 1
        else:
            came[answer.status] += 1
            if answer.status not in (429, 500, 502, 503, 504):
                break
        time.sleep(0.5)
    return came


def bodies(day: Day) -> Iterator[tuple[bytes, str]]:
    """A day's messages as they are sent, each with its media type."""
    return ((day_messages.body(said), said.media_type) for said in day.said)


def receive_all(database_url: str, messages: Iterable[tuple[bytes, str]], *, dead: bool = False) -> int:
    """Keeps messages as `gateway.receiving` does, without a web server, many in one transaction.

    Whoever works on the database carries them out, unless they are kept as `dead`, as after the last try. Returns how
    many there are now.
    """
    registry, at, rest = routing.load(["handlers"]), datetime.now(UTC), iter(messages)
    with closing(Database(database_url)) as database:
        while some := list(islice(rest, _AT_ONCE)):
            with database.transaction() as connection:
                kept = [_receive(connection, registry, body, kind, at) for body, kind in some]
                if dead:
                    ids = [one.message_id for one in kept if one.kind == "new"]
                    connection.execute(
                        sa.update(schema.message).where(schema.message.c.id.in_(ids)).values(state="dead")
                    )
        with database.reading() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(schema.message)) or 0


def _receive(connection: Connection, registry: routing.Registry, body: bytes, kind: str, at: datetime) -> Received:
    name = "json" if kind == FHIR_JSON else "xml"
    given = Submission(body, kind, name, None, later=False, request_id=str(uuid.uuid4()))
    opened = cast(Database, _Open(connection))
    return receive(opened, registry, _OURSELVES, read_received(body, kind, at), given)


@dataclass(frozen=True)
class _Open:
    """A database in whose transaction everything is done."""

    connection: Connection

    def attempt(self, work: Callable[[Connection], Received]) -> Received:
        return work(self.connection)


# --- as files ---------------------------------------------------------------------------------------------------------


def write(day: Day, directory: Path) -> int:
    """Writes a day's messages in mixed forms and in no order: .ndjson, .zip, batch Bundles, single JSON and XML files.

    Returns how many files there are.
    """
    chance = random.Random(f"files {day.seed}")
    shuffled = chance.sample(day.said, len(day.said))
    lots: dict[str, list[Said]] = {name: [] for name in _SHARES}
    for said in shuffled:
        [form] = chance.choices(list(_SHARES), list(_SHARES.values()))
        lots["single" if said.media_type != FHIR_JSON and form in ("ndjson", "batch") else form].append(said)
    directory.mkdir(parents=True)
    for number, some in enumerate(_parts(lots["ndjson"], _A_FILE)):
        lines = b"".join(orjson.dumps(day_messages.bundle(said)) + b"\n" for said in some)
        (directory / f"{number:03}.ndjson").write_bytes(lines)
    for number, some in enumerate(_parts(lots["zip"], _A_FILE)):
        (directory / f"{number:03}.zip").write_bytes(_zipped(some))
    for number, some in enumerate(_parts(lots["batch"], _A_BATCH)):
        (directory / f"batch-{number:04}.json").write_bytes(orjson.dumps(_batch(some)))
    for number, said in enumerate(lots["single"]):
        folder = directory / "single" / f"{number // 1000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _file_name(said)).write_bytes(day_messages.body(said))
    return sum(path.is_file() for path in directory.rglob("*"))


def _parts(said: Sequence[Said], size: int) -> Iterator[Sequence[Said]]:
    return (said[first : first + size] for first in range(0, len(said), size))


def _zipped(some: Sequence[Said]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for said in some:
            archive.writestr(_file_name(said), day_messages.body(said))
    return written.getvalue()


def _batch(some: Sequence[Said]) -> dict[str, object]:
    request = {"method": "POST", "url": "$process-message"}
    entries = [{"resource": day_messages.bundle(said), "request": request} for said in some]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


def _file_name(said: Said) -> str:
    return f"{said.number:06}.{'json' if said.media_type == FHIR_JSON else 'xml'}"
