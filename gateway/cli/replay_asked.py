"""`fhir-gateway replay answer`, `send`, `dry-run`, `apply` and `reprocess`: forecast, confirmed, started, watched."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from click.exceptions import Exit
from rich.console import Console

from gateway.cli.replay_reports import Saved, checked
from gateway.cli.replay_shown import (
    FINE,
    UNCLEAR,
    UNFINISHED,
    show_end,
    show_forecast,
    status_of,
    warn_without_workers,
)
from gateway.cli.replay_watch import watch
from gateway.cli.replay_words import Command, Here, filters, filters_of, operator, options, replays_opened, unclear
from gateway.replay.asking import Asking, Unclear, Wishes, fingerprints
from gateway.replay.files import sources
from gateway.replay.life import Asked
from gateway.replay.model import MODES, Mode, Replay
from gateway.replay.reporting_text import messages

_TROUBLE_SHOWN = 20
_SAY_SECONDS = 5.0
_FILTERS = "Of each filter that is given any value will do; all filters that are given must fit."
_FROM_FILES = (
    f"{_FILTERS} FILES are read in place of the inbox: directories, .ndjson, .zip, .tar.gz, batch Bundles, single "
    "messages in JSON or XML; - is standard input."
)
_FILES = click.argument("files", nargs=-1, metavar="[FILES]...")
_TO = click.option("--to", metavar="PARTNER", help="To this partner, in place of whom it went to.")
_STOP = click.option("--stop-on-failure", is_flag=True, help="Stop at the first that fails.")


def going_on(command: Command) -> Command:
    """The options that say how a command goes on once a replay is forecast."""
    for option in (
        click.option("--fail-on-refused", is_flag=True, help="The exit status is 3 too if some are refused."),
        click.option("--responses", type=click.Path(), metavar="FILE", help="Write a Bundle of the responses there."),
        click.option("--report", type=click.Path(), metavar="FILE", help="Write a report: .csv, .json or .txt."),
        click.option("--detach", is_flag=True, help="Start it, and do not watch."),
        click.option("--yes", is_flag=True, help="Start it without a question."),
        click.option("--forecast", is_flag=True, help="Show what would happen, and do not start."),
    ):
        command = option(command)
    return command


@click.command(help=f"{MODES['answer']}\n\n{_FILTERS}")
@filters("inbox")
@_TO
@options(effects=True)
@going_on
def answer(**given: Any) -> None:
    sys.exit(_run("answer", given))


@click.command(help=f"{MODES['send']}\n\n{_FILTERS}")
@filters("outbox")
@_TO
@options(effects=True)
@going_on
def send(**given: Any) -> None:
    sys.exit(_run("send", given))


@click.command("dry-run", help=f"{MODES['dry-run']}\n\n{_FROM_FILES}")
@_FILES
@filters("inbox")
@click.option("--of", type=click.Choice(["apply", "reprocess"]), help="What is tried: apply, if not given.")
@_STOP
@options(effects=False)
@going_on
def dry_run(**given: Any) -> None:
    sys.exit(_run("dry-run", given))


@click.command(help=f"{MODES['apply']}\n\n{_FROM_FILES}")
@_FILES
@filters("inbox")
@_STOP
@options(effects=True)
@going_on
def apply(**given: Any) -> None:
    sys.exit(_run("apply", given))


@click.command(help=f"{MODES['reprocess']}\n\n{_FILTERS}")
@filters("inbox")
@_STOP
@options(effects=True)
@click.option("--confirm", type=click.IntRange(0), metavar="N", help="Start it, if the forecast has N messages.")
@going_on
def reprocess(**given: Any) -> None:
    sys.exit(_run("reprocess", given))


COMMANDS = (answer, send, dry_run, apply, reprocess)


@dataclass(frozen=True, slots=True)
class _GoingOn:
    """How it goes on, as `going_on` has it."""

    forecast: bool
    yes: bool
    detach: bool
    report: str | None
    responses: str | None
    fail_on_refused: bool
    confirm: int | None = None

    def __post_init__(self) -> None:
        if self.detach and (self.report or self.responses):
            raise click.UsageError("A replay that is not watched has no report yet: `fhir-gateway replay report ID`.")

    def saved(self) -> list[Saved]:
        """Raises UsageError for what cannot be written."""
        report = [checked(self.report)] if self.report else []
        return [*report, checked(self.responses, "bundle")] if self.responses else report


def _run(mode: Mode, given: dict[str, Any]) -> int:
    """Does all of it; returns the exit status."""
    going = _GoingOn(**{name: given.pop(name) for name in _GoingOn.__slots__ if name in given})
    saved = going.saved()
    files: Sequence[str] = given.pop("files", ())
    if files.count("-") > 1:
        raise click.UsageError("Standard input (-) can be read once.")
    said = filters_of(given)
    with replays_opened() as here:
        try:
            asked = Asking(here.settings.base_url).ask(mode, said, Wishes(**given), operator(), fingerprints(files))
        except Unclear as error:
            raise unclear(error) from None
        replay = _plan(here, asked, files)
        if replay.state == "planned":
            replay = _start(here, replay, going, is_piped="-" in files)
        else:
            click.echo(f"Replay {replay.id} is the same, and is {replay.state}.")
        return _go_on(here, replay, going, saved)


def _plan(here: Here, asked: Asked, files: Sequence[str]) -> Replay:
    with _telling() as tell:
        found = sources.read(files, here.settings.max_message_bytes, sys.stdin.buffer) if files else ()
        return here.replays.plan(asked, found, tell)


def _start(here: Here, replay: Replay, going: _GoingOn, *, is_piped: bool) -> Replay:
    """Starts it, once it is confirmed. Raises Exit where that is all there is to do."""
    show_forecast(here, replay)
    if replay.items == 0:
        here.replays.discard(replay.id)
        click.echo("There is nothing to replay.")
        raise Exit(FINE)
    confirm = f" --confirm {replay.items}" if replay.mode == "reprocess" else ""
    later = f"`fhir-gateway replay start {replay.id}{confirm}` starts it, `discard {replay.id}` forgets it."
    if going.forecast:
        click.echo(f"It is not started: {later}")
        raise Exit(FINE)
    confirmed = going.confirm
    if replay.mode == "reprocess" and confirmed is not None and confirmed != replay.items:
        raise click.ClickException(f"Not {confirmed}, but {messages(replay.items)} would be carried out again. {later}")
    if confirmed is None and not (going.yes and replay.mode != "reprocess"):
        if is_piped or not _is_asked():
            word = confirm.strip() or "--yes"
            click.echo(f"Nobody can be asked here, and {word} was not said. {later}", err=True)
            raise Exit(UNCLEAR)
        confirmed = _ask(replay)
        if confirmed is None:
            here.replays.discard(replay.id)
            click.echo("It is not started, and forgotten.")
            raise Exit(UNFINISHED)
    return here.replays.start(replay.id, operator(), confirmed)


def _is_asked() -> bool:
    """Whether somebody sits there."""
    return sys.stdin.isatty()


def _ask(replay: Replay) -> int | None:
    """How many messages are confirmed; None: it is not wanted."""
    if replay.mode != "reprocess":
        return replay.items if click.confirm("Start it?") else None
    text = f"Type {replay.items} to carry so many out again, anything else not to"
    return replay.items if click.prompt(text, default="", show_default=False).strip() == str(replay.items) else None


def _go_on(here: Here, replay: Replay, going: _GoingOn, saved: Sequence[Saved]) -> int:
    if replay.state == "approval":
        click.echo(f"It waits for somebody else to approve it: `fhir-gateway replay approve {replay.id}`.")
        return UNFINISHED
    if replay.state == "running":
        warn_without_workers(here)
    if going.detach:
        click.echo(f"Replay {replay.id} is {replay.state}: `fhir-gateway replay watch {replay.id}` watches it.")
        return FINE
    progress = watch(here, replay.id)
    if progress.replay.state == "running":  # whoever watches has seen enough
        return UNFINISHED
    show_end(here, progress, most=_TROUBLE_SHOWN)
    for one in saved:
        one.write(here, replay.id)
    return status_of(progress, fail_on_refused=going.fail_on_refused)


# --- while it is planned ----------------------------------------------------------------------------------------------


@contextmanager
def _telling() -> Iterator[Callable[[str, int], None]]:
    """How far the planning has come: on a terminal as it goes, elsewhere a line every few seconds."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("counting") as status:
            yield lambda what, number: status.update(f"{number:,} {what}")
        return
    said_at = time.monotonic()

    def say(what: str, number: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _SAY_SECONDS:
            said_at = time.monotonic()
            click.echo(f"{number:,} {what}", err=True)

    yield say
