"""A dry run tells message by message what would change, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.fhir.differences import differences
from gateway.store import schema
from gateway.store.replay_schema import replay, replay_file, replay_item, replay_part
from gateway.store.selections import Selection
from tests.orders import Order
from tests.replay.desk import Desk, found

REPLAYS = {table.name for table in (replay, replay_item, replay_part, replay_file)}


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(database_url, tmp_path)
    yield made
    made.database.close()


def test_a_dry_run_tells_what_would_change_and_changes_nothing(desk: Desk) -> None:
    order = Order()
    received = desk.receive(order.new_order(), order.update("accepted"), order.update("completed"))
    desk.set_dead(*(one.message_id for one in received))
    before = _everything(desk)
    progress = desk.replay("dry-run")
    assert _everything(desk) == before
    assert progress.counts == {"ok": 2, "refused": 1}
    first, second, third = desk.lines(progress.replay.id)
    created, changed = first.changes, second.changes
    [task] = [one for one in created["resources"] if one["resource"].startswith("Task/")]
    assert task["isNew"]
    assert "status: + requested" in task["lines"]
    assert created["told"] == ["Example Street Pharmacy"]
    [task_now] = changed["resources"]
    assert task_now["resource"] == task["resource"]
    assert "status: requested → accepted" in task_now["lines"]
    assert third.detail


def test_a_dry_run_of_files_keeps_none_of_them(desk: Desk) -> None:
    order = Order()
    before = _everything(desk)
    progress = desk.replay("dry-run", source="files", found=found(order.new_order(), order.update("accepted")))
    assert progress.counts == {"ok": 2}
    assert _everything(desk) == before


def test_a_dry_run_can_try_what_reprocess_would_do(desk: Desk) -> None:
    order = Order()
    received = desk.receive(order.new_order(), order.update("accepted"))
    desk.process(*received)
    before = _everything(desk)
    assert desk.replay("dry-run").counts == {"skipped": 2}
    again = desk.replay("dry-run", Selection(events=("order-update",)), trial_of="reprocess")
    assert sum(again.counts.values()) == 1
    assert "skipped" not in again.counts
    assert _everything(desk) == before


def test_differences_are_one_line_for_each_element() -> None:
    before = {"resourceType": "Task", "status": "requested", "note": [{"text": "a"}], "code": {"text": "x"}}
    after = {"resourceType": "Task", "status": "ready", "note": [{"text": "a"}, {"text": "b"}], "id": "1"}
    assert differences(before, after) == [
        "status: requested → ready",
        'note[1]: + {"text":"b"}',
        'code: - {"text":"x"}',
    ]
    assert differences(None, {"status": "ready"}) == ["status: + ready"]
    assert differences(after, after) == []


def _everything(desk: Desk) -> dict[str, list[sa.Row[tuple[object, ...]]]]:
    """All rows, but for those of replays and of lanes."""
    kept = [table for table in schema.metadata.sorted_tables if table.name not in REPLAYS | {"lane_key"}]
    return {table.name: sorted(desk.rows(sa.select(table)), key=str) for table in kept}
