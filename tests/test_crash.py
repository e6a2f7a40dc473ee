"""The promise under fire, in short: processes are killed while messages flow, and nothing is lost or done twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests import crash

PLAN = replace(crash.SHORT, kills=8, messages=100)


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_what_is_acknowledged_takes_effect_once_whatever_is_killed(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database_url = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[name])
    result = crash.crash(database_url, name, PLAN, tmp_path / "var")
    assert result.violations == []
    assert result.killed.total() >= PLAN.kills
    assert len(result.ledger.sent) >= PLAN.messages
