"""What replays need: what is put through again, what became of each of it, and what of the outbox is held for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.store.schema import Instant, Serial

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_REPLY = "kind = 'reply' AND resent_of IS NULL"
_TOLD = "kind <> 'reply' AND resent_of IS NULL"
_HELD = "state = 'held'"
_REPLAYED = "replay_of IS NOT NULL"
_OPEN = "state IN ('approval', 'running', 'paused')"


def upgrade() -> None:
    _link_messages()
    _link_outbox()
    _keep_replays()
    _keep_items()
    _keep_files()


def _link_messages() -> None:
    for column in (
        sa.Column("first_error", sa.Text(), nullable=True, comment="the cause of the first one, which stays"),
        sa.Column("replay_id", Serial, nullable=True, comment="the replay that carried it out; null: none did"),
        sa.Column(
            "replay_of",
            Serial,
            nullable=True,
            comment="the message that it is the same as, deliberately carried out again",
        ),
    ):
        op.add_column("message", column)
    op.execute("UPDATE message SET first_error = error WHERE state IN ('failed', 'dead')")
    _index("message_replay_of", "message", ["replay_of"], _REPLAYED)


def _link_outbox() -> None:
    for index in ("outbox_reply", "outbox_told", "outbox_header", "outbox_bundle"):
        op.drop_index(index, table_name="outbox")
    with op.batch_alter_table("outbox") as outbox:
        outbox.add_column(
            sa.Column("replay_id", Serial, nullable=True, comment="the replay that it comes of; null: of none")
        )
        outbox.add_column(sa.Column("resent_of", Serial, nullable=True, comment="the entry that it sends again"))
        outbox.alter_column(
            "state",
            existing_type=sa.Text(),
            existing_nullable=False,
            comment="answered, due, queued (to be polled), held, delivered, dead",
        )
    _index("outbox_reply", "outbox", ["message_id"], _REPLY, unique=True)
    _index("outbox_told", "outbox", ["message_id", "party", "subscription_id"], _TOLD, unique=True)
    _index("outbox_held", "outbox", ["replay_id"], _HELD)
    _index("outbox_header", "outbox", ["header_id"], _TOLD)
    _index("outbox_bundle", "outbox", ["bundle_id"], _TOLD)


def _keep_replays() -> None:
    op.create_table(
        "replay",
        sa.Column("id", Serial, nullable=False),
        sa.Column("mode", sa.Text(), nullable=False, comment="answer, send, dry-run, apply or reprocess"),
        sa.Column("source", sa.Text(), nullable=False, comment="inbox, outbox or files"),
        sa.Column("selection", sa.Text(), nullable=False, comment="JSON: of what it is"),
        sa.Column("options", sa.Text(), nullable=False, comment="JSON: how it is done"),
        sa.Column(
            "fingerprint",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="mode, source, selection and options: the same replay",
        ),
        sa.Column(
            "state", sa.Text(), nullable=False, comment="staging, planned, approval, running, paused, stopped, done"
        ),
        sa.Column("items", sa.Integer(), nullable=False, comment="how many it has"),
        sa.Column("forecast", sa.Text(), nullable=True, comment="JSON: how many of which kind, and what would happen"),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("started_by", sa.Text(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True, comment="why it is in its state, and by whom"),
        sa.Column(
            "paced_until",
            Instant(),
            nullable=True,
            comment="the next message of a replay with a rate is carried out then",
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    _index("replay_open", "replay", ["fingerprint"], _OPEN, unique=True)


def _keep_items() -> None:
    op.create_table(
        "replay_part",
        sa.Column("replay_id", Serial, sa.ForeignKey("replay.id"), nullable=False),
        sa.Column("part", sa.Text(), nullable=False, comment="how the lanes of its items begin"),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="up to which all items have an outcome"),
        sa.Column("remaining", sa.Integer(), nullable=False, comment="how many items have none yet"),
        sa.Column("version", sa.Integer(), nullable=False, comment="how many rounds were kept"),
        sa.Column("counts", sa.Text(), nullable=False, comment="JSON: how many items have which outcome"),
        sa.Column("nudged_at", Instant(), nullable=False, comment="when it was last put on the queue, or had a round"),
        sa.PrimaryKeyConstraint("replay_id", "part"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replay_item",
        sa.Column("replay_id", Serial, sa.ForeignKey("replay.id"), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="the order in which they are carried out"),
        sa.Column("message_id", Serial, nullable=True, comment="of the inbox; of a file, once it is kept"),
        sa.Column("outbox_id", Serial, nullable=True, comment="the entry that is sent again"),
        sa.Column("file_number", sa.Integer(), nullable=True, comment="of what came in files"),
        sa.Column("lane", sa.Text(), nullable=True, comment="of what came in files"),
        sa.Column(
            "before",
            sa.Text(),
            nullable=True,
            comment="what had become of it until then: its state, or its response code",
        ),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, server_default="0", comment="how often its worker has died"
        ),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=True,
            comment="ok, refused, skipped, left, failed, unreadable, impossible, sent, held",
        ),
        sa.Column("detail", sa.Text(), nullable=True, comment="why"),
        sa.Column(
            "made_id",
            Serial,
            nullable=True,
            comment="the message that was made of it, or the entry that sends it again",
        ),
        sa.Column("changes", sa.Text(), nullable=True, comment="JSON: what a dry run would have changed"),
        sa.PrimaryKeyConstraint("replay_id", "part", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("replay_item_message", "replay_item", ["message_id"])
    _index("replay_item_outbox", "replay_item", ["outbox_id"], "outbox_id IS NOT NULL")


def _keep_files() -> None:
    op.create_table(
        "replay_file",
        sa.Column("replay_id", Serial, sa.ForeignKey("replay.id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="in the order in which they were read"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the file, and the place in it"),
        sa.Column(
            "sort_at",
            Instant(),
            nullable=True,
            comment="when it was received first, or by its Bundle.timestamp; null: unknown",
        ),
        sa.Column("digests", sa.LargeBinary(), nullable=True, comment="what its Task is known by, 16 bytes each"),
        sa.Column(
            "body", sa.LargeBinary(), nullable=True, comment="the bytes; null: they are kept in the inbox by now"
        ),
        sa.Column(
            "arrival",
            sa.Text(),
            nullable=True,
            comment="JSON: the rest of what the inbox keeps of it; null: it is no message",
        ),
        sa.Column("problem", sa.Text(), nullable=True, comment="why it is no message"),
        sa.PrimaryKeyConstraint("replay_id", "number"),
    )
    op.create_index("replay_file_order", "replay_file", ["replay_id", "sort_at", "number"])


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    clause = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=clause, sqlite_where=clause)
