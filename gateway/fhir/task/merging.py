"""A kept Task as a message, or a cancellation, leaves it."""

from __future__ import annotations

from typing import Any

from gateway.fhir.definitions import Version
from gateway.fhir.policy.model import Machine
from gateway.fhir.task.checks import IMMUTABLE, check_times
from gateway.fhir.task.contained import set_apart, with_contained
from gateway.fhir.task.elements import dicts, is_focus, name_of, names_of, status_of
from gateway.fhir.task.lists import GROWING, added
from gateway.fhir.task.performers import performers_of, with_performers
from gateway.fhir.versions.merging import beside, overlaid, without

Resource = dict[str, Any]


def merged(kept: Resource, sent: Resource, now: str, machine: Machine, version: Version = "R4") -> Resource:
    """A kept Task as a message leaves it: what the message, sent in `version`, has replaces, what it has not stays.

    Except: `statusReason` goes when its status changes, `text` when anything does; identifiers and earlier performers
    are only added; the immutable elements stay as first written; inputs, outputs and notes are added or amended (not in
    a draft, where they are replaced); `lastModified` becomes `now` (an instant) unless the message dates it.
    """
    is_settled = machine.state_of(kept) not in machine.unsettled
    sent = set_apart(sent, kept)
    new = {name: value for name, value in sent.items() if name not in ("resourceType", "id", "meta", "contained")}
    gone = beside(sent, version)
    if is_settled:
        new = {name: value for name, value in new.items() if name not in IMMUTABLE or name not in kept}
        gone -= {*IMMUTABLE}
    is_moved = "status" in new and status_of(new) != status_of(kept)
    old = without(kept, "statusReason") if is_moved and "statusReason" not in new.keys() | gone else kept
    result = overlaid(old, new, gone, sent, version)
    if is_settled:
        result |= {name: added(dicts(kept.get(name)), dicts(new[name])) for name in GROWING if name in new}
        result = _with_focuses(result, kept)
    result = with_performers(result, performers_of(kept))
    if "identifier" in kept:
        known = set(names_of(kept))
        others = [i for i in dicts(sent.get("identifier")) if name_of(i) not in known]
        result["identifier"] = [*dicts(kept["identifier"]), *others]
    if "meta" in sent:
        result["meta"] = {**kept.get("meta", {}), **_own_meta(sent)}
    result = with_contained(result, dicts(kept.get("contained")), dicts(sent.get("contained")))
    if result == kept:
        return kept
    if "text" not in new:
        result.pop("text", None)
    return result if "lastModified" in new else dated(result, now)


def replaced(kept: Resource, sent: Resource, now: str, machine: Machine) -> Resource:
    """A kept Task as one that replaces it leaves it: what that leaves out goes.

    Except: the immutable elements and the further focuses stay as first written once the Task is settled, and so does
    what the gateway has set itself, its earlier performers; `lastModified` becomes `now`, unless it is a new one.
    """
    sent = set_apart(sent, kept)
    result = {name: value for name, value in sent.items() if name != "id"}
    if machine.state_of(kept) not in machine.unsettled:
        result |= {name: kept[name] for name in IMMUTABLE if name in kept}
        result = _with_focuses(result, kept)
    result = with_performers(result, performers_of(kept))
    result = with_contained(result, dicts(kept.get("contained")), dicts(sent.get("contained")))
    dates = ("lastModified", "_lastModified")
    is_same = _without(result, "id", "meta", *dates) == _without(kept, "id", "meta", *dates)
    if is_same and _own_meta(kept) == _own_meta(sent):
        return kept
    is_dated = "lastModified" in sent and sent["lastModified"] != kept.get("lastModified")
    return result if is_dated else dated(result, now)


def dated(task: Resource, now: str) -> Resource:
    """A Task with `lastModified` now; not before its `authoredOn`, should its author's clock be ahead of ours."""
    result = {name: value for name, value in task.items() if name != "_lastModified"} | {"lastModified": now}
    return {**result, "lastModified": task["authoredOn"]} if check_times(result, "") else result


def _with_focuses(task: Resource, kept: Resource) -> Resource:
    """The Task with the further focuses of the kept one in the place of its own."""
    own = [extension for extension in dicts(task.get("extension")) if is_focus(extension)]
    first = [extension for extension in dicts(kept.get("extension")) if is_focus(extension)]
    if own == first:
        return task
    others = [extension for extension in dicts(task.get("extension")) if not is_focus(extension)]
    return task | {"extension": [*first, *others]}


def _without(task: Resource, *names: str) -> Resource:
    return {name: value for name, value in task.items() if name not in names}


def _own_meta(task: Resource) -> Resource:
    """What `meta` says, but for what the gateway sets there itself."""
    meta = task.get("meta")
    return _without(meta, "versionId", "lastUpdated") if isinstance(meta, dict) else {}
