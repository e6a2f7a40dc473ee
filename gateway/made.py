"""What messages have made of what is kept, ready to be written: of several messages at once, with few statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway import indexed
from gateway.errors import Conflict
from gateway.indexed import Changed
from gateway.queued import Queue
from gateway.reading import ReliedOn, check
from gateway.store import resources
from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Made:
    """What one message has made: changes, new business identifiers, and addresses, each with the id of the resource.

    It stands only if what it has `relied_on` is still as it was.
    """

    changed: Changed
    identifiers: Mapping[bytes, str]
    addresses: Mapping[bytes, str]
    relied_on: ReliedOn
    queue: Queue

    @property
    def writes(self) -> set[str | bytes]:
        """The ids of the resources, and the keys, that no other message may write, or rely on, at the same time."""
        return {kept.id for _, kept in self.changed.changes}.union(self.identifiers)

    @property
    def relies_on(self) -> set[str | bytes]:
        """The ids and keys that no other message may write at the same time."""
        return set[str | bytes](self.relied_on.kept).union(self.relied_on.own)


def keep(connection: Connection, made: Sequence[Made]) -> None:
    """Writes it. Raises Conflict when another transaction came first, and when two of them clash."""
    written: set[str | bytes] = set()
    for one in made:
        if not written.isdisjoint(one.writes):
            raise Conflict("two messages write the same resource")
        written |= one.writes
    indexed.write(connection, [one.changed for one in made])
    resources.add_identifiers(connection, {key: id_ for one in made for key, id_ in one.identifiers.items()})
    resources.set_addresses(connection, {key: id_ for one in made for key, id_ in one.addresses.items()})
    check(connection, [one.relied_on for one in made])
    for one in made:
        one.queue.flush(connection)
