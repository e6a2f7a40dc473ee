"""The report of a replay as text: in short, by event and outcome, and then what an operator has to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from typing import Any

from gateway.replay.model import OUTCOMES, TROUBLE, Line, Progress

_WIDEST = 60
_PIECE = 200
"""Lines that are aligned together."""
Read = Callable[[Sequence[str]], Iterator[Line]]
"""The lines of the report that have one of some outcomes; without any, all."""


class Text:
    """A report: `kinds` are how many items of which event have which outcome, `most` how many lines are listed."""

    def __init__(
        self, progress: Progress, kinds: Sequence[tuple[str | None, str | None, int]], most: int | None
    ) -> None:
        self._progress = progress
        self._kinds = kinds
        self._most = most

    def lines(self, read: Read, outcomes: Sequence[str] = ()) -> Iterator[str]:
        """`outcomes` are those that are listed; without any, trouble, and all of a dry run."""
        yield from summary(self._progress)
        yield ""
        rows = [(event or "-", outcome or "not done yet", str(number)) for event, outcome, number in self._kinds]
        yield from columns(("event", "outcome", "messages"), rows)
        if self._progress.replay.mode == "dry-run":
            wanted = list(outcomes) or [one for one in OUTCOMES if one != "skipped"]
            yield from self._cut(read(wanted), _tried, wanted)
            return
        wanted = list(outcomes) or sorted(TROUBLE & self._progress.counts.keys())
        if wanted:
            yield from self._cut(read(wanted), _table, wanted)

    def _cut(
        self, found: Iterator[Line], shown: Callable[[Iterable[Line]], Iterator[str]], wanted: Sequence[str]
    ) -> Iterator[str]:
        first = next(found, None)
        if first is None:
            return
        listed = chain([first], found)
        yield ""
        yield from shown(listed if self._most is None else islice(listed, self._most))
        if self._most is not None and next(listed, None) is not None:
            words = " ".join(f"--outcome {outcome}" for outcome in wanted if self._progress.counts.get(outcome))
            yield f"These are the first {self._most}. All: fhir-gateway replay report {self._progress.replay.id} " + (
                f"--format csv {words}".rstrip()
            )


def summary(progress: Progress) -> Iterator[str]:
    """What a replay is, and how far it has come, in a few lines."""
    replay = progress.replay
    of = {"inbox": "what is in the inbox", "outbox": "what is in the outbox", "files": "what came in files"}
    trial = f" of {replay.options.trial_of}" if replay.mode == "dry-run" else ""
    why = f" ({replay.why})" if replay.why else ""
    yield f"Replay {replay.id}: {replay.mode}{trial}, {of[replay.source]}. It is {replay.state}{why}."
    yield f"Asked for {moment(replay.created_at)} by {shown(replay.created_by)}{_course(progress)}."
    left = f"; {progress.remaining} not done yet" if progress.remaining else ""
    yield f"{messages(replay.items)}: {counted(progress.counts) or 'none done'}{left}."
    if progress.held:
        yield (
            f"{progress.held} that partners would get are held: `fhir-gateway replay release {replay.id}` has them "
            f"sent, `fhir-gateway replay drop {replay.id}` never."
        )


def _course(progress: Progress) -> str:
    replay = progress.replay
    said = ""
    if replay.started_by:
        said += f"; started {moment(replay.started_at)} by {shown(replay.started_by)}"
    if replay.approved_by:
        said += f"; approved by {shown(replay.approved_by)}"
    return said + (f"; ended {moment(replay.ended_at)}" if replay.ended_at else "")


def messages(number: int) -> str:
    return f"{number:,} message" + ("" if number == 1 else "s")


def counted(counts: Mapping[str, int]) -> str:
    """`1,000 ok, 4 failed`, in the order of OUTCOMES."""
    return ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in OUTCOMES if counts.get(outcome))


def moment(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines with aligned columns, as wide as the first lines need."""
    left = iter(rows)
    some = [head, *islice(left, _PIECE)]
    widths = [max(map(len, column)) for column in zip(*some, strict=True)]
    for row in chain(some, left):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def shown(value: object, widest: int | None = None) -> str:
    """`-` for nothing; a value that others have sent, on one line and without what a terminal would obey."""
    text = "-" if value is None or value == "" else str(value)
    text = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return text if widest is None or len(text) <= widest else f"{text[: widest - 1]}…"


def _table(found: Iterable[Line]) -> Iterator[str]:
    """Those that came to the same for the same reason, one after the other, under what they have in common."""
    for (outcome, why, first_error), alike in groupby(found, _alike):
        yield f"{outcome or 'not done yet'}{f': {shown(why)}' if why else ''}"
        if first_error:
            yield f"  first error: {shown(first_error)}"
        named = map(_row, alike)
        yield from (f"  {text}" for text in columns(next(named), named))


def _alike(line: Line) -> tuple[str | None, str | None, str | None]:
    """What lines have in common: what they came to, and why. A sentence on a file begins with its name."""
    why = line.detail.removeprefix(f"{line.file} ") if line.detail else None
    return line.outcome, why, line.first_error


def _row(line: Line) -> tuple[str, ...]:
    return name(line), *(shown(said, _WIDEST) for said in (line.event, line.sender, line.bundle_id))


def name(line: Line) -> str:
    """A line's message by its number in the inbox, or the outbox, or by its file."""
    if line.outbox_id is not None:
        return f"outbox {line.outbox_id}"
    if line.file is not None:
        return shown(line.file) if line.message_id is None else f"{line.message_id}, {shown(line.file)}"
    return shown(line.message_id)


# --- dry runs ---------------------------------------------------------------------------------------------------------

_WOULD = {"ok": "would take effect", "refused": "would be refused", "failed": "would fail"}


def _tried(found: Iterable[Line]) -> Iterator[str]:
    """Message by message, those of one Task one after the other; of each, Task by Task."""
    for line in found:
        would = _WOULD.get(line.outcome or "", line.outcome or "not done yet")
        why = f": {shown(line.detail)}" if line.detail else ""
        event, sender = shown(line.event), shown(line.sender)
        yield f"message {name(line)} ({event} of {sender}, Bundle {shown(line.bundle_id)}) {would}{why}"
        if line.first_error:
            yield f"  its first error: {shown(line.first_error)}"
        yield from (f"  {said}" for said in changes(line.changes or {}))


def changes(said: Mapping[str, Any]) -> Iterator[str]:
    """What a dry run would have changed: of each resource its address, and what changes in it."""
    for one in said.get("resources", ()):
        is_new = ", new" if one["isNew"] else "" if one["lines"] else ", as it is"
        yield f"{one['resource']}{is_new}"
        yield from (f"  {shown(line)}" for line in one["lines"])
    if told := said.get("told"):
        yield f"told: {', '.join(map(shown, told))}"
