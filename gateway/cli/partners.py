"""`fhir-gateway partners`: who the partners are, how they are told, and whether one can be reached."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import click
import orjson
from rich.console import Console
from rich.markup import escape

from gateway.authentication import api_keys
from gateway.cli.partner_files import differences, export, import_files
from gateway.cli.partner_keys import key, keys, revoke, rotate
from gateway.cli.registry import opened, read_files, show_rows, who
from gateway.handshake import Finding, has_failed, shake_hands
from gateway.partners import document, files
from gateway.partners.document import PARTNER, Key, Table
from gateway.partners.model import State

_MARKS: Mapping[str, tuple[str, str]] = {"ok": ("ok", "green"), "note": ("note", "yellow"), "fault": ("FAULT", "red")}
_CHANGES_SHOWN = 50
_NAME = click.argument("name")


@click.group()
def partners() -> None:
    """Look after the partners: who they are, what proves it, how they are told. Each change is audited."""


for command in (import_files, differences, export, key, keys, rotate, revoke):
    partners.add_command(command)


@partners.command("list")
def list_all() -> None:
    """List the partners."""
    with opened() as registry:
        found = registry.directory.all()
    rows = []
    for one in found:
        said = one.document
        first = (said.get("endpoints") or [""])[0]
        ways = (said.get("state", "active"), said.get("dialect", "cow"), said.get("tell", "message"))
        rows.append((one.name, *ways, said["identifiers"][0], first))
    show_rows(("name", "state", "dialect", "told by", "identifier", "endpoint"), rows)


@partners.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="As the API has it.")
def show(name: str, as_json: bool) -> None:
    """Show all that is registered of a partner."""
    with opened() as registry:
        one = registry.directory.get(name)
        held = api_keys.list_all(registry.database, name)
    if as_json:
        click.echo(orjson.dumps(one.document, option=orjson.OPT_INDENT_2))
        return
    click.echo(f"# version {one.version} of {one.updated_at:%Y-%m-%d %H:%M:%S} UTC; API keys made: {len(held)}")
    click.echo(files.dump([one.document]), nl=False)


@partners.command()
@click.argument("file")
def add(file: str) -> None:
    """Add the partners in FILE (TOML or JSON; - for standard input)."""
    with opened() as registry:
        for _, partner in read_files(registry, [file]):
            click.echo(f"{registry.directory.add(document.write(partner), who()).name} is added.")


@partners.command()
@_NAME
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
def change(name: str, assignments: Sequence[str]) -> None:
    """Change keys of a partner: tell=poll delivery.timeout=10 'endpoints=["urn:a"]'; KEY= gives its default back."""
    patch: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"{assignment} is no KEY=VALUE, like delivery.timeout=10.")
        patch = _deepened(patch, path.split("."), _value(path, value))
    with opened() as registry:
        made = registry.directory.change(name, patch, who())
    click.echo(f"{name} has version {made.version}.")


@partners.command()
@_NAME
@click.confirmation_option(prompt="Its API keys and tokens end with it. Remove it?")
def remove(name: str) -> None:
    """Remove a partner; what was sent and received stays."""
    with opened() as registry:
        registry.directory.remove(name, who())
    click.echo(f"{name} is removed.")


@partners.command()
@_NAME
def pause(name: str) -> None:
    """Send a partner nothing for a time; what it sends is taken."""
    _set_state(name, "paused")


@partners.command()
@_NAME
def resume(name: str) -> None:
    """Send to a partner again, and take what it sends."""
    _set_state(name, "active")


@partners.command()
@_NAME
def block(name: str) -> None:
    """Refuse what a partner sends (403), and send it nothing."""
    _set_state(name, "blocked")


@partners.command()
@_NAME
def history(name: str) -> None:
    """Tell who changed what of a partner, and when; the last first."""
    with opened() as registry:
        found = registry.directory.changes(name, _CHANGES_SHOWN)
    if not found:
        raise click.ClickException(f"There has never been a partner {name}.")
    rows = []
    for one in found:
        before, after = (orjson.loads(text) if text else {} for text in (one.before, one.after))
        changed = ", ".join(sorted(path for path, _, _ in document.compare(before, after)))
        rows.append((f"{one.at:%Y-%m-%d %H:%M:%S}", one.by, one.what, changed if one.before and one.after else ""))
    show_rows(("when (UTC)", "who", "what", "keys"), rows)


@partners.command()
@_NAME
def test(name: str) -> None:
    """Try everything between the gateway and a partner, short of a message, and say in words what fails.

    The exit status is 1 if something does.
    """
    with opened() as registry:
        partner = document.read(registry.directory.get(name).document, name, [])
        if partner is None:
            raise click.ClickException("\n".join(registry.directory.find_faults()))
        in_force = registry.settings
        has_keys = api_keys.has_valid(registry.database, name)
    findings = shake_hands(partner, name=in_force.name, loopback=in_force.is_sandbox, has_keys=has_keys)
    console = Console(soft_wrap=True)
    for finding in findings:
        console.print(_line(finding), highlight=False)
    sys.exit(1 if has_failed(findings) else 0)


def _set_state(name: str, state: State) -> None:
    with opened() as registry:
        registry.directory.set_state(name, state, who())
    click.echo(f"{name} is {state}.")


def _line(finding: Finding) -> str:
    mark, colour = _MARKS[finding.outcome]
    return f"[{colour}]{mark:<5}[/]  {finding.step:<13}  {escape(finding.says)}"


def _deepened(patch: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A merge patch with one more key."""
    first, *rest = path
    inner = patch.get(first)
    return {**patch, first: _deepened(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value}


def _value(path: str, text: str) -> Any:
    """What is written for a key, as TOML has it; a text needs no quotes. None: its default."""
    if not text:
        return None
    key: Key | Table | None = PARTNER
    for name in path.split("."):
        key = key.keys.get(name) if isinstance(key, Table) else None
    if isinstance(key, Key) and key.kind.schema.get("type") == "string":
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
