"""A store of an earlier version becomes one of this version with all that is in it, or stays what it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from gateway.fhir import json
from gateway.fhir.identity import OWN_SENDER, own_key
from gateway.fhir.search import creator_tokens, parse, tokens_of, waiting_tokens
from gateway.store import inbox, schema, searching
from gateway.store.database import MIGRATIONS, Database, upgrade

FIRST, SECOND = datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 2, 12, 0, 0, 250, tzinfo=UTC)
REPLY = b'{"resourceType":"Basic","code":{"text":"a reply"}}'
TASKS = 1201
"""More than are looked at at once."""


@pytest.fixture
def earlier_url(empty_database_url: str) -> str:
    """A store as the first version left it, with two messages in it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = empty_database_url
    command.upgrade(config, "0001")
    engine = sa.create_engine(empty_database_url)
    with engine.begin() as connection:
        _fill(connection)
    engine.dispose()
    return empty_database_url


def _fill(connection: sa.Connection) -> None:
    messages = [{"id": number, "bundle_key": bytes([number])} for number in (1, 2)]
    add = (
        "INSERT INTO message (id, sender, bundle_key, event_code, lane, content_hash, media_type, reply_format, later,"
        " request_id, received_at, state, due_at, nudged_at, body) VALUES (:id, 'hospital', :bundle_key, 'new-order',"
        " 'lane', :bundle_key, 'application/fhir+json', 'json', :later, 'r', :now, 'done', :now, :now, :bundle_key)"
    )
    now = sa.bindparam("now", type_=schema.Instant)
    connection.execute(sa.text(add).bindparams(now), [{**one, "now": FIRST, "later": False} for one in messages])
    reply = (
        "INSERT INTO outbox (message_id, header_id, response_code, format, content, state, created_at)"
        " VALUES (1, 'h-1', 'ok', 'json', :content, 'answered', :now)"
    )
    connection.execute(sa.text(reply).bindparams(now), {"content": REPLY, "now": FIRST})
    rows = [{"id": f"t{n:04}", "type": "Task", "version": 1} for n in range(TASKS)]
    rows += [{"id": "p1", "type": "Patient", "version": 2}, {"id": "note", "type": "List", "version": 1}]
    connection.execute(
        sa.text("INSERT INTO resource (id, type, version, sender) VALUES (:id, :type, :version, 'hospital')"), rows
    )
    versions = [_version(row["id"], row["type"], 1, 1, FIRST) for row in rows[:-2]]
    versions += [_version("p1", "Patient", 1, 1, FIRST), _version("p1", "Patient", 2, 2, SECOND)]
    versions.append(_version("note", "List", 1, 2, SECOND))
    add_version = (
        "INSERT INTO resource_version (resource_id, version, content, message_id, updated_at)"
        " VALUES (:resource_id, :version, :content, :message_id, :now)"
    )
    connection.execute(sa.text(add_version).bindparams(now), versions)
    digest = own_key("List", "open-cancellation-request|Task/t0007")
    connection.execute(sa.text("INSERT INTO resource_key VALUES (:digest, 'note')"), {"digest": digest})


def _version(resource_id: str, kind: str, version: int, message_id: int, now: datetime) -> dict[str, Any]:
    content = json.serialize(_resource(resource_id, kind))
    return {
        "resource_id": resource_id,
        "version": version,
        "content": content,
        "message_id": message_id,
        "now": now,
    }


def _resource(resource_id: str, kind: str) -> dict[str, Any]:
    resource: dict[str, Any] = {"resourceType": kind, "id": resource_id}
    return resource | ({"status": "ready", "identifier": [{"value": resource_id}]} if kind == "Task" else {})


def test_what_was_kept_is_numbered_and_found(earlier_url: str) -> None:
    upgrade(earlier_url)
    database = Database(earlier_url)
    with database.reading() as connection:
        rows = {row.id: row for row in connection.execute(sa.select(schema.resource))}
        assert [rows[f"t{n:04}"].number - (1 << 20) for n in range(TASKS)] == list(range(1, TASKS + 1))
        assert (rows["p1"].number, rows["note"].number) == (1 << 20, 2 << 20)
        assert (rows["t0001"].updated_at, rows["p1"].updated_at) == (FIRST, SECOND)
        assert (rows["t0001"].sender, rows["note"].sender) == ("hospital", OWN_SENDER)
        page = searching.find_page(connection, parse("Task", [("status", "ready"), ("identifier", "t0700")], ""))
        assert [row.id for row in page.rows] == ["t0700"]
        tasks = [_resource(f"t{n:04}", "Task") for n in range(TASKS)]
        creators, waiting = creator_tokens("Task", ["hospital"]), waiting_tokens(tasks[0])
        assert [row.id for row in searching.find_by_digests(connection, creators, 1, waiting)] == [f"t{TASKS - 1:04}"]
        expected = sum(len(tokens_of(task)) + len(creators) + len(waiting) for task in tasks)
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.search_key)) == expected
    database.close()


def test_replies_are_replies(earlier_url: str) -> None:
    upgrade(earlier_url)
    database = Database(earlier_url)
    with database.reading() as connection:
        progress = inbox.get_progress(connection, 1)
        assert (progress.response_code, progress.content) == ("ok", REPLY)
        assert inbox.get_progress(connection, 2).content is None
    database.close()


def test_a_migration_that_is_broken_off_has_not_happened(earlier_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_resource: Any) -> frozenset[bytes]:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.search_keys.tokens_of", fail)
        with pytest.raises(MemoryError):
            upgrade(earlier_url)
    engine = sa.create_engine(earlier_url)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0001"
        assert "number" not in {column["name"] for column in sa.inspect(connection).get_columns("resource")}
    engine.dispose()
    upgrade(earlier_url)
    database = Database(earlier_url)
    database.check()
    database.close()
