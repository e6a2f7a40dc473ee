"""What never took effect is carried out, once; what did is skipped; what was refused stays refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.fhir import json
from gateway.replay import running
from gateway.replay.life import ReplayError
from gateway.store import replays, schema
from gateway.store.replay_schema import replay_file
from gateway.store.selections import Selection
from tests.orders import Order
from tests.replay.desk import Desk, found, now


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(database_url, tmp_path)
    yield made
    made.database.close()


def test_what_was_set_aside_is_carried_out_and_what_took_effect_is_skipped(desk: Desk) -> None:
    first, second = Order(), Order()
    done = desk.receive(first.new_order())
    assert desk.process(*done) == ["ok"]
    [dead] = desk.receive(second.new_order())
    desk.set_dead(dead.message_id)
    progress = desk.replay("apply", effects="send")
    assert progress.counts == {"skipped": 1, "ok": 1}
    assert progress.remaining == 0
    assert progress.replay.state == "done"
    by_message = {line.message_id: line for line in desk.lines(progress.replay.id)}
    assert by_message[dead.message_id].outcome == "ok"
    assert by_message[dead.message_id].first_error == "RuntimeError: it broke"
    assert by_message[dead.message_id].before == "dead"
    assert by_message[done[0].message_id].before == "ok"
    [(state, error, replay_id)] = desk.rows(
        sa.select(schema.message.c.state, schema.message.c.error, schema.message.c.replay_id).where(
            schema.message.c.id == dead.message_id
        )
    )
    assert (state, error, replay_id) == ("done", None, progress.replay.id)
    assert desk.reply_of(dead.message_id)["entry"][0]["resource"]["response"]["code"] == "ok"


def test_the_same_again_does_nothing_twice(desk: Desk) -> None:
    orders = [Order() for _ in range(5)]
    received = desk.receive(*(order.new_order() for order in orders))
    desk.set_dead(*(one.message_id for one in received))
    assert desk.replay("apply", effects="send").counts == {"ok": 5}
    versions = desk.versions()
    again = desk.replay("apply", effects="send")
    assert again.counts == {"skipped": 5}
    assert desk.versions() == versions


def test_messages_of_a_task_are_carried_out_in_the_order_of_their_receipt(desk: Desk) -> None:
    order = Order()
    messages = [order.new_order(), order.update("accepted"), order.update("in-progress"), order.update("completed")]
    received = desk.receive(*messages)
    desk.set_dead(*(one.message_id for one in received))
    progress = desk.replay("apply", effects="suppress")
    assert progress.counts == {"ok": 4}
    assert _status(desk) == "completed"


def test_what_waits_behind_what_is_not_part_of_the_replay_is_left(desk: Desk) -> None:
    order = Order()
    first, second = desk.receive(order.new_order(), order.update("accepted"))
    progress = desk.replay("apply", Selection(ids=(str(second.message_id),)), effects="send")
    assert progress.counts == {"left": 1}
    [line] = desk.lines(progress.replay.id)
    assert str(first.message_id) in (line.detail or "")
    assert desk.process(first) == ["ok", "ok"]


def test_what_was_left_is_not_overtaken_though_what_it_waits_for_is_through_by_now(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "WINDOW", 1)
    order = Order()
    first, second, third = desk.receive(order.new_order(), order.update("accepted"), order.update("in-progress"))
    desk.set_dead(second.message_id, third.message_id)
    replay = desk.plan("apply", Selection(states=("dead",)), effects="suppress")
    desk.replays.start(replay.id, "operator")
    record = running._Turn._record

    def through(turn: Any, keep: Any, kept: Any) -> int:
        decided = record(turn, keep, kept)
        assert desk.process(first) in (["ok"], [])
        return decided

    monkeypatch.setattr(running._Turn, "_record", through)
    assert desk.run(replay.id).counts == {"left": 2}


def test_what_is_refused_now_is_refused_and_its_sender_gets_that_answer(desk: Desk) -> None:
    [dead] = desk.receive(Order().update("completed"))
    desk.set_dead(dead.message_id)
    progress = desk.replay("apply", effects="send")
    assert progress.counts == {"refused": 1}
    [line] = desk.lines(progress.replay.id)
    assert (line.detail or "").startswith("not-found:")
    assert desk.reply_of(dead.message_id)["entry"][0]["resource"]["response"]["code"] == "fatal-error"
    again = desk.replay("apply", effects="send")
    assert again.counts == {"skipped": 1}


def test_what_is_carried_out_again_is_a_message_of_its_own_linked_to_the_first(desk: Desk) -> None:
    [refused] = desk.receive((order := Order()).update("in-progress"))
    assert desk.process(refused) == ["fatal-error"]
    [late] = desk.receive(order.new_order(status="requested"))
    assert desk.process(late) == ["ok"]
    progress = desk.replay("reprocess", Selection(outcomes=("fatal-error",)), effects="send")
    [line] = desk.lines(progress.replay.id)
    assert line.made_id is not None
    [(of, replay_id)] = desk.rows(
        sa.select(schema.message.c.replay_of, schema.message.c.replay_id).where(schema.message.c.id == line.made_id)
    )
    assert (of, replay_id) == (refused.message_id, progress.replay.id)
    assert desk.reply_of(refused.message_id)["entry"][0]["resource"]["response"]["code"] == "fatal-error"
    with pytest.raises(ReplayError, match="was the same"):
        desk.plan("reprocess", Selection(outcomes=("fatal-error",)), effects="send")
    assert desk.plan("reprocess", Selection(outcomes=("fatal-error",)), effects="send", again="x").items == 1


def test_what_is_carried_out_again_is_confirmed_by_its_number(desk: Desk) -> None:
    [received] = desk.receive(Order().new_order())
    desk.process(received)
    replay = desk.plan("reprocess", effects="hold")
    with pytest.raises(ReplayError, match="--confirm 1"):
        desk.replays.start(replay.id, "operator", 2)
    assert desk.replays.start(replay.id, "operator", 1).state == "running"


def test_what_comes_in_files_is_kept_and_carried_out_once_in_the_order_of_its_time(desk: Desk) -> None:
    order, other = Order(), Order()
    at = now() - timedelta(days=1)
    day = [order.new_order(), other.new_order(), order.update("accepted"), order.update("in-progress")]
    for minutes, message in enumerate(day):
        message["timestamp"] = (at + timedelta(minutes=minutes)).isoformat()
    shuffled = [day[3], day[1], day[2], day[0]]
    progress = desk.replay("apply", source="files", found=found(*shuffled), effects="suppress")
    assert progress.counts == {"ok": 4}
    assert sorted(_statuses(desk)) == ["in-progress", "requested"]
    again = desk.replay("apply", source="files", found=found(*day), effects="suppress")
    assert again.counts == {"skipped": 4}
    assert desk.rows(sa.select(replay_file.c.number).where(replay_file.c.body.is_not(None))) == []
    assert {line.file for line in desk.lines(again.replay.id)} == {"0.json", "1.json", "2.json", "3.json"}


def test_a_file_whose_identity_is_anothers_is_kept_and_refused(desk: Desk) -> None:
    first = Order().new_order()
    second = Order().new_order()
    second["id"] = first["id"]
    second["entry"][0]["resource"]["id"] = first["entry"][0]["resource"]["id"]
    second["entry"][0]["fullUrl"] = first["entry"][0]["fullUrl"]
    desk.process(*desk.receive(first))
    progress = desk.replay("apply", source="files", found=found(second), effects="suppress")
    assert progress.counts == {"refused": 1}


def test_a_file_that_is_no_message_has_an_outcome(desk: Desk) -> None:
    files = [*found({"resourceType": "Patient"}, Order().new_order())]
    progress = desk.replay("apply", source="files", found=files, effects="suppress")
    assert progress.counts == {"unreadable": 1, "ok": 1}
    [wrong] = [line for line in desk.lines(progress.replay.id) if line.outcome == "unreadable"]
    assert wrong.file == "0.json"
    assert "Bundle" in (wrong.detail or "")


@pytest.mark.parametrize("effects", ["send", "hold", "suppress"])
def test_partners_are_told_held_or_not_told_as_chosen(desk: Desk, effects: str) -> None:
    [dead] = desk.receive(Order().new_order())
    desk.set_dead(dead.message_id)
    progress = desk.replay("apply", effects=effects)
    states = [row[0] for row in desk.rows(sa.select(schema.outbox.c.state).where(schema.outbox.c.kind == "message"))]
    assert states == {"send": ["due"], "hold": ["held"], "suppress": []}[effects]
    assert progress.held == (1 if effects == "hold" else 0)
    if effects == "hold":
        assert desk.replays.release(progress.replay.id) == ["Example Street Pharmacy"]
        [(state, due_at)] = desk.rows(
            sa.select(schema.outbox.c.state, schema.outbox.c.due_at).where(schema.outbox.c.kind == "message")
        )
        assert state == "due"
        assert due_at is not None


def test_a_replay_that_is_paused_does_nothing_until_it_is_resumed(desk: Desk) -> None:
    received = desk.receive(Order().new_order())
    desk.set_dead(received[0].message_id)
    replay = desk.plan("apply", effects="suppress")
    desk.replays.start(replay.id, "operator")
    desk.replays.pause(replay.id, "operator")
    assert desk.run(replay.id).counts == {}
    desk.replays.resume(replay.id, "operator")
    assert desk.run(replay.id).counts == {"ok": 1}


def test_the_same_replay_started_twice_is_one(desk: Desk) -> None:
    received = desk.receive(Order().new_order())
    desk.set_dead(received[0].message_id)
    first = desk.plan("apply", effects="suppress")
    desk.replays.start(first.id, "operator")
    second = desk.plan("apply", effects="suppress")
    assert second.id == first.id
    assert desk.replays.start(second.id, "operator").state == "running"
    assert desk.run(first.id).counts == {"ok": 1}


def test_a_job_that_comes_twice_has_no_effect_twice(desk: Desk) -> None:
    received = desk.receive(*(Order().new_order() for _ in range(3)))
    desk.set_dead(*(one.message_id for one in received))
    replay = desk.plan("apply", effects="suppress")
    desk.replays.start(replay.id, "operator")
    desk.jobs.parts *= 3
    assert desk.run(replay.id).counts == {"ok": 3}


def test_a_worker_that_has_lost_its_part_keeps_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    received = desk.receive(Order().new_order())
    desk.set_dead(received[0].message_id)
    replay = desk.plan("apply", effects="suppress")
    desk.replays.start(replay.id, "operator")
    [(replay_id, part)] = desk.jobs.parts
    perform = desk.replayer._performer.perform

    def overtaken(*given, **named):  # type: ignore[no-untyped-def]
        result = perform(*given, **named)
        with desk.database.transaction() as connection:
            seen = replays.find_part(connection, replay_id, part)
            assert seen is not None
            replays.advance(connection, seen, replays.FIRST, {}, now())
        return result

    monkeypatch.setattr(desk.replayer._performer, "perform", overtaken)
    desk.jobs.parts.clear()
    desk.replayer.replay(replay_id, part)
    assert desk.replays.progress(replay_id).counts == {}
    assert desk.versions() == 0
    monkeypatch.undo()
    assert desk.run(replay_id).counts == {"ok": 1}


def test_an_item_with_which_workers_die_is_given_up(desk: Desk) -> None:
    [one, other] = desk.receive(Order().new_order(), Order().new_order())
    desk.set_dead(one.message_id, other.message_id)
    replay = desk.plan("apply", effects="suppress")
    desk.replays.start(replay.id, "operator")
    [(replay_id, part)] = desk.jobs.parts
    for _ in range(3):
        desk.replayer._in_hand.take(f"{replay_id} {part or '-'} {one.message_id}")
        desk.replayer.take_over()
    assert desk.run(replay_id).counts == {"failed": 1, "ok": 1}


def _status(desk: Desk) -> str:
    [status] = _statuses(desk)
    return status


def _statuses(desk: Desk) -> list[str]:
    current = sa.and_(
        schema.resource_version.c.resource_id == schema.resource.c.id,
        schema.resource_version.c.version == schema.resource.c.version,
    )
    kept = sa.select(schema.resource_version.c.content).select_from(
        schema.resource.join(schema.resource_version, current)
    )
    rows = desk.rows(kept.where(schema.resource.c.type == "Task"))
    return [str(json.parse(bytes(content))["status"]) for (content,) in rows]
