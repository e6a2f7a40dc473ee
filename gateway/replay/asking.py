"""What an operator says of a replay, in words, made into what is asked for; or a sentence that says what is unclear."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gateway.fhir.identity import OWN_SYSTEMS, identifier_key, own_address
from gateway.performing import Effects
from gateway.replay.life import Asked
from gateway.replay.model import EFFECTS, MODES, SENDS, Mode, Options, Source
from gateway.store.selections import Selection

STATES: Mapping[str, tuple[str, ...]] = {
    "inbox": ("new", "failed", "dead", "done"),
    "outbox": ("answered", "due", "queued", "held", "delivered", "dead"),
}
OUTCOMES = ("ok", "fatal-error", "transient-error")
KINDS = ("reply", "message", "notification")
MOST_VALUES = 1000
"""Of one filter."""
MOST_PARTNERS = 200
"""Each is a condition of its own, of which SQLite bounds how many there may be."""
MOST = 2**31 - 1
_LONGEST = 1000
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TASK = re.compile(r"(?:Task/)?([A-Za-z0-9\-.]{1,64})")
_MOMENT = "a date (2026-01-31), a moment (2026-01-31T14:30, in UTC, or …T14:30+01:00), or how long ago (90m, 2h, 3d)"


class Unclear(Exception):  # noqa: N818 - a finding
    """What was said cannot be meant; the text is a sentence. `what` is the filter or the option, as Filters has it."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(text)
        self.what = what


