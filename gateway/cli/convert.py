"""`fhir-gateway convert`: FHIR JSON to XML and back, from the command line."""

import sys
from pathlib import Path

import click

from gateway.errors import Refused
from gateway.fhir import formats

_SHOWN = 3


@click.command()
@click.option("--to", type=click.Choice(formats.FORMATS), help="The format to write. The other one unless given.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="A directory to write the files into.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def convert(to: str | None, out: Path | None, files: tuple[str, ...]) -> None:
    """Convert FHIR R4 resources between JSON and XML.

    A FILE may be - for standard input. Without --out the results are printed one after another.
    """
    written: set[Path] = set()
    failures = 0
    for name in files:
        try:
            content, extension = _converted(name, to)
            _write(content, name, extension, out, written)
        except Refused as refusal:
            failures += 1
            click.echo(f"{name}: {_sentence(refusal)}", err=True)
        except (OSError, ValueError) as error:
            failures += 1
            click.echo(f"{name}: {getattr(error, 'strerror', None) or error}", err=True)
    sys.exit(1 if failures else 0)


def _converted(name: str, to: str | None) -> tuple[bytes, str]:
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    source = formats.guess(data)
    target = to or ("xml" if source == "json" else "json")
    return formats.serialize(formats.parse(data, source), target), target


def _write(content: bytes, name: str, extension: str, out: Path | None, written: set[Path]) -> None:
    if out is None:
        click.echo(content)
        return
    path = out / f"{'stdin' if name == '-' else Path(name).stem}.{extension}"
    if path in written:
        raise ValueError(f"{path} has just been written from another file; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content + b"\n")
    written.add(path)


def _sentence(refusal: Refused) -> str:
    """What is wrong, on one line."""
    found = [f"{issue.expression}: {issue.text}" if issue.expression else issue.text for issue in refusal.issues]
    more = f" And {len(found) - _SHOWN} more." if len(found) > _SHOWN else ""
    return " ".join(found[:_SHOWN]) + more
