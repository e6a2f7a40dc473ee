"""What a running gateway does by itself when a time has passed."""

from __future__ import annotations

import sqlalchemy as sa

from gateway.fhir import json
from gateway.fhir.task.deadlines import is_flagged
from gateway.store import schema
from tests.journeys.conftest import Partner
from tests.orders import Order, focus_of, header_of
from tests.services import eventually

TASKS = sa.select(schema.resource_version.c.content).join(
    schema.resource, schema.resource.c.id == schema.resource_version.c.resource_id
)


def test_an_order_whose_period_has_ended_is_marked_and_both_parties_are_told(partner: Partner) -> None:
    order = Order().new_order(restriction={"period": {"end": "2026-03-01"}})
    [kept] = [e["resource"] for e in partner.send(order).json()["entry"] if e["resource"]["resourceType"] == "Task"]

    def contents() -> list[bytes]:
        mine = TASKS.where(schema.resource.c.id == kept["id"]).order_by(schema.resource_version.c.version)
        return [content for (content,) in partner.rows(mine)]

    eventually(lambda: len(contents()) == 2)
    first, second = (json.parse_own(content) for content in contents())
    assert (is_flagged(first), is_flagged(second)) == (False, True)
    told = sa.select(schema.outbox.c.party, schema.outbox.c.content).where(
        schema.outbox.c.kind == "message",
        schema.outbox.c.message_id.in_(
            sa.select(schema.resource_version.c.message_id).where(
                schema.resource_version.c.resource_id == kept["id"], schema.resource_version.c.version == 2
            )
        ),
    )
    messages = {party: json.parse(content) for party, content in partner.rows(told)}
    assert sorted(messages) == ["Example General Hospital", "Example Street Pharmacy"]
    for bundle in messages.values():
        assert header_of(bundle)["eventCoding"]["code"] == "order-update"
        assert is_flagged(focus_of(bundle))
    assert len(contents()) == 2


def test_nobody_else_is_the_clock(partner: Partner) -> None:
    order = Order().new_order()
    header_of(order)["source"] = {"endpoint": "urn:x-fhir-gateway:clock"}
    answer = partner.send(order)
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["code"] == "forbidden"
