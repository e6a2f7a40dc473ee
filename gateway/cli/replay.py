"""`fhir-gateway replay`: messages are put through again, after they were counted and looked at. docs/replay.md"""

from __future__ import annotations

import sys

import click

from gateway.cli import replay_asked
from gateway.cli.replay_reports import history, report
from gateway.cli.replay_shown import (
    UNFINISHED,
    said,
    show_all,
    show_end,
    show_forecast,
    status_of,
    warn_without_workers,
)
from gateway.cli.replay_watch import watch as watch_it
from gateway.cli.replay_words import operator, replays_opened
from gateway.jobs import Doorbell
from gateway.replay.reporting_text import messages, summary

_LISTED = 20
_TROUBLE_SHOWN = 20
_ID = click.argument("replay_id", type=click.IntRange(1), metavar="ID")


@click.group()
def replay() -> None:
    """Put messages through again: from the inbox, from the outbox, from files.

    What would happen is always shown first. The exit status is 0 when all ended well, 3 when some messages are in
    trouble, 4 when the replay is not at its end, 1 when it could not be done, 2 when it was not said clearly.
    """


for command in (*replay_asked.COMMANDS, report, history):
    replay.add_command(command)


@replay.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=_LISTED, show_default=True, help="The last so many.")
def list_some(limit: int) -> None:
    """List the replays, the last first."""
    with replays_opened() as here:
        show_all([here.replays.progress(one.id) for one in here.replays.all(limit)])


@replay.command()
@_ID
def show(replay_id: int) -> None:
    """Show a replay: what it is, how far it has come, and what was forecast."""
    with replays_opened() as here:
        progress = here.replays.progress(replay_id)
        for line in summary(progress):
            click.echo(line)
        for line in said(progress.replay):
            click.echo(line)
        if progress.replay.forecast is not None:
            click.echo("\nThe forecast was:")
            show_forecast(here, progress.replay)


@replay.command()
@_ID
@click.option("--confirm", type=click.IntRange(0), metavar="N", help="For reprocess: how many it carries out again.")
def start(replay_id: int, confirm: int | None) -> None:
    """Start a replay that was forecast, and is not started yet."""
    with replays_opened() as here:
        started = here.replays.start(replay_id, operator(), confirm)
        if started.state == "approval":
            click.echo(f"It waits for somebody else to approve it: `fhir-gateway replay approve {replay_id}`.")
            sys.exit(UNFINISHED)
        warn_without_workers(here)
    click.echo(f"Replay {replay_id} is {started.state}: `fhir-gateway replay watch {replay_id}` watches it.")


@replay.command()
@_ID
def approve(replay_id: int) -> None:
    """Approve a replay that somebody else has asked for; it starts."""
    with replays_opened() as here:
        approved = here.replays.approve(replay_id, operator())
        warn_without_workers(here)
    click.echo(f"Replay {replay_id} is {approved.state}: {messages(approved.items)}.")


@replay.command()
@_ID
@click.option("--fail-on-refused", is_flag=True, help="The exit status is 3 too if some are refused.")
def watch(replay_id: int, fail_on_refused: bool) -> None:
    """Watch a replay to its end. Ctrl-C ends the watching, not the replay."""
    with replays_opened() as here:
        progress = watch_it(here, replay_id)
        if progress.replay.state != "running":
            show_end(here, progress, most=_TROUBLE_SHOWN)
    sys.exit(status_of(progress, fail_on_refused=fail_on_refused))


@replay.command()
@_ID
def pause(replay_id: int) -> None:
    """Pause a replay: nothing more of it is done, until it is resumed."""
    with replays_opened() as here:
        here.replays.pause(replay_id, operator())
    click.echo(f"Replay {replay_id} is paused: `fhir-gateway replay resume {replay_id}` goes on with it.")


@replay.command()
@_ID
def resume(replay_id: int) -> None:
    """Go on with a replay that is paused, or was stopped."""
    with replays_opened() as here:
        resumed = here.replays.resume(replay_id, operator())
        warn_without_workers(here)
    click.echo(f"Replay {replay_id} is {resumed.state}.")


@replay.command()
@_ID
def stop(replay_id: int) -> None:
    """Stop a replay: nothing more of it is done. What was done stays done."""
    with replays_opened() as here:
        here.replays.stop(replay_id, operator())
    click.echo(f"Replay {replay_id} is stopped.")


@replay.command()
@_ID
def release(replay_id: int) -> None:
    """Have sent what a replay holds."""
    with replays_opened() as here:
        held = here.replays.progress(replay_id).held
        recipients = here.replays.release(replay_id)
        Doorbell(here.dispatcher, here.notices).ring(recipients)
    click.echo(f"{held} that replay {replay_id} held are on their way.")


@replay.command()
@_ID
@click.confirmation_option(prompt="What it holds is never sent then. Drop it?")
def drop(replay_id: int) -> None:
    """Have what a replay holds never sent."""
    with replays_opened() as here:
        dropped = here.replays.drop(replay_id)
    click.echo(f"{dropped} that replay {replay_id} held are dropped.")


@replay.command()
@_ID
def discard(replay_id: int) -> None:
    """Forget a replay that was never started."""
    with replays_opened() as here:
        here.replays.discard(replay_id)
    click.echo(f"Replay {replay_id} is forgotten.")
