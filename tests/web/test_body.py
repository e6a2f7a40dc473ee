"""Reading a body: all of it or a refusal, and never more than the limit."""

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import pytest
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, NoMoreData
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refused, TooLarge, Unreadable
from gateway.web.body import TooSlow, drain, read_body
from gateway.web.incoming import TooMuchError
from gateway.web.negotiation import UnsupportedMediaType

LIMIT = 100_000
CONTENT = b'{"resourceType": "Bundle"}' * 100


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def raw_deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(content) + compressor.flush()


def read(body: bytes, encoding: str | None = None, length: int | None = None, limit: int = LIMIT) -> bytes:
    return read_body(io.BytesIO(body), length, encoding, limit)


class Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time, and counts them."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(min(7, size or 0))
        self.given += len(part)
        return part


class Broken(io.BytesIO):
    """A stream that fails after its first bytes."""

    def __init__(self, error: Exception) -> None:
        super().__init__(CONTENT)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise self.error
        return super().read(10)


@pytest.mark.parametrize("length", [None, len(CONTENT)])
@pytest.mark.parametrize("encoding", [None, "", "identity", "Identity, identity"])
def test_a_plain_body_is_read_as_it_is(encoding: str | None, length: int | None) -> None:
    assert read(CONTENT, encoding, length) == CONTENT


def test_a_body_may_come_in_small_pieces() -> None:
    assert read_body(Trickle(CONTENT), None, None, LIMIT) == CONTENT


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzipped),
        ("GZip", gzipped),
        ("x-gzip", gzipped),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity, gzip", gzipped),
        ("gzip, gzip", lambda content: gzipped(gzipped(content))),
        ("deflate, gzip", lambda content: gzipped(zlib.compress(content))),
        ("gzip,deflate , x-gzip", lambda content: gzipped(zlib.compress(gzipped(content)))),
        ("gzip", lambda content: gzipped(content[:100]) + gzipped(b"") + gzipped(content[100:])),
    ],
)
def test_an_encoded_body_is_decoded(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    assert read(encode(CONTENT), encoding) == CONTENT


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "*", "gzip;q=1", "gzip, br", "gzip, gzip, gzip, gzip"])
def test_an_encoding_that_is_not_read_is_refused_before_the_body_is(encoding: str) -> None:
    stream = Trickle(CONTENT)

    with pytest.raises(UnsupportedMediaType) as refused:
        read_body(stream, None, encoding, LIMIT)

    assert f'"{encoding}"' in refused.value.issues[0].text
    assert "Send gzip, deflate or no Content-Encoding" in refused.value.issues[0].text
    assert stream.given == 0


def test_a_body_of_just_the_limit_is_read() -> None:
    body = b"x" * LIMIT

    assert read(body) == read(gzipped(body), "gzip") == read(zlib.compress(body), "deflate") == body


def test_a_body_that_is_said_to_be_too_large_is_not_read() -> None:
    stream = Trickle(CONTENT)

    with pytest.raises(TooLarge, match=f"larger than the {LIMIT} bytes"):
        read_body(stream, LIMIT + 1, None, LIMIT)

    assert stream.given == 0


def test_a_body_without_length_is_read_no_further_than_the_limit() -> None:
    stream = Trickle(b"x" * 1000)

    with pytest.raises(TooLarge):
        read_body(stream, None, None, 100)

    assert stream.given == 101


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzipped(b"\0" * (LIMIT + 1))),
        ("deflate", zlib.compress(b"\0" * 5_000_000)),
        ("deflate", raw_deflate(b"\0" * 5_000_000)),
        ("gzip", gzipped(b"\0" * 60_000) * 2),
        ("gzip, gzip", gzipped(gzipped(b"\0" * 5_000_000))),
    ],
)
def test_a_bomb_is_too_large(encoding: str, body: bytes) -> None:
    with pytest.raises(TooLarge):
        read(body, encoding)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", CONTENT),
        ("gzip", gzipped(CONTENT)[:-1]),
        ("gzip", gzipped(CONTENT)[:20]),
        ("gzip", b"\x1f\x8b"),
        ("gzip", gzipped(CONTENT) + b"garbage"),
        ("gzip", gzipped(CONTENT) + gzipped(CONTENT)[:-3]),
        ("gzip", gzipped(CONTENT)[:-8] + struct.pack("<LL", 0, len(CONTENT))),
        ("gzip", zlib.compress(CONTENT)),
        ("gzip", gzipped(b"") * 2000),
        ("deflate", gzipped(CONTENT)),
        ("deflate", zlib.compress(CONTENT)[:-1]),
        ("deflate", zlib.compress(CONTENT) + b"garbage"),
        ("deflate", zlib.compress(CONTENT) * 2),
        ("deflate", raw_deflate(CONTENT)[:-4]),
        ("gzip, deflate", zlib.compress(CONTENT)),
    ],
)
def test_a_body_that_is_not_in_its_encoding_is_unreadable(encoding: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body, encoding)


@pytest.mark.parametrize(
    ("encoding", "body"), [(None, b""), ("gzip", b""), ("gzip", gzipped(b"")), ("deflate", zlib.compress(b""))]
)
def test_an_empty_body_is_unreadable(encoding: str | None, body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body, encoding)


def test_an_empty_body_is_told_what_to_send() -> None:
    with pytest.raises(Unreadable, match=r"empty\. Send a FHIR message"):
        read(b"", None, 0)


def test_a_body_shorter_than_it_is_said_to_be_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="after 5 of 10 bytes"):
        read(b"12345", None, 10)


@pytest.mark.parametrize(
    "error", [NoMoreData(), InvalidChunkSize(b"x"), ChunkMissingTerminator(b"x"), ConnectionError()]
)
def test_a_connection_that_fails_in_the_middle_is_unreadable(error: Exception) -> None:
    with pytest.raises(Unreadable, match="breaks off"):
        read_body(Broken(error), None, None, LIMIT)


def test_a_body_that_has_not_come_in_time_is_too_slow() -> None:
    with pytest.raises(TooSlow, match="not come in the time") as refused:
        read_body(Broken(TimeoutError()), 1000, None, LIMIT)

    assert [issue.code for issue in refused.value.issues] == ["timeout"]


def test_a_body_of_which_too_much_has_come_is_too_large() -> None:
    with pytest.raises(TooLarge, match=f"larger than the {LIMIT} bytes"):
        read_body(Broken(TooMuchError()), None, None, LIMIT)


@given(
    body=st.binary(max_size=300) | st.binary(max_size=100).map(gzipped) | st.binary(max_size=100).map(zlib.compress),
    encoding=st.sampled_from(["gzip", "deflate", "gzip, deflate", "identity", "x"]) | st.text(max_size=20),
    length=st.none() | st.integers(0, 1000),
)
def test_a_body_is_read_within_the_limit_or_refused(body: bytes, encoding: str, length: int | None) -> None:
    try:
        content = read(body, encoding, length, limit=200)
    except Refused:
        return
    assert 0 < len(content) <= 200


def test_what_is_left_of_a_refused_body_is_read_in_bounds() -> None:
    stream = BytesIO(b"x" * 300_000)
    drain(stream, 200_000)
    assert stream.tell() == 200_000


def test_a_body_that_breaks_off_ends_the_reading() -> None:
    class Broken:
        def read(self, _size: int) -> bytes:
            raise ConnectionResetError

    drain(Broken(), 10)
