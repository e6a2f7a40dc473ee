"""What is fuzzed: each target takes any bytes at all, and fails when something the gateway promises does not hold."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

import orjson
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http import get_parser  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from lxml import etree

from gateway.errors import Issue, NotAMessage, Refused, Unreadable
from gateway.fhir import formats, json, narrative, xml
from gateway.fhir.check import MAX_ISSUES, check
from gateway.fhir.definitions import FHIR, VERSIONS, XHTML, Version
from gateway.fhir.json import Number, Resource
from gateway.fhir.lanes import lane_keys
from gateway.fhir.message import Ourselves, compose_reply, content_hash, read_message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.parameters import unwrap
from gateway.fhir.references import references_in
from gateway.replay.files import archives
from gateway.replay.files.streams import Pieced
from gateway.web.body import read_body
from gateway.web.incoming import Incoming
from gateway.web.negotiation import request_format, response_format
from tests.fhir.comparing import lexemes

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
MOST_INFLATED = 10_000

_GUNICORN = Config()
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Target:
    """`shape` says how its inputs are made: "json" is mutated as a tree too, the others as bytes only."""

    run: Callable[[bytes], object]
    shape: str
    words: tuple[bytes, ...] = ()


def fuzz_json(data: bytes) -> None:
    """Read or refused; what is read is written lexeme by lexeme and read again; a second parser agrees."""
    resource = _read(json.parse, data)
    assert (resource is not None) <= _is_json(data)
    if resource is None:
        return
    written = json.serialize(resource)
    assert lexemes(json.parse(written)) == lexemes(resource)
    assert json.serialize(json.parse_own(written)) == written
    canonical = json.canonical(resource)
    assert json.canonical(json.parse(canonical)) == canonical


def fuzz_json_agrees(data: bytes) -> None:
    """What orjson takes for a resource is refused for a reason that is FHIR's, not JSON's."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    try:
        ours = json.parse(data)
    except Unreadable as refusal:
        for issue in refusal.issues:
            assert "Not well-formed" not in issue.text, issue.text
    except NotAMessage:
        assert not (isinstance(value, dict) and isinstance(value.get("resourceType"), str) and value["resourceType"])
    else:
        assert _as_floats(ours) == _as_floats(value)


def fuzz_xml(data: bytes) -> None:
    """Read or refused; nothing that was read is lost on the way to JSON and back; a second parser agrees."""
    version = _version(data)
    resource = _read(lambda sent: xml.parse(sent, version), data)
    if resource is None:
        return
    through_json = json.parse(json.serialize(resource))
    assert lexemes(through_json) == lexemes(resource)
    written = xml.serialize(through_json, version)
    assert json.canonical(xml.parse(written, version)) == json.canonical(resource)
    assert xml.serialize(xml.parse(written, version), version) == written
    if data.lstrip(_BOM).startswith(b"<"):
        assert _said(written) == _said(data)


def fuzz_formats(data: bytes) -> None:
    """What JSON says, XML says too, or refuses to."""
    resource = _read(json.parse, data)
    if resource is None:
        return
    version = _version(data)
    try:
        written = xml.serialize(resource, version)
    except NotAMessage as refusal:
        _look_at(refusal.issues)
        return
    read = xml.parse(written, version)
    assert json.canonical(read) == json.canonical(json.parse(json.serialize(read)))
    assert xml.serialize(read, version) == written


def fuzz_check(data: bytes) -> None:
    """Never fails, never changes what it checks, and says the same twice."""
    resource = _read(json.parse, data)
    if resource is None:
        return
    version, before = _version(data), deepcopy(resource)
    issues = check(resource, version)
    assert len(issues) <= MAX_ISSUES + 1
    _look_at(issues)
    assert lexemes(resource) == lexemes(before)
    assert check(resource, version) == issues
    formats.serialize(operation_outcome(issues), "xml")


def fuzz_envelope(data: bytes) -> None:
    """A message or refused; what is a message has an answer that can be written in both formats."""
    resource = _read(json.parse, data)
    if resource is None:
        return
    try:
        message = read_message(unwrap(resource), NOW)
    except NotAMessage as refusal:
        _look_at(refusal.issues)
        return
    assert all(isinstance(key, bytes) for key in _keys(message))
    assert len(content_hash(message.bundle)) == 32
    for entry in message.entries:
        assert all(isinstance(path, str) for path, _ in references_in(entry.resource))
    issues = []
    try:
        message.focus("Task")
    except Refused as refusal:
        issues = [*refusal.issues]
        _look_at(issues)
    reply = compose_reply(message, "fatal-error", OURSELVES, NOW, (), operation_outcome(issues), lambda: "1")
    assert read_message(json.parse(json.serialize(reply)), NOW).is_response
    assert json.canonical(xml.parse(xml.serialize(reply))) == json.canonical(reply)


def fuzz_narrative(data: bytes) -> None:
    """Markup or a sentence; the markup is a div that says the same."""
    text = data.decode("utf-8", "replace")
    canonical = narrative.canonical(text)
    try:
        markup = narrative.to_xml(text)
    except ValueError:
        return
    assert narrative.to_xml(markup) == markup
    assert narrative.canonical(markup) == canonical
    assert etree.fromstring(markup.encode()).tag == f"{{{XHTML}}}div"


