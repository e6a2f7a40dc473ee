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
NEXT = f"{DUE} AND due_at IS NOT NULL"  # said apart so that no look-up of a lane takes this index
CLAIMED = "claimed_until IS NOT NULL"
DEAD = "state = 'dead'"
QUEUED = "state = 'queued'"
REPLY = "kind = 'reply' AND resent_of IS NULL"
TOLD = "kind <> 'reply' AND resent_of IS NULL"
HELD = "state = 'held'"
FALLS_DUE = "due_at IS NOT NULL"
REPLAYED = "replay_of IS NOT NULL"

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
    sa.Column("first_error", sa.Text, comment="the cause of the first one, which stays"),
    sa.Column("done_at", Instant),
    sa.Column("body", sa.LargeBinary, nullable=False, comment="the exact bytes received"),
    sa.Column("wrapping", sa.Text, comment="JSON: the MessageHeader put around what came by REST"),
    sa.Column("partner", sa.Text, comment="the partner that proved to be its sender; null: nobody did"),
    sa.Column("manner", sa.Text, comment="JSON: the dialect it is read in, and what came beside it; null: cow"),
    sa.Column("recipient", sa.Text, comment="who gets an answer that is sent later: a partner's name, or reply_to"),
    sa.Column("replay_id", Serial, comment="the replay that carried it out; null: none did"),
    sa.Column("replay_of", Serial, comment="the message that it is the same as, deliberately carried out again"),
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
    sa.Index(
        "message_replay_of",
        "replay_of",
        postgresql_where=sa.text(REPLAYED),
        sqlite_where=sa.text(REPLAYED),
    ),
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
    sa.Column("message_id", Serial, sa.ForeignKey("message.id"), comment="what it comes of; null: of no message"),
    sa.Column("kind", sa.Text, nullable=False, server_default="reply", comment="reply, message or notification"),
    sa.Column("party", sa.Text, comment="the partner that is told; null: a reply"),
    sa.Column("recipient", sa.Text, comment="whom it is delivered to: a partner's name, or an address"),
    sa.Column("lane", sa.Text, comment="what must be delivered to one recipient in the order of the ids"),
    sa.Column("subscription_id", sa.Text, nullable=False, server_default="", comment="that a notification answers"),
    sa.Column("header_id", sa.Text, nullable=False, comment="its own MessageHeader.id"),
    sa.Column("bundle_id", sa.Text, comment="its own Bundle.id"),
    sa.Column("event_code", sa.Text, comment="its own event's; null: that of no message"),
    sa.Column("response_code", sa.Text, comment="null: no reply"),
    sa.Column("destination", sa.Text, comment="null: it goes back on the connection the request came on"),
    sa.Column("http_status", sa.Integer, comment="of a reply: with which it goes back; null: 200"),
    sa.Column("format", sa.Text, nullable=False, comment="json or xml"),
    sa.Column("version", sa.Text, nullable=False, server_default="R4", comment="of FHIR"),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="the exact bytes that are sent"),
    sa.Column("state", sa.Text, nullable=False, comment="answered, due, queued (to be polled), held, delivered, dead"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0", comment="how far it is on its schedule"),
    sa.Column("due_at", Instant, comment="when it is tried next"),
    sa.Column("claimed_until", Instant, comment="who has it in hand has lost it then"),
    sa.Column("claimed_by", sa.Text, comment="the name of the process that has it in hand"),
    sa.Column("error", sa.Text, comment="why the last attempt failed"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("delivered_at", Instant),
    sa.Column("closed_at", Instant, comment="when its response came"),
    sa.Column("closed_by", Serial, comment="the id of the message that is that response"),
    sa.Column("closed_code", sa.Text, comment="its response.code"),
    sa.Column("replay_id", Serial, comment="the replay that it comes of; null: of none"),
    sa.Column("resent_of", Serial, comment="the entry that it sends again"),
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
        "subscription_id",
        unique=True,
        postgresql_where=sa.text(TOLD),
        sqlite_where=sa.text(TOLD),
    ),
    sa.Index(
        "outbox_due",
        "recipient",
        "lane",
        "id",
        postgresql_where=sa.text(DUE),
        sqlite_where=sa.text(DUE),
    ),
    sa.Index(
        "outbox_next",
        "recipient",
        "due_at",
        postgresql_where=sa.text(NEXT),
        sqlite_where=sa.text(NEXT),
    ),
    sa.Index(
        "outbox_claimed",
        "recipient",
        "claimed_until",
        postgresql_where=sa.text(CLAIMED),
        sqlite_where=sa.text(CLAIMED),
    ),
    sa.Index(
        "outbox_queued",
        "recipient",
        "id",
        postgresql_where=sa.text(QUEUED),
        sqlite_where=sa.text(QUEUED),
    ),
    sa.Index("outbox_dead", "id", postgresql_where=sa.text(DEAD), sqlite_where=sa.text(DEAD)),
    sa.Index("outbox_held", "replay_id", postgresql_where=sa.text(HELD), sqlite_where=sa.text(HELD)),
    sa.Index("outbox_header", "header_id", postgresql_where=sa.text(TOLD), sqlite_where=sa.text(TOLD)),
    sa.Index("outbox_bundle", "bundle_id", postgresql_where=sa.text(TOLD), sqlite_where=sa.text(TOLD)),
)

