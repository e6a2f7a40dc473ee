"""The lanes of Tasks: messages that have a key of identity in common are in one, and take effect in their order."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from gateway.errors import Conflict
from gateway.store.schema import lane_key
from gateway.store.statements import insert, many

_KEYS_AT_ONCE = 500
_LANES = many(
    lambda number, _name: sa.select(lane_key.c.digest, lane_key.c.lane).where(
        lane_key.c.digest.in_([sa.bindparam(f"digest_{n}") for n in range(number)])
    )
)
_ADD_LANES = many(
    lambda number, name: (
        insert(lane_key, name)
        .values([{"digest": sa.bindparam(f"digest_{n}"), "lane": sa.bindparam("lane")} for n in range(number)])
        .on_conflict_do_nothing()
        .returning(lane_key.c.digest)
    )
)


def join(connection: sa.Connection, digests: Sequence[bytes]) -> str:
    """The lane of a Task known by any of these keys; the keys without a lane join it. Raises Conflict.

    Two lanes that turn out to be one Task's stay two: what was received before cannot be put in order any more, and a
    Task that is found twice is refused when it is processed.
    """
    kept = dict(_find_lanes(connection, digests))
    lane: str = min(kept.values(), default=digests[0].hex())
    fresh = sorted(set(digests) - kept.keys())
    if not fresh:
        return lane
    _add_to_lane(connection, lane, fresh)
    return lane


def _find_lanes(connection: sa.Connection, digests: Sequence[bytes]) -> list[tuple[bytes, str]]:
    named = {f"digest_{n}": digest for n, digest in enumerate(digests)}
    return [(digest, lane) for digest, lane in _LANES(len(digests)).run(connection, named)]


def join_all(connection: sa.Connection, messages: Sequence[Sequence[bytes]]) -> list[str]:
    """As `join`, for messages in their order, one after the other; empty for one without keys. Raises Conflict."""
    wanted = list(dict.fromkeys(digest for digests in messages for digest in digests))
    kept: dict[bytes, str] = {}
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        kept |= dict(_find_lanes(connection, wanted[start : start + _KEYS_AT_ONCE]))
    fresh: dict[str, set[bytes]] = {}
    lanes = []
    for digests in messages:
        lane = min((kept[digest] for digest in digests if digest in kept), default=digests[0].hex() if digests else "")
        lanes.append(lane)
        for digest in digests:
            if digest not in kept:
                fresh.setdefault(lane, set()).add(digest)
                kept[digest] = lane
    for lane, joining in sorted(fresh.items()):
        _add_to_lane(connection, lane, sorted(joining))
    return lanes


def _add_to_lane(connection: sa.Connection, lane: str, digests: Sequence[bytes]) -> None:
    named = {f"digest_{n}": digest for n, digest in enumerate(digests)}
    if len(_ADD_LANES(len(digests)).run(connection, {**named, "lane": lane})) < len(digests):
        raise Conflict("another message of the same Task was received first")
