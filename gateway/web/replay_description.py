"""What the API of administrators takes and answers of replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from gateway.replay.asking import KINDS, STATES
from gateway.replay.asking import OUTCOMES as RESPONSES
from gateway.replay.model import EFFECTS, MODES, OUTCOMES, Forecast, Group, Options, Replay, Source
from gateway.replay.reporting import MEDIA_TYPES
from gateway.store.replay_lines import Original, Replayed
from gateway.web.openapi import (
    NUMBER,
    TEXT,
    Operation,
    Schema,
    array,
    listing,
    obj,
    of_fields,
    one_of,
    ref,
)
from gateway.web.replay_documents import FILES, FORMS, MOST_SECONDS

_ALL, _ONE = "/replays", "/replays/{number}"
_TEXTS: Schema = {"anyOf": [array(TEXT), TEXT]}
_LIMIT: Schema = {"type": "integer", "minimum": 1}
_RATE: Schema = {"type": "number", "minimum": 0.001}


def _texts(words: Sequence[str]) -> Schema:
    return {"anyOf": [array(one_of(words)), one_of(words)]}


_MODE = {"type": "string", "enum": list(MODES), "description": " ".join(f"{k}: {v}" for k, v in MODES.items())}
_OPTIONS: Mapping[str, Schema] = {
    "effects": {"type": "string", "enum": list(EFFECTS), "description": "For apply and reprocess it has to be chosen."},
    "to": {"type": "string", "description": "The partner to whom all is sent: answer, send."},
    "rate": {**_RATE, "description": "Messages a second."},
    "limit": {**_LIMIT, "description": "The first so many."},
    "stop_on_failure": {"type": "boolean", "default": False},
    "trial_of": {"type": "string", "enum": ["apply", "reprocess"], "description": "Of what a dry run is."},
    "again": {"type": "boolean", "default": False, "description": "Once more, though the same was done."},
}
_SELECTION: Mapping[str, Schema] = {
    "since": {"type": "string", "description": "A moment, or how long ago: 2026-01-31T14:30Z, 90m, 2h, 3d."},
    "until": {"type": "string", "description": "As since; what comes at that moment is not meant."},
    "partners": _TEXTS,
    "events": _TEXTS,
    "states": _texts(sorted({state for states in STATES.values() for state in states})),
    "outcomes": _texts(RESPONSES),
    "cause": TEXT,
    "identifiers": {**_TEXTS, "description": "system|value"},
    "tasks": _TEXTS,
    "ids": _TEXTS,
    "kinds": _texts(KINDS),
    "everything": {"type": "boolean", "description": "Nothing is left out: in place of all others."},
}
_OF_FILES = tuple((name, schema, str(schema.get("description", ""))) for name, schema in _OPTIONS.items())


def _verb(verb: str, says: str, takes: str | None = None) -> Operation:
    name = {"release": "release_held", "drop": "drop_held"}.get(verb, f"{verb}_replay")
    return Operation("post", f"{_ONE}/{verb}", name, says, takes, "Replay", needs_body=False)


OPERATIONS = (
    Operation(
        "post",
        _ALL,
        "create_replay",
        "Plans a replay: of what is kept here, by JSON; or of the messages in the body, by parameters",
        "NewReplay",
        "Replay",
        201,
        or_status=(200, "The same, which is under way"),
        parameters=(("mode", _MODE, "Of files."), *_OF_FILES),
        files=FILES,
    ),
    Operation(
        "get",
        _ALL,
        "list_replays",
        "The replays, the last first",
        answers="Replays",
        parameters=(("before", NUMBER, "The id of the last one that was seen."),),
    ),
    Operation(
        "get",
        _ONE,
        "read_replay",
        "A replay, its forecast, and how far it has come",
        answers="Replay",
        parameters=(
            (
                "wait",
                {"type": "number", "minimum": 0, "maximum": MOST_SECONDS},
                "Seconds to wait for it to come into another state.",
            ),
        ),
    ),
    Operation("delete", _ONE, "discard_replay", "Forgets one that was never started", status=204),
    _verb("start", "Starts it, or has it wait for an approval", "Start"),
    _verb("approve", "Has it start, by another person than who asked for it"),
    _verb("pause", "Once it is answered, nothing more takes effect"),
    _verb("resume", "Goes on with what was paused or stopped"),
    _verb("stop", "Once it is answered, nothing more takes effect"),
    _verb("release", "Has sent what it holds"),
    _verb("drop", "Has never sent what it holds"),
    Operation(
        "get",
        f"{_ONE}/report",
        "report_replay",
        "What became of each message; or the responses, in a Bundle",
        answers="Report",
        parameters=(
            ("format", {**one_of(FORMS), "default": "json"}, "Of the report."),
            ("outcome", array(one_of(list(OUTCOMES))), "Of the messages that are reported; all without."),
        ),
        also=[MEDIA_TYPES[form] for form in FORMS if form != "json"],
    ),
    Operation(
        "get",
        "/messages/{number}/history",
        "read_history",
        "What became of a message, first and last, and in every replay of it",
        answers="History",
    ),
)

SCHEMAS: Mapping[str, Schema] = {
    "NewReplay": {
        **obj(
            ("mode", "selection"),
            mode=_MODE,
            source=one_of([source for source in get_args(Source) if source != "files"]),
            selection={**obj((), **_SELECTION), "additionalProperties": False},
            options={**obj((), **_OPTIONS), "additionalProperties": False},
        ),
        "additionalProperties": False,
    },
    "Start": obj((), confirm={"type": "integer", "description": "For reprocess: the number of messages."}),
    "Replay": of_fields(
        Replay,
        selection=obj((), **{**_SELECTION, "files": array(TEXT)}),
        options=of_fields(Options),
        forecast={"anyOf": [of_fields(Forecast, groups=array(of_fields(Group))), {"type": "null"}]},
        counts={"type": "object", "additionalProperties": NUMBER, "description": "How many have which outcome."},
        remaining=NUMBER,
        held=NUMBER,
        per_second={"type": ["number", "null"]},
    ),
    "Replays": listing("replays", ref("Replay")),
    "Report": obj(None, replay={"type": "object"}, lines=array({"type": "object"})),
    "Message": of_fields(Original),
    "History": obj(
        None,
        message=ref("Message"),
        original={"anyOf": [ref("Message"), {"type": "null"}]},
        replays=array(of_fields(Replayed)),
        repeats=array(ref("Message")),
    ),
}
