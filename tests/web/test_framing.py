"""Where a request ends, however its bytes come, and what of it is read out again."""

import pytest

from gateway.web.framing import Framing
from gateway.web.incoming import LEAST_RATE, Incoming, TooMuchError

POST = b"POST / HTTP/1.1\r\nHost: g\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\n\r\n"


def end_of(sent: bytes, size: int) -> tuple[bool, int | None]:
    """Whether it is whole, and where it ends, when `size` bytes come at a time and what has come is not read out."""
    framing, held = Framing(), bytearray()
    for start in range(0, len(sent), size):
        if framing.is_whole(held):
            break
        held += sent[start : start + size]
    return framing.is_whole(held), framing.end


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\nGET / HTTP/1.0\r\nHost: g\r\n\r\n",
        POST + b"Content-Length: 5\r\n\r\nhello",
        POST + b"content-length:\t5 \r\nX: y\r\n\r\nhello",
        POST + b"Content-Length: 0\r\n\r\n",
        POST + b"Content-Length: " + b"0" * 40 + b"5\r\n\r\nhello",
        CHUNKED + b"0" * 40 + b"5\r\nhello\r\n" + b"0" * 40 + b"\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5 ;a=b\r\nhello\r\nA\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\nX: y\r\nZ: 0\r\n\r\n",
    ],
)
def test_a_request_ends_where_it_says(request_: bytes, size: int) -> None:
    assert end_of(request_ + NEXT, size) == (True, len(request_))
    assert end_of(request_[:-1], size)[0] is False


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", len(POST) + 40),
        (POST + b"Content-Length: +5\r\n\r\nhello", len(POST) + 22),
        (POST + b"Transfer-Encoding: gzip\r\n\r\nhello", len(POST) + 27),
    ],
)
def test_a_request_whose_length_nobody_can_tell_ends_with_its_head(sent: bytes, end: int) -> None:
    assert end_of(sent, 1000) == (True, end)


@pytest.mark.parametrize("body", [b"x\r\n", b"-1\r\n", b"\r\n\r\n", b"a" * 9000, b"0\r\n" + b"X" * 70_000])
def test_what_is_no_chunk_is_waited_for_no_longer(body: bytes) -> None:
    assert end_of(CHUNKED + body, 100_000)[0]


def test_what_is_to_come_can_be_told_early() -> None:
    framing = Framing()

    assert not framing.is_whole(bytearray(POST + b"Content-Length: 999\r\n\r\n"))
    assert framing.least - framing.head == 999

    for larger_than_any in (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", CHUNKED + b"5" * 20 + b"\r\n"):
        framing = Framing()
        assert not framing.is_whole(bytearray(larger_than_any))
        assert framing.least > 10**14

    framing = Framing()
    assert not framing.is_whole(bytearray(CHUNKED + b"fffffff\r\nx"))
    assert framing.least - framing.head > 0xFFFFFFF


def test_what_chunks_take_beside_their_data_is_counted() -> None:
    framing, held = Framing(), bytearray(CHUNKED + b"1\r\n{\r\n" * 10 + b"5\r\nhel")

    assert not framing.is_whole(held)
    assert (framing.data, framing.chunking) == (10, 50)


def test_a_head_whose_lines_end_in_lf_alone_is_not_waited_for() -> None:
    assert end_of(b"GET / HTTP/1.1\nHost: g\n\n", 1) == (True, 24)


def test_a_sender_in_http_1_0_does_not_wait_to_go_on() -> None:
    held = bytearray(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    framing = Framing()

    assert not framing.is_whole(held)
    assert not framing.take_expectation(held)


def test_a_sender_that_waits_to_go_on_is_told_once() -> None:
    framing, held = Framing(), bytearray(POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
    assert not framing.is_whole(held)

    assert framing.take_expectation(held)
    assert not framing.take_expectation(held)

    held += b"hello"
    assert bytes(held) == POST + b"Content-Length: 5\r\n\r\nhello"
    assert framing.is_whole(held)
    assert framing.end == len(held)


def test_a_sender_that_has_sent_all_is_not_told_to_go_on() -> None:
    framing, held = Framing(), bytearray(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")
    assert framing.is_whole(held)
    assert not framing.take_expectation(held)


def taken_in(*pieces: bytes) -> Incoming:
    incoming = Incoming()
    incoming.begin(0.0)
    for piece in pieces:
        incoming.take_in(piece)
        incoming.is_whole()
    return incoming


def test_a_request_is_read_out_before_the_next() -> None:
    incoming = taken_in(POST + b"Content-Length: 5\r\n\r\nhello" + NEXT)
    incoming.hand_over()

    assert incoming.recv(10) + incoming.recv(8192) == POST + b"Content-Length: 5\r\n\r\nhello"
    incoming.begin(1.0)
    assert incoming.is_whole()
    incoming.hand_over()
    assert incoming.recv(8192) == NEXT
    assert incoming.recv(8192) == b""


@pytest.mark.parametrize("cut", [TimeoutError, TooMuchError])
def test_a_request_that_is_cut_off_fails_where_it_ends(cut: type[OSError]) -> None:
    incoming = taken_in(POST + b"Content-Length: 5\r\n\r\nhe")
    incoming.hand_over(cut)

    assert incoming.recv(8192).endswith(b"\r\n\r\nhe")
    with pytest.raises(cut):
        incoming.recv(8192)


def test_a_sender_is_late_with_its_head_and_with_its_body() -> None:
    head, body = taken_in(b"POST"), taken_in(POST + b"Content-Length: 999999\r\n\r\n" + b"x" * LEAST_RATE)

    assert [head.is_late(now, 10, 30) for now in (9, 11)] == [False, True]
    assert [body.is_late(now, 10, 30) for now in (11, 30.5, 32)] == [False, False, True]


def test_what_was_read_too_far_is_the_beginning_of_the_next_request() -> None:
    incoming = Incoming()
    incoming.begin(0.0)
    incoming.take_in(NEXT[5:])
    incoming.put_back(NEXT[:5])
    assert incoming.is_whole()
    incoming.hand_over()
    assert incoming.recv(8192) == NEXT
