"""Replays by the API of administrators: planned, started, watched, ended, reported. docs/administration.md"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from flask import Blueprint, Response, abort, g, request

from gateway.replay import reporting
from gateway.replay.files import archives
from gateway.replay.life import ReplayError, Replays
from gateway.replay.model import ENDED, OUTCOMES, Replay
from gateway.store import replay_lines
from gateway.web import context
from gateway.web.administration_answers import (
    JSON,
    UPLOADS,
    ProblemError,
    json_response,
    read_json,
    refuse_unknown,
    table,
)
from gateway.web.administrators import NAMELESS, SANDBOX
from gateway.web.replay_documents import FILES, FORMS, MOST_SECONDS, read_asked, read_parameters, written
from gateway.web.spooling import MOST_INFLATED, spooled

endpoints = Blueprint("replays", __name__)

MOST_WAITING = 4
"""Who watches at once, of one process: its threads are for messages."""
_MOST_LISTED = 100
_LOOK_SECONDS = 0.5
_LONGEST_NUMBER = 18
_watching = threading.BoundedSemaphore(MOST_WAITING)
_Change = Callable[[Replays, int, str], object]


@endpoints.post("/replays")
def create_replay() -> Response:
    """Of what is kept here, by JSON; or of the messages that are sent along."""
    here = context.get()
    if request.mimetype == JSON:
        asked = read_asked(read_json(), here.ourselves.base_url, g.administrator)
        return _planned(here.replays.plan(asked))
    if request.mimetype not in FILES:
        raise ProblemError(415, f"Say by {JSON} what is meant, or send messages, as one of {', '.join(FILES)}.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise ProblemError(415, "Files are sent without Content-Encoding; they may be compressed themselves.")
    read_parameters(request.args, "body", here.ourselves.base_url, g.administrator)
    with spooled(here.settings.var) as (file, digest):
        asked = read_parameters(request.args, f"body {digest}", here.ourselves.base_url, g.administrator)
        found = archives.read("body", file, here.settings.max_message_bytes, MOST_INFLATED)
        return _planned(here.replays.plan(asked, found))


@endpoints.get("/replays")
def list_replays() -> Response:
    """The last first; `before` is the id of the last one of the page that came before."""
    before = _number(request.args["before"]) if "before" in request.args else None
    replays = context.get().replays
    listed = [_written(replays, one.id) for one in replays.all(_MOST_LISTED, before)]
    return json_response({"replays": listed})


@endpoints.get("/replays/<number>")
def read_replay(number: str) -> Response:
    """With `wait`, when it is in another state than now, or so many seconds are over."""
    replay_id, seconds = _number(number), _seconds()
    replays = context.get().replays
    if seconds and _watching.acquire(blocking=False):
        try:
            _watch(replays, replay_id, time.monotonic() + seconds)
        finally:
            _watching.release()
    return json_response(_written(replays, replay_id))


@endpoints.delete("/replays/<number>")
def discard_replay(number: str) -> Response:
    context.get().replays.discard(_number(number))
    return Response(status=204)


@endpoints.post("/replays/<number>/start")
def start_replay(number: str) -> Response:
    said = table(read_json()) if request.content_length or request.mimetype else {}
    refuse_unknown(said, "confirm")
    confirmed = said.get("confirm")
    if confirmed is not None and (isinstance(confirmed, bool) or not isinstance(confirmed, int)):
        raise ProblemError(422, "confirm is the number of messages that the forecast has.")
    return _changed(number, lambda replays, replay_id, by: replays.start(replay_id, by, confirmed))


@endpoints.post("/replays/<number>/approve")
def approve_replay(number: str) -> Response:
    return _changed(number, _approve)


@endpoints.post("/replays/<number>/pause")
def pause_replay(number: str) -> Response:
    return _changed(number, lambda replays, replay_id, by: replays.pause(replay_id, by))


@endpoints.post("/replays/<number>/resume")
def resume_replay(number: str) -> Response:
    return _changed(number, lambda replays, replay_id, by: replays.resume(replay_id, by))


@endpoints.post("/replays/<number>/stop")
def stop_replay(number: str) -> Response:
    return _changed(number, lambda replays, replay_id, by: replays.stop(replay_id, by))


@endpoints.post("/replays/<number>/release")
def release_held(number: str) -> Response:
    here = context.get()
    return _changed(number, lambda replays, replay_id, _by: here.doorbell.ring(replays.release(replay_id)))


@endpoints.post("/replays/<number>/drop")
def drop_held(number: str) -> Response:
    return _changed(number, lambda replays, replay_id, _by: replays.drop(replay_id))


@endpoints.get("/replays/<number>/report")
def report_replay(number: str) -> Response:
    form, outcomes = request.args.get("format", "json"), request.args.getlist("outcome")
    if form not in FORMS:
        raise ProblemError(422, f"format is one of {', '.join(FORMS)}.")
    for outcome in outcomes:
        if outcome not in OUTCOMES:
            raise ProblemError(422, f"outcome is one of {', '.join(OUTCOMES)}; given more than once, any of them.")
    replay_id = _number(number)
    report = _begun(reporting.write(form, context.get().replays, replay_id, outcomes))
    response = Response(report, content_type=reporting.MEDIA_TYPES[form])
    extension = "json" if form == "bundle" else form
    response.headers["Content-Disposition"] = f'attachment; filename="replay-{replay_id}.{extension}"'
    return response


@endpoints.get("/messages/<number>/history")
def read_history(number: str) -> Response:
    """What became of a message of the inbox, first and last, and in every replay of it."""
    message_id = _number(number)
    with context.get().database.reading() as connection:
        found = {one.id: one for one in replay_lines.find_originals(connection, [str(message_id)])}
        if message_id not in found:
            abort(404, f"There is no message {message_id} in the inbox.")
        own, of = found[message_id], found[message_id].replay_of
        told = {
            "message": own,
            "original": next(iter(replay_lines.find_originals(connection, [str(of)])), None) if of else None,
            "replays": replay_lines.find_replayed(connection, message_id),
            "repeats": replay_lines.find_made_of(connection, message_id),
        }
    return json_response(told)


# --- what is asked, and what is answered -----------------------------------------------------------------------------


def _planned(replay: Replay) -> Response:
    """201 for a new one; 200 for the same, which was started before."""
    response = json_response(_written(context.get().replays, replay.id), 201 if replay.state == "planned" else 200)
    response.headers["Location"] = f"{UPLOADS}/{replay.id}"
    return response


def _approve(replays: Replays, replay_id: int, by: str) -> None:
    """Whoever has no name cannot be told from who asked for it: what to do about that is said."""
    try:
        replays.approve(replay_id, by)
    except ReplayError as error:
        if by not in (SANDBOX, NAMELESS) or replays.get(replay_id).state != "approval":
            raise
        text = (
            "Give whoever approves a name: a line of their own in the file of admin_token_file, `NAME TOKEN`; or let "
        )
        raise ReplayError(f"{error} {text}them do it by command: fhir-gateway replay approve {replay_id}.") from None


def _changed(number: str, change: _Change) -> Response:
    replays, replay_id = context.get().replays, _number(number)
    change(replays, replay_id, g.administrator)
    return json_response(_written(replays, replay_id))


def _written(replays: Replays, replay_id: int) -> dict[str, Any]:
    return written(replays.progress(replay_id))


def _number(said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) <= _LONGEST_NUMBER):
        abort(404, f"{said[:_LONGEST_NUMBER]} is no number. Replays and messages have numbers.")
    return int(said)


def _seconds() -> float:
    said = request.args.get("wait", "0")
    try:
        seconds = float(said) if said.isascii() else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SECONDS:
        raise ProblemError(422, f"wait is a number of seconds, from 0 to {MOST_SECONDS:g}.")
    return seconds


def _watch(replays: Replays, replay_id: int, deadline: float) -> None:
    """Until it has ended, is in another state, or the deadline (`time.monotonic()`)."""
    first = state = replays.get(replay_id).state
    while state == first and state not in ENDED and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(_LOOK_SECONDS, left))
        state = replays.get(replay_id).state


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """With the first one at hand: what cannot be reported is found out before it is answered."""
    first = next(pieces, b"")
    return chain([first], pieces)
