"""`fhir-gateway partners key`, `keys`, `rotate` and `revoke`: the API keys of those that can do no better."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from gateway.authentication import api_keys
from gateway.authentication.api_keys import Made
from gateway.cli.registry import opened, show_rows, who

_NAME = click.argument("name")
_EXPIRES = click.option(
    "--expires", type=click.DateTime(), help="When it ends, in UTC: 2027-01-31 or 2027-01-31T12:00:00; else never."
)


@click.command()
@_NAME
@_EXPIRES
def key(name: str, expires: datetime | None) -> None:
    """Make an API key for a partner. It is shown this once: only its digest is kept."""
    with opened() as registry:
        made = api_keys.make(registry.database, name, who(), _utc(expires))
    _show(made)


@click.command()
@_NAME
def keys(name: str) -> None:
    """List the API keys of a partner, by how they begin."""
    with opened() as registry:
        registry.directory.get(name)
        found = api_keys.list_all(registry.database, name)
    now = datetime.now(UTC)
    rows = [(one.hint, _day(one.created_at), _end(one.expires_at, now)) for one in found]
    show_rows(("begins with", "made (UTC)", "ends (UTC)"), rows)


@click.command()
@_NAME
@_EXPIRES
@click.option("--grace", type=click.FloatRange(0, 8760), default=24.0, show_default=True, help="Hours; see above.")
def rotate(name: str, expires: datetime | None, grace: float) -> None:
    """Make a new API key for a partner; the old ones end after the hours of --grace."""
    with opened() as registry:
        old_until = datetime.now(UTC) + timedelta(hours=grace)
        made = api_keys.rotate(registry.database, name, who(), old_until, _utc(expires))
    _show(made)
    click.echo(f"Its other keys end on {_day(old_until)} UTC at the latest.", err=True)


@click.command()
@_NAME
@click.argument("hint")
def revoke(name: str, hint: str) -> None:
    """End an API key at once; HINT is how it begins, as `keys` shows it."""
    with opened() as registry:
        api_keys.revoke(registry.database, name, who(), hint)
    click.echo(f"The key {hint}… of {name} has ended.")


def _show(made: Made) -> None:
    """The key alone goes to standard output, so that it can be put into a file unseen."""
    click.echo(made.key)
    until = f"until {_day(made.expires_at)} UTC" if made.expires_at else "until it is revoked"
    click.echo(f"Hand it over safely: it is not shown again. It is good {until}.", err=True)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None else None


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _end(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    return f"{_day(moment)}{'' if moment > now else ' (ended)'}"
