"""`fhir-gateway policies`: the policy packs there are, and what is wrong with those that cannot be used."""

import sys
from pathlib import Path

import click

from gateway import settings
from gateway.fhir.policy import loading
from gateway.fhir.policy.loading import Pack


@click.command()
def policies() -> None:
    """List the policy packs, and what is wrong with those that cannot be used.

    The one in force has a star. The exit status is 1 if one cannot be used, or if none has the name in force.
    """
    in_force = settings.load()
    for line in _lines(loading.find(in_force.policies), in_force.policy):
        click.echo(line)
    try:
        loading.load(in_force.policy, in_force.policies)
    except loading.PolicyError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def _lines(packs: list[Pack], in_force: str) -> list[str]:
    """A line for each pack: a star, its name, its title, its file."""
    rows = [
        (
            "*" if pack.policy and pack.policy.name == in_force else " ",
            pack.policy.name if pack.policy else "-",
            pack.policy.title if pack.policy else "cannot be used",
            _shown(pack.file),
        )
        for pack in packs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def _shown(file: Path) -> str:
    """The path, as short as it can be said in the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
