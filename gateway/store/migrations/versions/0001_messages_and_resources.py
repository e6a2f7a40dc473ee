"""The inbox, the outbox, lanes, and resources with their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.store.schema import Instant, Serial

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "message",
        sa.Column("id", Serial, nullable=False, comment="also the order in which messages were received"),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("bundle_id", sa.Text(), nullable=True),
        sa.Column("header_id", sa.Text(), nullable=True),
        sa.Column(
            "bundle_key",
            sa.LargeBinary(length=16),
            nullable=True,
            comment="sender and Bundle.id: a Bundle.id is used once",
        ),
        sa.Column(
            "header_key",
            sa.LargeBinary(length=16),
            nullable=True,
            comment="sender and MessageHeader.id, where that alone makes a repeat",
        ),
        sa.Column("event_system", sa.Text(), nullable=True, comment="null: eventUri"),
        sa.Column("event_code", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False, comment="what must take effect in the order received"),
        sa.Column("content_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("reply_format", sa.Text(), nullable=False, comment="json or xml"),
        sa.Column("reply_to", sa.Text(), nullable=True, comment="the address of an answer that is sent later"),
        sa.Column("later", sa.Boolean(), nullable=False, comment="async=true: nobody waits for the answer"),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="new, failed (tried again when due), done, dead"),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("nudged_at", Instant(), nullable=False, comment="when its lane was last put on the queue"),
        sa.Column("error", sa.Text(), nullable=True, comment="the cause of the last failure"),
        sa.Column("done_at", Instant(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the exact bytes received"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("message_bundle_key", "message", ["bundle_key"], unique=True)
    op.create_index(
        "message_dead",
        "message",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'dead'"),
        sqlite_where=sa.text("state = 'dead'"),
    )
    op.create_index("message_header_key", "message", ["header_key"], unique=True)
    op.create_index(
        "message_waiting",
        "message",
        ["lane", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('new', 'failed')"),
        sqlite_where=sa.text("state IN ('new', 'failed')"),
    )
    op.create_table(
        "lane_key",
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False, comment="an identity of a Task"),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("id", Serial, nullable=False),
        sa.Column("message_id", Serial, nullable=False),
        sa.Column("header_id", sa.Text(), nullable=False, comment="MessageHeader.id of the reply"),
        sa.Column("response_code", sa.Text(), nullable=False),
        sa.Column(
            "destination", sa.Text(), nullable=True, comment="null: it goes back on the connection the request came on"
        ),
        sa.Column("format", sa.Text(), nullable=False, comment="json or xml"),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="the exact bytes of the reply"),
        sa.Column("state", sa.Text(), nullable=False, comment="answered, or due: to be delivered"),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["message.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id"),
    )
    op.create_index(
        "outbox_due",
        "outbox",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'due'"),
        sqlite_where=sa.text("state = 'due'"),
    )
    op.create_table(
        "resource",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="the current one"),
        sa.Column("sender", sa.Text(), nullable=False, comment="who created it"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "resource_version",
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="JSON, with id and meta"),
        sa.Column("message_id", Serial, nullable=False, comment="which message made it"),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["message.id"],
        ),
        sa.ForeignKeyConstraint(
            ["resource_id"],
            ["resource.id"],
        ),
        sa.PrimaryKeyConstraint("resource_id", "version"),
    )
    op.create_table(
        "resource_key",
        sa.Column(
            "digest",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="a business identifier, or the sender's address of it",
        ),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_id"],
            ["resource.id"],
        ),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
