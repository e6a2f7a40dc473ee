"""What `fhir-gateway replay` shows: what a replay would do, how far it has come, and what has become of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import islice

import click
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.cli.replay_words import Here
from gateway.replay import reporting
from gateway.replay.model import TROUBLE, Forecast, Progress, Replay
from gateway.replay.reporting_text import columns, counted, messages, moment, shown

_GROUPS = 40
_RECIPIENTS = 20
_UNREADABLE = 10
_WIDEST = 60
_WHAT: Mapping[str, str] = {"process": "carried out", "sent": "sent again"}
FINE, UNCLEAR, TROUBLED, UNFINISHED = 0, 2, 3, 4
"""Exit statuses: all ended well; it was not said clearly; some are in trouble; it is not at its end. Errors are 1."""


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; else lines with aligned columns, the first of them the head."""
    console = Console()
    if not console.is_terminal:
        for line in columns(head, rows):
            click.echo(line)
        return
    table = Table(*head)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def show_forecast(here: Here, replay: Replay) -> None:
    """How many messages, of which kinds, from whom; what would become of them, and who would be told."""
    forecast = replay.forecast
    assert forecast is not None
    of = {"inbox": "in the inbox", "outbox": "in the outbox", "files": "in the files"}[replay.source]
    trial = f" of {replay.options.trial_of}" if replay.mode == "dry-run" else ""
    click.echo(
        f"Replay {replay.id}, {replay.mode}{trial}: {messages(forecast.messages)} {of}{_span(forecast, replay)}."
    )
    _show_totals(replay, forecast)
    _show_groups(replay, forecast)
    if forecast.recipients:
        listed = [f"{shown(name, _WIDEST)} {number:,}" for name, number in forecast.recipients.items()]
        more = f" and {len(listed) - _RECIPIENTS} more" if len(listed) > _RECIPIENTS else ""
        click.echo(f"To: {', '.join(listed[:_RECIPIENTS])}{more}.")
    if replay.mode in ("apply", "reprocess"):
        click.echo(_EFFECTS[replay.options.effects])
    for warning in forecast.warnings:
        click.secho(f"Warning: {warning}", fg="yellow")
    _show_unreadable(here, replay)


_EFFECTS: Mapping[str, str] = {
    "send": "Partners are told of what changes, and get answers that are sent later.",
    "hold": "What partners would be told is held, until it is released or dropped.",
    "suppress": "Partners are told nothing, and get no answers that are sent later.",
}


def _span(forecast: Forecast, replay: Replay) -> str:
    if forecast.first is None:
        return ""
    word = {"inbox": "received", "outbox": "written", "files": "of"}[replay.source]
    return f", {word} {moment(forecast.first)} to {moment(forecast.last)}"


def _show_totals(replay: Replay, forecast: Forecast) -> None:
    totals: dict[str, int] = {}
    for group in forecast.groups:
        totals[group.what] = totals.get(group.what, 0) + group.messages
    said = [f"{number:,} {_what(replay, what)}" for what, number in totals.items()]
    if forecast.others:
        said.append(f"{forecast.others:,} of other kinds")
    if said:
        click.echo(f"It would come to: {', '.join(said)}.")


def _what(replay: Replay, what: str) -> str:
    word = _WHAT.get(what, what)
    if what == "process" and replay.mode == "dry-run":
        return "tried"
    return f"{word} again" if what == "process" and replay.mode == "reprocess" else word


def _show_groups(replay: Replay, forecast: Forecast) -> None:
    if not forecast.groups:
        return
    rows = [
        (
            f"{group.messages:,}",
            shown(group.event, _WIDEST),
            shown(group.sender, _WIDEST),
            group.before,
            _what(replay, group.what),
            group.why,
        )
        for group in forecast.groups[:_GROUPS]
    ]
    party = "to" if replay.source == "outbox" else "from"
    show_table(("messages", "event", party, "until now", "would be", "why"), rows)
    left = sum(group.messages for group in forecast.groups[_GROUPS:]) + forecast.others
    if left:
        click.echo(f"And {left:,} of other kinds: `fhir-gateway replay report {replay.id} --format json` has more.")


def _show_unreadable(here: Here, replay: Replay) -> None:
    forecast = replay.forecast
    number = forecast.count("unreadable") if forecast else 0
    if not number:
        return
    click.echo(f"{number:,} cannot be replayed:")
    for line in islice(reporting.rows(here.database, replay.id, ["unreadable"]), _UNREADABLE):
        click.echo(f"  {shown(line.file)}: {shown(line.detail)}")
    if number > _UNREADABLE:
        report = f"fhir-gateway replay report {replay.id} --format csv --outcome unreadable"
        click.echo(f"  And {number - _UNREADABLE:,} more: {report}")


def said(replay: Replay) -> Iterator[str]:
    """What was asked for: the filters, and how it is done."""
    asked = {**replay.selection.given, **asdict(replay.options)}
    for name, value in asked.items():
        if name != "digests" and value not in (None, False):
            values = value if isinstance(value, tuple) else (value,)
            told = (moment(one) if isinstance(one, datetime) else shown(one) for one in values)
            yield f"{name.replace('_', ' ')}: {', '.join(told)}"


def warn_without_workers(here: Here) -> None:
    """Says so when nothing will happen for now."""
    try:
        if here.notices.has_worker():
            return
        text = "No worker of replays has given a sign of life within a minute: nothing is done until one runs."
        text += " `fhir-gateway run` and `worker` start them (replay_processes)."
    except RedisError:
        text = "The broker cannot be reached: nothing is done until it is back. What is asked for is kept."
    click.secho(f"Warning: {text}", fg="yellow", err=True)


def show_end(here: Here, progress: Progress, *, most: int) -> None:
    """The final report, in short."""
    text = reporting.write("table", here.replays, progress.replay.id, most=most)
    for piece in text:
        click.echo(piece.decode(), nl=False)


def status_of(progress: Progress, *, fail_on_refused: bool) -> int:
    """The exit status that tells how a replay ended, or that it has not."""
    if progress.replay.state != "done":
        return UNFINISHED
    trouble = TROUBLE | {"refused"} if fail_on_refused else TROUBLE
    return TROUBLED if any(progress.counts.get(outcome) for outcome in trouble) else FINE


def show_all(found: Sequence[Progress]) -> None:
    rows = [
        (
            str(one.replay.id),
            f"{one.replay.mode}, {one.replay.source}",
            one.replay.state,
            f"{one.done:,}/{one.replay.items:,}",
            counted(one.counts) or "-",
            f"{one.replay.created_at:%Y-%m-%d %H:%M}",
            shown(one.replay.created_by),
        )
        for one in found
    ]
    show_table(("id", "what", "state", "done", "outcomes", "asked for", "by"), rows)
