"""A dialect's pack as TOML, read into what it says: each fault is a sentence with file, place and remedy.

docs/dialects.md describes the form; the tables of keys below are what there is and what each takes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from gateway.fhir.check.levels import Level, find_fault
from gateway.fhir.dialects.composing import BY_MEANING, EVENTS
from gateway.fhir.dialects.model import Duplicate, Form, Identity, Pack, Quoted, Replies, Rule
from gateway.fhir.keys import Keys, Reader, UnfitError, advice, matching, one_of, text, truth
from gateway.fhir.policy.model import STATUSES

MEANINGS = (*EVENTS, "response")
_LONGEST_WAIT = 30 * 24 * 3600
_ISSUE_CODE = re.compile(r"[A-Za-z0-9_.-]+")

_event = matching(r"\S+\|\S(?:.*\S)?|[A-Za-z][A-Za-z0-9+.-]*:\S+", "an event, as system|code or as a uri")


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item.strip() for item in value):
        raise UnfitError('a list of texts, like ["revoked", "entered-in-error"]')
    return tuple(value)


def _patterns(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    if any("*" in pattern.strip("*") or pattern.count("*") > 1 or pattern == "*" for pattern in found):
        raise UnfitError('codes with one * at most, at one end, like ["https://network.example/events|order*"]')
    return found


def _headers(value: Any) -> tuple[str, ...]:
    found = _texts(value)
    if not all(re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) for name in found):
        raise UnfitError('a list of names of HTTP headers, like ["X-Request-Id"]')
    return tuple(name.lower() for name in found)


def _one(*numbers: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or value not in numbers:
            raise UnfitError("one of " + ", ".join(map(str, numbers)))
        return int(value)

    return read


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise UnfitError("a status of HTTP from 200 to 599")
    return value


def _statuses(value: Any) -> dict[str, int]:
    if not isinstance(value, dict) or not all(_ISSUE_CODE.fullmatch(code) for code in value):
        raise UnfitError("a table of the codes of issues or outcomes and statuses, like duplicate = 409")
    return {code: _status(status) for code, status in value.items()}


def _seconds(value: Any) -> tuple[float, ...]:
    is_list = isinstance(value, list) and len(value) <= 100
    if not is_list or not all(type(item) in (int, float) and 0 <= item <= _LONGEST_WAIT for item in value):
        raise UnfitError(f"a list of seconds from 0 to {_LONGEST_WAIT}, like [60, 300]")
    return tuple(float(item) for item in value)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError("a table, begun by [reply]")
    return value


def _told(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not value or not value.keys() <= EVENTS.keys():
        raise UnfitError(f"a table of events of ours ({', '.join(EVENTS)}) and of the network")
    return {ours: _event(theirs) for ours, theirs in value.items()}


def _checking(value: Any) -> tuple[tuple[str, Level], ...]:
    says = 'a table of rule and level, like { "bdl-1" = "warn" }'
    fault = find_fault(value) if isinstance(value, dict) else ""
    if fault is not None:
        raise UnfitError(f"{says}; {fault}" if fault else says)
    return tuple(sorted(value.items()))


def _tag(value: Any) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*:[^\s|]+)\|(\S+)", value) if isinstance(value, str) else None
    if match is None:
        raise UnfitError('a tag, as "system|code"')
    return match[1], match[2]


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UnfitError("tables, each begun by [[rule]]")
    return value


PACK: Keys = {
    "name": matching(r"[a-z][a-z0-9-]{0,31}", "a short name of small letters, digits and hyphens"),
    "title": text,
    "description": text,
    "source": text,
    "identity": one_of(*get_args(Identity)),
    "quoted": one_of(*get_args(Quoted)),
    "duplicate": one_of(*get_args(Duplicate)),
    "headers": _headers,
    "acknowledged": _one(200, 202, 204),
    "acknowledgements": _one(1, 2),
    "expects_response": truth,
    "retry_schedule": _seconds,
    "queued_tag": _tag,
    "holds": truth,
    "checking": _checking,
    "reply": _table,
    "tell": _told,
    "rule": _tables,
}
REPLY: Keys = {
    "form": one_of(*get_args(Form)),
    "status": _status,
    "refused_form": one_of(*get_args(Form)),
    "refused_status": _status,
    "retry_status": _status,
    "statuses": _statuses,
}
RULE: Keys = {
    "event": _patterns,
    "reason": _patterns,
    "focus": _texts,
    "status": _texts,
    "code": _patterns,
    "business_status": _patterns,
    "activity": _patterns,
    "response": truth,
    "means": one_of(*MEANINGS),
    "translation": text,
    "becomes": one_of(*STATUSES),
    "identifier": matching(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", "the system of an identifier, an absolute address"),
    "answer": _event,
}


def read(file: Path, translations: Collection[str] | None, wrong: list[str]) -> Pack | None:
    """The pack that a file has; None when it cannot be used, with a sentence for each fault added to `wrong`.

    `translations` are what the rules can name as theirs; None: also those of a module, which is not looked at.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        wrong.append(f"{file} is not TOML: {error}. docs/dialects.md has a whole pack to begin with.")
        return None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        wrong.append(f"{file} cannot be read: {said}. Let the setting `dialects` name files that can be.")
        return None
    before = len(wrong)
    pack = _Reader(file, wrong).pack(content, translations)
    return pack if len(wrong) == before else None


class _Reader(Reader):
    """Reads one pack."""

    def pack(self, content: Mapping[str, Any], translations: Collection[str] | None) -> Pack | None:
        before = len(self.wrong)
        found = self.keys(content, PACK, "the pack", ("name", "title"))
        replies = Replies(**self.keys(found.pop("reply", {}), REPLY, "reply"))
        rules = [self.rule(written, number, translations) for number, written in enumerate(found.pop("rule", []), 1)]
        if len(self.wrong) > before:
            return None
        return Pack(**found, replies=replies, rules=tuple(rule for rule in rules if rule))

    def rule(self, written: Mapping[str, Any], number: int, translations: Collection[str] | None) -> Rule | None:
        place, before = f"rule {number}", len(self.wrong)
        found = self.keys(written, RULE, place, ("means",))
        if not found.keys() - {"means", "translation", "becomes", "identifier", "answer"} and len(self.wrong) == before:
            self.fault(place, "it has no condition, so that it fits every message. Write event = […] or another.")
        means = found.get("means", "")
        translation = found.setdefault("translation", BY_MEANING.get(means, "as-it-is"))
        if translations is not None and translation not in translations:
            self.fault(place, f"translation is {translation!r}, which is none. {advice(translation, translations)}")
        if "becomes" in found and means not in ("order-update", ""):
            self.fault(place, "becomes is for order-update only. Leave it out.")
        return Rule(**found) if len(self.wrong) == before else None
