"""Processing: effects and reply in one transaction, crashes kept and tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.checking import Checking
from gateway.errors import Issue, Refused
from gateway.fhir import json
from gateway.fhir import message as fhir
from gateway.fhir.message import Message, Ourselves
from gateway.performing import Effects, Performed, Performer, keep
from gateway.processing import Processor
from gateway.receiving import Received, receive
from gateway.records import Records
from gateway.routing import Handler, Registry, Reply
from gateway.settings import Settings
from gateway.store import inbox, schema
from gateway.store.database import Database
from gateway.store.inbox import Progress
from tests.senders import COW, Sender, read, submission, task
from tests.terms import TERMS

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
AT_ONCE = (0.0, 0.0)
Make = Callable[..., "Gateway"]


def keeps(message: Message, records: Records) -> Reply:
    return Reply((records.keep(message.focus("Task")[0]),))


def keeps_then_refuses(message: Message, records: Records) -> Reply:
    records.keep(message.focus("Task")[0])
    raise Refused(Issue("business-rule", "No.", message.focus()[0].path))


class Crashes:
    """A handler that fails so many times, and keeps the Task after that."""

    __name__ = "crashes"

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, message: Message, records: Records) -> Reply:
        reply = keeps(message, records)
        self.left -= 1
        if self.left >= 0:
            raise RuntimeError("the cause")
        return reply


def order_for_patient(number: str) -> dict[str, Any]:
    """An order for one patient, the same in all of them."""
    patient = {"resourceType": "Patient", "_url": "urn:uuid:9", "identifier": [{"system": "urn:p", "value": "1"}]}
    return Sender().write("x", task(number, **{"for": {"reference": "urn:uuid:9"}}), others=(patient,))


class Gateway:
    """Receives and processes with one handler, for the event `x`."""

    def __init__(self, url: str, handler: Any, schedule: tuple[float, ...] = AT_ONCE) -> None:
        self.database = Database(url)
        self.registry = Registry()
        self.registry.add(Handler(fhir.Event(COW, "x"), "consequence", "X", ("Task",), handler, None))
        self.processor = Processor(self.database, self.registry, OURSELVES, Checking(Settings()), TERMS, schedule)

    def receive(self, bundle: dict[str, Any], **changes: Any) -> Received:
        return receive(self.database, self.registry, OURSELVES, read(bundle), submission(bundle, **changes))

    def process(self, received: Received) -> str | None:
        processed = self.processor.process(self.processor.find_due([received.lane]))
        return processed[0].outcome if processed else None

    def progress(self, received: Received) -> Progress:
        with self.database.reading() as connection:
            return inbox.get_progress(connection, received.message_id)

    def reply(self, received: Received) -> dict[str, Any]:
        content = self.progress(received).content
        assert content is not None
        return json.parse(content)

    def issues(self, received: Received) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.reply(received)["entry"][-1]["resource"]["issue"]
        return found

    def count(self, table: sa.Table) -> int:
        with self.database.reading() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


@pytest.fixture
def make(database_url: str) -> Iterator[Callable[..., Gateway]]:
    """Makes gateways on one database, and closes them."""
    made: list[Gateway] = []

    def new(*given: Any, **named: Any) -> Gateway:
        made.append(Gateway(database_url, *given, **named))
        return made[-1]

    yield new
    for gateway in made:
        gateway.database.close()


def test_a_handlers_effects_and_its_reply_are_kept_together(make: Make) -> None:
    gateway = make(keeps)
    received = gateway.receive(Sender().write("x", task("1")))
    assert gateway.process(received) == "ok"
    progress = gateway.progress(received)
    assert (progress.state, progress.response_code, progress.format) == ("done", "ok", "json")
    assert gateway.reply(received)["entry"][1]["resource"]["status"] == "requested"
    assert gateway.count(schema.resource) == 1


def test_a_refusal_keeps_its_reply_and_no_effect(make: Make) -> None:
    gateway = make(keeps_then_refuses)
    received = gateway.receive(Sender().write("x", task("1")))
    assert gateway.process(received) == "fatal-error"
    assert gateway.count(schema.resource) == 0
    assert gateway.issues(received)[0]["expression"] == ["Bundle.entry[1].resource"]


def test_an_unknown_event_is_refused_and_the_known_are_named(make: Make) -> None:
    gateway = make(keeps)
    received = gateway.receive(Sender().write("y", task("1")))
    assert gateway.process(received) == "fatal-error"
    issue = gateway.issues(received)[0]
    assert issue["code"] == "not-supported"
    assert f"{COW}|x" in issue["details"]["text"]


def test_all_structural_faults_are_told_at_once_and_the_handler_is_not_called(make: Make) -> None:
    gateway = make(keeps)
    faulty = task("1", priority=7, statys="x") | {"status": None}
    received = gateway.receive(Sender().write("x", faulty))
    assert gateway.process(received) == "fatal-error"
    told = str(gateway.issues(received))
    assert "Bundle.entry[1].resource.priority" in told
    assert "statys" in told
    assert gateway.count(schema.resource) == 0


def test_the_reply_is_written_in_the_format_asked_for(make: Make) -> None:
    gateway = make(keeps)
    received = gateway.receive(Sender().write("x", task("1")), reply_format="xml")
    gateway.process(received)
    progress = gateway.progress(received)
    assert progress.format == "xml"
    assert (progress.content or b"").startswith(b"<")


def test_a_reply_for_later_is_due_in_the_outbox(make: Make) -> None:
    gateway = make(keeps)
    received = gateway.receive(Sender().write("x", task("1")), later=True, reply_to="http://hospital.example")
    gateway.process(received)
    with gateway.database.reading() as connection:
        row = connection.execute(sa.select(schema.outbox)).one()
    assert (row.state, row.destination) == ("due", "http://hospital.example")


def test_a_crash_is_kept_with_its_cause_and_a_later_try_succeeds(make: Make) -> None:
    gateway = make(Crashes(1))
    received = gateway.receive(Sender().write("x", task("1")))
    assert gateway.process(received) == "failed"
    failed = gateway.progress(received)
    assert (failed.state, failed.attempts, failed.content) == ("failed", 1, None)
    with gateway.database.reading() as connection:
        assert "RuntimeError: the cause" in (connection.scalar(sa.select(schema.message.c.error)) or "")
    assert gateway.process(received) == "ok"
    assert gateway.count(schema.resource_version) == 1


def test_after_its_last_try_a_message_is_set_aside_and_its_lane_goes_on(make: Make) -> None:
    crashes = Crashes(len(AT_ONCE) + 1)
    gateway = make(crashes)
    poisoned, next_one = (gateway.receive(Sender().write("x", task("1"))) for _ in range(2))
    assert [gateway.process(poisoned) for _ in range(4)] == ["failed", "failed", "dead", "ok"]
    assert gateway.progress(poisoned).state == "dead"
    assert gateway.progress(next_one).state == "done"


def test_a_message_waits_while_its_predecessor_is_tried_again(make: Make) -> None:
    gateway = make(Crashes(1), schedule=(60.0,))
    first, second = (gateway.receive(Sender().write("x", task("1"))) for _ in range(2))
    other = gateway.receive(Sender().write("x", task("2")))
    assert gateway.process(first) == "failed"
    assert gateway.processor.find_due([second.lane]) == []
    assert gateway.process(other) == "ok"


def test_a_message_claimed_by_two_workers_takes_effect_once(make: Make) -> None:
    gateway = make(keeps)
    for number in range(10):
        received = gateway.receive(Sender().write("x", task(str(number))))
        heads = gateway.processor.find_due([received.lane])
        with ThreadPoolExecutor(4) as pool:
            outcomes = [one.outcome for many in pool.map(gateway.processor.process, [heads] * 4) for one in many]
        assert outcomes == ["ok"]
    assert gateway.count(schema.outbox) == 10


def test_orders_that_share_a_new_patient_are_processed_at_once(make: Make) -> None:
    gateway = make(keeps)
    orders = [gateway.receive(order_for_patient(str(n))) for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(gateway.process, orders)) == {"ok"}
    assert gateway.count(schema.resource) == 17


def test_of_messages_processed_together_each_fails_by_itself(make: Make) -> None:
    def keeps_all_but_some(message: Message, records: Records) -> Reply:
        reply = keeps(message, records)
        number = int(message.focus()[0].resource["identifier"][0]["value"])
        if number % 3 == 1:
            raise RuntimeError("the cause")
        if number % 3 == 2:
            raise Refused(Issue("business-rule", "No."))
        return reply

    gateway = make(keeps_all_but_some)
    received = [gateway.receive(Sender().write("x", task(str(n)))) for n in range(6)]
    processed = gateway.processor.process(gateway.processor.find_due([one.lane for one in received]))
    outcomes = {one.message_id: one.outcome for one in processed}
    assert [outcomes[one.message_id] for one in received] == ["ok", "failed", "fatal-error"] * 2
    assert gateway.count(schema.resource) == 2
    assert gateway.count(schema.outbox) == 4


def test_messages_processed_together_that_write_the_same_come_one_after_the_other(make: Make) -> None:
    calls: list[str] = []

    def counts(message: Message, records: Records) -> Reply:
        calls.append(message.header_id or "")
        return keeps(message, records)

    gateway = make(counts)
    received = [gateway.receive(order_for_patient(str(n))) for n in range(6)]
    heads = gateway.processor.find_due([one.lane for one in received])
    assert [one.outcome for one in gateway.processor.process(heads)] == ["ok"] * 6
    assert gateway.count(schema.resource) == 7
    assert len(calls) == 6 + 5


def test_what_a_message_relies_on_and_another_changes_is_read_anew(make: Make) -> None:
    def relies(message: Message, records: Records) -> Reply:
        entry = message.focus("Task")[0]
        patient = records.follow(entry.resource["for"], entry)
        if patient is not None:
            text = f"after {patient.version}"
            records.update(patient, patient.resource | {"text": {"status": "generated", "div": text}})
        return Reply((records.keep(entry),))

    gateway = make(relies)
    assert gateway.process(gateway.receive(order_for_patient("0"))) == "ok"
    received = [gateway.receive(order_for_patient(str(n))) for n in range(1, 4)]
    heads = gateway.processor.find_due([one.lane for one in received])
    assert [one.outcome for one in gateway.processor.process(heads)] == ["ok"] * 3
    with gateway.database.reading() as connection:
        versions = sa.select(sa.func.max(schema.resource.c.version)).where(schema.resource.c.type == "Patient")
        assert connection.scalar(versions) == 4


@pytest.mark.parametrize(("effects", "state", "is_due"), [("hold", "held", True), ("suppress", "answered", False)])
def test_what_comes_of_a_replay_is_held_or_not_sent_as_chosen(
    make: Make, effects: Effects, state: str, is_due: bool
) -> None:
    gateway = make(keeps)
    received = gateway.receive(Sender().write("x", task("1")), later=True, reply_to="http://hospital.example")
    performer = Performer(gateway.database, gateway.registry, OURSELVES, Checking(Settings()), TERMS)
    [performed] = performer.perform(gateway.processor.find_due([received.lane]), replayed="apply")
    assert isinstance(performed, Performed)
    assert [kept.resource_type for _, kept in performed.changes] == ["Task"]
    with gateway.database.transaction() as connection:
        keep(connection, [(performed, received.message_id)], effects=effects, replay_id=7)
    with gateway.database.reading() as connection:
        row = connection.execute(sa.select(schema.outbox)).one()
    assert (row.state, row.due_at is not None, row.replay_id) == (state, is_due, 7)


@pytest.mark.parametrize("text", ["with a NUL \0 in it", "with half a character \ud800 in it", "long " * 5000])
def test_whatever_a_handler_says_as_it_crashes_is_kept(make: Make, text: str) -> None:
    def crashes(_message: Message, _records: Records) -> Reply:
        raise RuntimeError(text)

    gateway = make(crashes)
    assert gateway.process(gateway.receive(Sender().write("x", task("1")))) == "failed"


def test_others_are_received_while_a_handler_takes_its_time(make: Make) -> None:
    received_meanwhile = Event()

    def waits(message: Message, records: Records) -> Reply:
        assert received_meanwhile.wait(10)
        return keeps(message, records)

    gateway = make(waits)
    slow = gateway.receive(Sender().write("x", task("1")))
    with ThreadPoolExecutor(1) as pool:
        processing = pool.submit(gateway.process, slow)
        gateway.receive(Sender().write("x", task("2")))
        received_meanwhile.set()
        assert processing.result() == "ok"


def test_what_a_handler_read_and_another_changed_meanwhile_is_handled_anew(make: Make) -> None:
    calls: list[str] = []

    def is_overtaken_once(message: Message, records: Records) -> Reply:
        reply = keeps(message, records)
        calls.append(message.header_id or "")
        if len(calls) == 1:
            assert gateway.process(gateway.receive(order_for_patient("2"))) == "ok"
        return reply

    gateway = make(is_overtaken_once)
    assert gateway.process(gateway.receive(order_for_patient("1"))) == "ok"
    assert len(calls) == 3
    assert gateway.count(schema.resource) == 3


def test_a_message_behind_one_that_failed_is_known_to_wait_for_it(make: Make) -> None:
    gateway = make(Crashes(1), schedule=(60.0,))
    first, second = (gateway.receive(Sender().write("x", task("1"))) for _ in range(2))
    other = gateway.receive(Sender().write("x", task("2")))
    assert not gateway.progress(second).is_behind_failed
    gateway.process(first)
    assert gateway.progress(second).is_behind_failed
    assert not gateway.progress(first).is_behind_failed
    assert not gateway.progress(other).is_behind_failed


def test_a_resource_of_a_later_fhir_is_refused(make: Make) -> None:
    gateway = make(keeps)
    later = {"resourceType": "NutritionProduct", "status": "active"}
    received = gateway.receive(Sender().write("x", task("1"), others=(later,)), reply_format="xml")
    assert gateway.process(received) == "fatal-error"


def test_a_failure_recorded_twice_counts_once(make: Make) -> None:
    gateway = make(keeps)
    [head] = gateway.processor.find_due([gateway.receive(Sender().write("x", task("1"))).lane])
    recorded = [gateway.processor.record_failure(head, "cause", "Kind") for _ in range(2)]
    assert recorded == ["failed", None]
