"""What the outbox has is sent once more, as it was, to whom it went or to whom is named; nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.replay.life import ReplayError
from gateway.store import outbox, schema
from gateway.store.selections import Selection
from tests.orders import Order
from tests.replay.desk import Desk

PHARMACY = "Example Street Pharmacy"


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(database_url, tmp_path)
    yield made
    made.database.close()


def test_what_a_partner_was_told_is_sent_again_as_it_was(desk: Desk) -> None:
    _tell(desk)
    versions = desk.versions()
    progress = desk.replay("send", Selection(kinds=("message",)), source="outbox")
    assert progress.counts == {"sent": 1}
    assert progress.replay.forecast is not None
    assert progress.replay.forecast.recipients == {PHARMACY: 1}
    first, second = _told(desk)
    assert second.resent_of == first.id
    assert second.state == "due"
    assert (second.content, second.header_id, second.recipient) == (first.content, first.header_id, first.recipient)
    assert second.replay_id == progress.replay.id
    assert desk.versions() == versions
    assert desk.jobs.rung == [PHARMACY]


def test_what_was_sent_again_is_not_chosen_by_the_next_replay(desk: Desk) -> None:
    _tell(desk)
    desk.replay("send", Selection(kinds=("message",)), source="outbox")
    again = desk.replay("send", Selection(kinds=("message",)), source="outbox", again="1")
    assert again.counts == {"sent": 1}


def test_the_same_is_sent_again_only_when_that_is_said(desk: Desk) -> None:
    _tell(desk)
    desk.replay("send", Selection(kinds=("message",)), source="outbox")
    with pytest.raises(ReplayError, match="--again"):
        desk.plan("send", Selection(kinds=("message",)), source="outbox")
    assert len(_told(desk)) == 2


def test_a_response_to_what_was_sent_again_closes_the_first(desk: Desk) -> None:
    _tell(desk)
    desk.replay("send", Selection(kinds=("message",)), source="outbox")
    first, _ = _told(desk)
    with desk.database.reading() as connection:
        assert [told.id for told in outbox.find_told(connection, [first.header_id])] == [first.id]


def test_stored_answers_go_to_the_partner_that_has_sent_the_messages_or_to_one_that_is_named(desk: Desk) -> None:
    received = desk.receive(Order().new_order())
    desk.process(*received)
    progress = desk.replay("answer")
    [line] = desk.lines(progress.replay.id)
    assert line.outcome == "impossible", "the partners of the demonstration have no address to answer to"
    assert "registered address" in line.detail
    with pytest.raises(ReplayError, match="not a registered partner"):
        desk.plan("answer", to="nobody")


def test_answers_that_are_held_go_when_they_are_released_and_dropped_ones_never(desk: Desk) -> None:
    _tell(desk, 2)
    progress = desk.replay("send", Selection(kinds=("message",)), source="outbox", effects="hold")
    assert progress.counts == {"held": 2}
    assert progress.held == 2
    assert desk.replays.drop(progress.replay.id) == 2
    assert desk.replays.progress(progress.replay.id).held == 0
    assert desk.replays.release(progress.replay.id) == []
    assert [entry.state for entry in _told(desk)] == ["delivered", "delivered", "dead", "dead"]


def test_what_is_suppressed_is_listed_and_not_sent(desk: Desk) -> None:
    _tell(desk)
    assert desk.replay("send", Selection(kinds=("message",)), source="outbox", effects="suppress").counts == {
        "skipped": 1
    }
    assert len(_told(desk)) == 1


def test_what_is_on_its_way_still_is_left_unless_it_is_to_go_to_another(desk: Desk) -> None:
    desk.process(*desk.receive(Order().new_order()))
    progress = desk.replay("send", Selection(kinds=("message",)), source="outbox")
    assert progress.counts == {"left": 1}
    assert progress.replay.forecast is not None
    assert [group.what for group in progress.replay.forecast.groups] == ["left"]
    assert len(_told(desk)) == 1


def _tell(desk: Desk, orders: int = 1) -> None:
    """The pharmacy has got word of new orders."""
    desk.process(*desk.receive(*(Order().new_order() for _ in range(orders))))
    desk.execute(sa.update(schema.outbox).where(schema.outbox.c.kind == "message").values(state="delivered"))


def _told(desk: Desk) -> list[sa.Row[tuple[object, ...]]]:
    return desk.rows(sa.select(schema.outbox).where(schema.outbox.c.kind == "message").order_by(schema.outbox.c.id))