def fuzz_body(data: bytes) -> None:
    """No more than the limit, or refused; the first byte chooses codings and length, the others are the body."""
    choice, body = (data[0] if data else 0), data[1:]
    codings = (None, "gzip", "deflate", "gzip, deflate", "deflate, gzip, gzip", "identity", "br", "x-gzip;q=1")
    length = (None, len(body), len(body) + 1, 10**9)[choice >> 3 & 3]
    content = _read(lambda sent: read_body(io.BytesIO(sent), length, codings[choice & 7], MOST_INFLATED), body)
    assert content is None or 0 < len(content) <= MOST_INFLATED


def fuzz_negotiation(data: bytes) -> None:
    """A format or refused, whatever the headers say; what is declared is one clean header."""
    lines = data.decode("latin-1").split("\n")
    content_type, accept, parameter = (*lines, "", "", "")[:3]
    sent = _read(lambda _: request_format(content_type), b"")
    answer = _read(lambda _: response_format(accept, parameter, sent), b"")
    assert sent in (None, "json", "xml")
    if answer is not None:
        assert answer.format in ("json", "xml")
        assert answer.content_type.isascii()
        assert answer.content_type.isprintable()


def fuzz_framing(data: bytes) -> None:
    """Where the reception sees the end of a request, gunicorn sees it; the first byte says how the bytes come."""
    size, sent = (data[0] if data else 0) + 1, data[1:]
    incoming = Incoming()
    incoming.begin(0.0)
    for start in range(0, len(sent), size):
        if incoming.is_whole():
            break
        incoming.take_in(sent[start : start + size])
    whole, taken = incoming.is_whole(), len(incoming.held)
    incoming.hand_over()
    parser = get_parser(_GUNICORN, incoming, ("127.0.0.1", 1))
    try:
        request = next(parser)
        body = request.body.read()
    except (ParseException, StopIteration, OSError):
        return
    if not whole:
        assert len(body) < int(dict(request.headers)["CONTENT-LENGTH"]), "what the reception waits for is all there"
        return
    rest = len(incoming.held) + len(parser.unreader.buf.getvalue())
    assert taken - rest == incoming.framing.end


def fuzz_files(data: bytes) -> None:
    """Each thing that is found is a message or a sentence, the same however it comes; the first byte names the file."""
    choice, content = (data[0] if data else 0), data[1:]
    name = ("f", "f.ndjson", "f.json.gz", "f.zip")[choice & 3]
    found = list(archives.read(name, io.BytesIO(content), MOST_INFLATED, 10 * MOST_INFLATED))
    assert found
    for one in found:
        assert one.name.isprintable()
        assert len(one.name) <= len(name) + 400
        assert len(one.body) <= MOST_INFLATED
        assert bool(one.body) == (one.problem is None)
        assert one.problem is None or (one.problem.startswith(one.name) and one.problem.endswith("."))
        assert one.about is None or one.about.received_at.tzinfo is not None
    assert sum(len(one.body) for one in found) <= 10 * MOST_INFLATED + len(content)
    in_pieces = io.BufferedReader(Pieced(iter((content[: choice >> 2], content[choice >> 2 :]))), 512)
    assert list(archives.read(name, in_pieces, MOST_INFLATED, 10 * MOST_INFLATED)) == found


def _version(data: bytes) -> Version:
    """A version of FHIR that the input decides on, R4 half of the time."""
    number = crc32(data) % (2 * len(VERSIONS))
    return VERSIONS[number] if number < len(VERSIONS) else "R4"


def _read(parse: Callable[[bytes], Any], data: bytes) -> Any:
    """What is read, None if it is refused with issues that can be shown to anybody; any other error passes."""
    try:
        return parse(data)
    except Refused as refusal:
        _look_at(refusal.issues)
        return None


def _look_at(issues: Iterator[Issue] | list[Issue] | tuple[Issue, ...]) -> None:
    issues = [*issues]
    for issue in issues:
        assert issue.text.strip()
        assert len(issue.text) < 2000
    xml.parse(xml.serialize(json.parse(json.serialize(operation_outcome(issues))))) if issues else None


def _keys(message: Any) -> list[bytes]:
    try:
        return lane_keys(message)
    except Refused as refusal:
        _look_at(refusal.issues)
        return []


