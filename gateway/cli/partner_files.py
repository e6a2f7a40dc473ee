"""`fhir-gateway partners import`, `diff` and `export`: the partners in files, and those that are registered."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
import orjson

from gateway.cli.registry import opened, read_files, who
from gateway.partners import document, files

_FILES = click.argument("named", nargs=-1, metavar="[FILE]...")


@click.command("import")
@_FILES
def import_files(named: Sequence[str]) -> None:
    """Add and change partners as FILE has them, else the files of the setting `partners`. None is removed."""
    with opened() as registry:
        found = read_files(registry, named)
        names = registry.directory.bring_in(found, who())
    for name in names:
        click.echo(f"{name} is as the files have it.")
    if not names:
        click.echo("Nothing differs.")


@click.command("diff")
@_FILES
def differences(named: Sequence[str]) -> None:
    """Tell where FILE differs from what is registered, else the files of the setting `partners`.

    The exit status is 1 if `import` would change something.
    """
    with opened() as registry:
        found = registry.directory.differences(read_files(registry, named))
    for name, in_files, here in found:
        click.echo(_described(name, in_files, here))
    sys.exit(1 if any(in_files is not None for _, in_files, _ in found) else 0)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def export(names: Sequence[str]) -> None:
    """Print partners, all of them by default, as a TOML file that `import` takes."""
    with opened() as registry:
        directory = registry.directory
        found = [directory.get(name) for name in names] if names else directory.all()
    click.echo(files.dump(one.document for one in found), nl=False)


def _described(name: str, in_files: Any, here: Any) -> str:
    if here is None:
        return f"+ {name}: in the files only"
    if in_files is None:
        return f"- {name}: registered only"
    lines = [
        f"    {path}: {_shown(there)} in the files, {_shown(value)} registered"
        for path, value, there in document.compare(here, in_files)
    ]
    return "\n".join((f"~ {name}", *lines))


def _shown(value: Any) -> str:
    return "nothing" if value is None else orjson.dumps(value).decode()
