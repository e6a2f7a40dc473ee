"""Where a request of HTTP/1.1 ends, told from its first bytes without reading it: https://www.rfc-editor.org/rfc/rfc9112

Only so much is understood as is needed for that. What is no HTTP ends at once: who reads it then refuses it.
"""

from __future__ import annotations

import re

MOST_HEAD = 64 * 1024
"""Bytes of a request line and headers; of trailers, too."""
_LONGEST_LINE = 8190

_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([^\r]*)")
_CODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:[ \t]*([^\r]*)")
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_IS_1_1 = re.compile(rb"[^\r\n]* HTTP/1\.1\r\n")
_DIGITS = re.compile(rb"0*([0-9]+)")
_HEX = re.compile(rb"0*([0-9a-fA-F]+)")
_MOST_DIGITS = 15
"""Of a size; one of more is larger than anything that is taken in, and read as the largest of so many."""


class Framing:
    """Of one request, the bytes of which are looked at as they come.

    `head` is the size of the request line and the headers, 0 until all of them are there; `least` what the whole is at
    least, as far as it can be told; `end` what it is, None until it can be told; `data` what is in whole chunks.
    """

    __slots__ = ("_chunk", "_looked", "data", "end", "head", "is_chunked", "least")

    def __init__(self) -> None:
        self.head = self.least = self.data = 0
        self.end: int | None = None
        self.is_chunked = False
        self._looked = self._chunk = 0

    @property
    def chunking(self) -> int:
        """Bytes of the whole chunks that are not what they carry."""
        return self._chunk - self.head - self.data

    def is_whole(self, held: bytearray) -> bool:
        """Whether all of the request is in `held`, which only ever grows."""
        if not self.head:
            self._find_head(held)
        if self.head and self.end is None:
            self._follow_chunks(held)
        return self.end is not None and len(held) >= self.end

    def take_expectation(self, held: bytearray) -> bool:
        """Whether the sender waits for `100 Continue` before it goes on; taken out, as it is then to be answered."""
        expected = _EXPECT.search(held, 0, self.head)
        if expected is None or self.is_whole(held) or not _IS_1_1.match(held):
            return False
        start, end = expected.span()
        del held[start:end]
        self.head -= end - start
        self.least -= end - start
        self._chunk -= end - start
        if self.end is not None:
            self.end -= end - start
        return True

    def _find_head(self, held: bytearray) -> None:
        found = held.find(b"\r\n\r\n", max(0, self._looked - 3))
        self._looked = len(held)
        if found < 0:
            self._end_at_bare_line(held)
            return
        self.head = self.least = self._chunk = found + 4
        head = bytes(held[: self.head]).lower()
        coding, lengths = _CODING.search(head), _LENGTH.findall(head)
        if coding and b"chunked" in coding[1]:
            self.is_chunked = True
        else:
            only = _DIGITS.fullmatch(lengths[0].strip()) if len(lengths) == 1 else None
            self.least += _size(only, 10) if only and not coding else 0
            self.end = self.least

    def _end_at_bare_line(self, held: bytearray) -> None:
        """A head whose lines end in LF alone is no head: gunicorn refuses it, and nothing is to be waited for."""
        found = held.find(b"\n\n")
        if found >= 0:
            self.head = self.least = self.end = found + 2

    def _follow_chunks(self, held: bytearray) -> None:
        """Goes from chunk to chunk up to the last, and ends there, or at what is no chunk."""
        while (line := held.find(b"\r\n", self._chunk)) >= 0:
            written = _HEX.fullmatch(bytes(held[self._chunk : line]).partition(b";")[0].strip(b" \t"))
            if not written:
                self.end = len(held)
                return
            size = _size(written, 16)
            if not size:
                self._find_trailers(held, line)
                return
            self.data += size
            self.least = line + 2 + size + 2
            if self.least > len(held):
                self.data -= size
                return
            self._chunk = self.least
        if len(held) - self._chunk > _LONGEST_LINE:
            self.end = len(held)

    def _find_trailers(self, held: bytearray, line: int) -> None:
        found = held.find(b"\r\n\r\n", line)
        if found >= 0:
            self.end = found + 4
        elif len(held) - line > MOST_HEAD:
            self.end = len(held)


def _size(written: re.Match[bytes], base: int) -> int:
    digits = written[1]
    return int(digits if len(digits) <= _MOST_DIGITS else b"9" * _MOST_DIGITS, base)
