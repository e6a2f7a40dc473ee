"""What is found in files: a message with what is known beside it, or a sentence that says why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.fhir import formats
from gateway.replay.files.about import About

MEDIA_TYPES = {"json": "application/fhir+json", "xml": "application/fhir+xml"}
_LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class Found:
    """One message of a file, or one file that has none.

    `name` is where it is: `day.zip/orders/7.json`, `day.ndjson:12` (the line), `day.json#entry[3]`. `problem` says what
    is wrong with it, and what to do; `body` is empty then.
    """

    name: str
    media_type: str
    body: bytes
    about: About | None = None
    problem: str | None = None


def message(name: str, body: bytes, about: About | None = None) -> Found:
    """A body as it is found; its media type is what it is by its content, or what was said of it when it came."""
    form = formats.guess(body)
    is_told = about is not None and formats.format_of(about.media_type) == form
    return Found(shown(name), about.media_type if about and is_told else MEDIA_TYPES[form], body, about)


def problem(name: str, text: str) -> Found:
    """`text` goes on after the name: "is empty."."""
    name = shown(name)
    return Found(name, "", b"", problem=f"{name} {text}")


def shown(name: str) -> str:
    """A name of a file or of an entry, which may be anything at all, fit to be kept and to be shown."""
    if not name.isprintable():
        name = "".join(char if char.isprintable() else "\ufffd" for char in name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 + 1 :]}"
