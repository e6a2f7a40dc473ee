"""What waits for a partner to fetch it, taken by a message that asks for it: it has it once that is carried out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.errors import Conflict
from gateway.fhir import formats, json
from gateway.fhir.definitions import VERSIONS
from gateway.fhir.identity import OWN_SENDER
from gateway.fhir.versions import to_r4
from gateway.kept import Kept
from gateway.partners import Partner
from gateway.store import outbox
from gateway.store.database import Connection
from gateway.store.outbox import Queued


class Queue:
    """The queues of partners, for one message."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._taken: dict[str, list[str]] = {}

    def fetch(
        self, partner: Partner, count: int, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> tuple[tuple[Kept, ...], bool]:
        """The oldest Bundles that wait for a partner, in R4, of these events only, none of those; whether more do."""
        found = outbox.poll(self._connection, partner.name, count + 1, include, exclude)
        self._taken.setdefault(partner.name, []).extend(one.header_id for one in found[:count])
        return tuple(_kept(one) for one in found[:count]), len(found) > count

    def is_more(self, partner: Partner) -> bool:
        """Whether something waits for a partner beside what was fetched for it."""
        return outbox.is_waiting(self._connection, partner.name, self._taken.get(partner.name, ()))

    def flush(self, connection: Connection) -> None:
        """Marks what was fetched delivered. Raises Conflict when another message has fetched some of it."""
        for name, ids in self._taken.items():
            if ids and outbox.acknowledge(connection, name, ids, self._now) < len(set(ids)):
                raise Conflict(f"what waits for {name} has been fetched meanwhile")


def _kept(queued: Queued) -> Kept:
    version = next(one for one in VERSIONS if one == queued.version)
    resource, _ = to_r4(formats.parse(queued.content, queued.format, version), version)
    return Kept("Bundle", queued.bundle_id or queued.header_id, 1, OWN_SENDER, json.serialize(resource))
