"""`fhir-gateway db upgrade`: brings the database to the schema of this version."""

import click

from gateway import settings
from gateway.cli import programs
from gateway.cli.registry import open_first
from gateway.settings import Settings
from gateway.store import database


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Create the tables, or bring them to this version; does nothing when they are."""
    in_force = settings.load()
    programs.make_directory(in_force.var)
    upgrade_database(in_force)


def upgrade_database(in_force: Settings) -> None:
    """And brings in the partners, if there have never been any.

    Raises ClickException when the database cannot be reached or changed, or has partners that cannot be read.
    """
    try:
        database.upgrade(in_force.database_url)
    except Exception as error:
        if in_force.log_level == "DEBUG":
            raise
        said = str(error).partition("\n")[0] or type(error).__name__
        raise click.ClickException(
            f"The database {settings.masked(in_force.database_url)} cannot be brought to this version: {said}. "
            "Let GATEWAY_DATABASE_URL name one that answers and may be changed; GATEWAY_LOG_LEVEL=DEBUG tells more."
        ) from error
    open_first(in_force)
