"""What the gateway says of a resource that it is only shown: every issue that there is, and nothing is kept.

https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway.checking import Checking
from gateway.errors import Issue, NotAMessage, Refused, Unreadable
from gateway.fhir import formats
from gateway.fhir.check.places import Path, with_places
from gateway.fhir.check.profiles import Profile, Profiles
from gateway.fhir.definitions import Version
from gateway.fhir.issues import printable, step
from gateway.fhir.json import Resource
from gateway.fhir.lanes import find_lane
from gateway.fhir.message import read_message
from gateway.fhir.references import Entries
from gateway.fhir.second_opinion import RULE, second_opinion
from gateway.fhir.versions import to_r4
from gateway.partners import Partners
from gateway.routing import Registry

_MODES = ("create", "update", "profile")
"""What a resource is to be checked for; it makes no difference here, where nothing is created."""
_WRAPPERS = ("resource", "content")
"""The parameter that has the resource, of $validate and of $process-message."""
_SAID_BY_RULE = {"bdl-12": "Bundle.entry[0].resource"}
"""Rules that say of another place what the reading of the envelope says of this one."""
_NOBODY = Partners()
_NOT_READ = Issue(
    "incomplete",
    "Because of this the resource could not be read, and nothing else was checked. Correct it and check again.",
    severity="information",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a resource is to be checked: by which version of FHIR (None: the one that it tells), as which type, against
    which profile, what for."""

    version: Version | None = None
    type_name: str | None = None
    profile: str | None = None
    mode: str | None = None


def find_issues(
    body: bytes,
    format_name: str,
    checking: Checking,
    registry: Registry,
    wish: Wish = Wish(),
    partners: Partners = _NOBODY,
) -> list[Issue]:
    """Every issue of the resource in `body`, each with its line and column; empty if there is none.

    Of a message they are those for which $process-message would refuse it, as far as the message alone can tell.
    A Parameters may be around the resource. Raises Unreadable for what is not JSON or XML as FHIR allows it, and
    Refused for a wish that cannot be granted.
    """
    try:
        read, version = formats.parse_told(body, format_name, wish.version)
        resource, wish, within = _unwrap(read, wish)
    except Unreadable as refused:
        raise Unreadable(*with_places(refused.issues, body, format_name)) from None
    except NotAMessage as refused:
        return with_places([*refused.issues, _NOT_READ], body, format_name)
    _refuse_mode(wish)
    profile = _find_profile(wish.profile, checking.profiles)
    in_r4, lost = to_r4(resource, version)
    endpoint = _source_endpoint(in_r4)
    partner = partners.find([endpoint or ""])
    levels = checking.levels_for(endpoint, partner, partner.dialect if partner else None)
    entries, of_message = _look_at_message(in_r4, registry)
    checked = checking.check(resource, version, levels, entries if in_r4 is resource else None, profile)
    found = [*_look_at_type(resource, wish.type_name), *_together(of_message, checked), *lost]
    if levels.of(RULE) != "ignore":
        found += levels.apply(_not_said(second_opinion(resource, version), found))
    return with_places(found, body, format_name, within)


def _unwrap(resource: Resource, wish: Wish) -> tuple[Resource, Wish, Path]:
    """The resource that is meant, what else a Parameters around it says, and where in that it is.

    A Parameters may be meant itself.
    """
    listed = resource.get("parameter") if resource["resourceType"] == "Parameters" else None
    parameters = [one if isinstance(one, dict) else {} for one in listed] if isinstance(listed, list) else []
    for index, parameter in enumerate(parameters):
        inner = parameter.get("resource")
        if parameter.get("name") in _WRAPPERS and isinstance(inner, dict):
            profile, mode = _value(parameters, "profile"), _value(parameters, "mode")
            wished = replace(wish, profile=profile or wish.profile, mode=mode or wish.mode)
            return inner, wished, ("parameter", index, "resource")
    return resource, wish, ()


def _value(parameters: Sequence[dict[str, Any]], name: str) -> str | None:
    given = next((parameter for parameter in parameters if parameter.get("name") == name), {})
    values = [value for key, value in given.items() if key.startswith("value") and isinstance(value, str)]
    return values[0] if values else None


def _refuse_mode(wish: Wish) -> None:
    if wish.mode and wish.mode not in _MODES:
        mode = printable(wish.mode[:40])
        text = f"The gateway does not check for the mode {mode}. Send one of {', '.join(_MODES)}, or none."
        raise Refused(Issue("not-supported", text))


def _find_profile(canonical: str | None, known: Profiles) -> Profile | None:
    """The profile that is wished for, if one is; Refused if it is not known."""
    profile = known.find(canonical) if canonical else None
    if canonical and profile is None:
        names = ", ".join(one.url for one in known)
        wanted = printable(canonical[:200])
        text = f"The gateway does not know the profile {wanted}. It knows {names}, and those of the types."
        raise Refused(Issue("not-supported", text))
    return profile


def _source_endpoint(resource: Resource) -> str | None:
    match resource:
        case {"type": "message", "entry": [{"resource": {"source": {"endpoint": str() as endpoint}}}, *_]}:
            return endpoint
    return None


def _look_at_type(resource: Resource, wanted: str | None) -> list[Issue]:
    found = resource.get("resourceType")
    if wanted is None or found == wanted:
        return []
    name = printable(str(found)[:64])
    text = f"This is a {name}, and was sent to be checked as a {wanted}. Send it to {name}/$validate."
    return [Issue("invalid", text, step(str(found)))]


def _look_at_message(bundle: Resource, registry: Registry) -> tuple[Entries | None, Sequence[Issue]]:
    """The entries of what can be taken for a message; why it cannot, is about too much, or cannot be handled."""
    entries = None
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "message":
        return entries, ()
    try:
        message = read_message(bundle, datetime.now(UTC))
        entries = message.entries
        find_lane(message)
        if not message.is_response:
            handler = registry.get(message)
            if handler.focus:
                message.focus(*handler.focus)
    except Refused as refused:
        return entries, refused.issues
    return entries, ()


def _not_said(more: Sequence[Issue], found: Sequence[Issue]) -> list[Issue]:
    """Those of `more` at whose place, or within which, nothing is found to be wrong."""
    wrong = [issue.expression or "" for issue in found if issue.severity in ("fatal", "error", "warning")]
    return [one for one in more if not any(_is_within(place, one.expression or "") for place in wrong)]


def _is_within(place: str, around: str) -> bool:
    return place == around or place.startswith((f"{around}.", f"{around}["))


def _together(of_message: Sequence[Issue], checked: Sequence[Issue]) -> list[Issue]:
    """Both, without what one says that the other says too."""
    errors = [issue for issue in checked if issue.severity == "error"]
    wrong = {_SAID_BY_RULE.get(issue.rule or "", issue.expression) for issue in errors}
    missing = {issue.expression for issue in errors if issue.rule == "cardinality-min"}
    own = [
        issue
        for issue in of_message
        if issue.expression not in wrong
        and not (issue.code == "required" and (issue.expression or "").rpartition(".")[0] in missing)
    ]
    unresolved = {issue.expression for issue in own if issue.code == "not-found"}
    return [
        *own,
        *(one for one in checked if one.rule != "reference-unresolved" or one.expression not in unresolved),
    ]
