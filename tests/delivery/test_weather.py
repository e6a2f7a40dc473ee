"""The proof in short: partners in all weathers, processes killed meanwhile; `make deliveries` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests import deliveries


def test_what_is_told_arrives_once_in_effect_in_order_or_is_dead_with_its_reason(
    sqlite_url: str, tmp_path: Path
) -> None:
    result = deliveries.run(sqlite_url, deliveries.SHORT, tmp_path)
    assert result.violations == []
    assert result.killed.total() == deliveries.SHORT.kills
    assert result.states.total() >= deliveries.SHORT.messages
