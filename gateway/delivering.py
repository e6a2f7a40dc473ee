"""The deliverer as a program: a worker whose jobs each are a line of calls of one recipient, many of them at a time."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from gateway import correlation, settings, subscriptions, terms
from gateway.addressees import Addressees
from gateway.delivery import Deliverer, Listeners
from gateway.fhir.message import Ourselves
from gateway.jobs import DELIVER, DELIVERIES, Dispatcher, Doorbell, Worker, celery_app
from gateway.logs import set_up_logs
from gateway.notices import Notices
from gateway.settings import Settings
from gateway.store.database import Connection, Database
from gateway.store.deliveries import Claimed, Verdict
from gateway.transport import Answer, Transport


def make(name: str, in_force: Settings, doorbell: Doorbell) -> Deliverer:
    """The deliverer of a deployment: for recipients that are slow it has half of its threads."""
    database = Database(in_force.database_url)
    standing = terms.Registered(in_force, database)
    ourselves = Ourselves(in_force.name, in_force.endpoint, in_force.base_url)

    def take_answer(entry: Claimed, answer: Answer) -> None:
        if answer.outcome == "delivered":
            partners = standing.current().partners
            correlation.take_answer(database, ourselves, partners, entry.id, answer, datetime.now(UTC))

    def settle(connection: Connection, entry: Claimed, verdict: Verdict, now: datetime) -> None:
        if entry.subscription_id:
            is_delivered = verdict.state == "delivered"
            subscriptions.settle(connection, entry.subscription_id, entry.header_id, is_delivered, verdict.error, now)

    addressees = Addressees(standing, in_force.delivery_schedule, is_sandbox=in_force.is_sandbox)
    return Deliverer(
        name,
        database,
        addressees,
        Transport(user_agent=in_force.name),
        most_slow=max(in_force.delivery_threads // 2, 1),
        line_seconds=in_force.lane_seconds,
        ring=lambda recipient: doorbell.ring([recipient]),
        listeners=Listeners(take_answer, settle, subscriptions.fail_all),
    )


def work(name: str) -> None:
    """One deliverer, until a signal ends it."""
    in_force = settings.load()
    set_up_logs(in_force)
    app, notices = celery_app(in_force), Notices(in_force.redis_url, "deliverer")
    doorbell = Doorbell(Dispatcher(app, in_force), notices)
    deliverer = make(name, in_force, doorbell)
    deliverer.give_back()

    def deliver(recipient: str) -> None:
        doorbell.heed(recipient)
        deliverer.deliver(recipient)

    worker = Worker(
        name,
        DELIVERIES,
        DELIVER,
        deliver,
        in_force.delivery_threads,
        lambda: deliverer.begun,
        deliverer.stop,
        deliverer.give_back,
    )
    worker.work(app, notices)


if __name__ == "__main__":
    work(sys.argv[1])
