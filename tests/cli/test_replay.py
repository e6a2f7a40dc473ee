"""`fhir-gateway replay`: what would happen is shown, then asked for, then started, watched and reported."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from gateway.cli import main, replay_asked
from gateway.cli.replay_shown import show_table
from gateway.fhir import json
from gateway.replay.model import Replay
from gateway.store import schema
from tests.handlers import OURSELVES
from tests.orders import Order
from tests.replay.desk import Desk, found

ME = pwd.getpwuid(os.getuid()).pw_name
Call = Callable[..., Result]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(database_url, tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def call(database_url: str, tmp_path: Path) -> Call:
    def run(*words: str, **environment: str) -> Result:
        own = {"DATABASE_URL": database_url, "VAR": str(tmp_path / "var"), "BASE_URL": OURSELVES.base_url}
        given = {f"GATEWAY_{name}": value for name, value in (own | environment).items()}
        return CliRunner(env=given).invoke(main, ["replay", *words])

    return run


@contextmanager
def at_work(desk: Desk) -> Iterator[None]:
    """A worker that carries out whatever runs."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            carry_out(desk)

    worker = threading.Thread(target=work)
    worker.start()
    yield
    over.set()
    worker.join()


def carry_out(desk: Desk) -> None:
    running = [one.id for one in desk.replays.all(10) if one.state == "running"]
    for replay_id, part in [(one, part) for one in running for part in desk.open_parts(one)]:
        desk.replayer.replay(replay_id, part)


def last(desk: Desk) -> Replay:
    return desk.replays.all(1)[0]


def dead(desk: Desk, number: int = 2) -> list[int]:
    """Messages that were set aside."""
    ids = [one.message_id for one in desk.receive(*(Order().new_order() for _ in range(number)))]
    desk.set_dead(*ids)
    return ids


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["apply", "--all"], "--effects: Say what becomes of what partners would be told. send:"),
        (["apply", "--effects", "send"], "--all: Say what is meant"),
        (["apply", "--effects", "send", "--since", "soon"], "--since: soon is no time"),
        (["apply", "--effects", "send", "--all", "."], "replayed whole"),
        (["apply", "--effects", "send", "nowhere.json"], "nowhere.json cannot be read"),
        (["apply", "--effects", "send", "-", "-"], "can be read once"),
        (["apply", "--all", "--effects", "send", "--report", "report.pdf"], "ends with .csv, .json, .txt"),
        (["apply", "--all", "--effects", "send", "--report", "/nowhere/report.csv"], "cannot be written"),
        (["apply", "--all", "--effects", "send", "--detach", "--report", "report.csv"], "no report yet"),
        (["answer", "--all", "--kind", "reply"], "No such option"),
        (["dry-run", "--all", "--effects", "send"], "No such option"),
    ],
)
def test_what_is_not_said_clearly_is_not_done(call: Call, desk: Desk, words: list[str], text: str) -> None:
    refused = call(*words)
    assert (refused.exit_code, text in refused.output) == (2, True), refused.output
    assert desk.replays.all(1) == []


def test_nothing_is_started_unasked(call: Call, desk: Desk) -> None:
    ids = dead(desk)
    shown = call("apply", "--all", "--effects", "send")
    assert shown.exit_code == 2
    assert "apply: 2 messages in the inbox" in shown.stdout
    assert "It would come to: 2 carried out." in shown.stdout
    assert "Partners are told of what changes" in shown.stdout
    planned = last(desk)
    assert f"`fhir-gateway replay start {planned.id}` starts it" in shown.stderr
    assert (planned.state, desk.versions()) == ("planned", 0)
    started = call("start", str(planned.id))
    assert started.exit_code == 0
    assert "is running" in started.output
    carry_out(desk)
    watched = call("watch", str(planned.id))
    assert (watched.exit_code, "2 messages: 2 ok." in watched.output) == (0, True)
    assert [row.message_id for row in desk.lines(planned.id)] == ids


def test_a_forecast_alone_starts_nothing(call: Call, desk: Desk) -> None:
    dead(desk)
    shown = call("apply", "--state", "dead", "--effects", "send", "--forecast")
    assert (shown.exit_code, "It is not started" in shown.output) == (0, True)
    assert last(desk).state == "planned"
    assert call("discard", str(last(desk).id)).exit_code == 0
    assert desk.replays.all(1) == []


