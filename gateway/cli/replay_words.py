"""What `fhir-gateway replay` and `export` have in common: their filters, and the replays that they are about."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from gateway import routing
from gateway.cli.registry import opened
from gateway.jobs import Dispatcher, celery_app
from gateway.notices import Notices
from gateway.replay.asking import KINDS, OUTCOMES, STATES, Filters, Unclear
from gateway.replay.life import ReplayError, Replays
from gateway.settings import Settings
from gateway.store.database import Database

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = {
    "everything": "--all",
    "stop_on_failure": "--stop-on-failure",
}


def filters(source: str) -> Callable[[Command], Command]:
    """The filters of what is in the `inbox` or the `outbox`, as options; `filters_of` takes them."""
    states = STATES[source]
    options = [
        click.option("--since", metavar="TIME", help="From then on: 2026-01-31, 2026-01-31T14:30 (UTC), 2h, 3d."),
        click.option("--until", metavar="TIME", help="Before then."),
        click.option("--partner", multiple=True, metavar="NAME", help="Of this partner, endpoint or sender."),
        click.option("--event", multiple=True, metavar="CODE", help="Of this event."),
        click.option("--state", multiple=True, type=click.Choice(states), help="In this state."),
        click.option("--outcome", multiple=True, type=click.Choice(OUTCOMES), help="With this response code."),
        click.option("--cause", metavar="TEXT", help="With this in what went wrong."),
        click.option("--identifier", multiple=True, metavar="SYSTEM|VALUE", help="About the Task with it."),
        click.option("--task", multiple=True, metavar="ID", help="About the Task with this id here."),
        click.option("--id", "ids", multiple=True, metavar="ID", help="A number, or a Bundle's or MessageHeader's id."),
        click.option("--all", "everything", is_flag=True, help="All there is, in place of filters."),
    ]
    if source == "outbox":
        options.append(click.option("--kind", multiple=True, type=click.Choice(KINDS), help="Of this kind."))
    return _all(options)


def options(*, effects: bool) -> Callable[[Command], Command]:
    """How a replay is done, as options."""
    found = [
        click.option("--rate", type=float, metavar="N", help="At most so many messages a second."),
        click.option("--limit", type=int, metavar="N", help="The first so many."),
        click.option("--again", is_flag=True, help="Once more, though the same replay was done before."),
    ]
    if effects:
        choice = click.Choice(["send", "hold", "suppress"])
        found.append(click.option("--effects", type=choice, help="What becomes of what partners would be sent."))
    return _all(found)


def _all(found: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(found):
            command = option(command)
        return command

    return add


def filters_of(given: dict[str, Any]) -> Filters:
    """The filters among the options of a command, which loses them."""
    named = {name: given.pop(name) for name in Filters.__slots__ if name in given}
    return Filters(**named, id=given.pop("ids", ()))


def unclear(error: Unclear) -> click.UsageError:
    """With the name of the option."""
    option = _OPTIONS.get(error.what, f"--{error.what}")
    return click.UsageError(str(error) if error.what in ("mode", "files") else f"{option}: {error}")


@dataclass(frozen=True, slots=True)
class Here:
    """The replays of the settings in force."""

    settings: Settings
    database: Database
    replays: Replays
    notices: Notices
    dispatcher: Dispatcher


@contextmanager
def replays_opened() -> Iterator[Here]:
    """The replays; whatever goes wrong with them ends the command with a sentence."""
    with opened() as registry:
        in_force = registry.settings
        dispatcher = Dispatcher(celery_app(in_force), in_force)
        try:
            handlers = routing.load(in_force.handlers)
        except ImportError as error:
            raise click.ClickException(f"The handlers cannot be loaded: {error}.") from None
        made = Replays(registry.database, handlers, registry.standing, in_force, dispatcher)
        notices = Notices(in_force.redis_url, "replayer")
        try:
            yield Here(in_force, registry.database, made, notices, dispatcher)
        except ReplayError as error:
            raise click.ClickException(str(error)) from None
        finally:
            notices.close()


def operator() -> str:
    """Who calls: the user of this system whose process it is, whatever its environment says."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