def _is_json(data: bytes) -> bool:
    """Whether orjson reads it too; True where it cannot be asked: it reads no number that no double holds."""
    try:
        orjson.loads(data.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        return "infinity" in str(error)
    return True


def _as_floats(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value.lexeme if isinstance(value, Number) else value)
    if isinstance(value, dict):
        return {name: _as_floats(item) for name, item in value.items()}
    return [_as_floats(item) for item in value] if isinstance(value, list) else value


def _said(data: bytes) -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every element of FHIR with its attributes, as lxml reads them; an integer's + says nothing."""
    root = etree.fromstring(data, etree.XMLParser(encoding=_encoding(data), resolve_entities=False))
    said: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    for element in root.iter(f"{{{FHIR}}}*"):
        attributes = {str(n): str(v).removeprefix("+") for n, v in element.items() if "schemaLocation" not in str(n)}
        said[str(element.tag), tuple(sorted(attributes.items()))] += 1
    return said


def _encoding(data: bytes) -> str | None:
    return "utf-8" if b"utf-16" in data[:100].lower() else None


_JSON_WORDS = (
    *(b'"resourceType":"Patient"', b'"resourceType":"Bundle"', b'"entry":[', b'"fullUrl":', b'"resource":{', b"null"),
    *(b"1e400", b"-0", b"0.10", b"1E-7", b"NaN", b"\\ud800", b"\\udc00", b"\\u0000", b"\\ud83d\\ude00", b"true", b"[["),
    *(b'{"', b'":', b'"_birthDate":{', b'"extension":[{"url":', b'"div":"<div>', b"\xef\xbf\xbf", b"\xef\xbb\xbf"),
)
_XML_WORDS = (
    *(b'<Patient xmlns="http://hl7.org/fhir">', b"</Patient>", b'<id value="', b'"/>', b"<!--", b"-->", b"<![CDATA["),
    *(b"]]>", b"<!DOCTYPE a [", b"<!ENTITY a 'b'>", b"&a;", b"&#0;", b"&#xD800;", b"&lt;", b"<?xml-stylesheet ", b"?>"),
    *(b'<?xml version="1.0" encoding="UTF-16"?>', b"xmlns:x='u'", b"xsi:schemaLocation=", b"<contained><", b"<div"),
    *(b' xmlns="http://www.w3.org/1999/xhtml"', b"&nbsp;", b"&#160;", b"xml:lang=", b"<extension url=", b"\xff\xfe<\0"),
)
_MESSAGE_WORDS = (
    *(b'"MessageHeader"', b'"eventCoding"', b'"eventUri"', b'"focus"', b'"reference"', b'"urn:uuid:', b'"Task"'),
    *(b'"source"', b'"endpoint"', b'"destination"', b'"response"', b'"identifier"', b'"/_history/', b'"#', b'"sender"'),
    *(b'"Parameters"', b'"name":"content"', b'"status"', b'"code"', b'"system"', b'"value"', b'"id"', b'"contained"'),
)
_HEADER_WORDS = (
    *(b"application/fhir+json", b"application/fhir+xml", b"text/", b"*/*", b";q=", b".2", b"fhirVersion=4.0", b"=5.0"),
    *(b"charset=utf-8", b"\n", b",", b'="', b"\\", b"%", b"utf-8''", b"*0=", b"json", b"xml"),
)
_HTTP_WORDS = (
    *(b"POST / HTTP/1.1\r\n", b"\r\n", b"\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"0\r\n\r\n", b"5\r\nhello\r\n", b"Expect: 100-continue\r\n", b"chunked", b"identity", b"gzip, ", b"+5", b"0x5"),
    *(b";a=b", b"HTTP/1.0", b"Connection: close\r\n", b"\n", b" ", b"\t", b",", b":", b"\0", b"ffffffff"),
)
_FILE_WORDS = (
    *(
        b"PK\3\4",
        b"PK\1\2",
        b"PK\5\6",
        b"PK\6\6",
        b"PK\6\7",
        b"ustar\000",
        b"\x1f\x8b\x08\0",
        b"././@LongLink",
        b"\0" * 8,
    ),
    *(b"30 path=", b"20 size=", b"SHA256SUMS", b"000000001.about.json", b"000000001.json", b"../", b"\xff\xff\xff\xff"),
    *(
        b'{"fhirGatewayExport":1,"messages":1}\n',
        b'"about":{',
        b'"body":"',
        b'"bodyBase64":"',
        b'"type":"batch"',
        b"\n{",
    ),
    *(b'"type":"collection","entry":[', b'{"resource":', b'<type value="batch"/>', b"<entry><resource>", b"</entry>"),
)

TARGETS: Mapping[str, Target] = {
    "json": Target(fuzz_json, "json", _JSON_WORDS),
    "json-agrees": Target(fuzz_json_agrees, "json", _JSON_WORDS),
    "xml": Target(fuzz_xml, "bytes", _XML_WORDS),
    "formats": Target(fuzz_formats, "json", _JSON_WORDS),
    "check": Target(fuzz_check, "json", _JSON_WORDS),
    "envelope": Target(fuzz_envelope, "json", _JSON_WORDS + _MESSAGE_WORDS),
    "narrative": Target(fuzz_narrative, "bytes", _XML_WORDS),
    "body": Target(fuzz_body, "bytes"),
    "framing": Target(fuzz_framing, "bytes", _HTTP_WORDS),
    "files": Target(fuzz_files, "bytes", _FILE_WORDS),
    "negotiation": Target(fuzz_negotiation, "bytes", _HEADER_WORDS),
}


def bounded_resource(data: bytes) -> Resource | None:
    """The resource in `data`, for whoever mutates it as a tree; None if there is none."""
    try:
        return json.parse(data)
    except (Refused, RecursionError):
        return None
