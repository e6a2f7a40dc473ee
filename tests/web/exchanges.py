"""The web server without a broker, for partners that a test names, and a dialect made up for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.authentication.model import Identity
from gateway.errors import Issue
from gateway.fhir import dialects
from gateway.fhir.dialects import Answer, Composed, Dialect, Manner, composing
from gateway.fhir.dialects.model import Pack, Rule
from gateway.fhir.message import Event, Message
from gateway.fhir.outcome import operation_outcome
from gateway.partners import Partner, Partners
from gateway.settings import Settings
from gateway.store import schema
from gateway.store.database import Database
from gateway.terms import Terms
from gateway.web import context
from gateway.web.application import create
from gateway.web.context import Context
from tests.senders import COW, Sender, task
from tests.terms import TERMS
from tests.web.served import BASE, JSON, AtOnce

Resource = dict[str, Any]

TERSE, TERSE_SYSTEM = "terse", "urn:terse:events"
_STATUS = {"ok": 201, "fatal-error": 400, "transient-error": 503}


def _understand(message: Message, manner: Manner) -> Message:
    if message.event.system != TERSE_SYSTEM:
        return replace(message, refusal=(Issue("not-supported", f"No {message.event.code} to {manner.owner}."),))
    if message.event.code == "receipt":
        return composing.TRANSLATIONS["response"](message, manner, Rule("response", "response"))
    event = Event(COW, message.event.code)
    coding = {"system": event.system, "code": event.code}
    header = {**message.header, "eventCoding": coding}
    header.pop("response", None)
    entries = [{**message.bundle["entry"][0], "resource": header}, *message.bundle["entry"][1:]]
    return replace(message, event=event, header=header, bundle={**message.bundle, "entry": entries})


def _answer(_message: Message, composed: Composed) -> Answer:
    if composed.code == "ok" and not composed.issues:
        return Answer(204, None)
    if composed.code == "ok":
        return Answer(201, composed.reply)
    return Answer(_STATUS[composed.code], operation_outcome(composed.issues))


def _tell(bundle: Resource) -> Resource | None:
    header = bundle["entry"][0]["resource"]
    if header["eventCoding"]["code"] != "order-update":
        return None
    worded = {**header, "eventCoding": {"system": TERSE_SYSTEM, "code": "news"}}
    return {**bundle, "entry": [{**bundle["entry"][0], "resource": worded}, *bundle["entry"][1:]]}


def speaks(monkeypatch: pytest.MonkeyPatch, **settled: Any) -> None:
    """Has the dialect `terse` spoken, settled so."""
    terse = Dialect(Pack(TERSE, "Terse", **settled), _understand, _answer, _tell)
    known = dialects.get
    monkeypatch.setattr(dialects, "get", lambda name: terse if name == TERSE else known(name))


HOSPITAL = Partner("Hospital", ("urn:o|H",), ("https://hospital.example/in",))
LABORATORY = Partner("Laboratory", ("urn:o|L",), ("https://laboratory.example/in",))
ORGANIZATIONS = {partner.name: partner.identifiers[0] for partner in (HOSPITAL, LABORATORY)}


def order(number: str = "1", *, event: str = "new-order", system: str = COW, **said: Any) -> Resource:
    """An order of the hospital's for the laboratory, in a message from its endpoint."""
    parties = {
        element: {"identifier": dict(zip(("system", "value"), partner.identifiers[0].split("|"), strict=True))}
        for element, partner in (("requester", HOSPITAL), ("owner", LABORATORY))
    }
    return Sender(HOSPITAL.endpoints[0]).write(event, task(number, **parties), system=system, **said)


def accepted(number: str = "1", **said: Any) -> Resource:
    """What the laboratory sends when it accepts that order."""
    sent = order(number, event="order-update", **said)
    sent["entry"][0]["resource"]["source"] = {"endpoint": LABORATORY.endpoints[0]}
    sent["entry"][1]["resource"]["status"] = "accepted"
    return sent


class _Proved:
    """In the place of `gateway.authentication`: who calls is who the test says."""

    def __init__(self) -> None:
        self.identity = Identity(None, "none", frozenset({"system/*.cruds"}))

    def identify(self, *_given: object) -> Identity:
        return self.identity


@cache
def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)


@dataclass
class Exchanges:
    """Sends messages, and looks at what is kept."""

    client: FlaskClient
    queue: AtOnce
    proved: _Proved
    url: str

    def prove(self, partner: Partner | None) -> None:
        """From now on the caller proves to be this partner, or nobody."""
        self.proved.identity = Identity(partner, "api-key" if partner else "none", frozenset({"system/*.cruds"}))

    def standing(self, *partners: Partner) -> None:
        """From now on these are the partners."""
        extensions = self.client.application.extensions
        here: Context = extensions["fhir-gateway"]
        context.put(extensions, replace(here, standing=Terms(TERMS.policy, Partners(partners))))

    def send(self, message: Resource, query: str = "", **headers: str) -> TestResponse:
        return self.post(f"$process-message{query}", message, **headers)

    def post(self, path: str, body: Resource, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = orjson.dumps(body)
        return self.client.post(f"/fhir/{path}".rstrip("/"), data=data, headers={"Content-Type": JSON, **named})

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(f"/fhir/{path}", headers={name.replace("_", "-"): v for name, v in headers.items()})

    def outbox(self, *columns: str, **where: Any) -> list[Any]:
        return self.rows(schema.outbox, *columns, **where)

    def change(self, table: sa.Table, row_id: int, **values: Any) -> None:
        """As what is not played here (a deliverer, an operator) would."""
        with _engine(self.url).begin() as connection:
            connection.execute(sa.update(table).where(table.c.id == row_id).values(**values))

    def rows(self, table: sa.Table, *columns: str, **where: Any) -> list[Any]:
        """The columns of the rows that have these values, in their order."""
        wanted = sa.select(*(table.c[name] for name in columns)).order_by(table.c.id)
        with _engine(self.url).connect() as connection:
            found = connection.execute(wanted.where(*(table.c[name] == value for name, value in where.items()))).all()
        return [tuple(row) for row in found]


@cache
def _application(redis_url: str) -> tuple[Flask, Context]:
    """Made once: it takes longer than a test. It has no database of its own."""
    app = create(Settings(database_url="sqlite:///", redis_url=redis_url, base_url=BASE, reply_timeout=0.2))
    with app.app_context():
        return app, context.get()


@contextmanager
def exchanging(database_url: str, redis_url: str, partners: Sequence[Partner]) -> Iterator[Exchanges]:
    """A gateway that has these partners, on a database that has its schema."""
    app, made = _application(redis_url)
    proved = _Proved()
    standing = Terms(TERMS.policy, Partners(tuple(partners)))
    here = replace(made, database=Database(database_url), standing=standing, authenticator=proved)  # type: ignore[arg-type]
    queue = AtOnce(here)
    context.put(app.extensions, replace(here, courier=queue))  # type: ignore[arg-type]
    yield Exchanges(app.test_client(), queue, proved, database_url)
    here.database.close()


def issues_of(answer: TestResponse) -> list[Resource]:
    """The issues of an OperationOutcome, or of the one in a response message."""
    resource: Resource = orjson.loads(answer.data)
    outcome = resource if resource["resourceType"] == "OperationOutcome" else resource["entry"][-1]["resource"]
    issues: list[Resource] = outcome["issue"]
    return issues


def response_of(answer: TestResponse) -> Resource:
    """`MessageHeader.response` of a response message."""
    response: Resource = orjson.loads(answer.data)["entry"][0]["resource"]["response"]
    return response
