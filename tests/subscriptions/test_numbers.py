"""Events are numbered for each subscription in the order in which they are told, whoever processes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from gateway.fhir import json
from gateway.partners import Partner
from gateway.store import subscriptions as kept
from gateway.store.database import Database
from gateway.store.subscriptions import Row
from tests.handlers import OURSELVES
from tests.subscriptions.subscribing import Notification, r4
from tests.telling.gateways import Gateway
from tests.telling.orders import order
from tests.telling.parties import FROM_HOSPITAL, FROM_PHARMACY, HOSPITAL, PHARMACY


def subscribe(database: Database, partner: Partner, *filters: str) -> str:
    """An active subscription of a partner's."""
    resource = r4(partner.endpoints[0], *filters)
    resource["criteria"] = f"{OURSELVES.base_url}/SubscriptionTopic/task-updates"
    row_id = f"of-{partner.name}-{len(filters)}"
    row = Row(row_id, partner.name, partner.name, "active", 1, "R4", json.serialize(resource), datetime.now(UTC))
    with database.transaction() as connection:
        kept.add(connection, row)
    return row_id


def numbers(gateway: Gateway, subscription_id: str) -> list[int]:
    told = [row.content for row in gateway.rows if row.subscription_id == subscription_id]
    return [number for content in told for number in Notification(content).numbers]


def test_events_are_numbered_without_a_gap_by_workers_that_tell_the_same_subscriptions(database_url: str) -> None:
    parties = [replace(partner, tell="nothing") for partner in (HOSPITAL, PHARMACY)]
    gateway = Gateway(database_url, *parties)
    ids = [subscribe(gateway.database, one) for one in parties]
    ids += [subscribe(gateway.database, one, "Task?status=requested") for one in parties]
    jobs: list[list[str]] = []
    for first, second in ((FROM_HOSPITAL, FROM_PHARMACY), (FROM_PHARMACY, FROM_HOSPITAL)) * 4:
        bundles = [sender.write("x", order(f"{len(jobs)}-{n}")) for n, sender in enumerate((first, second))]
        jobs.append([gateway.receive(bundle).lane for bundle in bundles])
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda lanes: gateway.processor.process(gateway.processor.find_due(lanes)), jobs)
        outcomes = [one.outcome for many in done for one in many]
    assert outcomes == ["ok"] * 16
    for subscription_id in ids:
        assert numbers(gateway, subscription_id) == [*range(1, 9)]
    with gateway.database.reading() as connection:
        assert kept.count_events(connection, ids) == dict.fromkeys(ids, 8)
        assert [one.number for one in kept.find_events(connection, ids[0], 3, 5, 100)] == [3, 4, 5]
    gateway.database.close()
