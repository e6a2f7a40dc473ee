"""`fhir-gateway config`: prints every setting in force and where its value comes from."""

from collections.abc import Mapping

import click
from rich.console import Console
from rich.table import Table

from gateway import settings
from gateway.settings import SETTINGS, Settings


@click.command()
def config() -> None:
    """Print every setting in force and where it comes from; passwords are starred out."""
    in_force = settings.load()
    console = Console()
    if console.is_terminal:
        console.print(_table(in_force))
        return
    for name in SETTINGS:
        click.echo(f"{name} = {shown(in_force, name)}  # {in_force.origin[name]}")


def _table(in_force: Settings) -> Table:
    table = Table("setting", "value", "from", caption="Environment before file before default.")
    for name in SETTINGS:
        origin = in_force.origin[name]
        table.add_row(name, shown(in_force, name), origin, style="dim" if origin == "default" else None)
    return table


def shown(in_force: Settings, name: str) -> str:
    """The value of a setting as TOML writes it."""
    return _toml(getattr(in_force, name))


def _toml(value: object) -> str:
    match value:
        case bool() | int() | float():
            return f"{value:.15g}" if isinstance(value, float) and value != int(value) else str(value)
        case tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case Mapping():
            return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
        case _:
            text = settings.masked(str(value)).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'
