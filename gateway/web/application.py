"""The Flask application: its endpoints, the ids of each request, and every error as an OperationOutcome."""

from __future__ import annotations

import re
import time
import uuid
from http import HTTPStatus

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from gateway import metrics, settings
from gateway.errors import DatabaseUnavailable, Issue, Refused
from gateway.logs import places_of, set_up_logs
from gateway.settings import Settings
from gateway.web import (
    administration,
    authentication,
    batch,
    context,
    metadata,
    operations,
    polling,
    process_message,
    resources,
    searching,
    subscription_operations,
    subscriptions,
    tokens,
    trail,
    validate,
    writing,
)
from gateway.web.addresses import CONVERTERS
from gateway.web.answers import outcome_response
from gateway.web.body import drain
from gateway.web.conditions import Declined
from gateway.web.refusals import status_of

log = structlog.get_logger()

_GIVEN_ID = re.compile(r"[\x21-\x7e]{1,128}")

_ISSUE_CODES = {404: "not-found", 405: "not-supported", 400: "invalid", 413: "too-long"}


def create(in_force: Settings | None = None) -> Flask:
    """The WSGI application, on the settings in force unless others are given."""
    in_force = in_force or settings.load()
    set_up_logs(in_force)
    app = Flask("gateway", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    context.put(app.extensions, context.make(in_force))
    app.url_map.converters.update(CONVERTERS)
    messages = (batch, polling, process_message)
    for module in (*messages, validate, metadata, operations, resources, searching, tokens, trail, writing):
        app.register_blueprint(module.endpoints)
    for module in (administration, subscriptions, subscription_operations):
        app.register_blueprint(module.endpoints)
    app.before_request(_begin)
    app.before_request(authentication.identify)
    app.after_request(_end)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DatabaseUnavailable, _database_unavailable)
    app.register_error_handler(Exception, _fault)
    return app


def _begin() -> None:
    g.began = time.perf_counter()
    g.request_id = _given("X-Request-Id") or str(uuid.uuid4())
    g.correlation_id = _given("X-Correlation-Id") or g.request_id
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _given(header: str) -> str | None:
    value = request.headers.get(header, "")
    return value if _GIVEN_ID.fullmatch(value) else None


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    response.headers["X-Correlation-Id"] = g.correlation_id
    if context.get().settings.is_sandbox:
        response.headers["X-Gateway-Mode"] = "sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    seconds = time.perf_counter() - g.began
    endpoint = (request.endpoint or "none").rpartition(".")[2]
    metrics.answered(endpoint, response.status_code, seconds)
    tell = log.debug if request.blueprint == "operations" else log.info
    tell("answered", endpoint=endpoint, status=response.status_code, milliseconds=round(seconds * 1000, 1))
    structlog.contextvars.clear_contextvars()
    return response


def _refused(refused: Refused) -> Response:
    drain(request.stream, context.get().settings.max_message_bytes)
    if isinstance(refused, Declined):
        return _declined(refused)
    return outcome_response(status_of(refused), *refused.issues)


def _declined(declined: Declined) -> Response:
    response = outcome_response(declined.status, *declined.issues)
    response.headers.update(declined.headers)
    if declined.status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join((*declined.allowed, "OPTIONS"))
    return response


def _http_error(error: HTTPException) -> Response:
    if request.path.startswith(f"{administration.endpoints.url_prefix}/"):
        return administration.http_problem(error)
    status = error.code or 500
    texts = {
        404: f"There is nothing at {request.path}. Messages go to POST /fhir/$process-message.",
        405: f"{request.path} does not take {request.method}. Messages go to POST /fhir/$process-message.",
    }
    text = texts.get(status) or error.description or "The request could not be processed."
    response = outcome_response(status, Issue(_ISSUE_CODES.get(status, "processing"), text))
    if allowed := dict(error.get_headers()).get("Allow"):
        response.headers["Allow"] = allowed
    return response


def _database_unavailable(error: DatabaseUnavailable) -> Response:
    log.error("database unavailable", cause=str(error))
    text = "The gateway cannot reach its database. Send it again, unchanged, later: it takes effect once."
    response = outcome_response(503, Issue("transient", text))
    response.headers["Retry-After"] = "5"
    return response


def _fault(error: Exception) -> Response:
    log.error("fault", cause=type(error).__name__, at=places_of(error))
    text = f"The gateway failed on this request; its operator finds the cause in the log under {g.request_id}."
    return outcome_response(500, Issue("exception", text))
