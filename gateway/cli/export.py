"""`fhir-gateway export`: messages of the inbox into files, byte for byte, that `replay` reads here or elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from gateway.cli.registry import opened
from gateway.cli.replay_words import filters, filters_of, unclear
from gateway.errors import Refused
from gateway.replay.asking import Asking, Filters, Unclear
from gateway.replay.files.about import About
from gateway.replay.files.exporting import Unwritable, form_of
from gateway.replay.files.exporting import export as export_to
from gateway.replay.reporting_text import messages
from gateway.store import exports
from gateway.store.exports import Exported

_SAY_SECONDS = 5.0
_TOLD = 10
_LEFT_OUT = 3


@click.command()
@click.argument("target")
@filters("inbox")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first so many.")
@click.option("--overwrite", is_flag=True, help="In place of an export that is there.")
def export(target: str, limit: int | None, overwrite: bool, **given: Any) -> None:
    """Write messages of the inbox into files, each with what is known of it, and checksums; all, or by filters.

    TARGET tells the form: a directory (no suffix), .zip, .tar.gz, .ndjson, or .json, a batch Bundle of the messages
    alone; - is standard output, in lines. The exit status is 3 if the form cannot hold some of them.
    """
    try:
        form_of(target)
    except Unwritable as error:
        raise click.UsageError(str(error)) from None
    said = filters_of(given)
    with opened() as registry:
        try:
            asking = Asking(registry.settings.base_url)
            selection = asking.selection("inbox", said if said.given else Filters(everything=True))
        except Unclear as error:
            raise unclear(error) from None
        with registry.database.reading() as connection:
            total, last = exports.count(connection, selection)
        total = total if limit is None else min(total, limit)
        found = islice(exports.read(registry.database, selection, last), limit)
        try:
            written, left_out = _write(target, found, total, overwrite=overwrite)
        except Unwritable as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"{target} cannot be written: {error.strerror or error}.") from None
    click.echo(f"{messages(written)} exported" + (f", {left_out} left out." if left_out else "."), err=True)
    sys.exit(_LEFT_OUT if left_out else 0)


def _write(target: str, found: Iterator[Exported], total: int, *, overwrite: bool) -> tuple[int, int]:
    """How many were written, and how many the form cannot hold. Raises Unwritable and OSError."""
    written = left_out = 0
    with _telling(total) as tell, export_to(target, sys.stdout.buffer, overwrite=overwrite) as opened_target:
        for one in found:
            try:
                opened_target.add(one.body, _about(one))
                written += 1
            except Refused as refused:
                left_out += 1
                if left_out <= _TOLD:
                    text = " ".join(issue.text for issue in refused.issues)
                    click.echo(f"Message {one.id} is left out: {text}", err=True)
            tell(written + left_out)
    return written, left_out


def _about(one: Exported) -> About:
    named = {name: getattr(one, name) for name in About.__slots__ if name != "event"}
    return About(**named, event=one.event_code)


@contextmanager
def _telling(total: int) -> Iterator[Any]:
    """How far it has come: a bar on a terminal, elsewhere a line every few seconds; on standard error."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task("", total=total)
            yield lambda number: bar.update(task, completed=number)
        return
    said_at = time.monotonic()

    def say(number: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _SAY_SECONDS:
            said_at = time.monotonic()
            click.echo(f"{number:,} of {total:,} exported", err=True)

    yield say
