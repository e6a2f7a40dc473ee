"""Lists come to PostgreSQL as they are, and as its driver itself writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.array import ListBinaryDumper

from gateway.store.arrays import ArrayDumper

_NOW = datetime(2026, 3, 2, 9, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [
        [b"a" * 16, b"b" * 16, b"a" * 16],
        [b"", b"abc", b"\x00\xff"],
        [b"abc", None],
        [b"", b""],
        ["Task", "Task", "Größe", ""],
        ["a", None, "a"],
        [1, 1, 2],
        [1, 2**40, -1],
        [None, 7],
        [_NOW, _NOW, None, _NOW + timedelta(microseconds=1)],
        [True, False],
        [1.5, 0.0, -0.0],
        [[1, 2], [3, 4]],
        [None, None],
        [],
    ],
)
def test_a_list_is_written_as_the_driver_writes_it(values: list[Any]) -> None:
    written = [
        dumper(list, Transformer()).upgrade(values, PyFormat.BINARY).dump(values)
        for dumper in (ListBinaryDumper, ArrayDumper)
    ]
    assert written[0] is not None
    assert written[1] is not None
    assert bytes(written[1]) == bytes(written[0])
