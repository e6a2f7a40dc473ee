"""`fhir-gateway deliveries`: what is due to partners, what is dead and why, and what the operator does about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from gateway.cli.registry import opened, show_rows
from gateway.store import circuits, dead_letters
from gateway.store.dead_letters import Letter

_LISTED = 50
_IDS = click.argument("ids", nargs=-1, type=int, metavar="ID...")


@click.group()
def deliveries() -> None:
    """Look after what is to be delivered to partners."""


@deliveries.command("list")
@click.option("--partner", metavar="NAME", help="Of this partner only.")
@click.option("--state", type=click.Choice(["due", "dead"]), help="Only those that are so.")
@click.option("--limit", type=click.IntRange(1), default=_LISTED, show_default=True, help="The oldest so many.")
def list_some(partner: str | None, state: str | None, limit: int) -> None:
    """List what is due and what is dead, and who is in trouble because calls fail."""
    with opened() as registry, registry.database.reading() as connection:
        states = [state] if state else ["due", "dead"]
        found = dead_letters.find_some(connection, states, partner, limit)
        troubles = circuits.list_open(connection)
        counted = [dead_letters.count_due(connection).waiting, dead_letters.count_dead(connection).waiting]
    head = ("id", "state", "partner", "what", "attempts", "created", "next", "why")
    show_rows(head, [_row(letter) for letter in found])
    for one in troubles:
        click.echo(f"{one.recipient} is in trouble since {_moment(one.opened_at)}: {one.cause}")
    click.echo(f"In all: {counted[0]} due, {counted[1]} dead.")


@deliveries.command()
@click.argument("entry_id", type=int, metavar="ID")
def show(entry_id: int) -> None:
    """Show one, with every attempt."""
    with opened() as registry, registry.database.reading() as connection:
        letter = dead_letters.find(connection, entry_id)
        attempts = dead_letters.attempts(connection, entry_id)
    if letter is None:
        raise click.ClickException(f"There is no delivery {entry_id}: see `fhir-gateway deliveries list`.")
    for name in Letter.__slots__:
        value = getattr(letter, name)
        click.echo(f"{name}: {_moment(value) if isinstance(value, datetime) else '-' if value is None else value}")
    rows = [
        (str(number), _moment(one.started_at), f"{one.milliseconds} ms", one.outcome, one.detail)
        for number, one in attempts
    ]
    show_rows(("attempt", "at", "took", "outcome", "what"), rows)


@deliveries.command()
@_IDS
@click.option("--partner", metavar="NAME", help="With --dead: of this partner.")
@click.option("--dead", is_flag=True, help="With --partner: all that is dead.")
def again(ids: Sequence[int], partner: str | None, dead: bool) -> None:
    """Have deliveries tried again, at once and from the beginning of their schedule."""
    if bool(ids) == bool(partner and dead) or bool(partner) != dead:
        raise click.UsageError("Give the ids of deliveries, or --partner NAME and --dead.")
    now = datetime.now(UTC)
    with opened() as registry, registry.database.transaction() as connection:
        if partner:
            click.echo(f"{dead_letters.revive_all(connection, partner, now)} are due again.")
            return
        _tell(ids, dead_letters.revive(connection, ids, now), "due again")


@deliveries.command()
@_IDS
def drop(ids: Sequence[int]) -> None:
    """Give deliveries up: they are dead, and what waits behind them goes on. What is under way may still arrive."""
    if not ids:
        raise click.UsageError("Give the ids of deliveries.")
    with opened() as registry, registry.database.transaction() as connection:
        _tell(ids, dead_letters.drop(connection, ids), "dropped")


def _tell(ids: Sequence[int], done: Sequence[int], what: str) -> None:
    """Raises ClickException when some were not."""
    for entry_id in done:
        click.echo(f"{entry_id} is {what}.")
    if left := sorted(set(ids) - set(done)):
        listed = ", ".join(map(str, left))
        raise click.ClickException(f"Neither due nor dead: {listed}. See `fhir-gateway deliveries show ID`.")


def _row(letter: Letter) -> tuple[str, ...]:
    what = f"{letter.kind} {letter.header_id}"
    times = (_moment(letter.created_at), _moment(letter.due_at))
    return (
        str(letter.id),
        letter.state,
        letter.recipient or "-",
        what,
        str(letter.attempts),
        *times,
        letter.error or "",
    )


def _moment(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
