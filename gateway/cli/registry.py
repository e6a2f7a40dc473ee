"""What the commands of `fhir-gateway partners` have in common: the registry, who changes it, and lists."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway import settings, terms
from gateway.authentication.api_keys import UnknownKeyError
from gateway.errors import Conflict, DatabaseUnavailable
from gateway.partners import files
from gateway.partners.directory import Directory, OutdatedError, UnknownPartnerError
from gateway.partners.files import Found
from gateway.settings import Settings, SettingsError
from gateway.store.database import Database
from gateway.terms import Standing


@dataclass(frozen=True, slots=True)
class Registry:
    """The partners of the settings in force, and where they are kept."""

    settings: Settings
    database: Database
    directory: Directory
    standing: Standing


@contextmanager
def opened(given: Settings | None = None) -> Iterator[Registry]:
    """The registry; whatever goes wrong with it ends the command with a sentence."""
    in_force = given or settings.load()
    database = Database(in_force.database_url)
    try:
        database.check()
        registered = terms.Registered(in_force, database)
        registered.open()
        yield Registry(in_force, database, registered.directory, registered)
    except (SettingsError, UnknownPartnerError, OutdatedError, UnknownKeyError) as error:
        raise click.ClickException(str(error)) from None
    except Conflict:
        raise click.ClickException("Somebody else changed the partners at the same time. Try again.") from None
    except DatabaseUnavailable as error:
        place = settings.masked(in_force.database_url)
        raise click.ClickException(
            f"The database {place} cannot be used ({error}). Run `fhir-gateway db upgrade`, or correct database_url."
        ) from None
    finally:
        database.close()


def open_first(in_force: Settings) -> None:
    """At the first start of all the files of the settings are brought in; later it is told where they differ.

    Raises ClickException for partners that are registered and cannot be read.
    """
    with opened(in_force) as registry:
        if wrong := registry.directory.find_faults():
            raise click.ClickException("\n".join(wrong))
        wanted = registry.directory.differences(files.read(in_force.partners, []))
    if names := [name for name, in_files, _ in wanted if in_files is not None]:
        text = f"Registered otherwise than in the files of the setting `partners`: {', '.join(names)}."
        click.echo(f"{text} What is registered counts: `fhir-gateway partners diff`, `import`.", err=True)


def read_files(registry: Registry, named: Sequence[str]) -> Found:
    """The partners in the files named, `-` being standard input; else in those of the settings.

    Raises SettingsError.
    """
    wrong: list[str] = []
    found: Found = []
    for name in named:
        with click.open_file(name, encoding="utf-8") as file:
            found += files.read_text(file.read(), name, wrong)
    if not named:
        found = files.read(registry.settings.partners, wrong)
    if wrong:
        raise SettingsError(*wrong)
    return found


def who() -> str:
    """The user of this system, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def show_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; else lines with aligned columns."""
    console = Console()
    if console.is_terminal:
        table = Table(*head)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
