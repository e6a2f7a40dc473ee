"""Watching a replay: a live bar on a terminal, else a line now and then. To end the watching changes nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from gateway.cli.replay_shown import warn_without_workers
from gateway.cli.replay_words import Here
from gateway.errors import DatabaseUnavailable
from gateway.replay.model import Progress
from gateway.replay.reporting_text import counted

_LOOK_SECONDS = 0.5
_SAY_SECONDS = 5.0
_RATE_SECONDS = 10.0
_STUCK_SECONDS = 15.0
_AWAY_SECONDS = 60.0
_GOES_ON = ("running", "staging")


class _Shown(Protocol):
    def show(self, progress: Progress, rate: float | None) -> None: ...


class Pace:
    """How fast a replay goes: messages a second within the last seconds, None before that can be told."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._moved_at = float("inf")

    def look(self, done: int, at: float) -> float | None:
        if not self._seen or self._seen[-1][1] != done:
            self._moved_at = at
        self._seen.append((at, done))
        while at - self._seen[0][0] > _RATE_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        began, before = self._seen[0]
        return (done - before) / (at - began) if at > began else None

    def stands(self, at: float) -> bool:
        """Whether nothing has happened for a while."""
        return at - self._moved_at >= _STUCK_SECONDS


def watch(here: Here, replay_id: int) -> Progress:
    """Watches a replay until it does not run any more, or whoever watches has seen enough (Ctrl-C)."""
    progress = here.replays.progress(replay_id)
    if progress.replay.state not in _GOES_ON:
        return progress
    try:
        with _shown() as where:
            for progress in _looks(here, replay_id, where):  # noqa: B007 - the last one counts
                pass
    except KeyboardInterrupt:
        click.echo(
            f"\nReplay {replay_id} goes on. `fhir-gateway replay watch {replay_id}` watches it again; `pause` and "
            f"`stop` in place of `watch` hold it, and end it.",
            err=True,
        )
    return progress


def _looks(here: Here, replay_id: int, where: _Shown) -> Iterator[Progress]:
    pace, warned, away_since = Pace(), False, None
    while True:
        now = time.monotonic()
        try:
            progress = here.replays.progress(replay_id)
            away_since = None
        except DatabaseUnavailable:
            away_since = away_since or now
            if now - away_since > _AWAY_SECONDS:
                raise
            time.sleep(_LOOK_SECONDS)
            continue
        rate = pace.look(progress.done, now)
        where.show(progress, rate)
        yield progress
        if progress.replay.state not in _GOES_ON:
            return
        if not warned and pace.stands(now):
            warned = True
            warn_without_workers(here)
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _shown() -> Iterator[_Shown]:
    console = Console()
    if not console.is_terminal:
        yield _Lines()
        return
    bar = Bar(
        TextColumn("replay {task.fields[number]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
        console=console,
        auto_refresh=False,
    )
    with Live(bar, console=console, auto_refresh=False) as live:
        yield _Bar(bar, live)


class _Bar:
    """On a terminal."""

    def __init__(self, bar: Bar, live: Live) -> None:
        self._bar = bar
        self._live = live
        self._task = bar.add_task("", number=0, said="")

    def show(self, progress: Progress, rate: float | None) -> None:
        said = escape(f"{_speed(progress, rate)}  {counted(progress.counts)}")
        replay = progress.replay
        self._bar.update(self._task, total=replay.items, completed=progress.done, number=replay.id, said=said)
        self._live.refresh()


class _Lines:
    """Elsewhere: a line at first, every few seconds, and when the state changes."""

    def __init__(self) -> None:
        self._said_at = float("-inf")
        self._state = ""

    def show(self, progress: Progress, rate: float | None) -> None:
        now, replay = time.monotonic(), progress.replay
        if now - self._said_at < _SAY_SECONDS and replay.state == self._state:
            return
        self._said_at, self._state = now, replay.state
        outcomes = counted(progress.counts) or "none done"
        click.echo(
            f"replay {replay.id} {replay.state}: {progress.done:,}/{replay.items:,}{_speed(progress, rate)}, {outcomes}"
        )


def _speed(progress: Progress, rate: float | None) -> str:
    if rate is None or progress.replay.state not in _GOES_ON:
        return ""
    left = f", {_duration(progress.remaining / rate)} left" if rate > 0 else ""
    return f", {rate:,.0f}/s{left}" if rate >= 10 else f", {rate:.1f}/s{left}"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
