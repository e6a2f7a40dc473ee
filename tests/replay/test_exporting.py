"""Exports: what is written in each form is found again, byte for byte, with all that was known beside it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.fhir import json as fhir_json
from gateway.fhir import xml
from gateway.fhir.dialects import Manner
from gateway.fhir.received import read_received
from gateway.fhir.wrapping import NEW_ORDER, Caller, wrapping_for
from gateway.replay.files.about import MARK, About
from gateway.replay.files.exporting import Unwritable, export
from gateway.replay.files.sources import Found, read
from tests.senders import Sender, task

LARGEST = 1024 * 1024
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
WRAPPING = wrapping_for(
    Caller("http://portal.example/fhir", ("urn:x", "1")),
    "request-1",
    NEW_ORDER,
    base_url="http://gateway.example/fhir",
    endpoint="http://gateway.example/fhir/$process-message",
).write()
BUNDLE = Sender().write("new-order", task("7", note=[{"text": 'é "quoted" \\ 1.00'}]))
JSON = b"\xef\xbb\xbf" + json.dumps(BUNDLE, indent=1, ensure_ascii=False).encode() + b"\r\n"
XML = xml.serialize(BUNDLE)
LATIN = XML.replace(b"UTF-8", b"ISO-8859-1").decode().encode("latin-1")
ABOUT = About(
    id=1,
    received_at=AT,
    media_type="application/fhir+json; fhirVersion=4.0",
    sender="http://a.example",
    event="new-order",
    partner="hospital",
    manner=Manner("cow", {"x-request-id": "é"}).write(),
    wrapping=None,
    reply_format="json",
    reply_to="http://a.example/replies",
    recipient="hospital",
    later=True,
    request_id="r1",
    state="done",
    response_code="ok",
)
OF_XML = replace(ABOUT, id=2, media_type="application/fhir+xml", reply_format="xml", manner=None, later=False)
OF_REST = replace(OF_XML, id=3, media_type="application/json", wrapping=WRAPPING, partner=None, reply_to=None)
DEAD = replace(OF_XML, id=4, state="dead", response_code=None, recipient=None, error="KeyError: 'é'\nat 2")
MESSAGES = [(JSON, ABOUT), (XML, OF_XML), (json.dumps(task("8")).encode(), OF_REST), (LATIN, DEAD)]
FORMS = ("directory", "day.zip", "day.tar.gz", "day.tgz", "day.ndjson", "day.jsonl")
FILES = FORMS[:4]


def write(target: Path, messages: Iterable[tuple[bytes, About]] = MESSAGES, **options: Any) -> list[str]:
    with export(str(target), **options) as written:
        for body, about in messages:
            written.add(body, about)
    return [str(target)]


def problems(found: list[Found]) -> list[str]:
    return [one.problem for one in found if one.problem]


def bodies(found: list[Found]) -> list[bytes]:
    return [one.body for one in found if not one.problem]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_exported_is_found_again_byte_for_byte(form: str, tmp_path: Path) -> None:
    found = list(read(write(tmp_path / form), LARGEST))

    assert problems(found) == []
    assert [(one.body, one.about) for one in found] == MESSAGES
    assert [one.media_type for one in found] == [about.media_type for _, about in MESSAGES]
    assert len({one.name for one in found}) == len(MESSAGES)
    assert [path.name for path in tmp_path.iterdir()] == [form], "nothing else is left beside it"


@pytest.mark.parametrize("form", [*FORMS, "day.json"])
def test_an_export_of_nothing_is_whole_too(form: str, tmp_path: Path) -> None:
    found = list(read(write(tmp_path / form, []), LARGEST))

    assert (problems(found), len(bodies(found))) == ([], form == "day.json")


def test_an_export_can_be_piped(tmp_path: Path) -> None:
    out = io.BytesIO()
    write(Path("-"), stdout=out)

    found = list(read(["-"], LARGEST, io.BytesIO(out.getvalue())))

    assert [(one.body, one.about) for one in found] == MESSAGES
    assert [one.name for one in found] == ["stdin:1", "stdin:2", "stdin:3", "stdin:4"]


@pytest.mark.parametrize("form", FILES)
def test_other_tools_read_what_is_exported(form: str, tmp_path: Path) -> None:
    [target] = write(tmp_path / form)
    unpacked = tmp_path / "unpacked"
    if form == "directory":
        unpacked = Path(target)
    elif form == "day.zip":
        with zipfile.ZipFile(target) as archive:
            assert archive.testzip() is None
            archive.extractall(unpacked)
    else:
        with tarfile.open(target) as archive:
            archive.extractall(unpacked, filter="data")

    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=unpacked, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked
    assert len(checked.stdout.splitlines()) == 2 * len(MESSAGES)
    assert (unpacked / "000000002.xml").read_bytes() == XML
    assert [one.about for one in read([str(unpacked)], LARGEST)] == [about for _, about in MESSAGES]


def test_a_batch_has_the_messages_as_post_fhir_takes_them(tmp_path: Path) -> None:
    [target] = write(tmp_path / "day.json")

    batch = fhir_json.parse(Path(target).read_bytes())
    found = list(read([target], LARGEST))

    assert (batch["resourceType"], batch["type"]) == ("Bundle", "batch")
    assert [entry["request"]["url"] for entry in batch["entry"]] == ["$process-message?async=true"] + [
        "$process-message"
    ] * 3
    assert [one.name for one in found] == [f"{target}#entry[{number}]" for number in range(4)]
    assert found[0].body == JSON.removeprefix(b"\xef\xbb\xbf").strip()
    assert fhir_json.parse(found[1].body) == xml.parse(XML)
    assert fhir_json.parse(found[3].body) == xml.parse(LATIN)
    wrapped = read_received(MESSAGES[2][0], OF_REST.media_type, OF_REST.received_at, WRAPPING)
    assert fhir_json.parse(found[2].body) == wrapped.bundle


def test_what_a_batch_cannot_hold_is_refused_and_the_rest_is_written(tmp_path: Path) -> None:
    with export(str(tmp_path / "day.json")) as written:
        written.add(JSON, ABOUT)
        with pytest.raises(Refused):
            written.add(b"<no/>", OF_XML)
        written.add(XML, OF_XML)

    assert len(bodies(list(read([str(tmp_path / "day.json")], LARGEST)))) == 2


@pytest.mark.parametrize("form", [*FORMS, "day.json"])
def test_an_export_that_breaks_off_leaves_nothing(form: str, tmp_path: Path) -> None:
    def messages() -> Iterator[tuple[bytes, About]]:
        yield JSON, ABOUT
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path / form, messages())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [*FORMS, "day.json"])
def test_what_is_there_is_overwritten_only_when_that_is_said(form: str, tmp_path: Path) -> None:
    write(tmp_path / form)

    with pytest.raises(Unwritable, match="is there already"):
        write(tmp_path / form, MESSAGES[:1])
    assert len(list(read([str(tmp_path / form)], LARGEST))) == len(MESSAGES)

    write(tmp_path / form, MESSAGES[:1], overwrite=True)
    assert len(list(read([str(tmp_path / form)], LARGEST))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [form]


def test_a_directory_that_is_no_export_is_never_overwritten(tmp_path: Path) -> None:
    precious = tmp_path / "home" / "letters.txt"
    precious.parent.mkdir()
    precious.write_text("dear")

    with pytest.raises(Unwritable, match=r"has letters\.txt, which is no part of an export"):
        write(precious.parent, overwrite=True)
    with pytest.raises(Unwritable, match="no export that can be overwritten"):
        write(precious.parent.rename(tmp_path / "home.zip"), overwrite=True)
    assert (tmp_path / "home.zip" / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("name", ["day.xml", "day.tar", "day.json.gz"])
def test_a_form_that_there_is_not_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Unwritable, match=r"Use \.zip, \.tar\.gz"):
        write(tmp_path / name)


Files = list[tuple[str, bytes]]


def without_end(files: Files) -> list[str]:
    del files[8]
    return ["SHA256SUMS is missing: the export was cut off"]


def without_about(files: Files) -> list[str]:
    del files[2]
    return ["000000002.xml has no 000000002.about.json", "000000002.about.json is missing; SHA256SUMS lists it"]


def without_body(files: Files) -> list[str]:
    del files[3]
    return ["000000002.json, or .xml, is missing, though 000000002.about.json", "000000002.xml is missing; SHA256SUMS"]


def without_either(files: Files) -> list[str]:
    del files[4:6]
    return ["000000003.about.json is missing", "000000003.json is missing"]


def with_one_more(files: Files) -> list[str]:
    files.insert(8, ("000000009.json", JSON))
    return ["000000009.json has no 000000009.about.json", "000000009.json is not in SHA256SUMS"]


def with_another_body(files: Files) -> list[str]:
    files[3] = (files[3][0], XML.replace(b"order", b"other"))
    return ["000000002.xml is not as it was exported: its checksum"]


def with_another_about(files: Files) -> list[str]:
    files[2] = (files[2][0], files[2][1].replace(b"a.example", b"b.example"))
    return ["000000002.about.json is not as it was exported: its checksum"]


def with_half_an_about(files: Files) -> list[str]:
    files[2] = (files[2][0], files[2][1][:40])
    return ["2.about.json does not say", "2.xml has no 000000002.about.json", "2.about.json is not as it was"]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (without_end, 4),
        (without_about, 3),
        (without_body, 3),
        (without_either, 3),
        (with_one_more, 4),
        (with_another_body, 3),
        (with_another_about, 4),
        (with_half_an_about, 3),
    ],
)
def test_what_is_wrong_with_an_export_is_named(change: Callable[[Files], list[str]], left: int, tmp_path: Path) -> None:
    write(tmp_path / "day")
    files = [(path.name, path.read_bytes()) for path in sorted((tmp_path / "day").iterdir())]
    said = change(files)
    with zipfile.ZipFile(tmp_path / "day.zip", "w") as archive:
        for name, content in files:
            archive.writestr(name, content)

    found = list(read([str(tmp_path / "day.zip")], LARGEST))

    assert len(bodies(found)) == left
    assert [expected in told for told, expected in zip(problems(found), said, strict=True)] == [True] * len(said)


def test_lines_that_are_missing_or_changed_are_named(tmp_path: Path) -> None:
    [target] = write(tmp_path / "day.ndjson")
    lines = Path(target).read_bytes().splitlines(keepends=True)

    def told(*given: bytes) -> tuple[int, list[str]]:
        Path(target).write_bytes(b"".join(given))
        found = list(read([target], LARGEST))
        return len(bodies(found)), [text.removeprefix(target) for text in problems(found)]

    assert told(*lines[:3])[1][0].startswith(" has no last line that says how many messages there are")
    assert told(*lines[:2], *lines[3:]) == (
        3,
        [":4 says that 4 messages were exported, and 3 are there. Get a whole copy of it, or export again."],
    )
    assert told(lines[0].replace(b"quoted", b"Quoted"), *lines[1:])[1][0].startswith(":1 is not as it was exported")
    assert told(*lines, *lines) == (8, [])
    left, said = told(lines[0][:-20] + b"\n", *lines[1:])
    assert (left, said[0][:55]) == (3, ":1 is no message: the line is cut off, or no object. Ea")
    assert said[1].startswith(":5 says that 4 messages were exported, and 3 are there")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("received_at", "2026-01-02T03:04:05", "a moment with a time zone"),
        ("received_at", 5, "a moment, as 2026"),
        ("received_at", "0001-01-01T00:00:00+14:00", "a moment, as 2026"),
        ("id", True, "a whole number above 0"),
        ("id", 2**63, "a whole number above 0"),
        ("sender", "a\0b", "without control characters"),
        ("sender", "a" * 70_000, "at most 65536 characters"),
        ("request_id", None, "a text"),
        ("later", "true", "true or false"),
        ("reply_format", "html", "one of json, xml"),
        ("state", "lost", "one of new, failed, done, dead"),
        ("manner", '{"headers": {}}', "how a message is read"),
        ("manner", '{"dialect": "cow", "headers": ["a"]}', "how a message is read"),
        ("wrapping", "[]", "an object of JSON, as a text"),
        ("wrapping", '{"a": 1, "a": 2}', "an object of JSON, as a text"),
        ("wrapping", '{"bundleId": "1", "baseUrl": "", "header": {"id": "1", "focus": []}}', "what was put around"),
        ("wrapping", WRAPPING[:-1] + ', "resource": 1}', "what was put around"),
    ],
)
def test_what_is_said_beside_a_message_is_looked_at(field: str, value: Any, said: str, tmp_path: Path) -> None:
    [target] = write(tmp_path / "day.ndjson", [(JSON, ABOUT)])
    line, end = Path(target).read_bytes().splitlines()
    about = json.loads(line)
    about["about"][field] = value
    Path(target).write_bytes(json.dumps(about).encode() + b"\n" + end)

    [told] = problems(list(read([target], LARGEST)))

    assert f":1 has an `about.{field}` that is not" in told
    assert said in told


def test_what_a_later_gateway_adds_is_left_and_its_own_version_is_refused(tmp_path: Path) -> None:
    [target] = write(tmp_path / "day.ndjson", [(JSON, ABOUT)])
    line, end = (json.loads(line) for line in Path(target).read_bytes().splitlines())

    line["about"]["mood"] = line["mood"] = "good"
    Path(target).write_text(f"{json.dumps(line)}\n{json.dumps(end)}\n")
    assert [one.about for one in read([target], LARGEST)] == [ABOUT]

    line[MARK] = 2
    Path(target).write_text(f"{json.dumps(line)}\n{json.dumps(end)}\n")
    [told] = problems(list(read([target], LARGEST)))
    assert told == f"{target}:1 is of version '2' of the form of exports; this gateway reads 1."


HOURS_AWAY = timezone(timedelta(hours=5))
texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20).filter(lambda text: "\uffff" not in text)
abouts = st.builds(
    About,
    id=st.integers(1, 2**63 - 1),
    received_at=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(HOURS_AWAY)),
    media_type=texts,
    sender=texts,
    event=texts,
    partner=st.none() | texts,
    manner=st.none() | st.just(ABOUT.manner),
    wrapping=st.none() | st.just(WRAPPING),
    reply_format=st.sampled_from(("json", "xml")),
    reply_to=st.none() | texts,
    recipient=st.none() | texts,
    later=st.booleans(),
    request_id=texts,
    state=st.sampled_from(("new", "failed", "done", "dead")),
    response_code=st.none() | texts,
    error=st.none() | texts,
)


@settings(max_examples=40, deadline=None)
@given(messages=st.lists(st.tuples(st.binary(max_size=200), abouts), max_size=4), form=st.sampled_from(FORMS))
def test_any_bytes_come_back_with_anything_that_is_said(
    messages: list[tuple[bytes, About]], form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    messages = [(body, about) for body, about in messages if "\ufffe" not in repr(about)]

    found = list(read(write(tmp_path_factory.mktemp("any") / form, messages), LARGEST))

    assert [(one.body, one.about, one.problem) for one in found] == [(*message, None) for message in messages]


def test_a_zip_has_so_many_messages_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.replay.files.exporting.MOST_IN_ZIP", 3)

    with pytest.raises(Unwritable, match=r"has at most 3 messages\. Make several, or a \.tar\.gz\."):
        write(tmp_path / "day.zip")
    assert list(tmp_path.iterdir()) == []
    assert len(list(read(write(tmp_path / "day.zip", MESSAGES[:3]), LARGEST))) == 3


@pytest.mark.parametrize("form", ["day.tar.gz", "day.ndjson", "directory", "day.json"])
def test_memory_stays_flat(form: str, tmp_path: Path) -> None:
    body = json.dumps(BUNDLE).encode()

    def peak(number: int) -> int:
        target = tmp_path / str(number) / form
        target.parent.mkdir()
        tracemalloc.start()
        try:
            with export(str(target)) as written:
                for _ in range(number):
                    written.add(body, ABOUT)
            assert sum(1 for one in read([str(target)], 16 * 1024) if one.problem is None) == number
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # what is made once
    few, many = peak(100), peak(700)
    assert many < few + 300_000, "half a kilobyte of each that is not let go is seen"


def test_the_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    [target] = write(tmp_path / "directory", [(JSON, ABOUT)])

    said = json.loads((Path(target) / "000000001.about.json").read_bytes())

    assert said["sha256"] == hashlib.sha256((Path(target) / "000000001.json").read_bytes()).hexdigest()
    assert (said[MARK], said["about"]["id"]) == (1, ABOUT.id)
