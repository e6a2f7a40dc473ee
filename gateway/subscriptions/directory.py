"""The subscriptions in force, each read once: no message is looked up for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from gateway.errors import Refused
from gateway.fhir import json, subscription
from gateway.fhir.subscription import Wanted
from gateway.store import subscriptions as kept
from gateway.store.database import Database
from gateway.store.subscriptions import Revision, Row

log = structlog.get_logger()

LOOK_EVERY = 1.0
"""Seconds. No subscription is active before every process has looked: see `life.SETTLING`."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A subscription that is not off, and what it is to bring."""

    id: str
    partner: str
    recipient: str
    wanted: Wanted


class Directory:
    """The subscriptions of a database, for many threads.

    What others have changed is seen within `look_every` seconds. No transaction of the thread may be open. Raises
    DatabaseUnavailable.
    """

    def __init__(self, database: Database, base_url: str, look_every: float = LOOK_EVERY) -> None:
        self._database = database
        self._base_url = base_url
        self._look_every = look_every
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._revision: Revision | None = None
        self._by_partner: Mapping[str, tuple[InForce, ...]] = {}

    def current(self) -> Mapping[str, tuple[InForce, ...]]:
        """Those in force of each partner that has any, by its name."""
        if time.monotonic() < self._look_at:
            return self._by_partner
        with self._lock:
            if time.monotonic() >= self._look_at:
                self._look()
                self._look_at = time.monotonic() + self._look_every
        return self._by_partner

    def _look(self) -> None:
        with self._database.reading() as connection:
            revision = kept.revision(connection)
            if revision == self._revision:
                return
            rows = kept.read_open(connection)
        self._by_partner, self._revision = _by_partner(rows, self._base_url), revision


def in_force(row: Row, base_url: str) -> InForce | None:
    """The subscription in a row; None for one that cannot be read any more, which is logged."""
    try:
        wanted = subscription.read(json.parse_own(row.content), row.fhir_version, base_url)
    except Refused as refused:
        log.error("subscription left out", subscription=row.id, cause=refused.issues[0].text)
        return None
    return InForce(row.id, row.partner, row.recipient, wanted)


def _by_partner(rows: Iterable[Row], base_url: str) -> Mapping[str, tuple[InForce, ...]]:
    found: dict[str, list[InForce]] = {}
    for row in rows:
        if one := in_force(row, base_url):
            found.setdefault(row.partner, []).append(one)
    return {partner: tuple(its) for partner, its in found.items()}
