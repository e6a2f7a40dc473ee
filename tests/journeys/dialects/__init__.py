"""Partners in their dialects around one gateway: messages go in by the core, answers and what is told come out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa

from gateway import routing
from gateway.authentication.model import Identity
from gateway.checking import Checking
from gateway.correlation import correlate, names_request
from gateway.fhir.message import Ourselves
from gateway.partners import Partner, Partners
from gateway.processing import Processor
from gateway.receiving import Submission, receive
from gateway.recognition import read_arrived
from gateway.settings import Settings
from gateway.store import inbox
from gateway.store.database import Database
from gateway.store.schema import outbox, resource, resource_version
from gateway.terms import Terms
from tests.terms import TERMS

Resource = dict[str, Any]

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
CHECKING = Checking(Settings())


@dataclass(frozen=True)
class Answered:
    """An answer: its status of HTTP, and its body if it has one."""

    status: int
    body: Resource | None

    @property
    def issues(self) -> list[Resource]:
        outcomes = [one for one in self.resources if one["resourceType"] == "OperationOutcome"]
        return [issue for outcome in outcomes for issue in outcome["issue"]]

    @property
    def codes(self) -> list[str]:
        """The codes of the details of its issues."""
        return [coding["code"] for issue in self.issues for coding in issue["details"].get("coding", [])]

    @property
    def text(self) -> str:
        return " ".join(issue["details"].get("text", "") for issue in self.issues)

    @property
    def resources(self) -> list[Resource]:
        if self.body is None:
            return []
        entries = self.body.get("entry", []) if self.body["resourceType"] == "Bundle" else [{"resource": self.body}]
        return [entry["resource"] for entry in entries]

    @property
    def header(self) -> Resource:
        [header] = [one for one in self.resources if one["resourceType"] == "MessageHeader"]
        return header

    def of_type(self, kind: str) -> list[Resource]:
        return [one for one in self.resources if one["resourceType"] == kind]


class Network:
    """A gateway on a database of its own, and who is registered there."""

    def __init__(self, url: str, *partners: Partner, terms: Terms = TERMS) -> None:
        self.partners = Partners(partners)
        self._terms = terms
        self._database = Database(url)
        self._registry = routing.load(["handlers"])
        self._processor = Processor(self._database, self._registry, OURSELVES, CHECKING, self, ())

    def current(self) -> Terms:
        return Terms(self._terms.policy, self.partners)

    def post(self, bundle: Resource, sender: Partner, *, then: Partners | None = None, **headers: str) -> Answered:
        """The answer to a message of a partner that has proved who it is; headers of HTTP are written `x_y` for X-Y.

        `then` are the partners there are when the message that has come is processed.
        """
        body = orjson.dumps(bundle)
        identity = Identity(sender, "api-key", frozenset({"system/*.cruds"}))
        said = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        arrived = read_arrived(body, "application/fhir+json", datetime.now(UTC), identity, said, self.partners)
        manner = arrived.manner.write() if arrived.manner else None
        given = Submission(body, "application/fhir+json", "json", None, later=False, request_id="test", manner=manner)
        received = receive(self._database, self._registry, OURSELVES, arrived.message, given)
        if names_request(arrived.message):
            correlate(self._database, arrived.message, received.message_id, sender.name)
        if then is not None:
            self.partners = then
        while (progress := self._progress(received.message_id)).content is None and received.kind != "response":
            processed = self._processor.process(self._processor.find_due([received.lane]))
            assert all(one.outcome in ("ok", "fatal-error") for one in processed), "the handler crashed"
        return Answered(progress.http_status or 200, orjson.loads(progress.content) if progress.content else None)

    def told(self, partner: Partner) -> list[Answered]:
        """What a partner has been told so far, in order."""
        with self._database.reading() as connection:
            chosen = sa.select(outbox.c.content).where(outbox.c.party == partner.name).order_by(outbox.c.id)
            return [Answered(200, orjson.loads(content)) for (content,) in connection.execute(chosen)]

    def closed(self, partner: Partner) -> list[str | None]:
        """By which code each message that a partner was told has been answered, in order; None where it has not."""
        with self._database.reading() as connection:
            chosen = sa.select(outbox.c.closed_code).where(outbox.c.party == partner.name).order_by(outbox.c.id)
            return list(connection.execute(chosen).scalars())

    def tasks(self) -> list[Resource]:
        """The Tasks that are kept."""
        with self._database.reading() as connection:
            is_current = (resource.c.id == resource_version.c.resource_id) & (
                resource.c.version == resource_version.c.version
            )
            kept = resource.join(resource_version, is_current)
            chosen = sa.select(resource_version.c.content).select_from(kept).where(resource.c.type == "Task")
            return [orjson.loads(content) for (content,) in connection.execute(chosen.order_by(resource.c.number))]

    def task(self, value: str) -> Resource:
        """The one Task that has an identifier with this value."""
        [found] = [one for one in self.tasks() if value in {name["value"] for name in one["identifier"]}]
        return found

    def statuses(self) -> dict[str, str]:
        """The status of each Task by the value of its first identifier."""
        return {task["identifier"][0]["value"]: task["status"] for task in self.tasks()}

    def close(self) -> None:
        self._database.close()

    def _progress(self, message_id: int) -> inbox.Progress:
        with self._database.reading() as connection:
            return inbox.get_progress(connection, message_id)