@dataclass(frozen=True, slots=True)
class Filters:
    """Which messages are meant, in words; of each that is given any will do, and all that are given must fit.

    `everything` says that none is given on purpose. `task` is an id here, or our address of the Task; `identifier` is
    `system|value`; `id` numbers of the inbox or the outbox, or ids of Bundles and MessageHeaders.
    """

    since: str | None = None
    until: str | None = None
    partner: Sequence[str] = ()
    event: Sequence[str] = ()
    state: Sequence[str] = ()
    outcome: Sequence[str] = ()
    cause: str | None = None
    identifier: Sequence[str] = ()
    task: Sequence[str] = ()
    id: Sequence[str] = ()
    kind: Sequence[str] = ()
    everything: bool = False

    @property
    def given(self) -> list[str]:
        """The names of those that say something."""
        return [name for name in self.__slots__ if getattr(self, name) and name != "everything"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How it is to be done, in words. `again`: once more, though it was done."""

    effects: str | None = None
    to: str | None = None
    rate: float | None = None
    limit: int | None = None
    stop_on_failure: bool = False
    of: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """Understands what is said at one moment, of a gateway at `base_url`."""

    base_url: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def ask(self, mode: str, filters: Filters, wishes: Wishes, by: str, files: Sequence[str] = ()) -> Asked:
        """What is asked for; `files` are as `fingerprints` tells them. Raises Unclear."""
        if mode not in MODES:
            raise Unclear("mode", f"{_shown(mode)} is no way to replay: take {', '.join(MODES)}.")
        source: Source = "outbox" if mode == "send" else "files" if files else "inbox"
        if files and (filters.given or filters.everything):
            name = filters.given[0] if filters.given else "everything"
            raise Unclear(name, "Files are replayed whole: give files, or filters of what was received, not both.")
        options = self.options(mode, wishes)  # type: ignore[arg-type]
        selection = replace(Selection(), files=tuple(files)) if files else self.selection(source, filters)
        return Asked(mode, source, selection, options, by)  # type: ignore[arg-type]

    def selection(self, source: str, filters: Filters) -> Selection:
        """Raises Unclear."""
        if not filters.given and not filters.everything:
            raise Unclear("everything", f"Say what is meant: filters, or that all of the {source} is.")
        if filters.given and filters.everything:
            raise Unclear("everything", "Give filters, or say that everything is meant, not both.")
        for name in ("partner", "event", "state", "outcome", "identifier", "task", "id", "kind"):
            _bounded(name, getattr(filters, name))
        if filters.kind and source != "outbox":
            raise Unclear("kind", "Only what the outbox has is of a kind: reply, message, notification.")
        _among("state", filters.state, STATES[source])
        _among("outcome", filters.outcome, OUTCOMES)
        _among("kind", filters.kind, KINDS)
        cause = _text("cause", filters.cause) if filters.cause else None
        since, until = self._moment("since", filters.since), self._moment("until", filters.until)
        if since and until and since >= until:
            raise Unclear("until", f"Nothing is since {since:%Y-%m-%d %H:%M:%S} and before {until:%Y-%m-%d %H:%M:%S}.")
        return Selection(
            since=since,
            until=until,
            partners=tuple(filters.partner),
            events=tuple(filters.event),
            states=tuple(filters.state),
            outcomes=tuple(filters.outcome),
            cause=cause,
            identifiers=tuple(filters.identifier),
            digests=tuple(_digest(one) for one in filters.identifier),
            tasks=tuple(self._task(one) for one in filters.task),
            ids=tuple(filters.id),
            kinds=tuple(filters.kind),
        )

    def options(self, mode: Mode, wishes: Wishes) -> Options:
        """Raises Unclear."""
        if wishes.effects is not None and mode == "dry-run":
            raise Unclear("effects", "A dry run tells nobody anything: leave out what becomes of it.")
        if wishes.effects is None and mode in ("apply", "reprocess"):
            choices = "; ".join(f"{name}: {text.rstrip('.').lower()}" for name, text in EFFECTS.items())
            raise Unclear("effects", f"Say what becomes of what partners would be told. {choices}.")
        _among("effects", [wishes.effects] if wishes.effects else [], tuple(EFFECTS))
        if wishes.to is not None and mode not in SENDS:
            raise Unclear("to", "Only what is sent again can go to another partner: answer, send.")
        if wishes.of is not None and mode != "dry-run":
            raise Unclear("of", "Only a dry run is of another mode: apply, reprocess.")
        _among("of", [wishes.of] if wishes.of else [], ("apply", "reprocess"))
        if wishes.rate is not None and not 0.001 <= wishes.rate <= 1_000_000:
            raise Unclear("rate", "A rate is a number of messages a second, from 0.001 to 1000000.")
        if wishes.limit is not None and not 1 <= wishes.limit <= MOST:
            raise Unclear("limit", f"A limit is a number of messages, from 1 to {MOST}.")
        effects: Effects = wishes.effects or "send"  # type: ignore[assignment]
        again = f"{self.now:%Y-%m-%dT%H:%M:%SZ} {secrets.token_hex(4)}" if wishes.again else None
        of = wishes.of or "apply"
        return Options(effects, wishes.to, wishes.rate, wishes.limit, wishes.stop_on_failure, of, again)  # type: ignore[arg-type]

    def _moment(self, name: str, said: str | None) -> datetime | None:
        if said is None or not said.strip():
            return None
        text = said.strip()
        try:
            if ago := _AGO.fullmatch(text):
                at = self.now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
                at = at if ago[2] == "s" else at.replace(second=0, microsecond=0)
            elif _DATE.match(text):
                at = datetime.fromisoformat(text)
                at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
            else:
                raise ValueError
        except (ValueError, OverflowError):
            raise Unclear(name, f"{_shown(text)} is no time: write {_MOMENT}.") from None
        return min(at, _LATEST)

    def _task(self, said: str) -> str:
        address = own_address(said, self.base_url)
        if address is not None and address[0] == "Task":
            return address[1]
        if match := _TASK.fullmatch(said):
            return match[1]
        raise Unclear("task", f"{_shown(said)} is no id of a Task here: write its id, or {self.base_url}/Task/ID.")


def _digest(said: str) -> str:
    system, bar, value = said.partition("|")
    if not bar or not system or not value.strip() or system.startswith(OWN_SYSTEMS):
        text = "write system|value, with the system that the parties share"
        raise Unclear("identifier", f"{_shown(said)} is no business identifier: {text}.")
    digest = identifier_key("Task", {"system": system, "value": value}, "")
    assert digest is not None
    return digest.hex()


def _bounded(name: str, values: Sequence[str]) -> None:
    most = MOST_PARTNERS if name == "partner" else MOST_VALUES
    if len(values) > most:
        raise Unclear(name, f"{len(values)} values of `{name}` are too many: at most {most}. Replay in several.")
    for value in values:
        _text(name, value)


def _text(name: str, value: str) -> str:
    if not value.strip() or len(value) > _LONGEST or "\0" in value:
        raise Unclear(name, f"A value of `{name}` has 1 to {_LONGEST} characters, and no U+0000.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unclear(name, f"A value of `{name}` is not UTF-8.") from None
    return value


def _among(name: str, values: Sequence[str], allowed: Sequence[str]) -> None:
    for value in values:
        if value not in allowed:
            raise Unclear(name, f"{_shown(value)} is no {name} here: take {', '.join(allowed)}.")


def _shown(text: str) -> str:
    text = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return text if len(text) <= 80 else f"{text[:80]}…"


# --- files ------------------------------------------------------------------------------------------------------------


def fingerprints(paths: Sequence[str]) -> tuple[str, ...]:
    """What is read in place of the inbox: each path, and what changes when anything in there does.

    Sizes and times of change tell that, not the content. What comes by standard input is never the same. Raises Unclear
    for what is not there.
    """
    return tuple(_fingerprint(path) for path in paths)


def _fingerprint(path: str) -> str:
    if path == "-":
        return f"- {secrets.token_hex(16)}"
    told = hashlib.sha256()
    try:
        for line in _lines(path):
            told.update(line.encode(errors="surrogateescape") + b"\n")
    except OSError as error:
        raise Unclear("files", f"{_shown(path)} cannot be read: {error.strerror or error}.") from None
    return f"{_shown_path(os.path.realpath(path))} {told.hexdigest()}"


def _lines(path: str) -> Iterator[str]:
    yield _line("", os.stat(path))
    if not os.path.isdir(path):
        return

    def fail(error: OSError) -> None:
        raise error

    for folder, names, files in os.walk(path, onerror=fail):
        names.sort()
        for name in sorted(files):
            found = os.path.join(folder, name)
            yield _line(os.path.relpath(found, path), os.lstat(found))


def _line(name: str, found: os.stat_result) -> str:
    return f"{name}\0{found.st_size}\0{found.st_mtime_ns}"


def _shown_path(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="replace")
