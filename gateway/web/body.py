"""Reading a request's body: bounded as sent and as inflated, whatever the caller says of its length.

Codings: https://www.rfc-editor.org/rfc/rfc9110#section-8.4
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from gateway.errors import Issue, Refused, TooLarge, Unreadable
from gateway.web.incoming import TooMuchError
from gateway.web.negotiation import UnsupportedMediaType

_CHUNK = 64 * 1024
_MOST_CODINGS = 3
_MOST_MEMBERS = 1000
"""Of a gzip body; each costs more to begin than the bytes it takes to ask for it."""

_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15


class TooSlow(Refused):
    """The body has not come within the time that a sender has for it."""


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_body(stream: Stream, content_length: int | None, content_encoding: str | None, limit: int) -> bytes:
    """The whole body, decoded; `content_length` is None when it is sent in chunks.

    Raises TooLarge if it is more than `limit` bytes, as sent or decoded; TooSlow if it has not come in time; Unreadable
    if it is empty, breaks off or is not in the coding it is said to be in; UnsupportedMediaType for a coding that there
    is not.
    """
    decoders = _decoders(content_encoding)
    if content_length is not None and content_length > limit:
        raise _too_large(limit)
    body = _read(stream, limit)
    if content_length is not None and len(body) < content_length:
        raise _unreadable(f"The body breaks off after {len(body)} of {content_length} bytes. Send all of it.")
    for decode in decoders:
        body = decode(body, limit)
    if not body:
        raise _unreadable("The body is empty. Send a FHIR message: a Bundle, in JSON or in XML.")
    return body


def _read(stream: Stream, limit: int) -> bytes:
    """All there is, or TooLarge as soon as it is more than `limit`."""
    parts, missing = [], limit + 1
    try:
        while part := stream.read(min(_CHUNK, missing)):
            parts.append(part)
            missing -= len(part)
            if missing <= 0:
                raise _too_large(limit)
    except TooMuchError:
        raise _too_large(limit) from None
    except TimeoutError as error:
        text = "The body has not come in the time there is for it. Send it again, unchanged, over a faster connection."
        raise TooSlow(Issue("timeout", text)) from error
    except (OSError, ParseException) as error:
        raise _unreadable("The body breaks off, or is not in chunks as HTTP has them. Send all of it.") from error
    return b"".join(parts)


def drain(stream: Stream, limit: int) -> None:
    """Reads what is left of a body that is refused, up to `limit` bytes.

    The server closes a connection with much unread in it, after an answer that says it stays: the next request on it
    would be lost.
    """
    with suppress(OSError, ParseException):
        while limit > 0 and (part := stream.read(min(_CHUNK, limit))):
            limit -= len(part)


# --- codings ---------------------------------------------------------------------------------------------------------

_Decoder = Callable[[bytes, int], bytes]


def _decoders(content_encoding: str | None) -> list[_Decoder]:
    """What undoes the codings, the last applied first."""
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    applied = [name for name in names if name not in ("", "identity")]
    unknown = [name for name in applied if name not in _DECODERS]
    if unknown or len(applied) > _MOST_CODINGS:
        wanted = f"gzip, deflate or no Content-Encoding, and at most {_MOST_CODINGS} codings"
        text = f'The gateway does not read the Content-Encoding "{str(content_encoding)[:100]}". Send {wanted}.'
        raise UnsupportedMediaType(Issue("not-supported", text))
    return [_DECODERS[name] for name in reversed(applied)]


def _gunzip(data: bytes, limit: int) -> bytes:
    return _inflate(data, _GZIP, limit, _MOST_MEMBERS)


def _undeflate(data: bytes, limit: int) -> bytes:
    """Deflate is zlib's format by the standard, and the bare one by habit."""
    is_zlib = len(data) >= 2 and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return _inflate(data, _ZLIB if is_zlib else _RAW_DEFLATE, limit, 1)


_DECODERS: dict[str, _Decoder] = {"gzip": _gunzip, "x-gzip": _gunzip, "deflate": _undeflate}


def _inflate(data: bytes, window: int, limit: int, most_members: int) -> bytes:
    """Never more than a byte beyond `limit` is inflated."""
    inflated = bytearray()
    member, members = zlib.decompressobj(window), 1
    for start in range(0, len(data), _CHUNK):
        rest = data[start : start + _CHUNK]
        while rest:
            if member.eof:
                member, members = zlib.decompressobj(window), members + 1
            if members > most_members:
                raise _unreadable("The compressed body goes on after its end. Send nothing after it.")
            try:
                inflated += member.decompress(rest, limit + 1 - len(inflated))
            except zlib.error:
                raise _unreadable("The body is not in the Content-Encoding it is said to be in.") from None
            if len(inflated) > limit:
                raise _too_large(limit)
            rest = member.unused_data if member.eof else member.unconsumed_tail
    if not member.eof:
        raise _unreadable("The compressed body breaks off before its end. Send all of it.")
    return bytes(inflated)


def _too_large(limit: int) -> TooLarge:
    text = f"The body is larger than the {limit} bytes that the gateway takes. Send it as several messages."
    return TooLarge(Issue("too-long", text))


def _unreadable(text: str) -> Unreadable:
    return Unreadable(Issue("structure", text, severity="fatal"))
