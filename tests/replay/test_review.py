"""Replays where things go wrong: handlers that crash, workers that are quicker, exports that say what is not so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import routing
from gateway.errors import DatabaseUnavailable
from gateway.fhir import json
from gateway.fhir.message import Message
from gateway.replay import staging
from gateway.replay.applying import Applied
from gateway.replay.files.about import About
from gateway.replay.files.found import problem
from gateway.replay.files.sources import Found
from gateway.replay.life import ReplayError
from gateway.replay.rounds import MOST_DEATHS
from gateway.routing import Registry
from gateway.store import replaying, replays, schema
from gateway.store.selections import Selection
from gateway.terms import Terms
from tests import services
from tests.orders import Order
from tests.replay.desk import JSON, Desk, found, now
from tests.terms import TERMS

HOSPITAL, PHARMACY = "Example General Hospital", "Example Street Pharmacy"
Making = Callable[..., Desk]


@pytest.fixture
def making(sqlite_template: Path, tmp_path: Path) -> Iterator[Making]:
    """Makes an operator's desk; nothing here depends on the database."""
    with services.sqlite_database(tmp_path, sqlite_template) as url:
        made: list[Desk] = []

        def make(terms: Terms = TERMS, **given: Any) -> Desk:
            made.append(Desk(url, tmp_path, terms, **given))
            return made[-1]

        yield make
        for desk in made:
            desk.database.close()


@pytest.fixture
def desk(making: Making) -> Desk:
    return making()


def test_a_dry_run_of_what_crashes_ends_and_tells_it(making: Making) -> None:
    desk = making(registry=crashing("order-update"))
    order = Order()
    received = desk.receive(order.new_order(), order.update("accepted"), Order().new_order())
    desk.set_dead(*(one.message_id for one in received))
    progress = desk.replay("dry-run")
    assert progress.counts == {"ok": 2, "failed": 1}
    assert progress.replay.state == "done"
    assert desk.versions() == 0


def test_a_message_that_takes_too_long_in_a_statement_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    [slow] = desk.receive(Order().new_order())
    desk.set_dead(slow.message_id)
    replay = desk.plan("apply", effects="suppress")
    desk.replays.start(replay.id, "operator")
    hand = desk.replayer._hand

    def perform(heads: Any, **_given: Any) -> None:
        desk.replayer._in_hand.take(hand.name_of(heads[0]))
        hand.overdue = heads[0]
        raise DatabaseUnavailable("it was stopped in the middle of a statement")

    with monkeypatch.context() as patch:
        patch.setattr(desk.replayer._performer, "perform", lambda heads, **given: (heads and perform(heads)) or [])
        for _ in range(MOST_DEATHS):
            desk.replayer.replay(*desk.jobs.parts.pop(0))
    assert desk.run(replay.id).counts == {"failed": 1}


def test_what_workers_died_with_in_a_file_is_kept_and_dead(desk: Desk) -> None:
    replay = desk.plan("apply", source="files", found=found(Order().new_order()), effects="suppress")
    desk.replays.start(replay.id, "operator")
    desk.execute(sa.update(schema.metadata.tables["replay_item"]).values(attempts=MOST_DEATHS))
    assert desk.run(replay.id).counts == {"failed": 1}
    [(state, error)] = desk.rows(sa.select(schema.message.c.state, schema.message.c.error))
    assert state == "dead"
    assert "died" in error


