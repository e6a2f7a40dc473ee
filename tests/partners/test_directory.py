"""The partners in the database: seen by every process, changed by one at a time, each change told for good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from gateway import terms
from gateway.authentication import api_keys
from gateway.authentication.model import digest_of
from gateway.partners import Partner, files
from gateway.partners.directory import Directory, OutdatedError, UnknownPartnerError
from gateway.settings import Settings, SettingsError
from gateway.store import admission, schema
from gateway.store.database import Database
from tests.conftest import ROOT

LAB: dict[str, Any] = {"name": "Lab", "identifiers": ["urn:org|L"], "tell": "poll"}
WARD: dict[str, Any] = {"name": "Ward", "identifiers": ["urn:org|W"], "tell": "nothing", "fulfilled_by": "Lab"}


@pytest.fixture
def directory(database: Database) -> Directory:
    return Directory(database, loopback=False, look_every=0)


@pytest.fixture
def elsewhere(database_url: str) -> Iterator[Directory]:
    """The same partners, in another process."""
    database = Database(database_url)
    yield Directory(database, loopback=False, look_every=0)
    database.close()


def names(directory: Directory) -> list[str]:
    return [partner.name for partner in directory.current().partners]


def test_what_one_process_changes_others_see(directory: Directory, elsewhere: Directory) -> None:
    assert names(elsewhere) == []
    directory.add(LAB, "ann")
    assert names(elsewhere) == names(directory) == ["Lab"]
    directory.change("Lab", {"version": "R5"}, "ann")
    assert [partner.version for partner in elsewhere.current().partners] == ["R5"]
    unchanged = elsewhere.current()
    assert elsewhere.current() is unchanged
    directory.remove("Lab", "ann")
    assert names(elsewhere) == []


def test_it_looks_no_more_often_than_it_is_to(database: Database, directory: Directory) -> None:
    lazy = Directory(database, loopback=False, look_every=3600)
    assert names(lazy) == []
    directory.add(LAB, "ann")
    assert names(lazy) == []
    lazy.add(WARD, "ann")
    assert names(lazy) == ["Lab", "Ward"], "what is changed here is seen at once"


def test_each_change_is_told_with_who_and_what(directory: Directory) -> None:
    directory.add(LAB, "ann")
    directory.change("Lab", {"tell": "nothing"}, "bob")
    directory.set_state("Lab", "paused", "ann")
    directory.set_state("Lab", "blocked", "ann")
    directory.set_state("Lab", "active", "ann")
    directory.change("Lab", {"tell": "nothing"}, "eve")
    directory.remove("Lab", "bob")
    changes = directory.changes("Lab", 10)
    assert [(change.what, change.by) for change in changes] == [
        ("removed", "bob"),
        ("resumed", "ann"),
        ("blocked", "ann"),
        ("paused", "ann"),
        ("changed", "bob"),
        ("added", "ann"),
    ]
    documents = [(orjson.loads(one.before or "null"), orjson.loads(one.after or "null")) for one in changes]
    assert documents[0] == (LAB | {"tell": "nothing"}, None)
    assert documents[-2] == (LAB, LAB | {"tell": "nothing"})
    assert documents[-1] == (None, LAB)
    assert directory.changes("Lab", 10, before=changes[-2].id) == changes[-1:]
    assert len(directory.changes("Lab", 2)) == 2


def test_whoever_saw_an_older_version_changes_nothing(directory: Directory) -> None:
    assert directory.add(LAB, "ann").version == 1
    assert directory.put("Lab", LAB | {"tell": "nothing"}, "ann", 1).version == 2
    for late in (
        lambda: directory.put("Lab", LAB, "bob", 1),
        lambda: directory.change("Lab", {"tell": "poll"}, "bob", 1),
        lambda: directory.set_state("Lab", "paused", "bob", 1),
        lambda: directory.remove("Lab", "bob", 1),
    ):
        with pytest.raises(OutdatedError, match="it has version 2, not 1"):
            late()
    assert directory.get("Lab").document == LAB | {"tell": "nothing"}
    assert directory.put("Lab", LAB | {"tell": "nothing"}, "ann", 2).version == 2, "nothing has changed"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (LAB, "There is a partner Lab already"),
        (WARD | {"identifiers": ["urn:org|L"]}, "the identifier urn:org|L is that of Lab too"),
        (WARD | {"fulfilled_by": "Labb"}, "Did you mean Lab?"),
        (WARD | {"delivery": {"reply_to": "https://127.0.0.1/"}}, "delivery.reply_to is https://127.0.0.1/"),
        (WARD | {"tel": "poll"}, "Did you mean tell?"),
    ],
)
def test_what_does_not_fit_the_others_is_not_taken(directory: Directory, said: dict[str, Any], sentence: str) -> None:
    directory.add(LAB, "ann")
    with pytest.raises(SettingsError) as wrong:
        directory.add(said, "ann")
    assert any(sentence in one for one in wrong.value.sentences)
    assert names(directory) == ["Lab"]
    assert len(directory.changes(said["name"], 10)) == (1 if said is LAB else 0)


def test_who_carries_out_anothers_orders_stays(directory: Directory) -> None:
    directory.add(LAB, "ann")
    directory.add(WARD, "ann")
    with pytest.raises(SettingsError, match="fulfilled_by is Lab, which is no partner"):
        directory.remove("Lab", "ann")
    directory.remove("Ward", "ann")
    directory.remove("Lab", "ann")
    assert names(directory) == []


def test_a_name_does_not_change_and_who_is_unknown_is_told(directory: Directory) -> None:
    directory.add(LAB, "ann")
    with pytest.raises(SettingsError, match="its name cannot become Laboratory"):
        directory.change("Lab", {"name": "Laboratory"}, "ann")
    for ask in (directory.get, lambda name: directory.remove(name, "ann")):
        with pytest.raises(UnknownPartnerError, match=r"There is no partner Lap\. Did you mean Lab\?"):
            ask("Lap")


def test_one_that_cannot_be_read_is_left_out_and_told_and_can_be_removed(
    database: Database, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    log = SimpleNamespace(error=lambda _event, cause: logged.append(cause))
    monkeypatch.setattr("gateway.partners.directory.log", log)
    directory.add(LAB, "ann")
    with database.transaction() as connection:
        faulty = orjson.dumps(WARD | {"dialect": "gone"}).decode()
        now = datetime.now(UTC)
        connection.execute(sa.insert(schema.partner).values(name="Ward", document=faulty, version=1, updated_at=now))
        connection.execute(sa.insert(schema.partner_change).values(partner="Ward", at=now, by="ann", what="added"))
    assert names(directory) == ["Lab"]
    [told] = directory.find_faults()
    assert "Ward: dialect is 'gone'" in told
    assert logged == [told]
    assert directory.change("Lab", {"tell": "nothing"}, "ann").version == 2
    directory.remove("Ward", "ann")
    assert directory.find_faults() == []


def test_two_that_change_at_once_both_change(database_url: str, directory: Directory) -> None:
    directory.add(LAB, "ann")
    databases = [Database(database_url) for _ in range(4)]

    def change(number: int) -> None:
        Directory(databases[number], loopback=False).change("Lab", {"contact": {"phone": str(number)}}, "ann")

    together(change, 4)
    for database in databases:
        database.close()
    assert directory.get("Lab").version == 5
    assert len(directory.changes("Lab", 10)) == 5


def test_two_that_start_together_bring_the_files_in_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    found: list[tuple[Partner, ...]] = []

    def start(number: int) -> None:
        found.append(terms.Registered(Settings(), databases[number]).current().partners.partners)

    together(start, 4)
    with databases[0].reading() as connection:
        changes = connection.execute(sa.select(schema.partner_change.c.by)).scalars().all()
    for database in databases:
        database.close()
    assert changes == [terms.FIRST_START] * 3
    assert all(sorted(one.name for one in partners) == sorted(EXAMPLES) for partners in found)


EXAMPLES = [partner.name for partner in files.load([ROOT / "conf" / "partners"]).partners]


def test_later_starts_leave_what_is_registered(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "partners.toml"
    file.write_text(files.dump([LAB]))
    in_force = Settings(partners=(file,))
    first = terms.Registered(in_force, database)
    assert first.current().policy.name == "cow"
    first.directory.remove("Lab", "ann")
    file.write_text(files.dump([LAB, WARD]))
    assert terms.Registered(in_force, database).current().partners.partners == ()


def test_files_that_cannot_be_used_are_not_brought_in(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "partners.toml"
    file.write_text(files.dump([WARD]))
    with pytest.raises(SettingsError, match="fulfilled_by is Lab, which is no partner"):
        terms.Registered(Settings(partners=(file,)), database).current()
    file.write_text("[[partner]]\nnam = 7")
    with pytest.raises(SettingsError, match="nam is no key"):
        terms.Registered(Settings(partners=(file,)), database).current()
    file.write_text(files.dump([LAB]))
    assert len(terms.Registered(Settings(partners=(file,)), database).current().partners.partners) == 1


def test_files_that_are_silent_of_the_state_free_nobody(directory: Directory) -> None:
    directory.add(LAB | {"state": "blocked"}, "ann")
    found = files.read_text(files.dump([LAB | {"version": "R5"}, WARD]), "file", [])
    assert [name for name, _, _ in directory.differences(found)] == ["Lab", "Ward"]
    assert sorted(directory.bring_in(found, "ann")) == ["Lab", "Ward"]
    assert directory.get("Lab").document == LAB | {"state": "blocked", "version": "R5"}
    assert directory.differences(found) == []
    assert directory.bring_in(found, "ann") == []
    told = files.read_text(files.dump([LAB | {"state": "paused"}]), "file", [])
    directory.bring_in(told, "ann")
    assert directory.get("Lab").document["state"] == "paused"
    assert [(name, said) for name, said, _ in directory.differences(told)] == [("Ward", None)]


def test_a_key_is_kept_as_its_digest_and_ends_with_its_partner(database: Database, directory: Directory) -> None:
    with pytest.raises(UnknownPartnerError):
        api_keys.make(database, "Lab", "ann")
    directory.add(LAB, "ann")
    made = api_keys.make(database, "Lab", "ann")
    with database.reading() as connection:
        key = admission.find_key(connection, digest_of(made.key))
    assert key is not None
    assert (key.partner, key.hint, key.expires_at) == ("Lab", made.hint, None)
    assert api_keys.has_valid(database, "Lab")
    later = datetime.now(UTC) + timedelta(hours=1)
    other = api_keys.rotate(database, "Lab", "ann", later)
    assert {one.hint: one.expires_at for one in api_keys.list_all(database, "Lab")} == {
        made.hint: later,
        other.hint: None,
    }
    api_keys.revoke(database, "Lab", "ann", other.hint)
    with pytest.raises(api_keys.UnknownKeyError):
        api_keys.revoke(database, "Lab", "ann", other.hint)
    assert api_keys.has_valid(database, "Lab"), "the old one, for an hour"
    directory.remove("Lab", "ann")
    assert not api_keys.has_valid(database, "Lab")
    told = [change.what for change in directory.changes("Lab", 10)]
    assert told == [
        "removed",
        f"key {other.hint} revoked",
        f"keys rotated, {other.hint} made",
        f"key {made.hint} made",
        "added",
    ]


def together(work: Any, times: int) -> None:
    """Does it in so many threads, all at once; raises what any of them does."""
    barrier, wrong = threading.Barrier(times), list[BaseException]()

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
