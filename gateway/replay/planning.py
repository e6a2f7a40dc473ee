"""What a replay is made of: its items, in their order; and the forecast of what would become of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.fhir.lanes import MOST_KEYS
from gateway.partners import Partners
from gateway.receiving import keys_of_own
from gateway.replay.model import Forecast, Group, Mode, Options, Replay
from gateway.replay.staging import BEFORE_ALL, Laid
from gateway.replay.targets import LISTED, Nobody, Targets, trouble_with
from gateway.store import inbox, lanes, replay_items, replaying
from gateway.store.database import Connection, Database
from gateway.store.replay_items import Counted, File
from gateway.store.replaying import Kept

MOST_GROUPS = 200
_AT_ONCE = 500
_MOST_NAMED = 20
_WAITS = ("new", "failed", "dead")
_UNREADABLE = "unreadable"


def choose(connection: Connection, replay: Replay, partners: Partners) -> tuple[int, Forecast]:
    """Makes items of what is meant in the inbox, or the outbox; returns how many, and what would become of them."""
    selection, limit = replay.selection, replay.options.limit
    if replay.source == "outbox":
        items = replay_items.choose_entries(connection, replay.id, selection, limit)
        return items, forecast_sending(replay, replaying.count_entries(connection, replay.id), partners)
    by_lane = replay.mode == "dry-run"
    items = replay_items.choose_messages(connection, replay.id, selection, limit, by_lane=by_lane)
    warnings = list(_warn(connection, replay))
    if replay.mode == "answer":
        return items, forecast_sending(replay, replaying.count_replies(connection, replay.id), partners, warnings)
    return items, forecast(replay, replay_items.count_messages(connection, replay.id), partners, warnings)


def _warn(connection: Connection, replay: Replay) -> Iterator[str]:
    if replay.selection.ids and (gone := replay_items.find_missing(connection, replay.id, replay.selection.ids)):
        yield f"Not kept here (any more), or left out by the other conditions: {', '.join(gone[:_MOST_NAMED])}."
    if replay.mode != "answer" and (overtaken := replay_items.count_overtaken(connection, replay.id)):
        yield (
            f"{overtaken} were set aside and overtaken: later messages of the same Tasks took effect. They are judged "
            "by what is kept now."
        )


def forecast(replay: Replay, counted: Iterable[Counted], partners: Partners, warnings: Sequence[str] = ()) -> Forecast:
    """What would become of messages that are to be carried out."""
    tally = _Tally()
    judge = _Judge(replay.mode, replay.options, partners)
    for one in counted:
        tally.add(one, *judge.judge(one))
    return tally.forecast(warnings)


def forecast_sending(
    replay: Replay, counted: Iterable[tuple[Kept, Counted]], partners: Partners, warnings: Sequence[str] = ()
) -> Forecast:
    """To whom what is to be sent again would go."""
    tally, targets, effects = _Tally(), Targets(partners, replay.options.to), replay.options.effects
    for kept, one in counted:
        target = targets.find(kept)
        if isinstance(target, Nobody):
            tally.add(one, target.outcome, target.why)
        elif effects == "suppress":
            tally.add(one, "skipped", LISTED)
        else:
            tally.add(one, "held" if effects == "hold" else "sent", f"to {target.recipient}")
            tally.recipients[target.recipient] += one.items
    return tally.forecast(warnings)


class _Tally:
    """Adds up what would become of messages."""

    def __init__(self) -> None:
        self.recipients: Counter[str] = Counter()
        self._groups: Counter[Group] = Counter()
        self._times: list[datetime] = []

    def add(self, one: Counted, what: str, why: str) -> None:
        self._groups[Group(one.event, one.partner or one.sender, one.before, what, 0, why)] += one.items
        times = [*self._times, *filter(None, (one.first, one.last))]
        self._times = [min(times), max(times)] if times else []

    def forecast(self, warnings: Sequence[str]) -> Forecast:
        listed = tuple(replace(group, messages=number) for group, number in self._groups.most_common(MOST_GROUPS))
        total = self._groups.total()
        others = total - sum(group.messages for group in listed)
        first, last = self._times or (None, None)
        recipients = dict(self.recipients.most_common(MOST_GROUPS))
        return Forecast(total, listed, others, first, last, recipients, tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Judge:
    """What would become of messages that are to be carried out, by what has become of them until now."""

    mode: Mode
    options: Options
    partners: Partners

    def judge(self, one: Counted) -> tuple[str, str]:
        if one.before == _UNREADABLE:
            return "unreadable", "it is no message that can be taken"
        carries_out_again = self.mode == "reprocess" or (
            self.mode == "dry-run" and self.options.trial_of == "reprocess"
        )
        if one.before == "response":
            return "skipped", "it is a response: there is nothing to carry out"
        if one.partner is not None and (trouble := trouble_with(self.partners, one.partner)):
            return "impossible", trouble
        if one.before in ("unknown", *_WAITS):
            return "process", ""
        if carries_out_again:
            return "process", "again"
        return "skipped", "it took effect" if one.before == "ok" else "it was answered"


# --- files ------------------------------------------------------------------------------------------------------------


class Files:
    """The files of a replay, put into the order in which they were received first, lane by lane."""

    def __init__(self, database: Database, replay: Replay, staged: int) -> None:
        self._database = database
        self._replay = replay
        self._limit = staged if replay.options.limit is None else min(staged, replay.options.limit)
        self._letters = replay_items.letters_of(self._limit)
        self._kinds: Counter[tuple[str, str, str | None, str]] = Counter()
        self._times: dict[tuple[str, str, str | None, str], tuple[datetime, datetime]] = {}

    def choose(self) -> Iterator[int]:
        """Makes items of them, and tells how many so far. Raises DatabaseUnavailable."""
        after: tuple[datetime, int] | None = None
        done = 0
        while done < self._limit:
            with self._database.reading() as connection:
                most = min(_AT_ONCE, self._limit - done)
                files = replay_items.files_in_order(connection, self._replay.id, after, most)
            if not files:
                break
            kinds = self._database.attempt(_adding(self, files, done))
            for kind, at in kinds:
                self._kinds[kind] += 1
                if at != BEFORE_ALL and kind != _NO_MESSAGE:
                    first, last = self._times.get(kind, (at, at))
                    self._times[kind] = (min(first, at), max(last, at))
            done += len(files)
            last_file = files[-1]
            assert last_file.sort_at is not None
            after = (last_file.sort_at, last_file.number)
            yield done
        if self._replay.mode == "dry-run":
            self._database.attempt(lambda connection: replay_items.gather(connection, self._replay.id))

    def counted(self) -> Iterator[Counted]:
        for kind, number in self._kinds.most_common():
            yield Counted(*kind, number, *self._times.get(kind, (None, None)))

    def add(
        self, connection: Connection, files: Sequence[File], done: int
    ) -> list[tuple[tuple[str, str, str | None, str], datetime]]:
        """Makes items of some files; returns of which kind each is, and its time."""
        laid = {file.number: Laid.read(file.arrival) for file in files if file.arrival}
        lane_of = _lanes(connection, files, laid)
        known = _known(connection, laid)
        rows, kinds = [], []
        for place, file in enumerate(files):
            one, at = laid.get(file.number), file.sort_at
            assert at is not None
            lane = lane_of.get(file.number, "")
            before = known.get(file.number, "unknown") if one else _UNREADABLE
            rows.append(
                {
                    "replay_id": self._replay.id,
                    "part": lane[: self._letters],
                    "position": done + place,
                    "file_number": file.number,
                    "lane": lane or None,
                    "before": before,
                    "outcome": None if one else _UNREADABLE,
                }
            )
            kind = (one.arrival.event_code, one.arrival.sender, one.arrival.partner, before) if one else _NO_MESSAGE
            kinds.append((kind, at))
        replay_items.add(connection, rows)
        return kinds


_NO_MESSAGE = ("", "", None, _UNREADABLE)


def _adding(
    files: Files, some: Sequence[File], done: int
) -> Callable[[Connection], list[tuple[tuple[str, str, str | None, str], datetime]]]:
    return lambda connection: files.add(connection, some, done)


def _lanes(connection: Connection, files: Sequence[File], laid: Mapping[int, Laid]) -> dict[int, str]:
    """The lane of each message: that of its Task, which messages of a known key share, else its sender's."""
    keys: list[list[bytes]] = []
    for file in files:
        digests = file.digests or b""
        own = [digests[at : at + 16] for at in range(0, len(digests), 16)]
        if file.number in laid and laid[file.number].own_ids:
            own = [*own, *keys_of_own(connection, list(laid[file.number].own_ids))][:MOST_KEYS]
        keys.append(own)
    joined = lanes.join_all(connection, keys)
    return {
        file.number: lane or laid[file.number].arrival.lane
        for file, lane in zip(files, joined, strict=True)
        if file.number in laid
    }


def _known(connection: Connection, laid: Mapping[int, Laid]) -> dict[int, str]:
    """What has become of the messages that are known: their state, or the code of their reply."""
    by_key = inbox.find_known(connection, [key for one in laid.values() for key in one.keys])
    return {
        number: next(by_key[key].outcome for key in one.keys if key in by_key)
        for number, one in laid.items()
        if any(key in by_key for key in one.keys)
    }
