"""A partner that subscribes: its Subscriptions, and what it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
from werkzeug.test import TestResponse

from gateway.delivery import Deliverer
from gateway.fhir import formats
from gateway.store import deliveries, schema
from gateway.store.database import Database
from gateway.subscriptions import Heartbeats
from tests import validity
from tests.delivery.receiver import Receiver
from tests.web.served import BASE, HOSPITAL, JSON, PHARMACY, Api

Resource = dict[str, Any]
TOPIC = f"{BASE}/SubscriptionTopic/task-updates"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport"
R5 = f"{JSON}; fhirVersion=5.0"
PARTNERS = """
[[partner]]
name = "Hospital"
identifiers = ["{hospital}"]
endpoints = ["http://127.0.0.1:1/hospital"]

[[partner]]
name = "Pharmacy"
identifiers = ["{pharmacy}"]
endpoints = ["{url}"]
tell = "{tell}"
"""


def partners(url: str, tell: str = "nothing") -> str:
    """The file of two partners; the pharmacy is at an address."""
    return PARTNERS.format(hospital=HOSPITAL, pharmacy=PHARMACY, url=url, tell=tell)


def r4(endpoint: str, *filters: str, content: str = "id-only", payload: str = JSON, **more: Any) -> Resource:
    """`more`: heartbeat-period, timeout and max-count, written with underscores; elements otherwise."""
    kinds = {"heartbeat_period": "valueUnsignedInt", "timeout": "valueUnsignedInt", "max_count": "valuePositiveInt"}
    extensions = [
        {"url": f"{BACKPORT}-{name.replace('_', '-')}", kind: more.pop(name)}
        for name, kind in kinds.items()
        if name in more
    ]
    criteria = [{"url": f"{BACKPORT}-filter-criteria", "valueString": one} for one in filters]
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "Orders of ours",
        "criteria": TOPIC,
        **({"_criteria": {"extension": criteria}} if criteria else {}),
        "channel": {
            **({"extension": extensions} if extensions else {}),
            "type": "rest-hook",
            "endpoint": endpoint,
            "payload": payload,
            "_payload": {"extension": [{"url": f"{BACKPORT}-payload-content", "valueCode": content}]},
        },
    } | more


def r5(endpoint: str, **elements: Any) -> Resource:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "topic": TOPIC,
        "channelType": {
            "system": "http://terminology.hl7.org/CodeSystem/subscription-channel-type",
            "code": "rest-hook",
        },
        "endpoint": endpoint,
        "content": "id-only",
    } | elements


class Notification:
    """What a notification says, whichever version it is in."""

    def __init__(self, content: bytes) -> None:
        version = validity.version_of_notification(content)
        validity.assert_valid(content, version)
        self.version = version
        self.bundle: Resource = formats.parse(content, formats.guess(content), version)
        said: Resource = self.bundle["entry"][0]["resource"]
        if said["resourceType"] == "Parameters":
            said = _as_status(said["parameter"])
        self.kind, self.status, self.total = said["type"], said["status"], int(said["eventsSinceSubscriptionStart"])
        self.numbers = [int(event["eventNumber"]) for event in said.get("notificationEvent", ())]
        self.shown = [entry.get("resource", {}).get("resourceType") for entry in self.bundle["entry"][1:]]
        self.error = [one["text"] for one in said.get("error", ())]


def _as_status(parameters: Sequence[Resource]) -> Resource:
    said: Resource = {"notificationEvent": [], "error": []}
    for one in parameters:
        name, value = one["name"], next((one[key] for key in one if key.startswith("value")), None)
        if name == "notification-event":
            said["notificationEvent"].append({"eventNumber": one["part"][0]["valueString"]})
        elif name == "error":
            said["error"].append(value)
        else:
            said[str({"events-since-subscription-start": "eventsSinceSubscriptionStart"}.get(name, name))] = value
    return said


class World:
    """A gateway, the pharmacy that subscribes to it, and the hospital whose orders that is told of."""

    def __init__(
        self, api: Api, database: Database, receiver: Receiver, deliverer: Deliverer, heartbeats: Heartbeats
    ) -> None:
        self.api = api
        self.database = database
        self.receiver = receiver
        self.heartbeats = heartbeats
        self._deliverer = deliverer

    def create(self, resource: Resource, media_type: str = JSON) -> Resource:
        answer = self.api.post("Subscription", resource, media_type=media_type)
        assert answer.status_code == 201, answer.text
        created: Resource = orjson.loads(answer.data)
        assert answer.headers["Location"] == f"{BASE}/Subscription/{created['id']}"
        return created

    def activate(self, resource: Resource, media_type: str = JSON) -> str:
        """The id of a subscription whose handshake has been accepted."""
        subscription_id: str = self.create(resource, media_type)["id"]
        self.deliver()
        assert self.status(subscription_id).status == "active"
        return subscription_id

    def deliver(self) -> None:
        """Delivers what is due, and what will be."""
        with self.database.transaction() as connection:
            due = sa.update(schema.outbox).where(schema.outbox.c.state == "due")
            connection.execute(due.values(due_at=datetime.now(UTC)))
            recipients = deliveries.find_due_recipients(connection, datetime.now(UTC), 100)
        for recipient in recipients:
            while self._deliverer.deliver(recipient):
                continue

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.api.call("GET", path, **headers)

    def status(self, subscription_id: str) -> Notification:
        answer = self.get(f"Subscription/{subscription_id}/$status")
        assert answer.status_code == 200, answer.text
        return Notification(answer.data)

    def events(self, subscription_id: str, query: str = "") -> Notification:
        answer = self.get(f"Subscription/{subscription_id}/$events{query}")
        assert answer.status_code == 200, answer.text
        return Notification(answer.data)

    @property
    def received(self) -> list[Notification]:
        return [Notification(call.body) for call in self.receiver.calls]

    def outbox(self, *columns: str) -> list[tuple[Any, ...]]:
        """Of the notifications, in their order."""
        with self.database.reading() as connection:
            found = sa.select(*(schema.outbox.c[name] for name in columns)).where(schema.outbox.c.kind != "reply")
            return [tuple(row) for row in connection.execute(found.order_by(schema.outbox.c.id))]


MakeWorld = Callable[..., World]
