"""Reports: each item once, with the original's first error, in the order of receipt, in each form."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from gateway.fhir import formats, json
from gateway.receiving import Received, Submission, receive
from gateway.replay import reporting
from gateway.replay.files.found import problem
from gateway.replay.life import UnknownReplayError
from gateway.replay.model import Progress
from gateway.replay.reporting import COLUMNS, Form
from gateway.store import replay_items, replay_lines, schema
from gateway.store.selections import Selection
from tests import validity
from tests.handlers import OURSELVES
from tests.orders import Order
from tests.replay.desk import Desk, found
from tests.senders import read

BROKE = "RuntimeError: it broke"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(database_url, tmp_path)
    yield made
    made.database.close()


def written(desk: Desk, progress: Progress, form: Form, **given: Any) -> bytes:
    return b"".join(reporting.write(form, desk.replays, progress.replay.id, **given))


def table(desk: Desk, progress: Progress, **given: Any) -> str:
    return written(desk, progress, "table", **given).decode()


def test_the_lines_are_in_the_order_of_receipt_whatever_their_parts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_items, "_FEW", 0)
    monkeypatch.setattr(reporting, "_IN_MEMORY", 0)
    monkeypatch.setattr(reporting, "_LEAST", 2)
    received = desk.receive(*(Order().new_order() for _ in range(9)))
    desk.set_dead(received[3].message_id, error=BROKE)
    desk.set_dead(received[5].message_id, error="")
    desk.process(*received)
    progress = desk.replay("apply")
    lines = list(reporting.rows(desk.database, progress.replay.id))
    ids = [one.message_id for one in received]
    assert len(desk.open_parts(desk.plan("reprocess").id)) > 1, "the messages are of several parts"
    assert [line.message_id for line in lines] == ids
    assert [line.outcome for line in lines] == ["ok" if place in (3, 5) else "skipped" for place in range(9)]
    assert [line.first_error for line in lines] == [BROKE if place == 3 else {5: ""}.get(place) for place in range(9)]
    assert lines[3].before == "dead"
    only = reporting.rows(desk.database, progress.replay.id, ["ok", "failed"])
    assert [line.message_id for line in only] == [ids[3], ids[5]]


@on_sqlite
def test_csv_has_a_row_for_each_message_and_no_formula(desk: Desk) -> None:
    received = desk.receive(Order().new_order(), Order().new_order())
    desk.set_dead(*(one.message_id for one in received), error='=HYPERLINK("http://evil.example"), it broke\nbadly')
    report = written(desk, desk.replay("apply"), "csv").decode()
    rows = list(csv.DictReader(io.StringIO(report, newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["message_id"], row["outcome"]) for row in rows] == [(str(one.message_id), "ok") for one in received]
    assert {row["first_error"][:12] for row in rows} == {"'=HYPERLINK("}
    assert (
        written(desk, desk.replay("apply", Selection(events=("none",))), "csv").decode() == f"{','.join(COLUMNS)}\r\n"
    )


@on_sqlite
def test_json_has_the_replay_and_its_lines(desk: Desk) -> None:
    [received] = desk.receive(Order().new_order())
    progress = desk.replay("apply", Selection(events=("new-order",), identifiers=("a|b",), digests=("00",)))
    nothing = orjson.loads(written(desk, progress, "json"))
    assert nothing["lines"] == []
    assert nothing["replay"]["selection"] == {"events": ["new-order"], "identifiers": ["a|b"]}
    report = orjson.loads(written(desk, desk.replay("apply"), "json"))
    assert report["replay"]["counts"] == {"ok": 1}
    assert report["replay"]["forecast"]["groups"][0]["what"] == "process"
    assert [(line["message_id"], line["outcome"]) for line in report["lines"]] == [(received.message_id, "ok")]


def test_the_responses_are_a_bundle(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_RESPONSES", 1)
    order = Order()
    received = [*desk.receive(order.new_order()), _in_xml(desk, order.update("accepted"))]
    progress = desk.replay("apply")
    content = written(desk, progress, "bundle")
    validity.assert_valid(content)
    bundle = orjson.loads(content)
    assert bundle["type"] == "batch-response"
    assert [entry["response"]["status"] for entry in bundle["entry"]] == ["200 OK", "200 OK"]
    kept = [
        desk.rows(sa.select(schema.outbox.c.content).where(schema.outbox.c.message_id == one.message_id))
        for one in received
    ]
    first, second = (bytes(rows[0][0]) for rows in kept)
    assert bundle["entry"][0]["resource"] == orjson.loads(first)
    assert bundle["entry"][1]["resource"] == json.parse(json.serialize(formats.parse(second, "xml")))


@on_sqlite
def test_the_response_of_what_is_carried_out_again_is_the_new_one(desk: Desk) -> None:
    [received] = desk.receive(Order().new_order())
    desk.process(received)
    progress = desk.replay("reprocess", confirmed=1)
    [line] = reporting.rows(desk.database, progress.replay.id)
    assert line.made_id is not None
    [entry] = orjson.loads(written(desk, progress, "bundle"))["entry"]
    assert entry["resource"] == orjson.loads(json.serialize(desk.reply_of(line.made_id)))
    assert entry["resource"]["id"] != desk.reply_of(received.message_id)["id"]


def test_the_responses_that_are_sent_again_are_in_their_bundle_and_what_is_no_response_is_not(desk: Desk) -> None:
    [received] = desk.receive(Order().new_order())
    desk.process(received)
    bundle = orjson.loads(written(desk, desk.replay("send", source="outbox"), "bundle"))
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == [desk.reply_of(received.message_id)["id"]]
    assert "entry" not in orjson.loads(
        written(desk, desk.replay("send", Selection(kinds=("message",)), source="outbox"), "bundle")
    )


def test_the_table_has_what_is_to_be_looked_at_and_says_where_the_rest_is(desk: Desk) -> None:
    files = [problem(f"{number}.json", "is empty.") for number in range(3)]
    progress = desk.replay("apply", source="files", found=[*found(Order().new_order(), names=["order.json"]), *files])
    said = table(desk, progress)
    assert "4 messages: 1 ok, 3 unreadable." in said
    assert "new-order  ok          1" in said
    listed = said.partition("unreadable: is empty.\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == ["0.json", "1.json", "2.json"]
    assert "order.json" not in said
    cut = table(desk, progress, most=2)
    assert "2.json" not in cut
    assert f"These are the first 2. All: fhir-gateway replay report {progress.replay.id} --format csv --outcome" in cut
    assert "order.json" in table(desk, progress, outcomes=["ok"])


@on_sqlite
def test_the_table_says_what_is_held_and_how_to_let_it_go(desk: Desk) -> None:
    desk.receive(Order().new_order())
    progress = desk.replay("apply", effects="hold")
    assert progress.held == 1
    assert f"1 that partners would get are held: `fhir-gateway replay release {progress.replay.id}`" in table(
        desk, progress
    )


@on_sqlite
def test_what_was_sent_to_us_is_shown_on_one_line_and_obeyed_by_no_terminal(desk: Desk) -> None:
    wild = [problem("a\x1b[2Jb\n.json", "is empty.")]
    progress = desk.replay("apply", source="files", found=wild)
    assert "\x1b" not in table(desk, progress)


def test_a_dry_run_is_reported_task_by_task_though_its_files_are_mixed(desk: Desk) -> None:
    orders = [Order(), Order()]
    mixed = [orders[0].new_order(), orders[1].new_order(), orders[0].update("accepted"), orders[1].update("accepted")]
    names = ["first/1", "second/1", "first/2", "second/2"]
    progress = desk.replay("dry-run", source="files", found=found(*mixed, names=names))
    assert progress.counts == {"ok": 4}
    said = table(desk, progress)
    told = [line.split()[1] for line in said.splitlines() if line.startswith("message ")]
    assert sorted((told[:2], told[2:])) == [["first/1", "first/2"], ["second/1", "second/2"]]
    assert "new-order     ok       2" in said
    assert said.count("    status: requested → accepted") == 2
    assert said.count(", new\n    identifier: + ") >= 2
    assert "  told: Example Street Pharmacy" in said
    [first, *_] = csv.DictReader(io.StringIO(written(desk, progress, "csv").decode()))
    assert "status: + requested" in first["changes"]


@on_sqlite
def test_the_report_of_what_is_not_there_is_refused_at_once(desk: Desk) -> None:
    with pytest.raises(UnknownReplayError):
        reporting.write("csv", desk.replays, 4711)


def _in_xml(desk: Desk, bundle: Any) -> Received:
    given = Submission(json.serialize(bundle), "application/fhir+json", "xml", None, later=False, request_id="test")
    return receive(desk.database, desk.registry, OURSELVES, read(bundle), given)


def test_a_message_its_first_error_and_every_replay_of_it_are_linked(desk: Desk) -> None:
    [received] = desk.receive(Order().new_order())
    desk.set_dead(received.message_id, error=BROKE)
    applied = desk.replay("apply").replay.id
    reprocessed = desk.replay("reprocess", confirmed=1).replay.id
    sent = desk.replay("send", source="outbox").replay.id
    with desk.database.reading() as connection:
        [original] = replay_lines.find_originals(connection, [str(received.message_id), "nobody's"])
        [made] = replay_lines.find_made_of(connection, original.id)
        replayed = replay_lines.find_replayed(connection, original.id)
        by_bundle = replay_lines.find_originals(connection, [original.bundle_id or ""])
    assert (original.first_error, original.state, original.replay_id) == (BROKE, "done", applied)
    assert (made.replay_of, made.replay_id, made.response_code) == (original.id, reprocessed, "fatal-error")
    assert [one.id for one in by_bundle] == [original.id, made.id]
    told = [(one.replay_id, one.outcome, one.made_id) for one in replayed]
    assert told[:2] == [(applied, "ok", None), (reprocessed, "refused", made.id)]
    assert {one.replay_id for one in replayed[2:]} == {sent}