delivery_attempt = sa.Table(
    "delivery_attempt",
    metadata,
    sa.Column("outbox_id", Serial, sa.ForeignKey("outbox.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, comment="from 1"),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("milliseconds", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, comment="delivered, refused, busy, failed, unreachable, forbidden"),
    sa.Column("status", sa.Integer, comment="of HTTP"),
    sa.Column("detail", sa.Text, nullable=False, comment="one sentence, without what the answer says"),
    sqlite_with_rowid=False,
)

circuit = sa.Table(
    "circuit",
    metadata,
    sa.Column("recipient", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False, comment="in a row, of what had not failed, and of probes"),
    sa.Column("repeats", sa.Integer, nullable=False, comment="beside them, of what had failed before"),
    sa.Column("opened_at", Instant, comment="since when it is in trouble; null: it is not"),
    sa.Column("probe_at", Instant, comment="when one message is tried next; null: it is called as always"),
    sa.Column("cause", sa.Text, comment="of the last failure"),
    sqlite_with_rowid=False,
)

partner = sa.Table(
    "partner",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False, comment="JSON: its keys as in conf/partners, no secrets"),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

partner_change = sa.Table(
    "partner_change",
    metadata,
    sa.Column("id", Serial, primary_key=True, comment="also the revision of the whole directory"),
    sa.Column("partner", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("by", sa.Text, nullable=False, comment="who changed it"),
    sa.Column("what", sa.Text, nullable=False, comment="added, changed, paused, resumed, blocked, key made, …"),
    sa.Column("before", sa.Text, comment="the document; null: there was none"),
    sa.Column("after", sa.Text, comment="the document; null: there is none"),
    sa.Index("partner_change_partner", "partner", "id"),
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True, comment="SHA-256 of a key of 256 random bits"),
    sa.Column("partner", sa.Text, nullable=False),
    sa.Column("hint", sa.Text, nullable=False, comment="how it begins, to tell it from others"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, comment="null: it does not"),
    sa.Index("api_key_partner", "partner"),
    sqlite_with_rowid=False,
)

access_token = sa.Table(
    "access_token",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True, comment="SHA-256 of a token of 256 random bits"),
    sa.Column("partner", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False, comment="with a space between them"),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Index("access_token_expires", "expires_at"),
    sqlite_with_rowid=False,
)

used_assertion = sa.Table(
    "used_assertion",
    metadata,
    sa.Column("digest", Digest, primary_key=True, comment="issuer and jti of a JWT that has been used"),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Index("used_assertion_expires", "expires_at"),
    sqlite_with_rowid=False,
)

subscription = sa.Table(
    "subscription",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("partner", sa.Text, nullable=False, comment="whose it is"),
    sa.Column("recipient", sa.Text, nullable=False, comment="as whom the partner is called at its endpoint"),
    sa.Column("status", sa.Text, nullable=False, comment="requested, active, error or off"),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("fhir_version", sa.Text, nullable=False, comment="in which it was sent"),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="the Subscription as it was sent, in JSON"),
    sa.Column("error", sa.Text, comment="why it is in error"),
    sa.Column("handshake", sa.Text, comment="header_id in the outbox of the one that is to make it active"),
    sa.Column("timeout", sa.Integer, comment="seconds that an attempt to deliver may take, at most"),
    sa.Column("heartbeat_at", Instant, comment="when the next heartbeat is due"),
    sa.Column("ends_at", Instant, comment="null: it does not end"),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Index("subscription_partner", "partner"),
    sqlite_with_rowid=False,
)

subscription_event = sa.Table(
    "subscription_event",
    metadata,
    sa.Column("subscription_id", sa.String(64), sa.ForeignKey("subscription.id"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, comment="from 1"),
    sa.Column("at", Instant, nullable=False),
    sa.Column("resource_id", sa.String(64), nullable=False, comment="the Task that it is about"),
    sa.Column("version", sa.Integer, nullable=False, comment="of that Task"),
    sqlite_with_rowid=False,
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
