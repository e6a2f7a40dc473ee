"""The published attacks on parsers, case by case: what the gateway does with each, and that it costs little.

A case fails when it is not read or refused as the list says, takes more memory than MEGABYTES and so much a byte, opens
the file or the connection that it names, or does not come to an end.
"""

from __future__ import annotations

import gzip
import re
import signal
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

import orjson
import pytest

from gateway.errors import NotAMessage, Refused, TooLarge, Unreadable
from gateway.fhir import json, xml
from gateway.web.body import read_body
from tests.attacks import xml_cases
from tests.live import FHIR_JSON, FHIR_XML, Gateway

MEGABYTES, BYTES_A_BYTE = 64, 40
HANG_SECONDS = 120
CANARY = "a secret that nobody may read"
LIMIT = 16 * 1024 * 1024

JSON_SUITE = Path(__file__).parent / "attacks" / "json_test_suite.tsv"
_SELF = Path("/proc/self")

Parse = Callable[[bytes], object]


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def hang(*_: object) -> None:
        raise AssertionError(f"not done in {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def outcome(parse: Parse, data: bytes) -> tuple[type[Refused] | None, str]:
    """How it is refused, and the issues' sentences; None and "read" if it is not. Fails if it takes too much memory."""
    before = _reset_peak()
    try:
        parse(data)
        kind, said = None, "read"
    except Refused as refusal:
        kind, said = type(refusal), " ".join(issue.text for issue in refusal.issues)
    assert _peak() - before < MEGABYTES * 1024 * 1024 + BYTES_A_BYTE * len(data)
    return kind, said


def _reset_peak() -> int:
    """Bytes that the process holds now, from where its peak is measured anew; 0 where that cannot be told."""
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return 0
    return _peak()


def _peak() -> int:
    try:
        status = (_SELF / "status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


# --- JSON -------------------------------------------------------------------------------------------------------------

JSON_OUTCOMES: Mapping[str, tuple[type[Refused], tuple[str, ...]]] = {
    "no resource": (NotAMessage, ("not an object", "no resourceType")),
    "malformed": (Unreadable, ("Not well-formed", "not UTF-8", "is not a number")),
    "repeated": (Unreadable, ("is given 2 times in one object",)),
    "character": (Unreadable, ("is not allowed in FHIR",)),
    "too deep": (Unreadable, ("levels deep",)),
}


def json_suite() -> list[tuple[str, str, bytes]]:
    lines = JSON_SUITE.read_bytes().split(b"\n")
    cases = [line.split(b"\t", 2) for line in lines if line and not line.startswith(b"#")]
    return [(name.decode(), said.decode(), _written(text)) for name, said, text in cases]


def _written(text: bytes) -> bytes:
    if repeated := re.findall(rb"\*(\d+)\*([^*]+)", text):
        return b"".join(unit * int(count) for count, unit in repeated)
    parts = [part.partition(b">") for part in text.split(b"<")[1:]]
    return text.split(b"<")[0] + b"".join(bytes.fromhex(digits.decode()) + rest for digits, _, rest in parts)


@pytest.mark.parametrize(("name", "said", "data"), json_suite(), ids=lambda value: value if "_" in str(value) else "")
def test_a_case_of_the_json_test_suite(name: str, said: str, data: bytes) -> None:
    kind, sentences = outcome(json.parse, data)

    wanted, parts = JSON_OUTCOMES[said]
    assert kind is wanted
    assert any(part in sentences for part in parts)


@pytest.mark.parametrize(
    ("name", "said", "data"), [case for case in json_suite() if case[1] != "malformed"], ids=lambda value: ""
)
def test_a_case_within_a_resource_is_read_where_fhir_allows_it(name: str, said: str, data: bytes) -> None:
    data = b'{"resourceType":"Basic","x":' + data.removeprefix(b"\xef\xbb\xbf") + b"}"
    if said == "no resource":
        resource = json.parse(data)
        assert json.parse(json.serialize(resource)) == resource
    else:
        assert outcome(json.parse, data)[0] is Unreadable


def test_the_suite_is_there_in_full() -> None:
    names = [name for name, _, _ in json_suite()]
    assert {kind: sum(name.startswith(kind) for name in names) for kind in ("y_", "n_", "i_")} == {
        "y_": 95,
        "n_": 188,
        "i_": 35,
    }
    assert len(set(names)) == len(names)


_HEAD, _FILL = b'{"resourceType":"Basic","x":', 15 * 1024 * 1024

LARGE_JSON: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "a number of very many digits": (lambda: _HEAD + b"1" * _FILL + b"}", "read"),
    "a fraction of very many digits": (lambda: _HEAD + b"0." + b"1" * _FILL + b"}", "read"),
    "an exponent of very many digits": (lambda: _HEAD + b"1e" + b"1" * _FILL + b"}", "read"),
    "a hundred thousand long numbers": (lambda: _HEAD + b"[" + b"1" * 100 + b",1" * 100_000 + b"]}", "read"),
    "a name of very many characters": (lambda: b'{"resourceType":"Basic","' + b"a" * _FILL + b'":1}', "read"),
    "very many names": (lambda: _HEAD + b"{" + b",".join(b'"%d":1' % n for n in range(900_000)) + b"}}", "read"),
    "names of one hash": (
        lambda: _HEAD + b"{" + b",".join(b'"%b":1' % _of_one_java_hash(number) for number in range(100_000)) + b"}}",
        "read",
    ),
    "one name very many times": (lambda: _HEAD + b"{" + b'"a":1,' * 900_000 + b'"b":1}}', "is given 900000 times"),
    "a name twice, once escaped": (lambda: _HEAD + b'{"a":1,"\\u0061":2}}', "is given 2 times"),
    "very many objects with a name twice": (
        lambda: _HEAD + b"[" + b'{"a":1,"a":1},' * 300_000 + b"1]}",
        "is given 2 times",
    ),
    "very many elements": (lambda: _HEAD + b"[" + b"0," * 7_000_000 + b"0]}", "more than 1000000 elements"),
    "very many empty arrays": (lambda: _HEAD + b"[" + b"[]," * 3_000_000 + b"[]]}", "more than 1000000 elements"),
    "very deep arrays": (lambda: _HEAD + b"[" * 900_000, "levels deep"),
    "very deep objects": (lambda: _HEAD + b'{"a":' * 900_000, "levels deep"),
    "objects deeper still": (lambda: b'{"a":' * (_FILL // 5), "more than 1000000 elements"),
    "deep and wide": (lambda: _HEAD + b"[" * 150 + b"1," * 900_000 + b"1" + b"]" * 150 + b"}", "read"),
    "very many escapes": (lambda: _HEAD + b'"' + b"\\u0041" * (_FILL // 6) + b'"}', "read"),
    "very many forbidden characters": (
        lambda: _HEAD + b'"' + b"\\u0001" * (_FILL // 6) + b'"}',
        "U+0001 is not allowed",
    ),
    "very many forbidden strings": (lambda: _HEAD + b"[" + b'"\\u0001",' * 900_000 + b"1]}", "U+0001 is not allowed"),
    "a string without an end": (lambda: _HEAD + b'"' + b"a" * _FILL, "Not well-formed"),
    "escapes without an end": (lambda: _HEAD + b'"' + b'\\"' * (_FILL // 2), "Not well-formed"),
    "quotation marks": (lambda: b'"' * _FILL, "Not well-formed"),
    "white space": (lambda: _HEAD + b" " * _FILL + b"1}", "read"),
    "very many surrogates": (lambda: _HEAD + b'"' + b"\\ud800" * (_FILL // 6) + b'"}', "U+D800 is not allowed"),
    "utf-16": (lambda: b'{"resourceType":"Basic"}'.decode().encode("utf-16"), "not UTF-8"),
    "a mark in the middle": (lambda: b'{"resourceType":\xef\xbb\xbf"Basic"}', "Not well-formed"),
    "two marks": (lambda: b'\xef\xbb\xbf\xef\xbb\xbf{"resourceType":"Basic"}', "Not well-formed"),
}


def _of_one_java_hash(number: int) -> bytes:
    """Strings that String.hashCode does not tell apart: "Aa" and "BB", in any order."""
    return b"".join(b"BB" if number >> bit & 1 else b"Aa" for bit in range(17))


@pytest.mark.parametrize("name", LARGE_JSON)
def test_large_json_is_read_or_refused_at_little_cost(name: str) -> None:
    make, said = LARGE_JSON[name]
    data = make()

    _, sentences = outcome(json.parse, data)

    assert said in sentences


# --- XML --------------------------------------------------------------------------------------------------------------

XML_CASES = {
    **{name: (text.encode(), said) for name, (text, said) in (xml_cases.ENTITIES | xml_cases.ELSEWHERE).items()},
    **{name: (text.encode(), said) for name, (text, said) in xml_cases.DOCUMENTS.items()},
    **xml_cases.ENCODINGS,
}


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server that takes connections and does nothing with them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("name", XML_CASES)
def test_an_attack_by_xml_is_refused_and_opens_nothing(name: str, tmp_path: Path, server: socket.socket) -> None:
    data, said = XML_CASES[name]
    (tmp_path / "secret").write_text(CANARY)
    address = f"http://127.0.0.1:{server.getsockname()[1]}/a"
    data = data.replace(b"{file}", (tmp_path / "secret").as_uri().encode()).replace(b"{http}", address.encode())

    kind, sentences = outcome(xml.parse, data)

    assert said in sentences
    assert kind is (None if said == "read" else kind)
    assert CANARY not in sentences
    if kind is None:
        assert CANARY not in str(xml.parse(data))
    with pytest.raises(BlockingIOError):
        server.accept()


@pytest.mark.parametrize("name", xml_cases.JUMBO)
def test_large_xml_is_read_or_refused_at_little_cost(name: str) -> None:
    make, said = xml_cases.JUMBO[name]
    data = make()

    _, sentences = outcome(xml.parse, data)

    assert said in sentences


NARRATIVES = {
    "a doctype": '<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><div>&e;</div>',
    "laughs": f'<!DOCTYPE d [<!ENTITY l0 "lol">{xml_cases.LAUGHS}]><div>&l9;</div>',
    "an entity that nobody declared": "<div>&e;</div>",
    "a processing instruction": '<div xmlns="http://www.w3.org/1999/xhtml"><?a b?></div>',
    "xinclude": '<div><x:include xmlns:x="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/></div>',
    "svg": '<div><svg xmlns="http://www.w3.org/2000/svg"/></div>',
    "depth": "<div>" + "<b>" * 1000 + "</b>" * 1000 + "</div>",
    "elements": "<div>" + "<b/>" * 1_000_000 + "</div>",
    "elements with a prefix": '<h:div xmlns:h="http://www.w3.org/1999/xhtml">' + "<h:b/>" * 500_000 + "</h:div>",
    "attributes": "<div " + " ".join(f"a{n}=''" for n in range(200_000)) + "/>",
    "attributes further down": "<div><b " + " ".join(f"a{n}=''" for n in range(200_000)) + "/></div>",
    "entities": "<div>" + "&nbsp;" * 1_000_000 + "</div>",
    "ampersands": "<div>" + "&" * 5_000_000 + "</div>",
}


@pytest.mark.parametrize("name", NARRATIVES)
def test_an_attack_by_narrative_ends_where_it_is_to_be_written_as_xml(name: str) -> None:
    resource = {"resourceType": "Basic", "text": {"status": "generated", "div": NARRATIVES[name]}}
    data = json.serialize(resource)

    kind, sentences = outcome(lambda sent: xml.serialize(json.parse(sent)), data)

    assert kind is NotAMessage
    assert "narrative" in sentences
    assert json.canonical(json.parse(data)) == json.canonical(resource)


def test_the_canonical_form_of_a_narrative_with_very_many_attributes_is_not_waited_for() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml" ' + " ".join(f"a{n}=''" for n in range(200_000)) + "/>"

    began = time.process_time()
    json.canonical({"resourceType": "Basic", "text": {"div": div}})

    assert time.process_time() - began < 5


# --- compressed bombs -------------------------------------------------------------------------------------------------


def _bare(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return compressor.compress(content) + compressor.flush()


ZEROS = bytes(160 * 1024 * 1024)
SHORT = bytes(1024)


@cache
def _zipped() -> bytes:
    return gzip.compress(ZEROS)


BOMBS: Mapping[str, tuple[str, Callable[[], bytes], type[Refused]]] = {
    "gzip": ("gzip", _zipped, TooLarge),
    "zlib": ("deflate", lambda: zlib.compress(ZEROS), TooLarge),
    "deflate": ("deflate", lambda: _bare(ZEROS), TooLarge),
    "gzip in gzip": ("gzip, gzip", lambda: gzip.compress(_zipped()), TooLarge),
    "gzip in deflate in gzip": ("gzip, deflate, gzip", lambda: gzip.compress(_bare(_zipped())), TooLarge),
    "gzip in a hundred members": ("gzip", lambda: gzip.compress(ZEROS[:4_000_000]) * 100, TooLarge),
    "gzip in very many members": ("gzip", lambda: gzip.compress(b"") * 500_000, Unreadable),
    "gzip with much after it": ("gzip", lambda: gzip.compress(SHORT) + bytes(15_000_000), Unreadable),
    "gzip that breaks off": ("gzip", lambda: gzip.compress(ZEROS[:1_000_000])[:500], Unreadable),
    "gzip with a wrong sum": ("gzip", lambda: gzip.compress(SHORT)[:-8] + bytes(8), Unreadable),
    "gzip with a long name": ("gzip", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 15_000_000, Unreadable),
    "zlib with a dictionary": ("deflate", lambda: b"\x78\xbb" + bytes(100), Unreadable),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_compressed_bomb_is_refused_before_it_goes_off(name: str) -> None:
    encoding, make, wanted = BOMBS[name]
    data = make()

    kind, _ = outcome(lambda sent: read_body(BytesIO(sent), len(sent), encoding, LIMIT), data)

    assert kind is wanted


# --- over HTTP --------------------------------------------------------------------------------------------------------

POSTED: Mapping[str, tuple[str, bytes, str | None, int, str]] = {
    "laughs": (FHIR_XML, XML_CASES["owasp billion laughs"][0], None, 400, "invalid"),
    "a file": (FHIR_XML, XML_CASES["owasp reflected file retrieval"][0], None, 400, "invalid"),
    "a stylesheet": (FHIR_XML, XML_CASES["defusedxml stylesheet"][0], None, 400, "invalid"),
    "xinclude": (FHIR_XML, XML_CASES["defusedxml xinclude, text"][0], None, 422, "structure"),
    "utf-7": (FHIR_XML, XML_CASES["utf-7"][0], None, 400, "not-supported"),
    "coercive parsing": (FHIR_XML, b"<A1>" * 1_500_000, None, 400, "too-costly"),
    "names twice": (FHIR_JSON, b'{"resourceType":"Bundle","id":"1","id":"2"}', None, 400, "structure"),
    "no number": (FHIR_JSON, _HEAD + b"NaN}", None, 400, "structure"),
    "half a pair": (FHIR_JSON, _HEAD + b'"\\ud800"}', None, 400, "invalid"),
    "depth": (FHIR_JSON, b"[" * 100_000, None, 400, "too-costly"),
    "elements": (FHIR_JSON, b"[" + b"0," * 5_000_000, None, 400, "too-costly"),
    "gzip": (FHIR_JSON, gzip.compress(bytes(64 * 1024 * 1024)), "gzip", 413, "too-long"),
    "gzip in gzip": (FHIR_XML, gzip.compress(gzip.compress(bytes(64 * 1024 * 1024))), "gzip, gzip", 413, "too-long"),
    "gzip that is none": (FHIR_JSON, b"{}", "gzip", 400, "structure"),
    "four codings": (FHIR_JSON, b"{}", "gzip, gzip, gzip, gzip", 415, "not-supported"),
}


@pytest.mark.parametrize("name", POSTED)
def test_an_attack_over_http_is_answered_with_its_reason(name: str, whole_gateway: Gateway) -> None:
    content_type, body, encoding, status, code = POSTED[name]
    headers = {"Content_Encoding": encoding} if encoding else {}

    answer = whole_gateway.post(body, content_type, Accept=FHIR_JSON, **headers)

    assert answer.status_code == status
    assert orjson.loads(answer.content)["issue"][0]["code"] == code
    assert whole_gateway.get("/healthz").status_code == 200
    assert max(process.memory_info().rss for process in whole_gateway.processes("web-worker")) < 400 * 1024 * 1024


def test_the_gateway_is_the_same_after_the_attacks(whole_gateway: Gateway) -> None:
    before = [process.pid for process in whole_gateway.processes("web-worker")]

    for content_type, body, encoding, _, _ in POSTED.values():
        whole_gateway.post(body, content_type, **({"Content_Encoding": encoding} if encoding else {}))

    assert whole_gateway.is_ready()
    assert [process.pid for process in whole_gateway.processes("web-worker")] == before
