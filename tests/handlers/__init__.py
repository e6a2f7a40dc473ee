"""The handlers on a real store: messages go in by the core, as they would from the web server, and replies come out."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import Entry, Kept, Records, routing
from gateway.checking import Checking
from gateway.fhir import json
from gateway.fhir.message import Message, Ourselves
from gateway.fhir.received import read_received
from gateway.fhir.references import Resource
from gateway.fhir.wrapping import ORDER_UPDATE, Caller, wrapping_for
from gateway.processing import Processor
from gateway.receiving import Received, Submission, receive
from gateway.settings import Settings
from gateway.store import inbox
from gateway.store.database import Database
from gateway.store.inbox import Progress
from gateway.terms import Terms
from tests import validity
from tests.orders import PARTIES, Party, renewed
from tests.senders import read
from tests.terms import TERMS

MESSAGES = Path(__file__).parent.parent / "messages"
OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
CHECKING = Checking(Settings())

HOSPITAL = "http://hospital.example/identifier"
ORDER = f"{HOSPITAL}/order", "ORD-1001"
CANCELLATION = f"{HOSPITAL}/cancellation", "CXL-1001"


def message(name: str, **changes: Any) -> Resource:
    """A payload of `tests/messages`, as a message with ids of its own; `changes` are made to the Task in focus."""
    bundle = renewed(json.parse((MESSAGES / f"{name}.json").read_bytes()))
    for element, value in changes.items():
        task_of(bundle)[element] = value
    return bundle


def task_of(bundle: Resource) -> Resource:
    """The Task in focus, which is the first entry after the header."""
    task: Resource = bundle["entry"][1]["resource"]
    return task


def keep_unchecked(url: str, bundle: Resource) -> None:
    """Keeps the Task in focus as it is, as a handler could that checks nothing."""
    registry = routing.Registry()
    registry.add(routing.Handler(read(bundle).event, "consequence", "Any", ("Task",), _keep, None))
    given = Submission(json.serialize(bundle), "application/fhir+json", "json", None, later=False, request_id="test")
    database = Database(url)
    received = receive(database, registry, OURSELVES, read(bundle), given)
    processor = Processor(database, registry, OURSELVES, CHECKING, TERMS, ())
    assert [one.outcome for one in processor.process(processor.find_due([received.lane]))] == ["ok"]
    database.close()


def _keep(message: Message, records: Records) -> routing.Reply:
    return routing.Reply((records.keep(message.focus("Task")[0]),))


@dataclass(frozen=True)
class Reply:
    """A response message."""

    bundle: Resource

    @property
    def code(self) -> str:
        code: str = self._header["response"]["code"]
        return code

    @property
    def focus(self) -> list[Resource]:
        """The resources in focus, as the reply has them."""
        urls = [reference["reference"] for reference in self._header.get("focus", [])]
        return [entry["resource"] for url in urls for entry in self.bundle["entry"] if entry["fullUrl"] == url]

    @property
    def issues(self) -> list[Resource]:
        resources = [entry["resource"] for entry in self.bundle["entry"]]
        return [issue for r in resources if r["resourceType"] == "OperationOutcome" for issue in r["issue"]]

    @property
    def outcomes(self) -> list[str]:
        """The codes of `urn:x-fhir-gateway:cancellation-outcome`."""
        codings = [coding for issue in self.issues for coding in issue["details"].get("coding", [])]
        return [c["code"] for c in codings if c["system"] == "urn:x-fhir-gateway:cancellation-outcome"]

    @property
    def text(self) -> str:
        return " ".join(issue["details"]["text"] for issue in self.issues)

    @property
    def places(self) -> list[str]:
        return [expression for issue in self.issues for expression in issue.get("expression", [])]

    @property
    def _header(self) -> Resource:
        header: Resource = self.bundle["entry"][0]["resource"]
        return header


class Gateway:
    """Receives and processes messages one after the other, with the project's own handlers."""

    def __init__(self, url: str, terms: Terms = TERMS) -> None:
        self._database = Database(url)
        self._registry = routing.load(["handlers"])
        self._processor = Processor(self._database, self._registry, OURSELVES, CHECKING, terms, ())

    def send(self, bundle: Resource) -> Reply:
        """The reply, once this gateway or another on the same database has processed the message."""
        return self._answer(self._receive(bundle))

    def put(self, task: Resource, sender: Party) -> Reply:
        """The reply to a Task that replaces the kept one of its id, as an update by REST does."""
        identifier, endpoint = sender
        wrapping = wrapping_for(
            Caller(endpoint, (PARTIES, identifier)),
            str(uuid.uuid4()),
            ORDER_UPDATE,
            base_url=OURSELVES.base_url,
            endpoint=OURSELVES.endpoint,
            address=f"Task/{task['id']}",
        ).write()
        body, kind = json.serialize(task), "application/fhir+json"
        given = Submission(body, kind, "json", None, later=False, request_id="test", wrapping=wrapping)
        sent = read_received(body, kind, datetime.now(UTC), wrapping)
        return self._answer(receive(self._database, self._registry, OURSELVES, sent, given))

    def _answer(self, received: Received) -> Reply:
        while (content := self._progress(received.message_id).content) is None:
            processed = self._processor.process(self._processor.find_due([received.lane]))
            assert all(one.outcome in ("ok", "fatal-error") for one in processed), "the handler crashed"
        self.judge(content)
        return Reply(json.parse(content))

    def send_at_once(self, *bundles: Resource) -> list[Reply]:
        """The replies to messages of several lanes that are carried out together, none on what another has left."""
        received = [self._receive(bundle) for bundle in bundles]
        heads = self._processor.find_due([one.lane for one in received])
        processed = self._processor.process(heads)
        assert [one.outcome for one in processed] == ["ok"] * len(bundles)
        contents = [self._progress(one.message_id).content for one in received]
        return [Reply(json.parse(content)) for content in contents if content is not None]

    def _receive(self, bundle: Resource) -> Received:
        given = Submission(
            json.serialize(bundle), "application/fhir+json", "json", None, later=False, request_id="test"
        )
        return receive(self._database, self._registry, OURSELVES, read(bundle), given)

    def judge(self, content: bytes) -> None:
        """Raises AssertionError when a reply is not valid."""
        validity.assert_valid(content)

    def send_all(self, *names: str) -> Reply:
        """Sends payloads one after the other, each of which must be done; the last one's reply."""
        for name in names:
            reply = self.send(message(name))
            assert reply.code == "ok", f"{name}: {reply.text}"
        return reply

    def find(self, kind: str, identifier: tuple[str, str]) -> Kept | None:
        """What is kept under a business identifier."""
        reference = {"type": kind, "identifier": dict(zip(("system", "value"), identifier, strict=True))}
        with self._database.transaction() as connection:
            anybody = read(message("order-update__accepted"))
            records = Records(anybody, connection, anybody.received_at, OURSELVES.base_url, TERMS)
            return records.follow(reference, Entry("", None, {}))

    def find_own(self, kind: str, name: str) -> Kept | None:
        """What the gateway keeps for itself under a name."""
        with self._database.transaction() as connection:
            anybody = read(message("order-update__accepted"))
            return Records(anybody, connection, anybody.received_at, OURSELVES.base_url, TERMS).find_own(kind, name)

    def get(self, kind: str, identifier: tuple[str, str]) -> Kept:
        found = self.find(kind, identifier)
        assert found is not None, f"no {kind} is kept under {identifier}"
        return found

    def _progress(self, message_id: int) -> Progress:
        with self._database.reading() as connection:
            return inbox.get_progress(connection, message_id)

    def close(self) -> None:
        self._database.close()
