"""What REST and subscriptions need: creation numbers, search tokens, several outbox entries for one message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.fhir.identity import OWN_SENDER, own_key
from gateway.store.schema import Instant, Serial
from gateway.store.search_keys import fill

resource = sa.table("resource", sa.column("id"), sa.column("sender"))
resource_key = sa.table("resource_key", sa.column("digest"), sa.column("resource_id"))

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Its ordinal tells apart what one message made, in the order of the ids: no other order was kept.
_NUMBER = """
UPDATE resource SET number = made.number FROM (
    SELECT resource_id,
           message_id * 1048576 + row_number() OVER (PARTITION BY message_id ORDER BY resource_id) - 1 AS number
    FROM resource_version WHERE version = 1
) AS made WHERE made.resource_id = resource.id
"""
_UPDATED = """
UPDATE resource SET updated_at = current.updated_at FROM resource_version AS current
WHERE current.resource_id = resource.id AND current.version = resource.version
"""


def upgrade() -> None:
    wrapping = "JSON: the MessageHeader put around what came by REST"
    op.add_column("message", sa.Column("wrapping", sa.Text(), nullable=True, comment=wrapping))
    op.create_index("message_lane", "message", ["lane", "id"])
    op.create_index("resource_version_message", "resource_version", ["message_id"])
    op.create_table(
        "search_key",
        sa.Column(
            "digest", sa.LargeBinary(length=16), nullable=False, comment="a search token: see gateway.fhir.search"
        ),
        sa.Column("number", Serial, nullable=False, comment="the resource whose current version has it"),
        sa.PrimaryKeyConstraint("digest", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subscription_counter",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False, comment="how many it has been told of"),
        sa.PrimaryKeyConstraint("party"),
        sqlite_with_rowid=False,
    )
    _tell_several()
    _number_resources()
    _claim_own_notes(op.get_bind())
    fill(op.get_bind())


def _tell_several() -> None:
    """The outbox takes one reply a message, and one entry for each party that is told."""
    kinds, parties = "reply, message or notification", "the partner that is told; null: a reply"
    op.add_column("outbox", sa.Column("kind", sa.Text(), server_default="reply", nullable=False, comment=kinds))
    op.add_column("outbox", sa.Column("party", sa.Text(), nullable=True, comment=parties))
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("outbox", copy_from=_outbox_without_constraint(), recreate="always"):
            pass
    else:
        op.drop_constraint("outbox_message_id_key", "outbox", type_="unique")
        op.alter_column("outbox", "response_code", nullable=True, comment="null: no reply")
        op.alter_column("outbox", "message_id", comment="what it comes of")
        op.alter_column("outbox", "header_id", comment="its own MessageHeader.id")
        op.alter_column("outbox", "content", comment="the exact bytes that are sent")
    is_reply, is_told = sa.text("kind = 'reply'"), sa.text("kind <> 'reply'")
    op.create_index(
        "outbox_reply", "outbox", ["message_id"], unique=True, postgresql_where=is_reply, sqlite_where=is_reply
    )
    op.create_index(
        "outbox_told", "outbox", ["message_id", "party"], unique=True, postgresql_where=is_told, sqlite_where=is_told
    )


def _outbox_without_constraint() -> sa.Table:
    """SQLite cannot drop a constraint that has no name: the table is made anew."""
    return sa.Table(
        "outbox",
        sa.MetaData(),
        sa.Column("id", Serial, primary_key=True),
        sa.Column("message_id", Serial, sa.ForeignKey("message.id"), nullable=False),
        sa.Column("kind", sa.Text(), server_default="reply", nullable=False),
        sa.Column("party", sa.Text()),
        sa.Column("header_id", sa.Text(), nullable=False),
        sa.Column("response_code", sa.Text()),
        sa.Column("destination", sa.Text()),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Index("outbox_due", "created_at", sqlite_where=sa.text("state = 'due'")),
    )


def _number_resources() -> None:
    number = "message id << 20 | which one of its: the order of creation"
    op.add_column("resource", sa.Column("number", Serial, nullable=True, comment=number))
    op.add_column("resource", sa.Column("updated_at", Instant(), nullable=True, comment="of the current version"))
    due = "when something falls due by the current version"
    op.add_column("resource", sa.Column("due_at", Instant(), nullable=True, comment=due))
    op.execute(_NUMBER)
    op.execute(_UPDATED)
    with op.batch_alter_table("resource", table_kwargs={"sqlite_with_rowid": False}) as resource:
        resource.alter_column("number", existing_type=Serial, nullable=False)
        resource.alter_column("updated_at", existing_type=Instant(), nullable=False)
    op.create_index("resource_number", "resource", ["number"], unique=True, postgresql_include=["updated_at"])
    op.create_index("resource_type_number", "resource", ["type", "number"])
    op.create_index("resource_type_updated", "resource", ["type", "updated_at", "number"])
    falls_due = sa.text("due_at IS NOT NULL")
    op.create_index("resource_falls_due", "resource", ["due_at"], postgresql_where=falls_due, sqlite_where=falls_due)


def _claim_own_notes(connection: sa.Connection) -> None:
    """What the gateway had noted for itself, of open cancellation requests, was kept as if the sender had sent it."""
    after = ""
    tasks = sa.text("SELECT id FROM resource WHERE type = 'Task' AND id > :after ORDER BY id LIMIT 500")
    while ids := list(connection.scalars(tasks, {"after": after})):
        digests = [own_key("List", f"open-cancellation-request|Task/{task_id}") for task_id in ids]
        notes = sa.select(resource_key.c.resource_id).where(resource_key.c.digest.in_(digests))
        connection.execute(sa.update(resource).where(resource.c.id.in_(notes)).values(sender=OWN_SENDER))
        after = ids[-1]
