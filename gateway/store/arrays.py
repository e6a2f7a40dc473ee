"""Arrays among the parameters for PostgreSQL, written in its binary format in a fraction of the driver's own time.

https://github.com/postgres/postgres/blob/REL_17_STABLE/src/backend/utils/adt/arrayfuncs.c, array_recv: the number of
dimensions, whether there are nulls, the type of the items; how many items, the number of the first; and each item
after its length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg.abc import Buffer
from psycopg.types.array import ListBinaryDumper

_pack_head = struct.Struct("!iiIii").pack
_pack_length = struct.Struct("!i").pack
_NULL = _pack_length(-1)
_WRITTEN_ONCE = {bytes, datetime, int, str}


class ArrayDumper(ListBinaryDumper):
    """Writes what is the same more than once in a list (moments, types, senders) once, and equally long bytes at once.

    Lists of other things, or of several types, are written as by the driver.
    """

    def dump(self, obj: list[Any]) -> Buffer | None:
        types = set(map(type, obj))
        is_some_null = type(None) in types
        types.discard(type(None))
        if len(types) != 1 or not types <= _WRITTEN_ONCE or self.sub_dumper is None:
            return super().dump(obj)
        items = _join_bytes(obj) if types == {bytes} and not is_some_null else self._join(obj, self.sub_dumper.dump)
        return _pack_head(1, is_some_null, self.sub_dumper.oid, len(obj), 1) + items

    def _join(self, obj: list[Any], dump: Callable[[Any], Buffer | None]) -> bytes:
        written = {}
        for item in set(obj):
            one = None if item is None else dump(item)
            written[item] = _NULL if one is None else _pack_length(len(one)) + one
        return b"".join(map(written.__getitem__, obj))


def _join_bytes(obj: list[bytes]) -> bytes:
    lengths = set(map(len, obj))
    if len(lengths) == 1:
        length = _pack_length(lengths.pop())
        return length + length.join(obj)
    return b"".join([part for item in obj for part in (_pack_length(len(item)), item)])
