"""The tables. The database is the truth: a message, its effects and its reply are rows here, or they did not happen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect


class Instant(sa.TypeDecorator[datetime]):
    """A moment in UTC. SQLite has no time zones: there the same text is kept without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


metadata = sa.MetaData()
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Digest = sa.LargeBinary(16)

# Literal, not bound: only so does a planner see that a partial index answers the question.
WAITING = "state IN ('new', 'failed')"
DUE = "state = 'due'"
DEAD = "state = 'dead'"
REPLY = "kind = 'reply'"
TOLD = "kind <> 'reply'"
FALLS_DUE = "due_at IS NOT NULL"

message = sa.Table(
    "message",
    metadata,
    sa.Column("id", Serial, primary_key=True, comment="also the order in which messages were received"),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("bundle_id", sa.Text),
    sa.Column("header_id", sa.Text),
    sa.Column("bundle_key", Digest, comment="sender and Bundle.id: a Bundle.id is used once"),
    sa.Column("header_key", Digest, comment="sender and MessageHeader.id, where that alone makes a repeat"),
    sa.Column("event_system", sa.Text, comment="null: eventUri"),
    sa.Column("event_code", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False, comment="what must take effect in the order received"),
    sa.Column("content_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("reply_format", sa.Text, nullable=False, comment="json or xml"),
    sa.Column("reply_to", sa.Text, comment="the address of an answer that is sent later"),
    sa.Column("later", sa.Boolean, nullable=False, comment="async=true: nobody waits for the answer"),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("state", sa.Text, nullable=False, comment="new, failed (tried again when due), done, dead"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("nudged_at", Instant, nullable=False, comment="when its lane was last put on the queue"),
    sa.Column("error", sa.Text, comment="the cause of the last failure"),
    sa.Column("done_at", Instant),
    sa.Column("body", sa.LargeBinary, nullable=False, comment="the exact bytes received"),
    sa.Column("wrapping", sa.Text, comment="JSON: the MessageHeader put around what came by REST"),
    sa.Index("message_bundle_key", "bundle_key", unique=True),
    sa.Index("message_header_key", "header_key", unique=True),
    sa.Index("message_lane", "lane", "id"),
    sa.Index(
        "message_waiting",
        "lane",
        "id",
        postgresql_where=sa.text(WAITING),
        sqlite_where=sa.text(WAITING),
    ),
    sa.Index("message_dead", "id", postgresql_where=sa.text(DEAD), sqlite_where=sa.text(DEAD)),
)

lane_key = sa.Table(
    "lane_key",
    metadata,
    sa.Column("digest", Digest, primary_key=True, comment="an identity of a Task"),
    sa.Column("lane", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("message_id", Serial, sa.ForeignKey("message.id"), nullable=False, comment="what it comes of"),
    sa.Column("kind", sa.Text, nullable=False, server_default="reply", comment="reply, message or notification"),
    sa.Column("party", sa.Text, comment="the partner that is told; null: a reply"),
    sa.Column("header_id", sa.Text, nullable=False, comment="its own MessageHeader.id"),
    sa.Column("response_code", sa.Text, comment="null: no reply"),
    sa.Column("destination", sa.Text, comment="null: it goes back on the connection the request came on"),
    sa.Column("format", sa.Text, nullable=False, comment="json or xml"),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="the exact bytes that are sent"),
    sa.Column("state", sa.Text, nullable=False, comment="answered, or due: to be delivered"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index(
        "outbox_reply",
        "message_id",
        unique=True,
        postgresql_where=sa.text(REPLY),
        sqlite_where=sa.text(REPLY),
    ),
    sa.Index(
        "outbox_told",
        "message_id",
        "party",
        unique=True,
        postgresql_where=sa.text(TOLD),
        sqlite_where=sa.text(TOLD),
    ),
    sa.Index(
        "outbox_due",
        "created_at",
        postgresql_where=sa.text(DUE),
        sqlite_where=sa.text(DUE),
    ),
)

resource = sa.Table(
    "resource",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, comment="the current one"),
    sa.Column("sender", sa.Text, nullable=False, comment="who created it"),
    sa.Column("number", Serial, nullable=False, comment="message id << 20 | which one of its: the order of creation"),
    sa.Column("updated_at", Instant, nullable=False, comment="of the current version"),
    sa.Column("due_at", Instant, comment="when something falls due by the current version"),
    sa.Index("resource_number", "number", unique=True, postgresql_include=["updated_at"]),
    sa.Index("resource_type_number", "type", "number"),
    sa.Index("resource_type_updated", "type", "updated_at", "number"),
    sa.Index(
        "resource_falls_due",
        "due_at",
        postgresql_where=sa.text(FALLS_DUE),
        sqlite_where=sa.text(FALLS_DUE),
    ),
    sqlite_with_rowid=False,
)

resource_version = sa.Table(
    "resource_version",
    metadata,
    sa.Column("resource_id", sa.String(64), sa.ForeignKey("resource.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="JSON, with id and meta"),
    sa.Column("message_id", Serial, sa.ForeignKey("message.id"), nullable=False, comment="which message made it"),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Index("resource_version_message", "message_id"),
)

resource_key = sa.Table(
    "resource_key",
    metadata,
    sa.Column("digest", Digest, primary_key=True, comment="a business identifier, or the sender's address of it"),
    sa.Column("resource_id", sa.String(64), sa.ForeignKey("resource.id"), nullable=False),
    sqlite_with_rowid=False,
)

search_key = sa.Table(
    "search_key",
    metadata,
    sa.Column("digest", Digest, primary_key=True, comment="a search token: see gateway.fhir.search"),
    sa.Column("number", Serial, primary_key=True, comment="the resource whose current version has it"),
    sqlite_with_rowid=False,
)

subscription_counter = sa.Table(
    "subscription_counter",
    metadata,
    sa.Column("party", sa.Text, primary_key=True),
    sa.Column("events", sa.BigInteger, nullable=False, comment="how many it has been told of"),
    sqlite_with_rowid=False,
)
