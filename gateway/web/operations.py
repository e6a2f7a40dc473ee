"""For the operator: /healthz (the process lives), /readyz (it can do its work), /metrics."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from redis.exceptions import RedisError

from gateway import metrics
from gateway.errors import DatabaseUnavailable
from gateway.metrics import Depth
from gateway.store import circuits, dead_letters, inbox
from gateway.store.database import Database
from gateway.web import context

endpoints = Blueprint("operations", __name__)


@endpoints.get("/healthz")
def healthz() -> Response:
    return jsonify(status="ok")


@endpoints.get("/readyz")
def readyz() -> tuple[Response, int]:
    """200 when the database, the broker and at least one worker answer, else 503; the body says which do."""
    here = context.get()
    parts = {"database": _database_answers(here.database), "broker": True, "worker": False}
    try:
        parts["worker"] = here.notices.has_worker()
    except RedisError:
        parts["broker"] = False
    return jsonify(status="ok" if all(parts.values()) else "unavailable", **parts), 200 if all(parts.values()) else 503


@endpoints.get("/metrics")
def exposition() -> Response:
    with context.get().database.reading() as connection:
        waiting, due, dead = (
            inbox.count_waiting(connection),
            dead_letters.count_due(connection),
            dead_letters.count_dead(connection),
        )
        depths = [
            Depth("inbox", "waiting", waiting.waiting, waiting.oldest),
            Depth("inbox", "dead", inbox.count_dead(connection)),
            Depth("outbox", "due", due.waiting, due.oldest),
            Depth("outbox", "dead", dead.waiting, dead.oldest),
        ]
        open_circuits = len(circuits.list_open(connection))
    return Response(metrics.exposition(depths, open_circuits), content_type="text/plain; version=0.0.4; charset=utf-8")


def _database_answers(database: Database) -> bool:
    try:
        database.check()
    except DatabaseUnavailable:
        return False
    return True
