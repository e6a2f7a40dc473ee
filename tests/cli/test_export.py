"""`fhir-gateway export`: what the inbox has goes out byte for byte, and comes in again elsewhere as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.replay.files import sources
from gateway.store import exports, schema
from tests.orders import Order
from tests.replay.desk import Desk

Call = Callable[..., Result]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    """With an order that was accepted, and another that was set aside."""
    made = Desk(database_url, tmp_path)
    order = Order()
    made.process(*made.receive(order.new_order(), order.update("accepted")))
    [dead] = made.receive(Order().new_order())
    made.set_dead(dead.message_id)
    yield made
    made.database.close()


@pytest.fixture
def call(database_url: str) -> Call:
    def run(*words: str) -> Result:
        return CliRunner(env={"GATEWAY_DATABASE_URL": database_url}).invoke(main, ["export", *words])

    return run


def test_each_form_comes_in_elsewhere_as_it_was(
    call: Call, desk: Desk, tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_LOOKED_AT", 2)
    monkeypatch.setattr(exports, "_BYTES", 1)
    kept = [row.body for row in desk.rows(sa.select(schema.message.c.body).order_by(schema.message.c.id))]
    for form in ("day", "day.zip", "day.tar.gz", "day.ndjson", "day.json"):
        exported = call(str(tmp_path / form))
        assert (exported.exit_code, exported.stderr) == (0, "3 messages exported.\n"), form
        found = list(sources.read([str(tmp_path / form)], 10_000_000))
        assert [(one.problem, one.body) for one in found] == [(None, bytes(body)) for body in kept]
    shutil.copyfile(sqlite_template, tmp_path / "other.db")
    other = Desk(f"sqlite:///{tmp_path}/other.db", tmp_path)
    progress = other.replay("apply", source="files", found=list(sources.read([str(tmp_path / "day.zip")], 10_000_000)))
    assert progress.counts == {"ok": 3}
    assert desk.replay(
        "apply", source="files", found=list(sources.read([str(tmp_path / "day")], 10_000_000))
    ).counts == {
        "skipped": 2,
        "ok": 1,
    }
    other.database.close()


def test_filters_say_what_is_exported(call: Call, desk: Desk) -> None:
    lines = [orjson.loads(line) for line in call("-", "--state", "dead").stdout_bytes.splitlines()]
    assert lines[0]["about"]["error"] == "RuntimeError: it broke"
    assert lines[1]["messages"] == 1
    first = [orjson.loads(line) for line in call("-", "--limit", "1").stdout_bytes.splitlines()]
    assert [line["about"]["response_code"] for line in first[:-1]] == ["ok"]
    assert call("-", "--event", "none").stderr == "0 messages exported.\n"


def test_what_is_there_is_not_overwritten_unless_that_is_said(call: Call, desk: Desk, tmp_path: Path) -> None:
    target = str(tmp_path / "day.zip")
    assert call(target).exit_code == 0
    refused = call(target)
    assert (refused.exit_code, "is there already" in refused.output) == (1, True)
    assert call(target, "--overwrite").exit_code == 0


def test_what_the_form_cannot_hold_is_left_out_and_told(call: Call, desk: Desk, tmp_path: Path) -> None:
    broken = sa.update(schema.message).where(schema.message.c.state == "dead")
    desk.execute(broken.values(body=b"<Bundle", media_type="application/fhir+xml"))
    exported = call(str(tmp_path / "day.json"))
    assert exported.exit_code == 3
    assert "Message 3 is left out: " in exported.stderr
    assert "2 messages exported, 1 left out." in exported.stderr


@pytest.mark.parametrize(("words", "text"), [(["-", "--since", "soon"], "--since"), (["day.xml"], ".xml")])
def test_what_is_not_said_clearly_is_not_done(call: Call, words: list[str], text: str) -> None:
    refused = call(*words)
    assert (refused.exit_code, text in refused.output) == (2, True), refused.output


def test_where_nothing_can_be_written_nothing_is(call: Call, desk: Desk, tmp_path: Path) -> None:
    refused = call(str(tmp_path / "nowhere" / "day.zip"))
    assert (refused.exit_code, "cannot be written: No such file" in refused.output) == (1, True)