def test_where_nothing_is_meant_nothing_is_kept(call: Call, desk: Desk) -> None:
    shown = call("apply", "--state", "dead", "--effects", "send")
    assert (shown.exit_code, "There is nothing to replay." in shown.output) == (0, True)
    assert desk.replays.all(1) == []


def test_a_replay_is_watched_to_its_end_and_reported(call: Call, desk: Desk, tmp_path: Path) -> None:
    ids = dead(desk)
    report, responses = tmp_path / "report.json", tmp_path / "responses.json"
    with at_work(desk):
        ended = call(
            *("apply", "--all", "--effects", "send", "--yes"), "--report", str(report), "--responses", str(responses)
        )
    assert ended.exit_code == 0, ended.output
    assert "done: 2/2, 2 ok" in ended.stdout
    assert "The broker cannot be reached" in ended.stderr
    assert [line["message_id"] for line in orjson.loads(report.read_bytes())["lines"]] == ids
    assert len(orjson.loads(responses.read_bytes())["entry"]) == 2
    assert report.stat().st_mode & 0o077 == 0


def test_who_watches_may_leave_and_the_replay_goes_on(call: Call, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    dead(desk)
    monkeypatch.setattr("gateway.cli.replay_watch.time.sleep", interrupt)
    left = call("apply", "--all", "--effects", "send", "--yes")
    assert left.exit_code == 4
    assert f"Replay {last(desk).id} goes on." in left.stderr
    assert last(desk).state == "running"
    again = call("apply", "--all", "--effects", "send", "--yes")
    assert f"Replay {last(desk).id} is the same, and is running." in again.output
    assert len(desk.replays.all(5)) == 1


def test_what_is_in_trouble_is_told_by_the_exit_status(call: Call, desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "1.json").write_bytes(json.serialize(Order().new_order()))
    (tmp_path / "day" / "2.json").write_text("no message")
    with at_work(desk):
        ended = call("apply", str(tmp_path / "day"), "--effects", "send", "--yes")
    assert ended.exit_code == 3
    assert "1 cannot be replayed:" in ended.output
    assert "2 messages: 1 ok, 1 unreadable." in ended.output


def test_what_was_refused_has_its_answer_unless_that_is_to_fail(call: Call, desk: Desk) -> None:
    [received] = desk.receive(Order().update("accepted"))
    desk.set_dead(received.message_id)
    assert call("apply", "--all", "--effects", "send", "--yes", "--detach").exit_code == 0
    carry_out(desk)
    replay_id = str(last(desk).id)
    assert call("watch", replay_id).exit_code == 0
    assert call("watch", replay_id, "--fail-on-refused").exit_code == 3


def test_what_is_carried_out_again_is_confirmed_by_its_number(call: Call, desk: Desk) -> None:
    [received] = desk.receive(Order().new_order())
    desk.process(received)
    words = ("reprocess", "--id", str(received.message_id), "--effects", "suppress", "--detach")
    unsaid = call(*words, "--yes")
    assert (unsaid.exit_code, "--confirm 1 was not said" in unsaid.stderr) == (2, True)
    wrong = call(*words, "--confirm", "2")
    assert (wrong.exit_code, "Not 2, but 1 message would be carried out again." in wrong.output) == (1, True)
    right = call(*words, "--confirm", "1")
    assert (right.exit_code, last(desk).state) == (0, "running")
    carry_out(desk)
    told = call("history", str(received.message_id)).output
    [made] = desk.rows(sa.select(schema.message.c.id).where(schema.message.c.replay_of == received.message_id))
    assert f"message {made.id}, fatal-error" in told
    assert f"Message {received.message_id}: new-order" in call("history", str(made.id)).output
    assert "No message" in call("history", "4711").output


def test_a_message_is_shown_with_its_first_error_and_each_replay(call: Call, desk: Desk) -> None:
    [id_] = dead(desk, 1)
    call("apply", "--id", str(id_), "--effects", "send", "--yes", "--detach")
    carry_out(desk)
    told = call("history", str(id_)).output
    assert "first error: RuntimeError: it broke" in told
    assert f"it is: done, answered ok, by replay {last(desk).id}" in told
    assert [line.split()[:2] for line in told.splitlines()][-1] == [str(last(desk).id), "apply"]


def test_somebody_else_has_to_approve_what_has_consequences(call: Call, desk: Desk) -> None:
    [received] = desk.receive(Order().new_order())
    desk.process(received)
    words = ("reprocess", "--all", "--effects", "suppress", "--confirm", "1")
    asked = call(*words, REPLAY_APPROVAL="consequence")
    assert (asked.exit_code, "It waits for somebody else" in asked.output) == (4, True)
    replay_id = str(last(desk).id)
    own = CliRunner(env={"GATEWAY_DATABASE_URL": desk.url, "LOGNAME": "somebody-else"})
    refused = own.invoke(main, ["replay", "approve", replay_id])
    assert (refused.exit_code, f"{ME} has asked for replay" in refused.output) == (1, True)
    assert desk.replays.approve(int(replay_id), "somebody else").state == "running"


def test_what_is_held_is_released_or_dropped(call: Call, desk: Desk) -> None:
    dead(desk)
    call("apply", "--limit", "1", "--all", "--effects", "hold", "--yes", "--detach")
    carry_out(desk)
    first = str(last(desk).id)
    assert "1 that partners would get are held" in call("report", first).output
    assert call("release", first).output == f"1 that replay {first} held are on their way.\n"
    call("apply", "--state", "dead", "--effects", "hold", "--yes", "--detach")
    carry_out(desk)
    second = str(last(desk).id)
    assert call("drop", second, "--yes").output == f"1 that replay {second} held are dropped.\n"
    states = [row.state for row in desk.rows(sa.select(schema.outbox.c.state).where(schema.outbox.c.kind != "reply"))]
    assert sorted(states) == ["dead", "due"]


def test_a_replay_is_paused_resumed_stopped_listed_and_shown(call: Call, desk: Desk) -> None:
    dead(desk)
    call("apply", "--all", "--effects", "send", "--yes", "--detach")
    replay_id = str(last(desk).id)
    for command, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        assert (call(command, replay_id).exit_code, last(desk).state) == (0, state)
    watched = call("watch", replay_id)
    assert (watched.exit_code, f"It is stopped (stopped by {ME})" in watched.output) == (4, True)
    assert f"{replay_id}   apply, inbox  stopped  0/2" in call("list").output
    shown = call("show", replay_id).output
    assert "The forecast was:" in shown
    assert "2 not done yet" in shown
    assert "effects: send" in shown
    late = call("discard", replay_id)
    assert (late.exit_code, "stays on record" in late.output) == (1, True)
    assert (call("show", "4711").exit_code, call("pause", replay_id).exit_code) == (1, 1)


def test_what_was_sent_again_is_sent_once_more_only_if_that_is_said(call: Call, desk: Desk) -> None:
    desk.process(*desk.receive(Order().new_order()))
    words = ("send", "--kind", "message", "--yes", "--detach")
    assert call(*words).exit_code == 0
    carry_out(desk)
    twice = call(*words)
    assert (twice.exit_code, "--again" in twice.output) == (1, True)
    assert call(*words, "--again").exit_code == 0


def test_a_dry_run_shows_what_would_change_and_changes_nothing(call: Call, desk: Desk) -> None:
    dead(desk, 1)
    with at_work(desk):
        tried = call("dry-run", "--all", "--yes")
    assert (tried.exit_code, "status: + requested" in tried.output) == (0, True), tried.output
    assert desk.versions() == 0


@pytest.mark.parametrize(("typed", "state"), [("y", "running"), ("n", None)])
def test_on_a_terminal_it_is_asked(
    call: Call, desk: Desk, monkeypatch: pytest.MonkeyPatch, typed: str, state: str | None
) -> None:
    dead(desk)
    monkeypatch.setattr(replay_asked, "_is_asked", lambda: True)
    given = {"GATEWAY_DATABASE_URL": desk.url, "GATEWAY_VAR": str(desk.settings.var)}
    asked = CliRunner(env=given).invoke(
        main, ["replay", "apply", "--all", "--effects", "send", "--detach"], input=f"{typed}\n"
    )
    assert "Start it? [y/N]" in asked.output
    assert [one.state for one in desk.replays.all(1)] == ([state] if state else [])
    assert asked.exit_code == (0 if state else 4)


def test_a_table_has_its_head_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], desk: Desk) -> None:
    rows: Sequence[Sequence[str]] = [("1", "two"), ("three", "4")]
    show_table(("a", "b"), rows)
    assert capsys.readouterr().out == "a      b\n1      two\nthree  4\n"


def test_what_is_given_up_while_it_is_counted_leaves_nothing(
    call: Call, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> Iterator[object]:
        yield from found(Order().new_order())
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.replay_asked.sources.read", interrupt)
    assert call("apply", str(tmp_path), "--effects", "send").exit_code == 1
    assert desk.replays.all(1) == []
