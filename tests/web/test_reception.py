"""Requests as they come over real connections: slow, cut off, lying, too long; and the others, who do not wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import orjson
import pytest

from tests import live
from tests.live import Gateway
from tests.senders import Sender, task

BODY_TIMEOUT = 4.0
LIMIT = 200_000
POST = b"POST /fhir/$process-message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"
DEADLINE = 20.0

HOLDERS = {
    "connections": b"",
    "heads": POST + b"X-Slow: ",
    "bodies": POST + b"Content-Length: 5000\r\n\r\n{",
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "sizes of chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n5",
    "endless bodies": POST + b"Content-Length: 99999999999\r\n\r\n{",
    "answered connections": HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "refused connections": b"NO HTTP\r\n\r\n",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One web process with four threads, and little room and patience."""
    settings = {"body_timeout": BODY_TIMEOUT, "max_message_bytes": LIMIT, "web_processes": 1, "web_threads": 4}
    with live.gateway(tmp_path_factory.mktemp("reception") / "gateway", worker_processes=1, **settings) as started:
        yield started


def connected(gateway: Gateway, *sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", gateway.port), DEADLINE)
    for data in sent:
        connection.sendall(data)
    return connection


def answer(connection: socket.socket) -> tuple[int, bytes, bool]:
    """The status, the body, and whether the connection was ended after it; a further answer is left for later."""
    head, body = b"", b""
    while not head.endswith(b"\r\n\r\n"):
        head += _more(connection, 1)
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while lengths and len(body) < int(lengths[0]):
        body += _more(connection, int(lengths[0]) - len(body))
    return int(head.split()[1]), body, _is_ended(connection)


def _is_ended(connection: socket.socket) -> bool:
    """Looks only: what comes after the answer is left for who reads on, in the time that there was before."""
    connection.settimeout(0.3)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    finally:
        connection.settimeout(DEADLINE)


def _more(connection: socket.socket, most: int = 65536) -> bytes:
    data = connection.recv(most)
    assert data, "the connection ended without an answer"
    return data


def issue_code(body: bytes) -> str:
    code: str = orjson.loads(body)["issue"][0]["code"]
    return code


@pytest.mark.parametrize("kind", HOLDERS)
def test_nobody_waits_for_a_slow_sender(gateway: Gateway, kind: str) -> None:
    message = orjson.dumps(Sender().write("new-order", task(f"slow {kind}")))
    with ExitStack() as held:
        for _ in range(64):
            held.enter_context(closing(connected(gateway, HOLDERS[kind])))
        time.sleep(0.1)

        began = time.monotonic()
        answers = [gateway.post(message) for _ in range(3)]
        seconds = time.monotonic() - began

    assert [each.status_code for each in answers] == [200, 200, 200]
    assert seconds < 5 * BODY_TIMEOUT


def test_what_trickles_in_is_refused_in_time_and_where_nothing_comes_the_connection_is_ended(gateway: Gateway) -> None:
    with (
        closing(connected(gateway, POST + b"Content-Length: 5000\r\n\r\n{")) as of_body,
        closing(connected(gateway, b"GET /heal")) as of_headers,
        closing(connected(gateway)) as of_nothing,
    ):
        began = time.monotonic()
        for _ in range(int(BODY_TIMEOUT / 0.1) - 2):
            time.sleep(0.1)
            of_body.sendall(b" ")
        for connection in (of_body, of_headers):
            status, body, ended = answer(connection)
            assert (status, issue_code(body), ended) == (408, "timeout", True)
        assert BODY_TIMEOUT <= time.monotonic() - began < BODY_TIMEOUT + 15
        assert of_nothing.recv(1) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\nBad Header: 1\r\n\r\n", 400),
        (b"NO HTTP\r\n\r\n", 400),
        (POST + b"\r\n", 400),
        (POST + b"Content-Length: 0\r\n\r\n", 400),
        (POST + b"Content-Length: five\r\n\r\nhello", 400),
        (POST + b"Content-Length: -5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\nhello", 400),
        (POST + b"Transfer-Encoding: cow\r\n\r\nhello", 501),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nmoo\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), 413),
        (POST + b"Content-Length: 99999999999999\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * (LIMIT + 1) + b"0\r\n\r\n", 413),
    ],
    ids=lambda value: value[:90].decode().replace("\r\n", "|") if isinstance(value, bytes) else None,
)
def test_what_is_no_request_is_refused_at_once(gateway: Gateway, sent: bytes, status: int) -> None:
    with closing(connected(gateway, sent)) as connection:
        found, body, _ = answer(connection)

    assert found == status
    assert orjson.loads(body)["resourceType"] == "OperationOutcome"


