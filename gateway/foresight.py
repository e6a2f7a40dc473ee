"""What messages will ask for of what is kept: read for all of them with few statements, before their handlers run.

Nothing depends on it but speed: what was not foreseen is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import structlog

from gateway.fhir.identity import Keys, keys_of, own_key, reference_keys
from gateway.fhir.message import Message
from gateway.fhir.task.elements import dicts, focuses_of, request_code
from gateway.indexed import digests_of
from gateway.kept import Kept
from gateway.reading import Ahead, ids_in, keys_in, named_by
from gateway.store import resources, searching
from gateway.store.database import Connection

log = structlog.get_logger()

OwnNames = Callable[[Message, Sequence[Kept]], Iterable[tuple[str, str]]]
"""The types and names of what the gateway keeps for itself that a message will ask for, with what it means is kept."""
_DEEPEST = 3
_SEVERAL = 4
"""So many messages at least are worth a search ahead, which not each of them may need."""
_MOST = 50
"""So many resources are read ahead for a message."""


class Foreseen:
    """What can be told beforehand of one message: the keys that its entries have, or refer to; and what was read."""

    def __init__(self, message: Message) -> None:
        self.ahead = Ahead()
        self._message = message

    @cached_property
    def keys(self) -> dict[str, Keys]:
        """What each entry is known by, by its path."""
        return {entry.path: keys_of(entry, self._message.sender) for entry in self._message.entries}

    @cached_property
    def asked(self) -> list[bytes]:
        """All keys that the message's entries have or refer to."""
        entries, sender = self._message.entries, self._message.sender
        keys: set[bytes] = set()
        for entry in entries:
            own = self.keys[entry.path]
            keys.update(own.identifiers)
            if own.address:
                keys.add(own.address)
            for literal in entries.literals(entry):
                keys.update(reference_keys(literal, entry, sender))
        return sorted(keys)

    @cached_property
    def named(self) -> list[bytes]:
        """The keys of what its Tasks are about, and of their parties, as far as that is said by an identifier."""
        tasks = [entry.resource for entry in self._message.entries if entry.resource.get("resourceType") == "Task"]
        named = [focus for task in tasks for focus in focuses_of(task) if "identifier" in focus]
        named += [party for task in tasks for party in dicts([task.get("requester"), task.get("owner")])]
        return [key for one in named if "identifier" in one for key in named_by(one, self._message.sender)]

    def searched(self) -> list[bytes]:
        """The tokens by which is searched for what there is about a known Task: to ask for something, or change it."""
        try:
            return self._searched()
        except Exception as error:  # noqa: BLE001 - what is not foreseen is read when it is asked for
            log.error("foresight failed", cause=type(error).__name__)
            return []

    def _searched(self) -> list[bytes]:
        known = self.ahead.known_by((*self.asked, *self.named))
        tasks = [kept for kept in known if kept.resource_type == "Task"]
        if not tasks:
            return []
        sent = [entry.resource for entry in self._message.entries if entry.resource.get("resourceType") == "Task"]
        if any(request_code(task) for task in sent):
            return [digest for task in tasks for digest in digests_of("Task", "part-of", task.reference)]
        focuses = (focus.get("reference") for task in tasks for focus in focuses_of(task.resource))
        return [digest for one in focuses if isinstance(one, str) for digest in digests_of("Task", "focus", one)]

    def own(self, names: Sequence[OwnNames], found: Sequence[Kept]) -> list[bytes]:
        """The keys of what the gateway keeps for itself."""
        try:
            return [own_key(*name) for each in names for name in each(self._message, found)]
        except Exception as error:  # noqa: BLE001 - what is not foreseen is read when it is asked for
            log.error("foresight failed", cause=type(error).__name__)
            return []


def read_ahead(connection: Connection, foreseen: Sequence[Foreseen], names: Sequence[OwnNames]) -> None:
    """Reads for all of these messages what they will ask for, as far as that is foreseen."""
    ahead = Ahead()
    for one in foreseen:
        one.ahead = ahead
    keys = {key for one in foreseen for key in (*one.asked, *one.named, *one.own(names, ()))}
    ahead.keep_keys(keys, resources.find_by_keys(connection, sorted(keys)))
    fresh = ahead.all()
    keys = {key for one in foreseen for key in one.own(names, ahead.known_by(one.asked))}
    left = _MOST * len(foreseen)
    for _ in range(_DEEPEST):
        ids = {id_ for kept in fresh for id_ in ids_in(kept.content)} - ahead.rows.keys()
        keys = (keys | {key for kept in fresh for key in keys_in(kept)}) - ahead.by_key.keys()
        if not (ids or keys) or len(ids) + len(keys) > left:
            break
        left -= len(ids) + len(keys)
        before = len(ahead.rows)
        ahead.keep_rows(ids, resources.find_by_ids(connection, sorted(ids)))
        ahead.keep_keys(keys, resources.find_by_keys(connection, sorted(keys)))
        fresh, keys = ahead.all()[before:], set()
    if len(foreseen) >= _SEVERAL:
        digests = {digest for one in foreseen for digest in one.searched()}
        ahead.by_token |= searching.find_few(connection, sorted(digests))
