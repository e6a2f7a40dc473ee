"""The API of administrators, /admin: the partners, their keys and their history. docs/administration.md"""

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
from gateway.settings import SettingsError
from gateway.store.admission import Key
from gateway.web import context
from gateway.web.administration_description import MERGE_PATCH, PREFIX, describe
from gateway.web.administrators import NotAnAdministratorError, admit
from gateway.web.body import drain, read_body
from gateway.web.refusals import status_of

endpoints = Blueprint("administration", __name__, url_prefix=PREFIX)

_JSON, _PROBLEM = "application/json", "application/problem+json"
_LARGEST = 1024 * 1024
_MOST_CHANGES = 100
_LAST = 2**63 - 1
_LONGEST_VERSION = 18
_GRACE_HOURS = 24.0
_MOST_HOURS = 8760.0


class _ProblemError(Exception):
    """An answer with a status of its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@endpoints.before_request
def _admit() -> None:
    g.administrator = admit(context.get().settings)
    if "\0" in request.path:
        abort(404, "There is nothing here: no name has U+0000 in it.")


# --- partners --------------------------------------------------------------------------------------------------------


@endpoints.get("/openapi.json")
def description() -> Response:
    return _json(describe(context.get().ourselves.name))


@endpoints.get("/partners")
def list_partners() -> Response:
    found = context.get().directory.all()
    listed = [{"version": one.version, "updatedAt": one.updated_at, "partner": one.document} for one in found]
    return _json({"partners": listed})


@endpoints.post("/partners")
def add_partner() -> Response:
    added = context.get().directory.add(_bounded(_read()), g.administrator)
    response = _partner(added, 201)
    response.headers["Location"] = f"{PREFIX}/partners/{quote(added.name, safe='')}"
    return response


@endpoints.get("/partners/<name>")
def read_partner(name: str) -> Response:
    return _partner(context.get().directory.get(name))


@endpoints.put("/partners/<name>")
def replace_partner(name: str) -> Response:
    version = _if_match()
    return _partner(context.get().directory.put(name, _bounded(_read(), name), g.administrator, version))


@endpoints.patch("/partners/<name>")
def change_partner(name: str) -> Response:
    version, patch = _if_match(), _bounded(_table(_read(MERGE_PATCH)), name)
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
    return _json({"changes": listed})


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
    return _json({"passed": not has_failed(findings), "findings": listed})


# --- API keys --------------------------------------------------------------------------------------------------------


@endpoints.get("/partners/<name>/keys")
def list_keys(name: str) -> Response:
    here = context.get()
    here.directory.get(name)
    return _json({"keys": [_key(one) for one in api_keys.list_all(here.database, name)]})


@endpoints.post("/partners/<name>/keys")
def make_key(name: str) -> Response:
    """The one answer that has the key."""
    said = _table(_read())
    _refuse_unknown(said, "expiresAt")
    return _made(api_keys.make(context.get().database, name, g.administrator, _moment(said)))


@endpoints.post("/partners/<name>/keys/rotate")
def rotate_keys(name: str) -> Response:
    said = _table(_read())
    _refuse_unknown(said, "expiresAt", "graceHours")
    hours = said.get("graceHours", _GRACE_HOURS)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours <= _MOST_HOURS:
        raise _ProblemError(422, f"graceHours is a number of hours from 0 to {_MOST_HOURS:g}.")
    old_until = datetime.now(UTC) + timedelta(hours=hours)
    return _made(api_keys.rotate(context.get().database, name, g.administrator, old_until, _moment(said)))


@endpoints.delete("/partners/<name>/keys/<hint>")
def revoke_key(name: str, hint: str) -> Response:
    api_keys.revoke(context.get().database, name, g.administrator, hint)
    return Response(status=204)


# --- what is asked, and what is answered -----------------------------------------------------------------------------


def _in_state(name: str, state: State) -> Response:
    return _partner(context.get().directory.set_state(name, state, g.administrator))


def _read(media_type: str = _JSON) -> Any:
    """The body; an empty one is an empty table. Only JSON is taken: what a form of a web page sends is none."""
    if request.mimetype not in (_JSON, media_type):
        raise _ProblemError(415, f"Send the body as Content-Type: {media_type}.")
    if request.content_length == 0:
        return {}
    body = read_body(request.stream, request.content_length, request.headers.get("Content-Encoding"), _LARGEST)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _ProblemError(400, f"The body is not JSON: {error}.") from None


def _table(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise _ProblemError(422, "The body is no JSON object. Send the keys in one.")
    return said


def _bounded(said: Any, name: str | None = None) -> Any:
    """What is said of a partner, which names no files but those it may. Raises SettingsError, UnknownPartnerError."""
    here = context.get()
    before = here.directory.get(name).document if name is not None else {}
    if wrong := [*find_outside(said, before, here.settings.secrets)]:
        raise SettingsError(*wrong)
    return said


def _refuse_unknown(said: dict[str, Any], *known: str) -> None:
    for name in said:
        if name not in known:
            raise _ProblemError(422, f"There is no {name} here. There are {', '.join(known)}.")


def _moment(said: dict[str, Any]) -> datetime | None:
    if said.get("expiresAt") is None:
        return None
    try:
        moment = datetime.fromisoformat(said["expiresAt"])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise _ProblemError(422, "expiresAt is a moment, like 2027-01-31T12:00:00Z.") from None


def _if_match() -> int | None:
    """The version that a change is meant for; None for any (`*`)."""
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise _ProblemError(428, 'Send If-Match with the ETag that you have seen, like "3", or * for any version.')
    version = header.removeprefix("W/").strip('"')
    if header != "*" and not (version.isascii() and version.isdigit() and len(version) <= _LONGEST_VERSION):
        raise _ProblemError(412, f"{header[:40]} is no ETag of a partner. Take the one that GET has answered.")
    return None if header == "*" else int(version)


def _partner(one: Registered, status: int = 200) -> Response:
    response = _json(one.document, status)
    response.headers["ETag"] = f'"{one.version}"'
    response.last_modified = one.updated_at
    return response


def _made(made: Made) -> Response:
    return _json({"key": made.key, "hint": made.hint, "expiresAt": made.expires_at}, 201)


def _key(one: Key) -> dict[str, Any]:
    return {"hint": one.hint, "createdAt": one.created_at, "expiresAt": one.expires_at}


def _json(said: Any, status: int = 200, media_type: str = _JSON) -> Response:
    return Response(orjson.dumps(said, option=orjson.OPT_UTC_Z), status, content_type=media_type)


def problem(status: int, *sentences: str) -> Response:
    """https://www.rfc-editor.org/rfc/rfc9457"""
    if request.method in ("POST", "PUT", "PATCH"):
        drain(request.stream, _LARGEST)
    said = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status}
    response = _json(said | {"detail": " ".join(sentences), "errors": sentences}, status, _PROBLEM)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="admin"'
    return response


_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    428: "Precondition Required",
    503: "Service Unavailable",
}


@endpoints.errorhandler(NotAnAdministratorError)
@endpoints.errorhandler(_ProblemError)
def _told(error: NotAnAdministratorError | _ProblemError) -> Response:
    return problem(error.status, str(error))


@endpoints.errorhandler(UnknownPartnerError)
@endpoints.errorhandler(UnknownKeyError)
def _unknown(error: Exception) -> Response:
    return problem(404, str(error))


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
