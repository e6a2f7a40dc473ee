"""`fhir-gateway validate`: what $validate says of a file, from the command line, without a gateway that runs."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NoReturn

import click

from gateway import routing, settings
from gateway.checking import Checking
from gateway.errors import Issue, Refused
from gateway.fhir import formats, json
from gateway.fhir.definitions import TABLES, Version
from gateway.fhir.outcome import operation_outcome
from gateway.routing import Registry
from gateway.settings import SettingsError
from gateway.validation import Wish, find_issues

_NUMBERS: dict[str, Version] = {"3.0": "STU3", "4.0": "R4", "4.3": "R4B", "5.0": "R5"}
_VERSIONS: dict[str, Version] = {number: name for number, name in _NUMBERS.items() if name in TABLES}
_COLOURS = {"error": "red", "warning": "yellow", "information": "cyan"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print an OperationOutcome for each file, one a line.")
@click.option(
    "--fhir-version", type=click.Choice([*_VERSIONS]), default="4.0", help="The version of FHIR; 4.0 if not given."
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def validate(as_json: bool, fhir_version: str, files: tuple[str, ...]) -> None:
    """Check FHIR resources and messages, in JSON or XML, without processing them.

    A FILE may be - for standard input. The exit status is 1 if any file has an error, 0 if none has, and 2 if the
    report cannot be written.
    """
    try:
        in_force = settings.load()
        checking, registry = Checking(in_force), routing.load(in_force.handlers)
    except (SettingsError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    wish = Wish(version=_VERSIONS[fhir_version])
    looked_at = ((name, _look_at(name, in_force.max_message_bytes, checking, registry, wish)) for name in files)
    try:
        failures = _report(looked_at, as_json)
    except OSError as error:
        _give_up(error)
    sys.exit(1 if failures else 0)


def _report(looked_at: Iterable[tuple[str, Sequence[Issue]]], as_json: bool) -> int:
    """Prints the issues of each file as soon as it is looked at; the number of files with errors.

    Raises OSError when nothing can be written.
    """
    counts: Counter[str] = Counter()
    files = failures = 0
    for name, issues in looked_at:
        files += 1
        words = Counter(_word(issue) for issue in issues)
        counts += words
        failures += bool(words["error"])
        if as_json:
            click.echo(json.serialize(operation_outcome(issues, file=name)))
        else:
            _print(name, issues)
    if not as_json:
        _print_summary(files, failures, counts)
    return failures


def _give_up(error: OSError) -> NoReturn:
    """Ends with status 2; says why, unless it is that the reader of the report has had enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at exit fails no more
    if error.errno != errno.EPIPE:
        click.echo(f"The report cannot be written: {error.strerror}.", err=True)
    sys.exit(2)


def _look_at(name: str, limit: int, checking: Checking, registry: Registry, wish: Wish) -> Sequence[Issue]:
    """The issues of a file; that it cannot be read is one too."""
    try:
        with click.open_file(name, "rb") as file:
            body = file.read(limit + 1)
    except OSError as error:
        return [Issue("processing", f"The file cannot be read: {error.strerror or error}.", severity="fatal")]
    if len(body) > limit:
        text = f"The file is larger than the {limit} bytes that the gateway takes. Send it as several messages."
        return [Issue("too-long", text, severity="fatal")]
    try:
        return find_issues(body, formats.guess(body), checking, registry, wish)
    except Refused as refused:
        return refused.issues


def _word(issue: Issue) -> str:
    return "error" if issue.severity == "fatal" else issue.severity


def _print(name: str, issues: Sequence[Issue]) -> None:
    """`order.json:12:5: error bdl-7: …`, as compilers write it and editors read it."""
    shown = _printable(click.format_filename(name))
    for issue in issues:
        place = f"{shown}:{issue.line}:{issue.column}" if issue.line else shown
        word = click.style(_word(issue), fg=_COLOURS[_word(issue)], bold=True)
        click.echo(f"{place}: {word} {issue.rule or issue.code}: {_printable(issue.text)}")


def _printable(text: str) -> str:
    """`text`, which may quote a file, on one line and without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _print_summary(files: int, failures: int, counts: Counter[str]) -> None:
    found = ", ".join(_count(counts[word], word) for word in _COLOURS if counts[word]) or "no issues"
    click.echo(f"{_count(files, 'file')}, {failures or 'none'} with errors: {found}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("s" if number != 1 and word != "information" else "")
