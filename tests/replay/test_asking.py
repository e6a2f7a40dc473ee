"""What an operator says is understood, or it is said what is unclear; nothing is guessed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.fhir.identity import identifier_key
from gateway.replay.asking import MOST_VALUES, Asking, Filters, Unclear, Wishes, fingerprints

BASE = "http://gateway.example/fhir"
NOW = datetime(2026, 3, 2, 12, 0, 7, 5, tzinfo=UTC)
ASKING = Asking(BASE, NOW)
SENDING = Wishes(effects="send")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T14:30", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("2026-03-01 14:30:05", datetime(2026, 3, 1, 14, 30, 5, tzinfo=UTC)),
        ("2026-03-01T14:30+01:00", datetime(2026, 3, 1, 13, 30, tzinfo=UTC)),
        ("2026-03-01T14:30Z", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("90m", datetime(2026, 3, 2, 10, 30, tzinfo=UTC)),
        ("2h", datetime(2026, 3, 2, 10, 0, tzinfo=UTC)),
        ("8s", datetime(2026, 3, 2, 11, 59, 59, 5, tzinfo=UTC)),
        ("3d", datetime(2026, 2, 27, 12, 0, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_date_a_moment_or_how_long_ago(said: str, meant: datetime) -> None:
    assert ASKING.selection("inbox", Filters(since=said)).since == meant


@pytest.mark.parametrize(
    ("filters", "what", "text"),
    [
        (Filters(), "everything", "Say what is meant"),
        (Filters(everything=True, event=("new-order",)), "everything", "not both"),
        (Filters(since="yesterday"), "since", "yesterday is no time: write a date (2026-01-31)"),
        (Filters(since="20260301"), "since", "no time"),
        (Filters(until="9999999d"), "until", "no time"),
        (Filters(until="999999w"), "until", "no time"),
        (Filters(since="1h", until="2h"), "until", "Nothing is since 2026-03-02 11:00:00"),
        (Filters(state=("due",)), "state", "due is no state here: take new, failed, dead, done."),
        (Filters(outcome=("refused",)), "outcome", "take ok, fatal-error, transient-error"),
        (Filters(kind=("reply",)), "kind", "Only what the outbox has"),
        (Filters(identifier=("ORD-1",)), "identifier", "write system|value"),
        (Filters(identifier=("urn:x-fhir-gateway:self|1",)), "identifier", "write system|value"),
        (Filters(task=("http://elsewhere.example/Task/1",)), "task", f"{BASE}/Task/ID"),
        (Filters(id=("",)), "id", "1 to 1000 characters"),
        (Filters(partner=("a\0b",)), "partner", "no U+0000"),
        (Filters(id=("1",) * (MOST_VALUES + 1)), "id", "too many"),
    ],
)
def test_what_cannot_be_meant_is_said_with_what_to_say_instead(filters: Filters, what: str, text: str) -> None:
    with pytest.raises(Unclear) as unclear:
        ASKING.selection("inbox", filters)
    assert unclear.value.what == what
    assert text in str(unclear.value)


@pytest.mark.parametrize(
    ("mode", "wishes", "what"),
    [
        ("undo", {}, "mode"),
        ("apply", {}, "effects"),
        ("reprocess", {}, "effects"),
        ("apply", {"effects": "shout"}, "effects"),
        ("dry-run", {"effects": "send"}, "effects"),
        ("apply", {"effects": "send", "to": "somebody"}, "to"),
        ("apply", {"effects": "send", "of": "apply"}, "of"),
        ("dry-run", {"of": "answer"}, "of"),
        ("answer", {"rate": 0.0}, "rate"),
        ("answer", {"rate": float("nan")}, "rate"),
        ("answer", {"limit": 0}, "limit"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told_by_its_name(mode: str, wishes: dict[str, Any], what: str) -> None:
    with pytest.raises(Unclear) as unclear:
        ASKING.ask(mode, Filters(everything=True), Wishes(**wishes), "operator")
    assert unclear.value.what == what


def test_a_task_is_named_by_its_identifier_its_id_or_our_address() -> None:
    filters = Filters(identifier=("http://hospital.example/order|A|1",), task=("7", f"{BASE}/Task/8", "Task/9"))
    selection = ASKING.selection("inbox", filters)
    key = identifier_key("Task", {"system": "http://hospital.example/order", "value": "A|1"}, "anybody")
    assert key is not None
    assert selection.digests == (key.hex(),)
    assert selection.tasks == ("7", "8", "9")


def test_once_more_is_each_time_another_replay() -> None:
    asked = [ASKING.ask("answer", Filters(everything=True), Wishes(again=True), "operator") for _ in range(2)]
    assert asked[0].options != asked[1].options


def test_files_take_the_place_of_filters(tmp_path: Path) -> None:
    asked = ASKING.ask("apply", Filters(), SENDING, "operator", fingerprints([str(tmp_path)]))
    assert (asked.source, asked.selection.files[0].split()[0]) == ("files", str(tmp_path))
    for filters in (Filters(everything=True), Filters(event=("new-order",))):
        with pytest.raises(Unclear, match="replayed whole"):
            ASKING.ask("apply", filters, SENDING, "operator", ("a",))


def test_the_same_files_are_the_same_until_one_of_them_changes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.json").write_text("{}")
    first = fingerprints([str(tmp_path)])
    assert fingerprints([f"{tmp_path}/in/.."]) == first
    os.utime(tmp_path / "in" / "1.json", ns=(1, 1))
    second = fingerprints([str(tmp_path)])
    assert second != first
    os.rename(tmp_path / "in" / "1.json", tmp_path / "in" / "2.json")
    assert fingerprints([str(tmp_path)]) not in (first, second)
    assert fingerprints(["-"]) != fingerprints(["-"])


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unclear, match=r"nowher\S* cannot be read: No such file"):
        fingerprints([f"{tmp_path}/nowhere"])
