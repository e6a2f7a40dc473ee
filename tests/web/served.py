"""The web server without a broker: what it takes is processed at once, by the project's handlers on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.logs import set_up_logs
from gateway.processing import Processor
from gateway.settings import Settings
from gateway.web import context
from gateway.web.application import create
from gateway.web.context import Context

JSON, XML, PATCH = "application/fhir+json", "application/fhir+xml", "application/json-patch+json"
ORGANIZATIONS = "http://registry.example/identifier/organization"
HOSPITAL, PHARMACY = f"{ORGANIZATIONS}|HOSPITAL-1", f"{ORGANIZATIONS}|PHARMACY-7"
BASE = "http://gateway.example/fhir"

Resource = dict[str, Any]
_idle: list[Flask] = []
"""Applications of tests that are over."""


class AtOnce:
    """In the place of the queue and its workers."""

    def __init__(self, here: Context) -> None:
        self.is_working = True
        self._room = here.room
        self._lanes: list[str] = []
        terms, schedule = here.standing, (60.0,)
        self._processor = Processor(here.database, here.registry, here.ourselves, here.checking, terms, schedule)

    def take(self, lane: str, _event_code: str) -> None:
        self._lanes.append(lane)
        self.drain()

    def drain(self) -> None:
        """Processes what waits."""
        while self.is_working and self._lanes:
            self._drain(self._lanes.pop(0))

    def _drain(self, lane: str) -> None:
        while done := self._processor.process(self._processor.find_due([lane])):
            for one in done:
                self._room.call(one.message_id)


class Api:
    """Asks the gateway as a RESTful client does; `party` is who it is, unless a call says otherwise."""

    def __init__(self, client: FlaskClient, queue: AtOnce, here: Context) -> None:
        self.queue = queue
        self.client = client
        self.here = here

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        party: str | None = PHARMACY,
        media_type: str = JSON,
        **headers: str,
    ) -> TestResponse:
        """A header is written with underscores: `If_Match='W/"1"'`; a body that is no bytes becomes JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if party is not None:
            named["X-Party"] = party
        if body is not None:
            named["Content-Type"] = media_type
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        return self.client.open(f"/fhir/{path}", method=method, data=data, headers=named)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.call("GET", path, party=None, **headers)

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.call("PUT", path, body, **headers)

    def send(self, message: Resource) -> Resource:
        """The reply to a message."""
        answer = self.client.post("/fhir/$process-message", data=orjson.dumps(message), headers={"Content-Type": JSON})
        assert answer.status_code == 200, answer.text
        reply: Resource = orjson.loads(answer.data)
        return reply


@contextmanager
def served(database_url: str, redis_url: str, **settings: Any) -> Iterator[Api]:
    """A gateway at BASE on a database that has its schema."""
    in_force = Settings(database_url=database_url, redis_url=redis_url, base_url=BASE, reply_timeout=1, **settings)
    if _idle:  # its endpoints are what takes long to make
        app = _idle.pop()
        set_up_logs(in_force)
        context.put(app.extensions, context.make(in_force))
    else:
        app = create(in_force)
    with app.app_context():
        here = context.get()
    queue = AtOnce(here)
    context.put(app.extensions, replace(here, courier=queue))  # type: ignore[arg-type]
    yield Api(app.test_client(), queue, here)
    here.database.close()
    _idle.append(app)


def issues_of(answer: TestResponse) -> list[Resource]:
    """The issues of an OperationOutcome that was answered."""
    outcome: Resource = orjson.loads(answer.data)
    assert outcome["resourceType"] == "OperationOutcome", answer.text
    issues: list[Resource] = outcome["issue"]
    return issues


def order(number: str = "T-1", **elements: Any) -> Resource:
    """A new order of the hospital for the pharmacy."""
    return {
        "resourceType": "Task",
        "identifier": [{"system": "http://hospital.example/orders", "value": number}],
        "status": "requested",
        "intent": "order",
        "requester": {"identifier": {"system": ORGANIZATIONS, "value": "HOSPITAL-1"}},
        "owner": {"identifier": {"system": ORGANIZATIONS, "value": "PHARMACY-7"}},
        **elements,
    }


def observation(number: str = "O-1", **elements: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "identifier": [{"system": "http://pharmacy.example/results", "value": number}],
        "status": "preliminary",
        "code": {"text": "Creatinine"},
        **elements,
    }


def placed(api: Api, **elements: Any) -> Resource:
    """An order as it is kept."""
    answer = api.post("Task", order(**elements), party=HOSPITAL)
    assert answer.status_code == 201, answer.text
    kept: Resource = orjson.loads(answer.data)
    return kept


def changed(task: Resource, status: str, **elements: Any) -> Resource:
    return {**task, "status": status, **elements}
