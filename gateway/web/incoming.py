"""What has come of a request: taken in by the reception, read out again by gunicorn as if from a socket."""

from __future__ import annotations

import socket

from gateway.web.framing import Framing

LEAST_RATE = 64 * 1024
"""Bytes that a sender has to send a second, once its time for a short request is over."""

_PIECE = 64 * 1024
"""What is read at once: of more, gunicorn moves the rest to and fro."""


class TooMuchError(OSError):
    """The request is, or is going to be, longer than is taken in."""


class Incoming:
    """The bytes of one connection: of a request, or of the beginning of one, and perhaps of what is sent after it.

    Reading never waits: where nothing is held it is as if the connection had ended, or fails as `cut` says. Once that
    has happened (`is_dry`), gunicorn and the framing do not agree on where the request ends, or it has no end. But what
    goes on at a `source` is read from there.
    """

    def __init__(self) -> None:
        self.held = bytearray()
        self.framing = Framing()
        self.cut: type[OSError] | None = None
        self.source: socket.socket | None = None
        self.is_dry = False
        self.counted = 0
        self._began = 0.0
        self._request = 0

    def begin(self, now: float) -> None:
        """Of the next request, whose first bytes may be held already."""
        self.framing = Framing()
        self.cut = None
        self.is_dry = False
        self._began = now

    def take_in(self, data: bytes) -> None:
        self.held += data

    def put_back(self, data: bytes) -> None:
        """What was read out of a request that comes next, and belongs to that."""
        self.held[:0] = data

    def is_whole(self) -> bool:
        return self.framing.is_whole(self.held)

    def hand_over(self, cut: type[OSError] | None = None) -> None:
        """The request can be read now, up to its end or to where it is cut off."""
        self.cut = cut
        self._request = self.framing.end or 0

    def is_late(self, now: float, head_seconds: float, body_seconds: float) -> bool:
        """Whether the sender has had its time; each second's worth of bytes buys it another."""
        if not self.framing.head:
            return now - self._began > head_seconds
        return now - self._began > body_seconds + len(self.held) / LEAST_RATE

    def recv(self, size: int) -> bytes:
        """As `socket.recv`: up to `size` bytes, of this request first, of the next one only when it is read out."""
        if not self.held and self.source is not None:
            return self.source.recv(min(size, _PIECE))
        if not self.held:
            self.is_dry = True
            if self.cut is not None:
                raise self.cut("the request was cut off")
            return b""
        with memoryview(self.held) as view:
            piece = bytes(view[: min(size, self._request or size, _PIECE)])
        del self.held[: len(piece)]
        self._request -= min(self._request, len(piece))
        return piece
