"""A replay is forecast, started by one and approved by another, paused, stopped, and done; what is meant is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import routing
from gateway.fhir.identity import identifier_key
from gateway.fhir.message import Message
from gateway.replay import document
from gateway.replay.life import ReplayError, UnknownReplayError
from gateway.replay.model import Forecast, Group, Options
from gateway.routing import Handler, Registry
from gateway.store import replays, schema
from gateway.store.selections import Selection
from gateway.sweeping import ReplaySweep
from tests.orders import Order
from tests.replay.desk import Desk, found, now


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(database_url, tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def sqlite_desk(sqlite_template: Path, tmp_path: Path) -> Iterator[Desk]:
    """For what does not depend on the database."""
    from tests import services

    with services.sqlite_database(tmp_path, sqlite_template) as url:
        made = Desk(url, tmp_path)
        yield made
        made.database.close()


def test_the_forecast_tells_how_many_of_which_kind_and_what_would_become_of_them(desk: Desk) -> None:
    order = Order()
    received = desk.receive(order.new_order(), order.update("accepted"), Order().new_order())
    desk.process(received[0])
    desk.set_dead(received[2].message_id)
    told = desk.plan("apply", effects="send").forecast
    assert told is not None
    assert (told.messages, told.others) == (3, 0)
    assert {(group.event, group.before, group.what, group.messages) for group in told.groups} == {
        ("new-order", "ok", "skipped", 1),
        ("new-order", "dead", "process", 1),
        ("order-update", "ok", "skipped", 1),
    }
    assert told.first is not None
    assert told.count("process") == 1


def test_the_forecast_of_files_tells_what_is_known_and_what_is_none(desk: Desk) -> None:
    first, second = Order().new_order(), Order().new_order()
    desk.process(*desk.receive(first))
    files = found(first, second, {"resourceType": "Patient"})
    told = desk.plan("apply", source="files", found=files, effects="send").forecast
    assert told is not None
    assert {(group.before, group.what) for group in told.groups} == {
        ("ok", "skipped"),
        ("unknown", "process"),
        ("unreadable", "unreadable"),
    }
    assert told.first is not None
    assert told.first.year > 2000


def test_the_forecast_warns_of_what_was_overtaken_and_of_what_is_not_there(desk: Desk) -> None:
    order = Order()
    first, second = desk.receive(order.new_order(), order.update("accepted"))
    desk.set_dead(first.message_id)
    desk.process(second)
    told = desk.plan("apply", Selection(ids=(str(first.message_id), "99999")), effects="send").forecast
    assert told is not None
    assert any("overtaken" in warning for warning in told.warnings)
    assert any("99999" in warning for warning in told.warnings)


def test_messages_of_a_partner_that_is_gone_cannot_be_carried_out(desk: Desk) -> None:
    [dead] = desk.receive(Order().new_order())
    desk.set_dead(dead.message_id)
    desk.execute(sa.update(schema.message).values(partner="gone"))
    progress = desk.replay("apply", effects="send")
    assert progress.replay.forecast is not None
    assert [group.what for group in progress.replay.forecast.groups] == ["impossible"]
    assert progress.counts == {"impossible": 1}


SELECTIONS = {
    "state": (Selection(states=("dead",)), {2}),
    "event": (Selection(events=("order-update",)), {1, 3}),
    "outcome": (Selection(outcomes=("fatal-error",)), {3}),
    "cause-of-a-failure": (Selection(cause="IT BROKE"), {2}),
    "cause-of-a-refusal": (Selection(cause="not-found"), {3}),
    "endpoint": (Selection(partners=("urn:demo:pharmacy",)), {1, 3}),
    "two-conditions": (Selection(events=("new-order",), states=("done",)), {0}),
    "nothing-fits": (Selection(events=("no-such-event",)), set()),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_what_is_meant_is_chosen(desk: Desk, name: str) -> None:
    order = Order()
    received = desk.receive(order.new_order(), order.update("accepted"))
    desk.process(*received)
    received += desk.receive(Order().new_order())
    desk.set_dead(received[2].message_id)
    received += desk.receive(Order().update("completed"))
    desk.process(received[3])
    selection, expected = SELECTIONS[name]
    assert _chosen(desk, selection) == {received[number].message_id for number in expected}


def test_messages_are_chosen_by_time_ids_task_and_business_identifier(desk: Desk) -> None:
    order = Order()
    first, other = desk.receive(bundle := order.new_order(), Order().new_order())
    desk.process(first, other)
    system, value = order.identifier
    digest = identifier_key("Task", {"system": system, "value": value}, "")
    assert digest is not None
    [(task,)] = desk.rows(
        sa.select(schema.resource.c.id)
        .join(schema.resource_version)
        .where(schema.resource.c.type == "Task", schema.resource_version.c.message_id == first.message_id)
    )
    for selection in (
        Selection(ids=(str(first.message_id),)),
        Selection(ids=(bundle["id"],)),
        Selection(tasks=(task,)),
        Selection(digests=(digest.hex(),)),
    ):
        assert _chosen(desk, selection) == {first.message_id}, selection
    later = now() + timedelta(hours=1)
    assert _chosen(desk, Selection(since=later)) == set()
    assert _chosen(desk, Selection(until=later)) == {first.message_id, other.message_id}


def test_a_limit_takes_the_first_ones(desk: Desk) -> None:
    received = desk.receive(*(Order().new_order() for _ in range(3)))
    desk.set_dead(*(one.message_id for one in received))
    assert desk.replay("apply", limit=2, effects="suppress").counts == {"ok": 2}
    assert desk.rows(sa.select(schema.message.c.id).where(schema.message.c.state == "dead")) == [
        (received[2].message_id,)
    ]


def test_at_the_first_failure_it_stops_and_goes_on_when_it_is_resumed(desk: Desk) -> None:
    received = desk.receive(*(Order().new_order() for _ in range(4)))
    desk.set_dead(*(one.message_id for one in received))
    desk.execute(sa.update(schema.message).where(schema.message.c.id == received[1].message_id).values(body=b"{"))
    progress = desk.replay("apply", stop_on_failure=True, effects="suppress")
    assert progress.replay.state == "stopped"
    assert "first failure" in (progress.replay.why or "")
    assert progress.counts == {"ok": 1, "failed": 1}
    desk.replays.resume(progress.replay.id, "operator")
    assert desk.run(progress.replay.id).counts == {"ok": 3, "failed": 1}


def test_without_that_it_goes_on_and_the_failure_is_set_aside_with_its_cause(desk: Desk) -> None:
    received = desk.receive(*(Order().new_order() for _ in range(3)))
    desk.set_dead(*(one.message_id for one in received))
    desk.execute(sa.update(schema.message).where(schema.message.c.id == received[1].message_id).values(body=b"{"))
    progress = desk.replay("apply", effects="suppress")
    assert progress.counts == {"ok": 2, "failed": 1}
    [(state, error, first_error)] = desk.rows(
        sa.select(schema.message.c.state, schema.message.c.error, schema.message.c.first_error).where(
            schema.message.c.id == received[1].message_id
        )
    )
    assert state == "dead"
    assert "Unreadable" in error
    assert first_error == "RuntimeError: it broke"


@pytest.mark.parametrize(("rule", "needed"), [("never", False), ("consequence", True), ("always", True)])
def test_what_has_consequences_is_carried_out_again_only_when_another_approves(
    sqlite_template: Path, tmp_path: Path, rule: str, needed: bool
) -> None:
    from tests import services

    with services.sqlite_database(tmp_path, sqlite_template) as url:
        desk = Desk(url, tmp_path, replay_approval=rule)
        desk.process(*desk.receive(Order().new_order()))
        replay = desk.plan("reprocess", by="anna", effects="suppress")
        started = desk.replays.start(replay.id, "anna", 1)
        assert started.state == ("approval" if needed else "running")
        if needed:
            assert desk.run(replay.id).counts == {}
            with pytest.raises(ReplayError, match="somebody else"):
                desk.replays.approve(replay.id, "anna")
            assert desk.replays.approve(replay.id, "ben").state == "running"
        assert sum(desk.run(replay.id).counts.values()) == 1
        desk.database.close()


def test_a_replay_does_only_what_its_state_allows(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    desk.process(*desk.receive(Order().new_order()))
    replay = desk.plan("apply", effects="suppress")
    for forbidden in (desk.replays.pause, desk.replays.resume, desk.replays.stop, desk.replays.approve):
        with pytest.raises(ReplayError, match="is planned"):
            forbidden(replay.id, "operator")
    desk.replays.start(replay.id, "operator")
    with pytest.raises(ReplayError, match="stays on record"):
        desk.replays.discard(replay.id)
    desk.run(replay.id)
    for forbidden in (desk.replays.pause, desk.replays.resume, desk.replays.stop):
        with pytest.raises(ReplayError, match="is done"):
            forbidden(replay.id, "operator")
    with pytest.raises(UnknownReplayError):
        desk.replays.get(4711)
    other = desk.plan("dry-run")
    desk.replays.discard(other.id)
    with pytest.raises(UnknownReplayError):
        desk.replays.get(other.id)


def test_a_replay_of_nothing_is_done_at_once(sqlite_desk: Desk) -> None:
    replay = sqlite_desk.plan("apply", effects="send")
    assert sqlite_desk.replays.start(replay.id, "operator").state == "done"


def test_what_cannot_be_meant_is_refused_with_its_reason(sqlite_desk: Desk) -> None:
    refused: list[dict[str, Any]] = [
        {"mode": "send", "source": "inbox"},
        {"mode": "apply", "source": "outbox"},
        {"mode": "answer", "source": "files"},
        {"mode": "reprocess", "source": "files"},
        {"mode": "apply", "to": "Example Street Pharmacy"},
    ]
    for given in refused:
        with pytest.raises(ReplayError):
            sqlite_desk.plan(**given)


def test_handlers_can_tell_a_replay(sqlite_template: Path, tmp_path: Path) -> None:
    from tests import services

    seen: list[str | None] = []
    own = routing.load(["handlers"])
    registry = Registry()
    for handler in own:
        registry.add(_listening(handler, seen))
    with services.sqlite_database(tmp_path, sqlite_template) as url:
        desk = Desk(url, tmp_path, registry=registry)
        desk.process(*desk.receive(Order().new_order()))
        [dead] = desk.receive(Order().new_order())
        desk.set_dead(dead.message_id)
        desk.replay("dry-run")
        desk.replay("apply", effects="suppress")
        desk.replay("reprocess", effects="suppress")
        desk.database.close()
    assert seen == [None, "dry-run", "apply", "reprocess", "reprocess"]


def _listening(handler: Handler, seen: list[str | None]) -> Handler:
    def function(message: Message, records: Any) -> Any:
        seen.append(message.replayed)
        return handler.function(message, records)

    return replace(handler, function=function)


def test_a_rate_is_kept_by_all_workers_together(desk: Desk) -> None:
    replay = desk.plan("apply", effects="send", rate=10.0)
    at = now()
    with desk.database.transaction() as connection:
        waits = [replays.pace(connection, replay.id, 5, 10.0, at) for _ in range(5)]
    assert [round(wait, 3) for wait in waits] == [0, 0.5, 1.0, -1.5, -1.5]
    with desk.database.transaction() as connection:
        assert replays.pace(connection, replay.id, 5, 10.0, at + timedelta(seconds=10)) == 0


def test_the_sweep_queues_what_nobody_has_in_hand_and_ends_what_is_through(desk: Desk) -> None:
    received = desk.receive(Order().new_order())
    desk.set_dead(*(one.message_id for one in received))
    replay = desk.plan("apply", effects="suppress")
    desk.replays.start(replay.id, "operator")
    jobs, desk.jobs.parts[:] = list(desk.jobs.parts), []
    sweep = ReplaySweep(desk.database, _Empty(desk.jobs))  # type: ignore[arg-type]
    assert sweep.run(now()) == 0
    assert sweep.run(now() + timedelta(seconds=6)) == 1
    assert desk.jobs.parts == jobs
    assert sweep.run(now() + timedelta(seconds=7)) == 0
    desk.run(replay.id)
    desk.execute(sa.update(schema.metadata.tables["replay"]).values(state="running"))
    assert sweep.run(now()) == 0
    assert desk.replays.get(replay.id).state == "done"
    assert sweep.run(now()) == 0


class _Empty:
    """A dispatcher whose queue of replays is empty."""

    def __init__(self, jobs: Any) -> None:
        self.nudge_replay = jobs.nudge_replay

    def queue_length(self, _queue: str) -> int:
        return 0


def test_what_is_written_of_a_replay_is_read_as_it_was() -> None:
    selection = Selection(since=now(), partners=("a", "b"), cause="x", ids=("1",))
    assert document.read_selection(document.write(selection)) == selection
    assert document.write(Selection()) == document.write(Options()) == "{}"
    told = Forecast(3, (Group("e", "s", "ok", "skipped", 3, "why"),), 0, now(), now(), {"p": 3}, ("w",))
    assert document.read_forecast(document.write_forecast(told)) == told


def test_two_replays_are_the_same_if_all_is_the_same() -> None:
    one = document.fingerprint("apply", "inbox", Selection(events=("a",)), Options())
    assert one == document.fingerprint("apply", "inbox", Selection(events=("a",)), Options())
    assert one != document.fingerprint("apply", "inbox", Selection(events=("b",)), Options())
    assert one != document.fingerprint("apply", "inbox", Selection(events=("a",)), Options(again="1"))


def _chosen(desk: Desk, selection: Selection) -> set[int]:
    replay = desk.plan("dry-run", selection)
    chosen = {line.message_id for line in desk.lines(replay.id)}
    desk.replays.discard(replay.id)
    return chosen