def test_nothing_overtakes_what_another_worker_has_in_hand(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    order = Order()
    received = desk.receive(order.new_order(), order.update("accepted"))
    desk.set_dead(*(one.message_id for one in received))
    own = replaying.take
    times: list[int] = []

    def take(connection: Any, ids: Any, *given: Any) -> set[int]:
        times.append(len(times))
        return own(connection, [] if len(times) == 1 else ids, *given)

    monkeypatch.setattr(replaying, "take", take)
    assert desk.replay("apply", effects="suppress").counts == {"ok": 2}


def test_what_took_effect_elsewhere_meanwhile_is_not_said_to_have_failed(
    desk: Desk, making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = desk.receive(Order().new_order())
    crashes = making(registry=crashing("new-order"))
    replay = crashes.plan("apply", effects="suppress")
    crashes.replays.start(replay.id, "operator")
    own = Applied.redo

    def redo(self: Applied) -> None:
        own(self)
        desk.process(*received)

    monkeypatch.setattr(Applied, "redo", redo)
    assert crashes.run(replay.id).counts == {"skipped": 1}


def test_two_files_with_one_identity_are_each_decided(desk: Desk) -> None:
    first, second = clashing()
    progress = desk.replay("apply", source="files", found=found(first, second), effects="suppress")
    assert progress.counts == {"ok": 1, "refused": 1}


def test_a_file_does_not_overtake_what_waits(desk: Desk) -> None:
    order = Order()
    desk.receive(order.new_order())
    progress = desk.replay("apply", source="files", found=found(order.update("accepted")), effects="suppress")
    assert progress.counts == {"left": 1}
    older = exported(order.update("accepted"), received_at=now() - timedelta(days=2))
    assert desk.replay("apply", source="files", found=[older], effects="suppress").counts == {"refused": 1}


@pytest.mark.parametrize(("effects", "state"), [("send", "due"), ("hold", "held"), ("suppress", "answered")])
def test_the_refusal_of_a_clash_goes_as_chosen(desk: Desk, effects: str, state: str) -> None:
    first, second = clashing()
    desk.process(*desk.receive(first))
    later = exported(second, later=True, reply_to="http://localhost:9/replies")
    progress = desk.replay("apply", source="files", found=[later], effects=effects)
    assert progress.counts == {"refused": 1}
    replies = sa.select(schema.outbox.c.state).where(schema.outbox.c.replay_id == progress.replay.id)
    assert desk.rows(replies) == [(state,)]
    assert desk.jobs.rung == ([HOSPITAL] if effects == "send" else [])


@pytest.mark.parametrize(("effects", "code", "closed"), [("hold", "ok", "ok"), ("hold", "transient-error", None)])
def test_a_response_in_a_file_closes_what_it_answers_and_sends_nothing_that_is_held(
    desk: Desk, effects: str, code: str, closed: str | None
) -> None:
    desk.process(*desk.receive(Order().new_order()))
    told = schema.outbox.c.kind == "message"
    [(header_id,)] = desk.rows(sa.select(schema.outbox.c.header_id).where(told))
    desk.execute(sa.update(schema.outbox).where(told).values(state="delivered", due_at=None, attempts=1))
    progress = desk.replay("apply", source="files", found=found(response(header_id, code)), effects=effects)
    assert progress.counts == {"ok": 1}
    assert desk.rows(sa.select(schema.outbox.c.state, schema.outbox.c.closed_code).where(told)) == [
        ("delivered", closed)
    ]


def test_a_response_in_a_file_takes_no_effect_after_a_pause(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = desk.plan("apply", source="files", found=found(response("x", "ok")), effects="send")
    desk.replays.start(replay.id, "operator")
    own = replays.hold

    def hold(*given: Any, **named: Any) -> str | None:
        monkeypatch.setattr(replays, "hold", own)
        return "paused"

    monkeypatch.setattr(replays, "hold", hold)
    desk.replayer._runner.run(*desk.jobs.parts[0])
    assert desk.rows(sa.select(schema.message.c.id)) == []


def test_an_export_cannot_have_an_answer_sent_where_its_sender_could_not(making: Making) -> None:
    desk = making(addressed())
    forged = [
        exported(Order().new_order(), later=True, reply_to="https://evil.example/x", recipient=PHARMACY),
        exported(Order().new_order(), later=True, reply_to="https://evil.example/x", partner=HOSPITAL),
        exported(Order().new_order(), later=True, reply_to="https://hospital.example/other", partner=HOSPITAL),
    ]
    progress = desk.replay("apply", source="files", found=forged, effects="send")
    assert progress.counts == {"ok": 3}
    where = sa.select(schema.outbox.c.recipient, schema.outbox.c.destination).where(schema.outbox.c.kind == "reply")
    assert desk.rows(where.order_by(schema.outbox.c.id)) == [
        (HOSPITAL, "https://hospital.example/fhir"),
        (HOSPITAL, "https://hospital.example/fhir"),
        (HOSPITAL, "https://hospital.example/other"),
    ]


def test_an_export_cannot_say_what_is_not_so_of_its_sender(making: Making) -> None:
    desk = making(authentication="required")
    stranger = Order().new_order(sender=("NOBODY-1", "urn:nobody"))
    own = Order().new_order()
    own["entry"][0]["resource"]["source"]["endpoint"] = "urn:x-fhir-gateway:clock"
    files = [
        exported(stranger),
        exported(Order().new_order(), partner=HOSPITAL, sender="urn:demo:pharmacy x"),
        exported(Order().new_order(), received_at=now() + timedelta(days=3)),
        *found(own),
    ]
    progress = desk.replay("apply", source="files", found=files, effects="suppress")
    assert progress.counts == {"unreadable": 4}
    taken = desk.replay("apply", source="files", found=[exported(Order().new_order())], effects="suppress")
    assert taken.counts == {"ok": 1}
    assert desk.rows(sa.select(schema.message.c.partner)) == [(HOSPITAL,)]


def test_what_is_laid_by_at_a_time_is_not_too_large(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_BYTES", 100)
    large = [replace(problem(str(number), "is none."), body=b"x" * 60) for number in range(5)]
    assert [len(some) for some in staging._together(large)] == [2, 2, 1]


@pytest.mark.parametrize("said", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
def test_times_at_the_ends_of_all_time_are_put_in_order(desk: Desk, said: str) -> None:
    message = Order().new_order() | {"timestamp": said}
    desk.plan("dry-run", source="files", found=found(message))
    [(at,)] = desk.rows(sa.select(schema.metadata.tables["replay_file"].c.sort_at))
    assert datetime(1, 1, 2) <= at.replace(tzinfo=None) <= datetime(9999, 12, 30)


def test_the_same_is_not_started_twice_however_close_they_come(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.process(*desk.receive(Order().new_order()))
    one, other = (desk.plan("send", Selection(kinds=("message",)), source="outbox") for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(desk.replays, "_find_same", lambda *_given: None)  # it was not there yet when it was looked for
        desk.replays.start(one.id, "operator")
        desk.run(one.id)
        with pytest.raises(ReplayError, match="started before"):
            desk.replays.start(other.id, "operator")


def crashing(code: str) -> Registry:
    """The handlers, but that of this event, which fails."""

    def crash(_message: Message, _records: Any) -> Any:
        raise RuntimeError("it broke")

    registry = Registry()
    for handler in routing.load(["handlers"]):
        registry.add(replace(handler, function=crash) if handler.event.code == code else handler)
    return registry


def addressed() -> Terms:
    """The terms, with a hospital that can be called."""
    hospital = TERMS.partners.called(HOSPITAL)
    assert hospital is not None
    there = replace(hospital, endpoints=("https://hospital.example/fhir", *hospital.endpoints))
    others = [partner for partner in TERMS.partners.partners if partner.name != HOSPITAL]
    return replace(TERMS, partners=type(TERMS.partners)((there, *others)))


def clashing() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two orders with the ids of one message."""
    first, second = Order().new_order(), Order().new_order()
    header, other = first["entry"][0], second["entry"][0]
    second["id"], other["fullUrl"], other["resource"]["id"] = first["id"], header["fullUrl"], header["resource"]["id"]
    return first, second


def response(header_id: str, code: str) -> dict[str, Any]:
    """The pharmacy's, to what it was told."""
    message = Order().update("accepted")
    message["entry"][0]["resource"]["response"] = {"identifier": header_id, "code": code}
    return message


def exported(bundle: dict[str, Any], **said: Any) -> Found:
    """A message of the hospital's as an export has it, with what that says beside it."""
    about = About(
        id=1,
        received_at=now() - timedelta(days=1),
        media_type=JSON,
        sender="urn:demo:hospital http://registry.example/identifier/organization|HOSPITAL-1",
        event="new-order",
        partner=None,
        manner=None,
        wrapping=None,
        reply_format="json",
        reply_to=None,
        recipient=None,
        later=False,
        request_id="r",
        state="dead",
        response_code=None,
    )
    return Found("export.ndjson", JSON, json.serialize(bundle), replace(about, **said), None)
