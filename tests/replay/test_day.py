"""A day of traffic, in small: replayed it changes nothing, by files it comes to the same. See `make replays`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.replay.files.sources import read
from gateway.store import inbox
from gateway.store.inbox import Events
from tests import day_played, services
from tests.day import Day
from tests.replay.desk import Desk
from tests.replays_verdict import Kept, against_day, against_each_other

DAY = Day(messages=140, tasks=22)
_ALL = Events((), all_but=True)


def test_a_day_replayed_changes_nothing_and_by_files_in_no_order_comes_to_the_same(
    database_url: str, sqlite_template: Path, tmp_path: Path
) -> None:
    desk = played(database_url, tmp_path)
    live = Kept(database_url)
    assert against_day(live, DAY) == []

    progress = desk.replay("apply")
    desk.database.close()
    assert progress.counts == {"skipped": live.counts.messages}
    after = Kept(database_url)
    assert (after.counts, after.resources) == (live.counts, live.resources)

    day_played.write(DAY, tmp_path / "files")
    with services.sqlite_database(tmp_path, sqlite_template) as empty_url:
        desk = Desk(empty_url, tmp_path)
        progress = desk.replay("apply", source="files", found=list(read([str(tmp_path / "files")], 10**6)))
        desk.database.close()
        assert against_each_other(live, Kept(empty_url)) == []
    assert progress.done == len(DAY.said)
    assert progress.counts["refused"] == sum(code == "fatal-error" for code in live.outcomes.values())


def played(database_url: str, directory: Path) -> Desk:
    """A gateway that has received the day as it came, and carried it out."""
    day_played.receive_all(database_url, day_played.bodies(DAY))
    desk = Desk(database_url, directory)
    later = datetime.now(UTC) + timedelta(minutes=1)
    while lanes := desk.database.attempt(lambda found: inbox.take_due_lanes(found, later, later, _ALL, 100)):
        desk.processor.process(desk.processor.find_due(lanes))
    return desk
