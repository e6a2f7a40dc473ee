"""The tables of replays: what is put through again, in which order, and what became of each of it."""

from __future__ import annotations

import sqlalchemy as sa

from gateway.store.schema import Digest, Instant, Serial
from gateway.store.schema import metadata as metadata

OPEN = "state IN ('approval', 'running', 'paused')"
SENT = "outbox_id IS NOT NULL"

replay = sa.Table(
    "replay",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("mode", sa.Text, nullable=False, comment="answer, send, dry-run, apply or reprocess"),
    sa.Column("source", sa.Text, nullable=False, comment="inbox, outbox or files"),
    sa.Column("selection", sa.Text, nullable=False, comment="JSON: of what it is"),
    sa.Column("options", sa.Text, nullable=False, comment="JSON: how it is done"),
    sa.Column("fingerprint", Digest, nullable=False, comment="mode, source, selection and options: the same replay"),
    sa.Column("state", sa.Text, nullable=False, comment="staging, planned, approval, running, paused, stopped, done"),
    sa.Column("items", sa.Integer, nullable=False, comment="how many it has"),
    sa.Column("forecast", sa.Text, comment="JSON: how many of which kind, and what would happen"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("started_at", Instant),
    sa.Column("started_by", sa.Text),
    sa.Column("approved_by", sa.Text),
    sa.Column("ended_at", Instant),
    sa.Column("why", sa.Text, comment="why it is in its state, and by whom"),
    sa.Column("paced_until", Instant, comment="the next message of a replay with a rate is carried out then"),
    sa.Index(
        "replay_open",
        "fingerprint",
        unique=True,
        postgresql_where=sa.text(OPEN),
        sqlite_where=sa.text(OPEN),
    ),
)

replay_part = sa.Table(
    "replay_part",
    metadata,
    sa.Column("replay_id", Serial, sa.ForeignKey("replay.id"), primary_key=True),
    sa.Column("part", sa.Text, primary_key=True, comment="how the lanes of its items begin"),
    sa.Column("position", sa.BigInteger, nullable=False, comment="up to which all items have an outcome"),
    sa.Column("remaining", sa.Integer, nullable=False, comment="how many items have none yet"),
    sa.Column("version", sa.Integer, nullable=False, comment="how many rounds were kept"),
    sa.Column("counts", sa.Text, nullable=False, comment="JSON: how many items have which outcome"),
    sa.Column("nudged_at", Instant, nullable=False, comment="when it was last put on the queue, or had a round"),
    sqlite_with_rowid=False,
)

replay_item = sa.Table(
    "replay_item",
    metadata,
    sa.Column("replay_id", Serial, sa.ForeignKey("replay.id"), primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, comment="the order in which they are carried out"),
    sa.Column("message_id", Serial, comment="of the inbox; of a file, once it is kept"),
    sa.Column("outbox_id", Serial, comment="the entry that is sent again"),
    sa.Column("file_number", sa.Integer, comment="of what came in files"),
    sa.Column("lane", sa.Text, comment="of what came in files"),
    sa.Column("before", sa.Text, comment="what had become of it until then: its state, or its response code"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment="how often its worker has died"),
    sa.Column("outcome", sa.Text, comment="ok, refused, skipped, left, failed, unreadable, impossible, sent, held"),
    sa.Column("detail", sa.Text, comment="why"),
    sa.Column("made_id", Serial, comment="the message that was made of it, or the entry that sends it again"),
    sa.Column("changes", sa.Text, comment="JSON: what a dry run would have changed"),
    sa.Index("replay_item_message", "message_id"),
    sa.Index("replay_item_outbox", "outbox_id", postgresql_where=sa.text(SENT), sqlite_where=sa.text(SENT)),
    sqlite_with_rowid=False,
)

replay_file = sa.Table(
    "replay_file",
    metadata,
    sa.Column("replay_id", Serial, sa.ForeignKey("replay.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, comment="in the order in which they were read"),
    sa.Column("name", sa.Text, nullable=False, comment="of the file, and the place in it"),
    sa.Column("sort_at", Instant, comment="when it was received first, or by its Bundle.timestamp; null: unknown"),
    sa.Column("digests", sa.LargeBinary, comment="what its Task is known by, 16 bytes each"),
    sa.Column("body", sa.LargeBinary, comment="the bytes; null: they are kept in the inbox by now"),
    sa.Column("arrival", sa.Text, comment="JSON: the rest of what the inbox keeps of it; null: it is no message"),
    sa.Column("problem", sa.Text, comment="why it is no message"),
    sa.Index("replay_file_order", "replay_id", "sort_at", "number"),
)
