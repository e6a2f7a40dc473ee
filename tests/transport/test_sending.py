"""What comes of a call: each outcome, told apart; within the time, and never more than fits."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.transport import LARGEST_ANSWER, Outcome, Target, Transport, keeping
from tests.transport.receivers import LOCALHOST, Reply, Request, listener, read_request, receiver

JSON = "application/fhir+json"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_what_is_posted_and_what_is_answered(transport: Transport) -> None:
    with receiver() as server:
        answer = transport.post(server.target("/a%20b/$process-message?c=d"), b"{1}", JSON, {"X-Request-Id": "7"})
    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/a%20b/$process-message?c=d", b"{1}")
    assert request.headers["content-type"] == JSON
    assert request.headers["x-request-id"] == "7"
    assert request.headers["user-agent"] == "fhir-gateway test"
    assert (answer.outcome, answer.status, answer.body) == ("delivered", 200, b"{}")
    assert answer.media_type == "application/fhir+json; fhirVersion=4.0"
    assert answer.detail == f"POST http://127.0.0.1:{server.server_port}/a%20b/$process-message answered 200."
    assert answer.seconds > 0


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, "delivered"),
        (204, {}, "delivered"),
        (301, {"Location": "https://elsewhere.example/"}, "failed"),
        (400, {}, "refused"),
        (401, {}, "refused"),
        (408, {}, "failed"),
        (409, {"Retry-After": "1"}, "refused"),
        (425, {}, "failed"),
        (429, {}, "busy"),
        (429, {"Retry-After": "5"}, "busy"),
        (500, {"Retry-After": "5"}, "failed"),
        (503, {}, "failed"),
        (503, {"Retry-After": "5"}, "busy"),
        (503, {"Retry-After": "soon"}, "failed"),
        (999, {}, "failed"),
    ],
)
def test_each_status_has_its_outcome(
    transport: Transport, status: int, headers: Mapping[str, str], outcome: Outcome
) -> None:
    with receiver(lambda request: (status, headers, b"")) as server:
        answer = transport.get(server.target())
    assert (answer.outcome, answer.status) == (outcome, status)


@pytest.mark.parametrize(
    ("said", "at_least", "at_most"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        ("999999999", 86400, 86400),
        (timedelta(hours=2), 3600, 7200),
        (timedelta(days=20), 86400, 86400),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
    ],
)
def test_when_to_call_again(transport: Transport, said: str | timedelta, at_least: float, at_most: float) -> None:
    if isinstance(said, timedelta):
        said = format_datetime(datetime.now(UTC) + said, usegmt=True)
    with receiver(lambda request: (503, {"Retry-After": said}, b"")) as server:
        answer = transport.get(server.target())
    assert answer.retry_after is not None
    assert at_least <= answer.retry_after <= at_most


@pytest.mark.parametrize("said", ["", "-1", "1.5", "1e9", "٣", "tomorrow", "Thu, 99 Jan 1970 00:00:00 GMT"])
def test_a_time_that_is_none_is_none(transport: Transport, said: str) -> None:
    with receiver(lambda request: (429, {"Retry-After": said.encode().decode("latin-1")}, b"")) as server:
        assert transport.get(server.target()).retry_after is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(transport: Transport, status: int) -> None:
    with receiver() as inside, receiver(lambda request: (status, {"Location": inside.target().url}, b"")) as server:
        answer = transport.post(server.target(), b"{}", JSON)
        assert (answer.outcome, answer.status) == ("failed", status)
        assert inside.requests == []


def test_an_answer_may_be_as_large_as_it_may(transport: Transport) -> None:
    body = b"x" * LARGEST_ANSWER
    with receiver(lambda request: (200, {}, body)) as server:
        assert transport.get(server.target()).body == body


@pytest.mark.parametrize(
    ("headers", "body"),
    [({}, b"x" * (LARGEST_ANSWER + 1)), ({"Content-Encoding": "gzip"}, gzip.compress(bytes(2 * LARGEST_ANSWER), 1))],
    ids=["as it is", "inflated"],
)
def test_an_answer_that_is_too_large_has_failed(transport: Transport, headers: Mapping[str, str], body: bytes) -> None:
    with receiver(lambda request: (200, headers, body)) as server:
        answer = transport.get(server.target())
    assert (answer.outcome, answer.status, answer.body) == ("failed", 200, b"")
    assert "larger than" in answer.detail


def test_an_answer_without_end_is_not_waited_for(transport: Transport) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LARGEST_ANSWER + 1))
        connection.recv(1)

    with listener(serve) as target:
        assert transport.post(target, b"{}", JSON).outcome == "failed"


@pytest.mark.parametrize(("body", "read"), [(gzip.compress(b"{}", mtime=0), b"{}"), (b"no gzip", b"")])
def test_an_answer_that_is_compressed_unasked_is_read(transport: Transport, body: bytes, read: bytes) -> None:
    with receiver(lambda request: (200, {"Content-Encoding": "gzip"}, body)) as server:
        answer = transport.get(server.target())
    assert (answer.outcome, answer.body) == ("delivered", read)
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "unreachable"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "failed"),
        (b"<html>what?</html>\r\n\r\n", "failed"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000, "failed"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "failed"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, "delivered"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "delivered"),
    ],
)
def test_what_is_answered_may_be_no_answer(transport: Transport, answer: bytes, outcome: Outcome) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    with listener(serve) as target:
        assert transport.post(target, b"{}", JSON).outcome == outcome


def test_nobody_there_is_unreachable(transport: Transport) -> None:
    with listener(lambda connection: None) as target:
        pass
    answer = transport.post(target, b"{}", JSON)
    assert (answer.outcome, answer.status) == ("unreachable", None)
    assert "it cannot be connected to: connection refused" in answer.detail


def drip(connection: socket.socket, data: bytes) -> None:
    """A byte at a time, often enough that no single read takes long; for 20 seconds, then all of the rest."""
    end = time.monotonic() + 20
    while data and time.monotonic() < end:
        connection.sendall(data[:1])
        data = data[1:] or b"x"
        time.sleep(0.02)


def drip_head(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nA: ")
    drip(connection, b"a")


def drip_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    drip(connection, b"a")


def drip_continue(connection: socket.socket) -> None:
    read_request(connection)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)
    connection.sendall(ANSWER)


def sip(connection: socket.socket) -> None:
    end = time.monotonic() + 20
    while connection.recv(4096) and time.monotonic() < end:
        time.sleep(0.02)
    connection.sendall(ANSWER)


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


@pytest.mark.parametrize("serve", [drip_head, drip_body, drip_continue, sip, say_nothing])
def test_the_time_holds_against_who_drips(transport: Transport, serve: Callable[[socket.socket], None]) -> None:
    with listener(serve) as target:
        body = b"x" * (20_000_000 if serve is sip else 10)
        answer = transport.post(Target(target.url, timeout=0.3, loopback=True), body, JSON)
    assert answer.outcome == "unreachable"
    assert answer.detail == f"POST {target.url}: no whole answer within 0.3 s."
    assert answer.seconds < 15, "it would have taken 20"


def test_a_connection_is_kept_for_the_next_call(transport: Transport) -> None:
    with receiver() as server:
        for _ in range(3):
            assert transport.post(server.target(), b"{}", JSON).outcome == "delivered"
    assert len({request.connection for request in server.requests}) == 1


def test_a_kept_connection_that_was_closed_is_not_used(transport: Transport) -> None:
    answered, closed = threading.Semaphore(0), threading.Semaphore(0)

    def answer_once(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(ANSWER)
        answered.acquire(timeout=20)
        connection.close()
        closed.release()

    with listener(answer_once) as target:
        for _ in range(3):
            assert transport.post(target, b"{}", JSON).outcome == "delivered"
            answered.release()
            assert closed.acquire(timeout=20)


def test_a_kept_connection_that_breaks_under_a_post_leaves_open_whether_it_was_taken(transport: Transport) -> None:
    taken = []

    def take_and_break(connection: socket.socket) -> None:
        taken.append(read_request(connection))
        connection.sendall(ANSWER)
        taken.append(read_request(connection))

    with listener(take_and_break) as target:
        assert transport.post(target, b"1", JSON).outcome == "delivered"
        answer = transport.post(target, b"2", JSON)
    assert answer.outcome == "unreachable"
    assert "closed without an answer" in answer.detail
    assert len(taken) == 2, "it is not sent again unasked"


def test_many_threads_call_at_once_over_few_connections() -> None:
    def echo(request: Request) -> Reply:
        return 200, {}, request.body

    with (
        receiver(echo) as server,
        closing(Transport(user_agent="test", most_connections=3)) as transport,
        ThreadPoolExecutor(8) as threads,
    ):
        bodies = [str(number).encode() for number in range(60)]
        answers = [*threads.map(lambda body: transport.post(server.target(), body, JSON), bodies)]
    assert [answer.body for answer in answers] == bodies


def test_who_finds_no_connection_free_waits_within_the_time() -> None:
    arrived, release = threading.Event(), threading.Event()

    def hold(request: Request) -> Reply:
        arrived.set()
        release.wait(30)
        return 200, {}, b""

    with (
        receiver(hold) as server,
        closing(Transport(user_agent="test", most_connections=1)) as transport,
        ThreadPoolExecutor() as threads,
    ):
        first = threads.submit(transport.get, server.target())
        assert arrived.wait(20)
        second = transport.get(server.target(timeout=0.3))
        release.set()
        assert first.result().outcome == "delivered"
    assert second.outcome == "unreachable"
    assert "none of 1 connections became free" in second.detail


@pytest.mark.parametrize(
    "headers", [{"X-Request-Id": "a\r\nX-Party: b"}, {"X-Request-Id": "a\nb"}, {"a b": "c"}, {"X": "€"}, {"é": "a"}]
)
def test_a_header_cannot_smuggle_in_another(transport: Transport, headers: Mapping[str, str]) -> None:
    with receiver() as server:
        answer = transport.post(server.target(), b"{}", JSON, headers)
    assert answer.outcome == "failed"
    assert server.requests == []


def test_a_caller_does_not_say_whom_it_calls_nor_how_long_the_body_is(transport: Transport) -> None:
    with receiver() as server:
        transport.post(server.target(), b"{}", JSON, {"host": "a.example", "CONTENT-LENGTH": "9"})
    [request] = server.requests
    assert request.headers["host"] == f"{LOCALHOST}:{server.server_port}"
    assert request.body == b"{}"


def test_the_environment_has_no_say(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    with receiver() as server:
        assert transport.get(server.target()).outcome == "delivered"


def test_connections_to_too_many_places_are_not_kept(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_MOST_ORIGINS", 1)
    with receiver() as one, receiver() as other:
        for server in (one, one, other, one):
            assert transport.get(server.target()).outcome == "delivered"
    assert len({request.connection for request in one.requests}) == 2


def test_a_connection_in_use_is_closed_at_the_end_of_its_call(transport: Transport) -> None:
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        transport.close()
        connection.sendall(ANSWER)
        if connection.recv(1) == b"":
            ended.set()

    with listener(serve) as target:
        assert transport.post(target, b"{}", JSON).outcome == "delivered"
        assert ended.wait(20)