def test_a_body_shorter_than_it_says_is_unreadable(gateway: Gateway) -> None:
    with closing(connected(gateway, POST + b"Content-Length: 10\r\n\r\n{}")) as connection:
        connection.shutdown(socket.SHUT_WR)
        status, body, _ = answer(connection)

    assert status == 400
    assert b"after 2 of 10 bytes" in body


def test_requests_sent_one_after_the_other_are_all_answered(gateway: Gateway) -> None:
    with closing(connected(gateway, HEALTH + POST + b"Content-Length: 2\r\n\r\n{}" + HEALTH[:20])) as connection:
        first, second = b"", b""
        while not first.endswith(b"}"):
            first += _more(connection)
        while b"OperationOutcome" not in second:
            second = second or first.partition(b'"ok"}')[2]
            second += b"" if b"OperationOutcome" in second else _more(connection)
        connection.sendall(HEALTH[20:])
        assert answer(connection)[0] == 200


def test_a_length_with_many_zeros_is_the_length_that_it_is(gateway: Gateway) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    with closing(connected(gateway, POST + b"Content-Length: %022d\r\n\r\n" % len(smuggled))) as connection:
        time.sleep(0.3)
        connection.sendall(smuggled + HEALTH)
        first = answer(connection)
        assert (first[0], issue_code(first[1]), first[2]) == (400, "structure", False)
        assert answer(connection)[0] == 200


def test_very_many_small_chunks_are_too_much(gateway: Gateway) -> None:
    sent = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 30_000
    with closing(connected(gateway, sent)) as connection:
        status, _, ended = answer(connection)

    assert (status, ended) == (413, True)


def test_a_sender_that_asks_before_it_sends_is_told_to_go_on(gateway: Gateway) -> None:
    with closing(connected(gateway, POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")) as connection:
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert answer(connection)[0] == 422


def test_a_message_in_chunks_is_taken(gateway: Gateway) -> None:
    message = orjson.dumps(Sender().write("new-order", task("in chunks")))
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in message)
    with closing(connected(gateway, POST + b"Transfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")) as connection:
        assert answer(connection)[0] == 200


def test_more_than_can_be_held_at_once_is_put_off(gateway: Gateway) -> None:
    with ExitStack() as held:
        for _ in range(6):
            sent = POST + b"Content-Length: %d\r\n\r\n" % LIMIT + b" " * (LIMIT - 1000)
            connection = held.enter_context(closing(connected(gateway, sent)))
        status, body, ended = answer(connection)
        small = gateway.get("/healthz")

    assert (status, issue_code(body), ended) == (503, "transient", True)
    assert small.status_code == 200


def test_what_is_refused_before_a_thread_sees_it_is_counted(gateway: Gateway) -> None:
    with closing(connected(gateway, b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)) as connection:
        assert answer(connection)[0] == 431

    assert 'fhir_gateway_requests_rejected_total{endpoint="none",status="431"}' in gateway.get("/metrics").text


UPLOAD = b"POST /admin/replays?mode=dry-run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"


def test_the_files_of_a_replay_may_be_larger_than_what_is_held(gateway: Gateway) -> None:
    line = orjson.dumps({"resourceType": "Patient", "x": "y" * (LIMIT - 100)}) + b"\n"
    chunk = f"{len(line):x}\r\n".encode() + line + b"\r\n"
    with closing(
        connected(gateway, UPLOAD + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    ) as connection:
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for _ in range(12 * LIMIT // len(line)):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        status, body, ended = answer(connection)

    assert (status, orjson.loads(body)["items"], ended) == (201, 12, True)


def test_whoever_may_not_is_refused_before_the_files_have_come(gateway: Gateway) -> None:
    refused = UPLOAD + b"X-Forwarded-For: 192.0.2.1\r\nContent-Length: 9999999999\r\n\r\n{"
    with ExitStack() as held:
        connections = [held.enter_context(closing(connected(gateway, refused))) for _ in range(16)]
        answers = [answer(connection) for connection in connections]

    assert {(status, ended) for status, _, ended in answers} == {(403, True)}


def test_files_that_break_off_are_no_replay(gateway: Gateway) -> None:
    with closing(connected(gateway, UPLOAD + b"Content-Length: 5000\r\n\r\n{")) as connection:
        connection.shutdown(socket.SHUT_WR)
        status, body, ended = answer(connection)

    assert (status, ended) == (400, True)
    assert "breaks off" in orjson.loads(body)["detail"]
