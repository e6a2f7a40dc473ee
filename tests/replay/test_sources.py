"""What is found in files: each message in its order, whatever it comes in, and what is wrong with the others, said."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir import batch_json
from gateway.replay.files import archives, sources
from gateway.replay.files.found import Found
from gateway.replay.files.sources import read

LARGEST = 4096
FHIR = 'xmlns="http://hl7.org/fhir"'


def message(number: int, more: str = "") -> bytes:
    return f'{{"resourceType":"Bundle","id":"{number}","type":"message","x":"{more}"}}'.encode()


def xml_message(number: int, more: str = "") -> bytes:
    return f'<Bundle {FHIR}><id value="{number}"/><type value="message"/>{more}</Bundle>'.encode()


def batch(*resources: bytes, kind: str = "batch") -> bytes:
    entries = b",".join(b'{"fullUrl":"urn:x:{[","resource": %b}' % resource for resource in resources)
    return b'{"resourceType":"Bundle","type":"%b","entry":[%b]}' % (kind.encode(), entries)


def xml_batch(*resources: bytes, kind: str = "batch") -> bytes:
    entries = b"".join(b"<entry><resource>%b</resource></entry>" % resource for resource in resources)
    return f'<?xml version="1.0"?><Bundle {FHIR}><type value="{kind}"/>'.encode() + entries + b"</Bundle>"


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


def tarred(*files: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Pipe(io.RawIOBase):
    """What cannot be sought in, and comes in small pieces."""

    def __init__(self, content: bytes, at_once: int = 100) -> None:
        self._content = io.BytesIO(content)
        self._at_once = at_once

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        return self._content.readinto(memoryview(buffer)[: self._at_once])


def find(content: bytes, name: str = "f", **options: int) -> list[Found]:
    """What is in one file, as it can be sought in; the same as a pipe has."""
    options = {"largest": LARGEST, "most_bytes": archives.MOST_BYTES} | options
    found = list(archives.read(name, io.BytesIO(content), **options))
    assert list(archives.read(name, io.BufferedReader(Pipe(content)), **options)) == found
    return found


def bodies(found: Iterable[Found]) -> list[bytes]:
    return [one.body for one in found if one.problem is None]


def problems(found: Iterable[Found]) -> list[str]:
    found = list(found)
    assert all((one.problem is None) == bool(one.body) for one in found)
    return [one.problem for one in found if one.problem is not None]


FIVE = [("1.json", message(1)), ("a/2.xml", xml_message(2)), ("3.ndjson", message(3) + b"\r\n\n" + message(4))]
FIVE_BODIES = [message(1), xml_message(2), message(3), message(4)]


def test_a_directory_is_gone_through_in_the_order_of_its_names(tmp_path: Path) -> None:
    files = {
        "b.json": message(1),
        "c.fhir": b"\xef\xbb\xbf \n" + xml_message(2),
        "a/z.zip": zipped(("1.json", message(3))),
        "a/b.tar.gz": gzip.compress(tarred(("x/1.json", message(4)))),
        "a/b/c.xml.gz": gzip.compress(xml_message(5)),
        "a/b/d.json": batch(message(6), message(7)),
        ".hidden/1.json": message(8),
        "a/.hidden": message(9),
        "notes.txt": b"by hand",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    found = list(read([str(tmp_path), str(tmp_path / "b.json")], LARGEST))

    names = ["b.json", "c.fhir", "notes.txt", "a/b.tar.gz/x/1.json", "a/z.zip/1.json", "a/b/c.xml"]
    names += ["a/b/d.json#entry[0]", "a/b/d.json#entry[1]", "b.json"]
    assert [one.name for one in found] == [str(tmp_path / name) for name in names]
    assert [one.media_type for one in found[:3]] == ["application/fhir+json", "application/fhir+xml", ""]
    assert found[1].body == files["c.fhir"]
    assert bodies(found)[2:] == [message(4), message(3), xml_message(5), message(6), message(7), message(1)]
    said = "is nothing that messages are read from: JSON, XML, NDJSON, or an archive (zip, tar, gzip) of them."
    assert problems(found) == [f"{tmp_path}/notes.txt {said}"]


def test_nothing_outside_of_a_directory_is_read(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.json").write_bytes(message(1))
    (inside / "2.json").write_bytes(message(2))
    (inside / "link.json").symlink_to(tmp_path / "secret.json")
    (inside / "near.json").symlink_to("2.json")
    (inside / "up").symlink_to(tmp_path)
    (inside / "nowhere").symlink_to("gone")
    os.mkfifo(inside / "pipe")

    found = list(read([str(inside)], LARGEST))

    assert bodies(found) == [message(2), message(2)]
    assert [text.removeprefix(f"{inside}/").partition(":")[0] for text in problems(found)] == [
        "link.json is a link that leads out of the directory",
        "nowhere is no file, but a device, a link to nothing or the like",
        "pipe is no file, but a device, a link to nothing or the like",
        "up is a link that leads out of the directory",
    ]


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.json").touch()

    found = list(read([str(tmp_path / name) for name in ("gone.json", "empty", "none.json")], LARGEST))

    assert problems(found) == [
        f"{tmp_path}/gone.json cannot be read: No such file or directory.",
        f"{tmp_path}/empty has no files that can be seen.",
        f"{tmp_path}/none.json is empty.",
    ]


def test_the_names_of_a_directory_are_sorted_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_AT_ONCE", 3)
    for number in random.Random(1).sample(range(11), 11):
        (tmp_path / f"{number:02}.json").write_bytes(message(number))

    assert bodies(read([str(tmp_path)], LARGEST)) == [message(number) for number in range(11)]


@pytest.mark.parametrize(
    "content",
    [
        zipped(*FIVE),
        zipped(*FIVE, method=zipfile.ZIP_STORED),
        zipped(*FIVE)[:-30],
        tarred(*FIVE),
        tarred(*FIVE, form=tarfile.GNU_FORMAT),
        tarred(*FIVE, form=tarfile.USTAR_FORMAT),
        gzip.compress(tarred(*FIVE)),
        gzip.compress(tarred(*FIVE)[:1000]) + gzip.compress(tarred(*FIVE)[1000:]) + bytes(100),
    ],
    ids=["zip", "stored", "without its directory", "tar", "gnu", "ustar", "tar.gz", "members"],
)
def test_an_archive_has_its_files_in_their_order(content: bytes) -> None:
    found = find(content, "day")

    assert (bodies(found), problems(found)) == (FIVE_BODIES, [])
    assert [one.name for one in found] == ["day/1.json", "day/a/2.xml", "day/3.ndjson:1", "day/3.ndjson:3"]


def test_other_tools_write_archives_that_are_read(tmp_path: Path) -> None:
    long = f"{'long/' * 30}{'n' * 120}.json"
    for name, content in [*FIVE, (long, message(5)), ("é.json", message(6))]:
        (tmp_path / "day" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "day" / name).write_bytes(content)
    for form in ("gnu", "pax", "v7"):
        left_out = ["--exclude=long"] if form == "v7" else []
        command = ["tar", f"--format={form}", *left_out, "-cf", f"{tmp_path}/{form}.tar", "-C", f"{tmp_path}/day", "."]
        subprocess.run(command, check=True)
        found = list(read([f"{tmp_path}/{form}.tar"], LARGEST))
        assert sorted(bodies(found)) == sorted([*FIVE_BODIES, message(6), *([] if left_out else [message(5)])]), form
        assert f"{tmp_path}/{form}.tar/é.json" in [one.name for one in found]


def test_names_are_only_names() -> None:
    names = ["../../etc/passwd.json", "/abs.json", "a\\..\\b.json", "..", "1\x1b[2J\u202e.json", "n" * 3000, "d\n.json"]
    for content in (zipped(*((name, message(1)) for name in names)), tarred(*((name, message(1)) for name in names))):
        found = find(content)
        assert len(bodies(found)) == len(names)
        assert all(one.name.isprintable() and len(one.name) <= 300 for one in found)


def test_names_that_are_given_twice_are_two_files_and_hidden_ones_are_none() -> None:
    files = [
        ("1.json", message(1)),
        ("1.json", message(2)),
        ("__MACOSX/1.json", b"x"),
        ("./a/.b.json", b"x"),
        ("c/", b""),
    ]

    assert bodies(find(tarred(*files[:4]))) == [message(1), message(2)]
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped(*files)
    assert bodies(find(content)) == [message(1), message(2)]


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def test_links_and_devices_in_an_archive_are_not_followed() -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)

    found = find(tarred(*((link(kind), b"") for kind in kinds), ("1.json", message(1))))

    assert bodies(found) == [message(1)]
    assert problems(found) == ["f/link is a link, a device or the like, not a file: it is not followed."] * 4


@pytest.mark.parametrize("inner", [zipped(*FIVE), tarred(*FIVE), gzip.compress(message(1))], ids=["zip", "tar", "gzip"])
def test_an_archive_within_an_archive_is_not_opened(inner: bytes) -> None:
    said = "is an archive within an archive, which is not opened. Unpack the outer one."
    assert problems(find(zipped(("a", inner), ("b.json", message(1))))) == [f"f/a {said}"]
    assert problems(find(tarred(("a", inner)))) == [f"f/a {said}"]
    if not inner.startswith(b"1.json"):
        assert problems(find(gzip.compress(inner))) == [f"f {said}"]


def test_what_was_cut_off_is_found_up_to_there() -> None:
    whole = tarred(("1.json", message(1)), ("2.json", message(2)), ("3.json", message(3)))
    lines = message(1) + b"\n" + message(2) + b"\n" + message(3)

    assert bodies(find(whole[:1540])) == [message(1)]
    assert problems(find(whole[:1540])) == [
        "f is cut off. What is missing is lost. Get a whole copy of it. It was read up to 1.json."
    ]
    assert [text[:13] for text in problems(find(whole[: 512 * 3 + 20]))] == ["f is cut off."]
    assert [text[:13] for text in problems(find(whole[: 512 * 4]))] == ["f is cut off."], "between two files"
    assert [text[:13] for text in problems(find(gzip.compress(whole)[:-9]))] == ["f is cut off."]
    found = find(lines[:-3], "f.ndjson")
    assert (bodies(found), problems(found)[0][:53]) == (
        [message(1), message(2)],
        "f.ndjson:3 is no message: the line is cut off, or no ",
    )
    noise = random.Random(1).randbytes(3000).hex()
    squeezed = gzip.compress(lines + b"\n" + message(4, noise[:3000]) + b"\n" + message(5, noise[3000:]))
    for name in ("f.ndjson.gz", "f.gz"):
        found = find(squeezed[:-1000], name)
        assert bodies(found)[:3] == [message(1), message(2), message(3)]
        assert problems(found)[-1].startswith(f"{name[:-3]} cannot be read after line ")
    found = find(gzip.compress(batch(message(1), message(2), message(4, noise[:3000])))[:-900])
    assert bodies(found) == [message(1), message(2)]
    assert problems(found) == ["f is cut off. What is missing is lost. Get a whole copy of it."]
    found = find(zipped(*FIVE)[:200])
    assert bodies(found) == FIVE_BODIES[:2]
    assert problems(found) == [
        "f is cut off. What is missing is lost. Get a whole copy of it. It was read up to a/2.xml."
    ]
    assert problems(find(message(1)[:-1])) == ["f is cut off: it does not end with }. Get a whole copy of it."]
    assert problems(find(xml_message(1)[:-1])) == ["f is cut off: it does not end with a tag. Get a whole copy of it."]
    assert problems(find(gzip.compress(message(1))[:-1])) == [
        "f is cut off. What is missing is lost. Get a whole copy of it."
    ]


def test_what_is_corrupt_is_passed_over_where_the_form_allows_it() -> None:
    files = [(f"{number}.json", message(number)) for number in (1, 2, 3)]
    tar, plain, packed = tarred(*files), zipped(*files, method=zipfile.ZIP_STORED), zipped(*files)

    found = find(tar[:1100] + b"?" * 300 + tar[1400:])
    assert bodies(found) == [message(1)]
    assert problems(found)[0].startswith("f is corrupt: invalid header. What comes after is lost.")
    assert problems(found)[0].endswith(" It was read up to 1.json.")

    found = find(plain.replace(b'"id":"2"', b'"id":"4"'))
    assert bodies(found) == [message(1), message(3)]
    assert problems(found) == ["f/2.json is corrupt (CRC32IntegrityError). Get a whole copy of it."]

    second = packed.index(b"2.json") + len("2.json")
    found = find(packed[:second] + b"\xff" * 20 + packed[second + 20 :])
    assert bodies(found) == [message(1)]
    assert problems(found) == ["f is corrupt (DeflateError). Get a whole copy of it. It was read up to 1.json."]

    assert problems(find(gzip.compress(message(1))[:-8] + bytes(8)))[0].startswith("f is corrupt: CRC check failed")
    noisy = [message(number, random.Random(number).randbytes(1500).hex()) for number in range(8)]
    squeezed = gzip.compress(b"\n".join(noisy))
    found = find(squeezed[:10_000] + b"\xff" * 9 + squeezed[10_009:], "f.ndjson")
    assert bodies(found)[:5] == noisy[:5]
    assert problems(found)[-1].startswith("f.ndjson cannot be read after line ")

    lines = zipped(("1.ndjson", b"\n".join(noisy)), ("2.json", message(2)))
    found = find(lines[:10_000])
    assert bodies(found)[:4] == noisy[:4]
    assert [text.partition(" after line")[0] for text in problems(found)] == [
        "f/1.ndjson cannot be read",
        "f is cut off. What is missing is lost. Get a whole copy of it.",
    ]


def test_an_entry_of_a_zip_that_cannot_be_read_is_said() -> None:
    plain = zipped(("1.json", message(1)), ("2.json", message(2)))
    at = plain.rindex(b"PK\3\4")

    def entry(offset: int, value: bytes) -> list[str]:
        found = find(plain[: at + offset] + value + plain[at + offset + len(value) :])
        assert bodies(found) == [message(1)]
        assert problems(found)[0].startswith("f has a file that is ")
        assert problems(found)[0].endswith(" It was read up to 1.json.")
        return problems(found)

    assert "encrypted, or masked. Unpack it with its password, and give the directory." in entry(6, b"\1")[0]
    assert "encrypted, or masked." in entry(6, b"\x40")[0]
    assert "compressed by method 14, which is not read. Unpack it, or pack it again." in entry(8, b"\x0e")[0]
    assert "neither compressed, nor preceded by its length." in entry(6, b"\x08\0\0" + bytes(13))[0]


def test_large_archives_have_fields_of_their_own() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("1.json", "w", force_zip64=True) as file:
        file.write(message(1))

    assert bodies(find(out.getvalue())) == [message(1)]


def test_what_is_too_large_is_said_and_what_comes_after_it_is_found() -> None:
    large, spaced = message(1, "x" * LARGEST), message(1).replace(b",", b"," + b" " * LARGEST)
    said = f"is larger than {LARGEST} bytes (max_message_bytes)."
    files = [("1.json", large), ("2.json", message(2)), ("3.ndjson", spaced + b"\n" + message(3))]

    for content in (zipped(*files), zipped(*files, method=zipfile.ZIP_STORED), tarred(*files)):
        found = find(content)
        assert bodies(found) == [message(2), message(3)]
        assert [text.partition(" A batch")[0] for text in problems(found)] == [
            f"f/1.json {said}",
            f"f/3.ndjson:1 {said}",
        ]

    endless = b"{" + b"x" * (3 * LARGEST + 1024 * 1024) + b"}\n" + message(4)
    assert problems(find(endless, "f.ndjson")) == [f"f.ndjson:1 {said}"]
    assert bodies(find(endless, "f.ndjson")) == [message(4)]


def test_bombs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (b" " * 999 + b"\n") * 4000
    said = "f holds more than 100000 bytes once it is inflated. What comes after them is not read: "
    said += "give it in several parts."

    assert said[2:] in problems(find(gzip.compress(lines), "f.ndjson", most_bytes=100_000))[-1]
    many = [(f"{number}.json", message(number, "x" * 3000)) for number in range(40)]
    for content in (zipped(*many), zipped(*many, method=zipfile.ZIP_STORED), gzip.compress(tarred(*many))):
        found = list(archives.read("f", io.BytesIO(content), LARGEST, 100_000))
        assert 15 < len(bodies(found)) < 34
        assert [text.partition(" It was read up to ")[0] for text in problems(found)] == [said]

    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    assert problems(find(tarred((header, bytes(2_000_000)))))[0].startswith(
        "f has a header of more than 65536 bytes: it is not"
    )

    monkeypatch.setattr(archives, "MOST_ENTRIES", 10)
    found = find(zipped(*many))
    assert (len(bodies(found)), problems(found)) == (
        10,
        ["f holds more than 10 files. What comes after them is not read. It was read up to 9.json."],
    )
    monkeypatch.setattr("gateway.replay.files.streams._FREE", 1000)
    assert "becomes more than 400 times as large" in problems(find(gzip.compress(lines), "f.ndjson"))[-1]


def test_what_is_not_in_utf_8_is_said() -> None:
    latin = message(1, "é").decode().encode("latin-1")

    assert problems(find(latin)) == [
        f"f is not UTF-8: byte {latin.index(0xE9)} cannot be decoded. Save it as UTF-8."
    ]  # fmt: skip
    assert problems(find(message(2) + b"\n" + latin + b"\n", "f.ndjson"))[0].startswith("f.ndjson:2 is not UTF-8: byte")
    wide = xml_message(1).decode().encode("utf-16")
    assert [(one.body, one.media_type) for one in find(wide)] == [(wide, "application/fhir+xml")]


def test_lines_are_known_without_a_name_and_what_is_none_is_said_once() -> None:
    lines = b"\xef\xbb\xbf" + message(1) + b"\n\n" + message(2) + b"\n"

    assert bodies(find(lines)) == [message(1), message(2)]
    assert [one.name for one in find(lines)] == ["f:1", "f:3"]
    assert bodies(find(message(1) + b"\n")) == [message(1) + b"\n"], "one alone is a file, with all its bytes"
    pretty = b'{\n "resourceType": "Bundle",\n "entry": [\n  {\n  }\n ]\n}\n'
    assert [one.body for one in find(pretty)] == [pretty]
    said = [text.partition(" Each line")[0] for text in problems(find(pretty + message(1) + b"\nx\n", "f.ndjson"))]
    assert said == [
        "f.ndjson:1 is no message: lines 1 to 7 are cut off, or no object.",
        "f.ndjson:9 is no message: the line is cut off, or no object.",
    ]
    assert problems(find(b"\n \n", "f.jsonl")) == ["f.jsonl is empty."]


@pytest.mark.parametrize("largest", [LARGEST, 80], ids=["small", "streamed"])
@pytest.mark.parametrize("kind", ["batch", "collection"])
def test_a_batch_has_a_message_in_each_entry(kind: str, largest: int) -> None:
    odd = b'{ "resourceType": "Bundle", "type":"message", "x":"]}\\"\\\\"}'
    found = find(batch(message(1), odd, message(3), kind=kind), largest=largest)

    assert (bodies(found), problems(found)) == ([message(1), odd, message(3)], [])
    assert [one.name for one in found] == ["f#entry[0]", "f#entry[1]", "f#entry[2]"]

    found = find(xml_batch(*map(xml_message, range(3)), kind=kind), largest=200 if largest == LARGEST else 150)
    declared = b"<?xml version='1.0' encoding='UTF-8'?>\n"
    assert (bodies(found), problems(found)) == ([declared + xml_message(number) for number in range(3)], [])


def test_a_batch_whose_entries_are_wrong_has_the_others() -> None:
    nested = message(1, "x" * LARGEST).replace(b'"x":', b'"y":[{"a":{}},{"b":[[]]}],"x":')
    entries = batch(message(1), nested, message(2)).replace(b"]}", b',{"request":{}}]}')
    said = f"f#entry[1] is larger than {LARGEST} bytes (max_message_bytes)."

    found = find(entries[:-2] + b"]}")
    assert bodies(found) == [message(1), message(2)]
    assert problems(found) == [said, "f#entry[3] has no resource."]

    long = xml_message(1, "<a/>" * LARGEST * 100)
    found = find(xml_batch(xml_message(1), long, xml_message(2)).replace(b"</Bundle>$", b"<entry/></Bundle>"))
    assert len(bodies(found)) == 2
    assert problems(found) == [said]

    found = find(batch(message(1), message(2), message(3))[:-30])
    assert bodies(found) == [message(1), message(2)]
    assert problems(found) == ["f is cut off: it cannot be read after entry[1]. Get a whole copy of it."]
    found = find(xml_batch(xml_message(1), xml_message(2))[:-30])
    assert len(bodies(found)) == 1
    assert problems(found)[0].startswith("f is not well-formed XML: ")


@pytest.mark.parametrize(
    "content",
    [
        batch(b'{"resourceType":"Patient"}'),
        batch(b'{"resourceType":"Bundle","type":"searchset"}', kind="collection"),
        batch(message(1), kind="message"),
        batch(message(1), kind="searchset"),
        b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Task"}}]}',
        b'{"resourceType":"Bundle","type":"batch"}',
        b'{"resourceType":"Parameters","parameter":[{"name":"content","resource":%b}]}' % batch(message(1)),
        b'["batch"]}',
        b'{"type":"batch" "entry":[]}',
        xml_batch(f"<Patient {FHIR}/>".encode()),
        xml_batch(xml_message(1), kind="searchset"),
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + xml_batch(xml_message(1))[21:],
        b"<batch>",
    ],
)
def test_anything_else_is_handed_on_as_it_is(content: bytes) -> None:
    found = find(content)

    assert bodies(found) == ([content] if content[:1] in b"{<" else [])
    assert len(found) == 1


def test_a_batch_may_say_what_it_is_at_its_end_if_it_is_small() -> None:
    late = b'{"entry":[{"resource":%b}],"type":"batch","resourceType":"Bundle"}' % message(1)

    assert bodies(find(late)) == [message(1)]
    [said] = problems(find(late, largest=100))
    assert said.startswith(
        "f is larger than 100 bytes (max_message_bytes). A batch may be larger, if it says its `type`"
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    resources=st.lists(st.dictionaries(st.text(max_size=4), values, max_size=3), max_size=4), size=st.integers(1, 60)
)
def test_a_batch_is_read_the_same_in_whatever_pieces_it_comes(resources: list[dict[str, object]], size: int) -> None:
    written = [message(0), *(json.dumps(resource).encode() for resource in resources)]
    content = batch(*written)

    parts = (content[at : at + size] for at in range(0, len(content), size))
    assert list(batch_json.messages(parts, LARGEST)) == written
    parts = (content[at : at + size] for at in range(0, len(content), size))
    assert list(batch_json.messages(parts, 70)) == [one if len(one) <= 70 else None for one in written]


def endless(entry: bytes, number: int, begin: bytes, end: bytes) -> BinaryIO:
    """A file that is made as it is read."""

    class Made(io.RawIOBase):
        left = number
        rest = begin

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            while len(self.rest) < len(buffer) and self.left >= 0:
                some = min(self.left, 100)
                self.rest += entry * some if self.left else end
                self.left -= some or 1
            data, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
            buffer[: len(data)] = data
            return len(data)

    return io.BufferedReader(Made())


LONG = "long " * 200
ENTRY = b'{"resource":%b},\n' % message(1, LONG)
XML_ENTRY = b"<entry><resource>%b</resource></entry>" % xml_message(1, f'<language value="{LONG}"/>')


@pytest.mark.parametrize(
    ("entry", "begin", "end"),
    [
        (ENTRY, b'{"resourceType":"Bundle","type":"batch","entry":[', ENTRY[:-2] + b"]}"),
        (XML_ENTRY, f'<Bundle {FHIR}><type value="batch"/>'.encode(), XML_ENTRY + b"</Bundle>"),
        (message(1, LONG) + b"\n", b"", message(1)),
    ],
    ids=["json", "xml", "ndjson"],
)
def test_memory_stays_flat(entry: bytes, begin: bytes, end: bytes) -> None:
    def peak(number: int) -> int:
        stream = endless(entry, number, begin, end)
        tracemalloc.start()
        try:
            assert sum(1 for one in archives.read("f", stream, 2000, 2**30) if not one.problem) == number + 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    few, many = peak(300), peak(1200)
    assert many < few + 300_000


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_of_an_archive_nothing_is_kept(pack: Callable[..., bytes]) -> None:
    def peak(number: int) -> int:
        content = pack(*((f"{one}.json", message(one)) for one in range(number)))
        stream = io.BytesIO(content)
        tracemalloc.start()
        try:
            assert sum(1 for one in archives.read("f", stream, 2000, 2**30) if not one.problem) == number
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    few, many = peak(50), peak(2000)
    assert many < few + 400_000, "two hundred bytes of each that are not let go, beside what waits for gc, are seen"


def test_every_file_of_the_corpus_is_found_once(corpus: Path) -> None:
    files = sorted(path for path in corpus.rglob("*") if path.suffix in (".json", ".xml"))

    found = {one.name: one for one in read([str(corpus)], 16 * 1024 * 1024) if ".zip/" not in one.name}

    assert [name for name in sorted(found) if not found[name].problem] == sorted(str(path) for path in files)
    assert all(found[str(path)].body == path.read_bytes() for path in files)
