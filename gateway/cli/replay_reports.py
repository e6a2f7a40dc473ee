"""`fhir-gateway replay report` and `history`: what became of each message, and what was done to one of them."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, get_args

import click

from gateway.cli.replay_shown import show_table
from gateway.cli.replay_words import Here, replays_opened
from gateway.replay import reporting
from gateway.replay.model import Outcome
from gateway.replay.reporting import FORMS, Form
from gateway.replay.reporting_text import moment, shown
from gateway.store import replay_lines
from gateway.store.replay_lines import Original

_ENDINGS: dict[str, Form] = {".csv": "csv", ".json": "json", ".txt": "table"}
_LISTED = 50
_MOST_ORIGINALS = 20


@dataclass(frozen=True, slots=True)
class Saved:
    """A report that is to be in a file."""

    path: str
    form: Form

    def write(self, here: Here, replay_id: int, outcomes: Sequence[str] = ()) -> None:
        """The file is there once it is whole; only its owner may read it."""
        folder, base = os.path.split(self.path)
        part = os.path.join(folder, f".{base}.part-{secrets.token_hex(4)}")
        try:
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                _pour(reporting.write(self.form, here.replays, replay_id, outcomes), file)
            os.replace(part, self.path)
        except OSError as error:
            raise click.ClickException(f"{self.path} cannot be written: {error.strerror or error}.") from None
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)
        click.echo(f"{self.path} has the {'responses' if self.form == 'bundle' else 'report'}.", err=True)


def checked(path: str, form: Form | None = None) -> Saved:
    """A report that can be written; its form is told by its ending, unless it is given. Raises UsageError."""
    ending = os.path.splitext(path)[1].lower()
    form = form or _ENDINGS.get(ending)
    if form is None:
        raise click.UsageError(f"{path}: a report ends with {', '.join(_ENDINGS)}.")
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise click.UsageError(f"{path} cannot be written: name a file in a directory that can.")
    return Saved(path, form)


@click.command()
@click.argument("replay_id", type=click.IntRange(1), metavar="ID")
@click.option("--format", "form", type=click.Choice(FORMS), help="By the ending of --output, else a table.")
@click.option("--output", type=click.Path(), metavar="FILE", help="Into this file.")
@click.option("--outcome", "outcomes", multiple=True, type=click.Choice(get_args(Outcome)), help="Only those with it.")
@click.option("--all", "everything", is_flag=True, help="In a table, all lines of trouble, and of a dry run.")
def report(replay_id: int, form: Form | None, output: str | None, outcomes: tuple[str, ...], everything: bool) -> None:
    """Report what became of each message: a table in short, or csv, json, or a Bundle of the responses."""
    saved = checked(output, form) if output else None
    with replays_opened() as here:
        if saved:
            saved.write(here, replay_id, outcomes)
            return
        most = None if everything else _LISTED
        _pour(reporting.write(form or "table", here.replays, replay_id, outcomes, most), sys.stdout.buffer)


def _pour(pieces: Iterable[bytes], file: BinaryIO) -> None:
    for piece in pieces:
        file.write(piece)
    file.flush()


# --- one message ------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("message_id", metavar="MESSAGE-ID")
def history(message_id: str) -> None:
    """Show a message with its first error, every replay of it, and what became of it.

    MESSAGE-ID is its number in the inbox, or the id of its Bundle or its MessageHeader.
    """
    with replays_opened() as here, here.database.reading() as connection:
        found = replay_lines.find_originals(connection, [message_id])
        known = {one.id for one in found}
        of = sorted({one.replay_of for one in found if one.replay_of and one.replay_of not in known})
        found = [one for one in found if not one.replay_of]
        found += replay_lines.find_originals(connection, [str(id_) for id_ in of]) if of else []
        if not found:
            raise click.ClickException(f"No message {shown(message_id, 80)} is kept here (any more).")
        for one in found[:_MOST_ORIGINALS]:
            for line in _told(one):
                click.echo(line)
            replayed = replay_lines.find_replayed(connection, one.id)
            made = {other.id: other for other in replay_lines.find_made_of(connection, one.id)}
            rows = [
                (
                    str(item.replay_id),
                    item.mode,
                    moment(item.started_at),
                    shown(item.started_by),
                    item.outcome or item.state,
                    _made(item.mode, item.made_id, made),
                    shown(item.detail),
                )
                for item in replayed
            ]
            if rows:
                show_table(("replay", "mode", "started", "by", "outcome", "made", "why"), rows)
            else:
                click.echo("It was never replayed.")


def _told(one: Original) -> Iterator[str]:
    answer = f", answered {one.response_code}" if one.response_code else ""
    carried = f", by replay {one.replay_id}" if one.replay_id else ""
    yield f"Message {one.id}: {shown(one.event)} of {shown(one.sender)}, Bundle {shown(one.bundle_id)}"
    yield f"received: {moment(one.received_at)}"
    yield f"it is: {one.state}{answer}{carried}"
    yield f"first error: {shown(one.first_error)}"
    if one.error and one.error != one.first_error:
        yield f"last error: {shown(one.error)}"


def _made(mode: str, made_id: int | None, made: dict[int, Original]) -> str:
    if made_id is None:
        return "-"
    if mode in ("answer", "send"):
        return f"outbox {made_id}"
    other = made.get(made_id)
    return f"message {made_id}" + (f", {other.response_code or other.state}" if other else "")
