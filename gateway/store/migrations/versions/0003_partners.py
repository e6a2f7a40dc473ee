"""What partners need: who they are, what proves it, how what they are told is delivered, what they subscribe to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.store.schema import Instant, Serial
from gateway.store.search_keys import add_creators, add_waiting

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DUE, _DEAD, _QUEUED, _TOLD = "state = 'due'", "state = 'dead'", "state = 'queued'", "kind <> 'reply'"


def upgrade() -> None:
    proved = "the partner that proved to be its sender; null: nobody did"
    manner = "JSON: the dialect it is read in, and what came beside it; null: cow"
    op.add_column("message", sa.Column("partner", sa.Text(), nullable=True, comment=proved))
    op.add_column("message", sa.Column("manner", sa.Text(), nullable=True, comment=manner))
    answered = "who gets an answer that is sent later: a partner's name, or reply_to"
    op.add_column("message", sa.Column("recipient", sa.Text(), nullable=True, comment=answered))
    _deliver()
    _register()
    _admit()
    _subscribe()
    add_creators(op.get_bind())
    add_waiting(op.get_bind())


def _deliver() -> None:
    for index in ("outbox_told", "outbox_due"):
        op.drop_index(index, table_name="outbox")
    with op.batch_alter_table("outbox") as outbox:
        for column in _outbox_columns():
            outbox.add_column(column)
        outbox.alter_column(
            "message_id", existing_type=Serial, nullable=True, comment="what it comes of; null: of no message"
        )
        outbox.alter_column(
            "state",
            existing_type=sa.Text(),
            existing_nullable=False,
            comment="answered, due, queued (to be polled), delivered, dead",
        )
    op.execute(
        "UPDATE outbox SET recipient = coalesce(party, destination), due_at = created_at,"
        " lane = (SELECT lane FROM message WHERE message.id = outbox.message_id) WHERE state = 'due'"
    )
    _index("outbox_told", ["message_id", "party", "subscription_id"], _TOLD, unique=True)
    _index("outbox_due", ["recipient", "lane", "id"], _DUE)
    _index("outbox_next", ["recipient", "due_at"], f"{_DUE} AND due_at IS NOT NULL")
    _index("outbox_claimed", ["recipient", "claimed_until"], "claimed_until IS NOT NULL")
    _index("outbox_queued", ["recipient", "id"], _QUEUED)
    _index("outbox_dead", ["id"], _DEAD)
    _index("outbox_header", ["header_id"], _TOLD)
    _index("outbox_bundle", ["bundle_id"], _TOLD)
    op.create_table(
        "delivery_attempt",
        sa.Column("outbox_id", Serial, sa.ForeignKey("outbox.id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="from 1"),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column(
            "outcome", sa.Text(), nullable=False, comment="delivered, refused, busy, failed, unreachable, forbidden"
        ),
        sa.Column("status", sa.Integer(), nullable=True, comment="of HTTP"),
        sa.Column("detail", sa.Text(), nullable=False, comment="one sentence, without what the answer says"),
        sa.PrimaryKeyConstraint("outbox_id", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "circuit",
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False, comment="in a row, of what had not failed, and of probes"),
        sa.Column("repeats", sa.Integer(), nullable=False, comment="beside them, of what had failed before"),
        sa.Column("opened_at", Instant(), nullable=True, comment="since when it is in trouble; null: it is not"),
        sa.Column(
            "probe_at", Instant(), nullable=True, comment="when one message is tried next; null: it is called as always"
        ),
        sa.Column("cause", sa.Text(), nullable=True, comment="of the last failure"),
        sa.PrimaryKeyConstraint("recipient"),
        sqlite_with_rowid=False,
    )


def _index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    only = sa.text(where)
    op.create_index(name, "outbox", columns, unique=unique, postgresql_where=only, sqlite_where=only)


def _outbox_columns() -> list[sa.Column[object]]:
    return [
        sa.Column(
            "recipient", sa.Text(), nullable=True, comment="whom it is delivered to: a partner's name, or an address"
        ),
        sa.Column(
            "lane", sa.Text(), nullable=True, comment="what must be delivered to one recipient in the order of the ids"
        ),
        sa.Column(
            "subscription_id", sa.Text(), nullable=False, server_default="", comment="that a notification answers"
        ),
        sa.Column("bundle_id", sa.Text(), nullable=True, comment="its own Bundle.id"),
        sa.Column("event_code", sa.Text(), nullable=True, comment="its own event's; null: that of no message"),
        sa.Column("http_status", sa.Integer(), nullable=True, comment="of a reply: with which it goes back; null: 200"),
        sa.Column("version", sa.Text(), server_default="R4", nullable=False, comment="of FHIR"),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "failures", sa.Integer(), server_default="0", nullable=False, comment="how far it is on its schedule"
        ),
        sa.Column("due_at", Instant(), nullable=True, comment="when it is tried next"),
        sa.Column("claimed_until", Instant(), nullable=True, comment="who has it in hand has lost it then"),
        sa.Column("claimed_by", sa.Text(), nullable=True, comment="the name of the process that has it in hand"),
        sa.Column("error", sa.Text(), nullable=True, comment="why the last attempt failed"),
        sa.Column("delivered_at", Instant(), nullable=True),
        sa.Column("closed_at", Instant(), nullable=True, comment="when its response came"),
        sa.Column("closed_by", Serial, nullable=True, comment="the id of the message that is that response"),
        sa.Column("closed_code", sa.Text(), nullable=True, comment="its response.code"),
    ]


def _register() -> None:
    op.create_table(
        "partner",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False, comment="JSON: its keys as in conf/partners, no secrets"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "partner_change",
        sa.Column("id", Serial, nullable=False, comment="also the revision of the whole directory"),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False, comment="who changed it"),
        sa.Column("what", sa.Text(), nullable=False, comment="added, changed, paused, resumed, blocked, key made, …"),
        sa.Column("before", sa.Text(), nullable=True, comment="the document; null: there was none"),
        sa.Column("after", sa.Text(), nullable=True, comment="the document; null: there is none"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("partner_change_partner", "partner_change", ["partner", "id"])


def _admit() -> None:
    op.create_table(
        "api_key",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of a key of 256 random bits"),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False, comment="how it begins, to tell it from others"),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True, comment="null: it does not"),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("api_key_partner", "api_key", ["partner"])
    op.create_table(
        "access_token",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of a token of 256 random bits"),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False, comment="with a space between them"),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("access_token_expires", "access_token", ["expires_at"])
    op.create_table(
        "used_assertion",
        sa.Column(
            "digest", sa.LargeBinary(length=16), nullable=False, comment="issuer and jti of a JWT that has been used"
        ),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("used_assertion_expires", "used_assertion", ["expires_at"])


def _subscribe() -> None:
    op.create_table(
        "subscription",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("recipient", sa.Text(), nullable=False, comment="as whom the partner is called at its endpoint"),
        sa.Column("status", sa.Text(), nullable=False, comment="requested, active, error or off"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fhir_version", sa.Text(), nullable=False, comment="in which it was sent"),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="the Subscription as it was sent, in JSON"),
        sa.Column("error", sa.Text(), nullable=True, comment="why it is in error"),
        sa.Column(
            "handshake",
            sa.Text(),
            nullable=True,
            comment="header_id in the outbox of the one that is to make it active",
        ),
        sa.Column(
            "timeout", sa.Integer(), nullable=True, comment="seconds that an attempt to deliver may take, at most"
        ),
        sa.Column("heartbeat_at", Instant(), nullable=True, comment="when the next heartbeat is due"),
        sa.Column("ends_at", Instant(), nullable=True, comment="null: it does not end"),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("subscription_partner", "subscription", ["partner"])
    op.create_table(
        "subscription_event",
        sa.Column("subscription_id", sa.String(length=64), sa.ForeignKey("subscription.id"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="from 1"),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False, comment="the Task that it is about"),
        sa.Column("version", sa.Integer(), nullable=False, comment="of that Task"),
        sa.PrimaryKeyConstraint("subscription_id", "number"),
        sqlite_with_rowid=False,
    )
