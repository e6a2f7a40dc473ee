"""Replays in JSON: what is asked for is read, and how they stand is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.replay.asking import Asking, Filters, Wishes
from gateway.replay.life import Asked
from gateway.replay.model import Progress
from gateway.replay.reporting import Form, described
from gateway.web.administration_answers import ProblemError, refuse_unknown, table

FILES = (
    "application/x-ndjson",
    "application/fhir+ndjson",
    "application/zip",
    "application/gzip",
    "application/x-tar",
    "application/fhir+json",
    "application/fhir+xml",
)
"""The media types of messages that are sent to be replayed; which it is, is told by how it begins."""
FORMS: tuple[Form, ...] = ("json", "csv", "bundle")
"""Of reports."""
MOST_SECONDS = 30.0
"""That anybody watches."""
Read = Callable[[str, Any], Any]

_MODE, _SOURCE, _SELECTION, _OPTIONS = "mode", "source", "selection", "options"


def _text(name: str, said: Any) -> str:
    if not isinstance(said, str) or not said.strip() or "\0" in said:
        raise ProblemError(422, f"{name} is a text that is not empty.")
    return said


def _texts(name: str, said: Any) -> tuple[str, ...]:
    """One text is a list of it."""
    listed = [said] if isinstance(said, str) else said
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ProblemError(422, f"{name} is a list of texts.")
    return tuple(listed)


def _truth(name: str, said: Any) -> bool:
    if not isinstance(said, bool):
        raise ProblemError(422, f"{name} is true or false.")
    return said


def _number(name: str, said: Any) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise ProblemError(422, f"{name} is a number.")
    return said


def _whole(name: str, said: Any) -> int:
    if isinstance(said, bool) or not isinstance(said, int):
        raise ProblemError(422, f"{name} is a whole number.")
    return said


FILTERS: Mapping[str, tuple[str, Read]] = {
    "since": ("since", _text),
    "until": ("until", _text),
    "partners": ("partner", _texts),
    "events": ("event", _texts),
    "states": ("state", _texts),
    "outcomes": ("outcome", _texts),
    "cause": ("cause", _text),
    "identifiers": ("identifier", _texts),
    "tasks": ("task", _texts),
    "ids": ("id", _texts),
    "kinds": ("kind", _texts),
    "everything": ("everything", _truth),
}
"""What a selection may have, each with its name in Filters."""
WISHES: Mapping[str, tuple[str, Read]] = {
    "effects": ("effects", _text),
    "to": ("to", _text),
    "rate": ("rate", _number),
    "limit": ("limit", _whole),
    "stop_on_failure": ("stop_on_failure", _truth),
    "trial_of": ("of", _text),
    "again": ("again", _truth),
}
"""What the options may have, each with its name in Wishes."""


def read_asked(said: Any, base_url: str, by: str) -> Asked:
    """What is asked for of the inbox, or the outbox. Raises ProblemError, Unclear."""
    said = table(said)
    refuse_unknown(said, _MODE, _SOURCE, _SELECTION, _OPTIONS)
    mode = _text(_MODE, said.get(_MODE))
    filters = Filters(**_read(_SELECTION, said.get(_SELECTION, {}), FILTERS))
    wishes = Wishes(**_read(_OPTIONS, said.get(_OPTIONS, {}), WISHES))
    asked = Asking(base_url).ask(mode, filters, wishes, by)
    if said.get(_SOURCE, asked.source) != asked.source:
        raise ProblemError(422, f"{mode} is for the {asked.source}: the source, where it is given, is {asked.source}.")
    return asked


def read_parameters(said: Mapping[str, str], files: str, base_url: str, by: str) -> Asked:
    """What is asked for of files, by the parameters of an address. Raises ProblemError, Unclear."""
    refuse_unknown(said.keys(), _MODE, *WISHES)
    wishes = {name: _value(text, WISHES[name][1]) for name, text in said.items() if name != _MODE}
    mode = _text(_MODE, said.get(_MODE))
    return Asking(base_url).ask(mode, Filters(), Wishes(**_read(_OPTIONS, wishes, WISHES)), by, [files])


def _value(text: str, read: Read) -> Any:
    """What a text is where another type is meant; the text itself where it is none of it."""
    if read is _truth:
        return {"true": True, "false": False}.get(text, text)
    if read is _text:
        return text
    try:
        return int(text) if read is _whole else float(text)
    except ValueError:
        return text


def _read(name: str, said: Any, known: Mapping[str, tuple[str, Read]]) -> dict[str, Any]:
    """What is said, by the names that are used within; null is as if it were not said."""
    if not isinstance(said, dict):
        raise ProblemError(422, f"{name} is a JSON object.")
    refuse_unknown(said, *known)
    return {known[key][0]: known[key][1](key, value) for key, value in said.items() if value is not None}


def written(progress: Progress) -> dict[str, Any]:
    """A replay as its reports have it, and how many messages a second it has done, pauses and all."""
    replay = progress.replay
    seconds = ((replay.ended_at or datetime.now(UTC)) - replay.started_at).total_seconds() if replay.started_at else 0.0
    return described(progress) | {"per_second": round(progress.done / seconds, 1) if seconds > 0 else None}
