"""What the deliverer does in a second, and what partners that do not work cost the others: part of `make bench`.

    python -m tests.bench_deliveries [--databases sqlite,postgresql] [--messages 2000]

Four partners have so many messages due together, 6 KB each, of a hundred Tasks each; they are one server, which answers
at once. Beside them: nobody else; one that takes every call and never answers; one where nobody listens, to which
100,000 are due. The gateway is `fhir-gateway run`, the receivers share the machine with it.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from gateway.store import schema
from gateway.store.database import Database
from tests import live
from tests.services import eventually, free_port

DATABASES = ("sqlite", "postgresql")
PARTNERS, LANES = 4, 100
STUCK, DOWN = "Stuck", "Down"
WAITING = 100_000
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_REGISTERED = """
[[partner]]
name = "{name}"
identifiers = ["http://registry.example/identifier/organization|{name}"]
endpoints = ["http://127.0.0.1:{port}/{name}"]
delivery = {{ timeout = 10.0 }}
"""


@dataclass(frozen=True)
class Figures:
    """Messages a second, from the first call to the last answer; seconds that half of them, and all, are due."""

    database: str
    beside: str
    rate: float
    half: float
    last: float


class _Quick(asyncio.Protocol):
    """Answers each request when it has all of it, but for those of one who is stuck."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            if STUCK.encode().lower() not in head.partition(b"\r\n")[0]:
                self._transport.write(_OK)


def _serve(port: int) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Quick, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def receiver() -> Iterator[int]:
    """The port of a server in a process of its own."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        yield port
    finally:
        process.kill()
        process.join()


def _fill(database: Database, recipient: str, number: int, lanes: int = LANES) -> None:
    now = datetime.now(UTC)
    content = b'{"resourceType":"Basic","code":{"text":"' + b"x" * 6000 + b'"}}'
    rows = [
        {
            "kind": "message",
            "recipient": recipient,
            "lane": f"{place % lanes:04}",
            "header_id": f"{recipient}-{place}",
            "format": "json",
            "content": content if recipient not in (STUCK, DOWN) else b"{}",
            "state": "due",
            "created_at": now,
            "due_at": now,
        }
        for place in range(number)
    ]
    with database.transaction() as connection:
        for first in range(0, number, 1000):
            connection.execute(sa.insert(schema.outbox), rows[first : first + 1000])


def measure(name: str, beside: str, messages: int) -> Figures:
    """One round on a fresh database."""
    names = [f"Quick-{number}" for number in range(PARTNERS)]
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as path,
        live.database(name, Path(path)) as url,
        receiver() as port,
    ):
        ports = {**dict.fromkeys([*names, STUCK], port), DOWN: free_port()}
        file = Path(path) / "partners.toml"
        file.write_text("".join(_REGISTERED.format(name=name, port=port) for name, port in ports.items()))
        with live.gateway(Path(path) / "var", database_url=url, partners=[str(file)]):
            database = Database(url)
            if beside == STUCK:
                _fill(database, STUCK, messages)
            if beside == DOWN:
                _fill(database, DOWN, WAITING, WAITING // 10)
            if beside:
                eventually(lambda: _count(database, schema.outbox.c.attempts > 0), 60)
            for each in names:
                _fill(database, each, messages // PARTNERS)
            ours = schema.outbox.c.recipient.in_(names)
            eventually(lambda: not _count(database, sa.and_(schema.outbox.c.state == "due", ours)), 300, 0.1)
            figures = _figures(database, name, beside, names)
            database.close()
    return figures


def _count(database: Database, condition: sa.ColumnElement[bool]) -> int:
    with database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(schema.outbox).where(condition)) or 0


def _figures(database: Database, name: str, beside: str, names: list[str]) -> Figures:
    attempt, entry = schema.delivery_attempt.c, schema.outbox.c
    made = sa.select(attempt.started_at, entry.delivered_at, entry.created_at).join_from(
        schema.delivery_attempt, schema.outbox
    )
    with database.reading() as connection:
        rows = connection.execute(made.where(entry.recipient.in_(names))).all()
    started, ended = min(row[0] for row in rows), max(row[1] for row in rows)
    waits = sorted((row[1] - row[2]).total_seconds() for row in rows)
    return Figures(name, beside, len(rows) / (ended - started).total_seconds(), waits[len(waits) // 2], waits[-1])


def table() -> Table:
    shown = Table("database", "beside", box=None)
    for title in ("delivered/s", "half of them within s", "all within s"):
        shown.add_column(title, justify="right")
    return shown


def row(figures: Figures) -> list[str]:
    beside = {"": "nobody", STUCK: "one that never answers", DOWN: f"one that is down, {WAITING:,} due"}
    numbers = (f"{figures.rate:.0f}", f"{figures.half:.1f}", f"{figures.last:.1f}")
    return [figures.database, beside[figures.beside], *numbers]


def bench(databases: list[str], messages: int) -> Table:
    """Runs all rounds."""
    shown = table()
    for name in databases:
        for beside in ("", STUCK, DOWN):
            shown.add_row(*row(measure(name, beside, messages)))
    return shown


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.bench_deliveries")
    arguments.add_argument("--databases", default=",".join(DATABASES))
    arguments.add_argument("--messages", type=int, default=2000)
    given = arguments.parse_args()
    Console(width=140).print(bench(given.databases.split(","), given.messages))


if __name__ == "__main__":
    main()
