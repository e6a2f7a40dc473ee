"""Replays as they are written: their selection, options and forecast in JSON, and what makes two of them the same."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, cast

import orjson

from gateway.fhir.identity import key
from gateway.replay.model import Forecast, Group, Mode, Options, Replay, Source, State
from gateway.store.replays import Row
from gateway.store.selections import Selection

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z


def write(given: Selection | Options) -> str:
    """What says something in it, in JSON; the same for the same."""
    defaults = type(given)()
    said = {field.name: getattr(given, field.name) for field in fields(given)}
    different = {name: value for name, value in said.items() if value != getattr(defaults, name)}
    return orjson.dumps(different, option=_SORTED).decode()


def fingerprint(mode: Mode, source: Source, selection: Selection, options: Options) -> bytes:
    """What the same replay has in common with itself, however often it is asked for."""
    return key("replay", mode, source, write(selection), write(options))


def read_selection(text: str) -> Selection:
    said = orjson.loads(text)
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    for name in ("since", "until"):
        if name in given:
            given[name] = datetime.fromisoformat(given[name])
    return Selection(**given)


def write_forecast(forecast: Forecast) -> str:
    return orjson.dumps(asdict(forecast), option=orjson.OPT_UTC_Z).decode()


def read_forecast(text: str) -> Forecast:
    given: dict[str, Any] = orjson.loads(text)
    given["groups"] = tuple(Group(**group) for group in given["groups"])
    given["warnings"] = tuple(given["warnings"])
    for name in ("first", "last"):
        given[name] = datetime.fromisoformat(given[name]) if given[name] else None
    return Forecast(**given)


def read(row: Row) -> Replay:
    """A replay as it is kept."""
    return Replay(
        id=row.id,
        mode=cast(Mode, row.mode),
        source=cast(Source, row.source),
        selection=read_selection(row.selection),
        options=Options(**orjson.loads(row.options)),
        state=cast(State, row.state),
        items=row.items,
        forecast=read_forecast(row.forecast) if row.forecast else None,
        created_at=row.created_at,
        created_by=row.created_by,
        started_at=row.started_at,
        started_by=row.started_by,
        approved_by=row.approved_by,
        ended_at=row.ended_at,
        why=row.why,
    )
