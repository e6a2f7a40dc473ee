"""What a message relies on: what another transaction has changed meanwhile makes it be carried out anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway import made
from gateway.errors import Conflict
from gateway.kept import Kept
from gateway.receiving import receive
from gateway.records import Records
from gateway.routing import Registry
from gateway.store.database import Database
from tests.senders import Sender, read, submission, task
from tests.terms import TERMS
from tests.test_records import NOW, OURSELVES, keep_focus, order, take

NOTE = "about the order"
Work = Callable[[Records], None]


def write_note(records: Records) -> None:
    """Keeps a note while the order is as it is."""
    records.rely_on(the_order(records))
    records.keep_own(NOTE, {"resourceType": "List", "status": "current", "mode": "working"})


def end_order(records: Records) -> None:
    """Ends the order while there is no note about it."""
    assert records.find_own("List", NOTE) is None
    kept = the_order(records)
    records.update(kept, kept.resource | {"status": "completed"})


def look(records: Records) -> None:
    """Reads what the others change, and changes something else."""
    records.find_own("List", NOTE)
    records.rely_on(the_order(records))


def the_order(records: Records) -> Kept:
    [kept] = records.find_by("Task", "identifier", "http://hospital.example/orders|1")
    return kept


def carry_out(database: Database, work: Work) -> Callable[[], None]:
    """Does what a handler does; what is returned keeps it, as is done after the handler."""
    bundle = Sender().write("x", task("2"))
    message = read(bundle)
    received = receive(database, Registry(), OURSELVES, message, submission(bundle))
    with database.reading() as connection:
        records = Records(message, connection, NOW, OURSELVES.base_url, TERMS)
        work(records)

    def keep() -> None:
        with database.transaction() as writing:
            made.keep(writing, [records.made(received.message_id)])

    return keep


@pytest.mark.parametrize(("first", "second"), [(write_note, end_order), (end_order, write_note)])
def test_of_two_that_rely_on_what_the_other_changes_the_second_comes_too_late(
    database: Database, first: Work, second: Work
) -> None:
    take(database, order(), keep_focus)
    keep_first, keep_second = carry_out(database, first), carry_out(database, second)

    keep_first()
    with pytest.raises(Conflict):
        keep_second()


@pytest.mark.parametrize("work", [write_note, end_order])
def test_nothing_is_done_anew_that_relies_on_what_stays_as_it_was(database: Database, work: Work) -> None:
    take(database, order(), keep_focus)
    keep_first, keep_second = carry_out(database, look), carry_out(database, work)
    keep_first()
    keep_second()


def test_what_another_has_changed_since_is_told_also_to_who_changes_nothing(database: Database) -> None:
    take(database, order(), keep_focus)
    keep_first, keep_second = carry_out(database, end_order), carry_out(database, look)
    keep_first()
    with pytest.raises(Conflict):
        keep_second()
