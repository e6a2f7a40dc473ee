"""The API of administrators, /admin: the partners, their keys and their history; and replays. docs/administration.md"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson
from flask import Blueprint, Response, abort, g, request
from werkzeug.exceptions import HTTPException

from gateway.authentication import api_keys
from gateway.authentication.api_keys import Made, UnknownKeyError
from gateway.errors import Conflict, DatabaseUnavailable, Refused
from gateway.handshake import has_failed, shake_hands
from gateway.partners import document
from gateway.partners.contradictions import find_outside
from gateway.partners.directory import OutdatedError, Registered, UnknownPartnerError
from gateway.partners.model import State
from gateway.replay.asking import Unclear
from gateway.replay.life import ReplayError, UnknownReplayError
from gateway.settings import SettingsError
from gateway.store.admission import Key
from gateway.web import context, replays
from gateway.web.administration_answers import ProblemError, json_response, problem, read_json, refuse_unknown, table
from gateway.web.administration_description import MERGE_PATCH, PREFIX, describe
from gateway.web.administrators import NotAnAdministratorError, admit
from gateway.web.refusals import status_of

endpoints = Blueprint("administration", __name__, url_prefix=PREFIX)
endpoints.register_blueprint(replays.endpoints)

_MOST_CHANGES = 100
_LAST = 2**63 - 1
_LONGEST_VERSION = 18
_GRACE_HOURS = 24.0
_MOST_HOURS = 8760.0


@endpoints.before_request
def _admit() -> None:
    g.administrator = admit(context.get().settings)
    if "\0" in request.path:
        abort(404, "There is nothing here: no name has U+0000 in it.")


# --- partners --------------------------------------------------------------------------------------------------------


@endpoints.get("/openapi.json")
def description() -> Response:
    return json_response(describe(context.get().ourselves.name))


@endpoints.get("/partners")
def list_partners() -> Response:
    found = context.get().directory.all()
    listed = [{"version": one.version, "updatedAt": one.updated_at, "partner": one.document} for one in found]
    return json_response({"partners": listed})


@endpoints.post("/partners")
def add_partner() -> Response:
    added = context.get().directory.add(_bounded(read_json()), g.administrator)
    response = _partner(added, 201)
    response.headers["Location"] = f"{PREFIX}/partners/{quote(added.name, safe='')}"
    return response


@endpoints.get("/partners/<name>")
def read_partner(name: str) -> Response:
    return _partner(context.get().directory.get(name))


@endpoints.put("/partners/<name>")
def replace_partner(name: str) -> Response:
    version = _if_match()
    return _partner(context.get().directory.put(name, _bounded(read_json(), name), g.administrator, version))


@endpoints.patch("/partners/<name>")
def change_partner(name: str) -> Response:
    version, patch = _if_match(), _bounded(table(read_json(MERGE_PATCH)), name)
    return _partner(context.get().directory.change(name, patch, g.administrator, version))


@endpoints.delete("/partners/<name>")
def remove_partner(name: str) -> Response:
    context.get().directory.remove(name, g.administrator, _if_match())
    return Response(status=204)


@endpoints.post("/partners/<name>/pause")
def pause_partner(name: str) -> Response:
    return _in_state(name, "paused")


@endpoints.post("/partners/<name>/resume")
def resume_partner(name: str) -> Response:
    return _in_state(name, "active")


@endpoints.post("/partners/<name>/block")
def block_partner(name: str) -> Response:
    return _in_state(name, "blocked")


@endpoints.get("/partners/<name>/changes")
def list_changes(name: str) -> Response:
    """The last first; `before` is the id of the last one of the page that came before."""
    before = request.args.get("before", type=int)
    found = context.get().directory.changes(name, _MOST_CHANGES, None if before is None else min(before, _LAST))
    if not found and before is None:
        context.get().directory.get(name)
    listed = [
        {
            "id": one.id,
            "at": one.at,
            "by": one.by,
            "what": one.what,
            "before": orjson.loads(one.before) if one.before else None,
            "after": orjson.loads(one.after) if one.after else None,
        }
        for one in found
    ]
    return json_response({"changes": listed})


@endpoints.post("/partners/<name>/test")
def test_partner(name: str) -> Response:
    here = context.get()
    wrong: list[str] = []
    partner = document.read(here.directory.get(name).document, name, wrong)
    if partner is None:
        raise SettingsError(*wrong)
    has_keys = api_keys.has_valid(here.database, name)
    in_force = here.settings
    findings = shake_hands(partner, name=in_force.name, loopback=in_force.is_sandbox, has_keys=has_keys)
    listed = [{"step": one.step, "outcome": one.outcome, "text": one.says} for one in findings]
    return json_response({"passed": not has_failed(findings), "findings": listed})


# --- API keys --------------------------------------------------------------------------------------------------------


@endpoints.get("/partners/<name>/keys")
def list_keys(name: str) -> Response:
    here = context.get()
    here.directory.get(name)
    return json_response({"keys": [_key(one) for one in api_keys.list_all(here.database, name)]})


@endpoints.post("/partners/<name>/keys")
def make_key(name: str) -> Response:
    """The one answer that has the key."""
    said = table(read_json())
    refuse_unknown(said, "expiresAt")
    return _made(api_keys.make(context.get().database, name, g.administrator, _moment(said)))


@endpoints.post("/partners/<name>/keys/rotate")
def rotate_keys(name: str) -> Response:
    said = table(read_json())
    refuse_unknown(said, "expiresAt", "graceHours")
    hours = said.get("graceHours", _GRACE_HOURS)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours <= _MOST_HOURS:
        raise ProblemError(422, f"graceHours is a number of hours from 0 to {_MOST_HOURS:g}.")
    old_until = datetime.now(UTC) + timedelta(hours=hours)
    return _made(api_keys.rotate(context.get().database, name, g.administrator, old_until, _moment(said)))


@endpoints.delete("/partners/<name>/keys/<hint>")
def revoke_key(name: str, hint: str) -> Response:
    api_keys.revoke(context.get().database, name, g.administrator, hint)
    return Response(status=204)


# --- what is asked, and what is answered -----------------------------------------------------------------------------


def _in_state(name: str, state: State) -> Response:
    return _partner(context.get().directory.set_state(name, state, g.administrator))


def _bounded(said: Any, name: str | None = None) -> Any:
    """What is said of a partner, which names no files but those it may. Raises SettingsError, UnknownPartnerError."""
    here = context.get()
    before = here.directory.get(name).document if name is not None else {}
    if wrong := [*find_outside(said, before, here.settings.secrets)]:
        raise SettingsError(*wrong)
    return said


def _moment(said: dict[str, Any]) -> datetime | None:
    if said.get("expiresAt") is None:
        return None
    try:
        moment = datetime.fromisoformat(said["expiresAt"])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise ProblemError(422, "expiresAt is a moment, like 2027-01-31T12:00:00Z.") from None


def _if_match() -> int | None:
    """The version that a change is meant for; None for any (`*`)."""
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise ProblemError(428, 'Send If-Match with the ETag that you have seen, like "3", or * for any version.')
    version = header.removeprefix("W/").strip('"')
    if header != "*" and not (version.isascii() and version.isdigit() and len(version) <= _LONGEST_VERSION):
        raise ProblemError(412, f"{header[:40]} is no ETag of a partner. Take the one that GET has answered.")
    return None if header == "*" else int(version)


def _partner(one: Registered, status: int = 200) -> Response:
    response = json_response(one.document, status)
    response.headers["ETag"] = f'"{one.version}"'
    response.last_modified = one.updated_at
    return response


def _made(made: Made) -> Response:
    return json_response({"key": made.key, "hint": made.hint, "expiresAt": made.expires_at}, 201)


def _key(one: Key) -> dict[str, Any]:
    return {"hint": one.hint, "createdAt": one.created_at, "expiresAt": one.expires_at}


@endpoints.errorhandler(NotAnAdministratorError)
@endpoints.errorhandler(ProblemError)
def _told(error: NotAnAdministratorError | ProblemError) -> Response:
    return problem(error.status, str(error))


@endpoints.errorhandler(UnknownPartnerError)
@endpoints.errorhandler(UnknownKeyError)
def _unknown(error: Exception) -> Response:
    return problem(404, str(error))


@endpoints.errorhandler(UnknownReplayError)
def _no_replay(error: UnknownReplayError) -> Response:
    return problem(404, str(error))


@endpoints.errorhandler(ReplayError)
def _not_now(error: ReplayError) -> Response:
    return problem(409, str(error))


@endpoints.errorhandler(Unclear)
def _unclear(error: Unclear) -> Response:
    return problem(422, str(error))


@endpoints.errorhandler(OutdatedError)
def _outdated(error: OutdatedError) -> Response:
    return problem(412, str(error))


@endpoints.errorhandler(SettingsError)
def _unfit(error: SettingsError) -> Response:
    return problem(422, *error.sentences)


@endpoints.errorhandler(Conflict)
def _clashed(_error: Conflict) -> Response:
    return problem(409, "Somebody else changed the partners at the same time. Try again.")


@endpoints.errorhandler(Refused)
def _refused(refused: Refused) -> Response:
    return problem(status_of(refused), *(issue.text for issue in refused.issues))


@endpoints.errorhandler(DatabaseUnavailable)
def _database_unavailable(_error: DatabaseUnavailable) -> Response:
    return problem(503, "The gateway cannot reach its database. Try again later.")


def http_problem(error: HTTPException) -> Response:
    """For an address under /admin that there is not, or that does not take the method."""
    response = problem(error.code or 500, error.description or "The request could not be processed.")
    if allowed := dict(error.get_headers()).get("Allow"):
        response.headers["Allow"] = allowed
    return response
