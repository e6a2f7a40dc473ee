"""The tokens by which a resource is found: one 16-byte digest for each way to ask for each of its values.

A term is a way to ask, as strings: the parameter, the form, and the values.

    is          system, code       a code, of a system ("" for none); for an identifier its value
    code        code               the same in any system
    in          system             anything of a system
    at          address            a reference, as the gateway keeps it: `Type/id`, or an address elsewhere
    named       system, value      a logical reference, by its identifier
    named-code  value              the same in any system
    missing     true or false      whether the resource has a value

A search for a status and another common value at once would walk through many that have the one and not the other. So
some parameters have terms for both together: `owner+status`, form, values, and the status at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from gateway.fhir.identity import key
from gateway.fhir.search.parameters import FOCUSES, MISSING, PARAMETERS, Kind, Parameter
from gateway.fhir.task.elements import request_code, status_of

Resource = dict[str, Any]
Term = tuple[str, ...]
_MOST_ACTIONS = 1000
_often = lru_cache(4096)(key)
"""The digest of a term that many resources have: of a code, say."""


def tokens_of(resource: Resource) -> frozenset[bytes]:
    """The digests of all terms of a resource; none for a type that is not searched. Odd values have none."""
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or kind not in PARAMETERS:
        return frozenset()
    return frozenset([(_often if _is_common(term) else key)(kind, *term) for term in terms_of(kind, resource)])


def creator_tokens(kind: str, names: Iterable[str]) -> list[bytes]:
    """By which what somebody has created is found, by any of its creator's names; no search asks for it."""
    return [_often(kind, "_creator", name) for name in names if name]


def waiting_tokens(resource: Resource) -> list[bytes]:
    """By which an order is found, by its status, that has no owner; no search asks for it."""
    if resource.get("resourceType") != "Task" or resource.get("owner") or request_code(resource) is not None:
        return []
    return [waiting_token(status_of(resource))]


def waiting_token(status: str) -> bytes:
    return _often("Task", "_waiting", status)


def terms_of(kind: str, resource: Resource) -> list[Term]:
    """The terms of a resource of a type that is searched."""
    status = resource.get("status")
    absent = MISSING.get(kind, ())
    terms: list[Term] = []
    for parameter, first in _SEARCHED_BY[kind]:
        name = parameter.name
        found = [(name, *term) for term in _terms(parameter, resource)] if first is None or first in resource else []
        if name in absent:
            found.append((name, "missing", "false" if found else "true"))
        if not found:
            continue
        terms += found
        if parameter.with_status and isinstance(status, str):
            terms += [together(term, status) for term in found]
    return terms


def together(term: Term, status: str) -> Term:
    """The term for a value and a status at once."""
    return (f"{term[0]}+status", *term[1:], status)


def values_of(resource: Resource, element: str) -> list[Any]:
    """What is at a dotted path of elements, lists opened; nothing where it is not as it should be."""
    first, _, rest = element.partition(".")
    found = _listed(resource.get(first))
    while rest and found:
        first, _, rest = rest.partition(".")
        found = [value for item in found if isinstance(item, dict) for value in _listed(item.get(first))]
    return found


def references_of(parameter: Parameter, resource: Resource) -> list[Any]:
    """The References that a parameter searches."""
    if parameter.name == "activity-resource":
        return list(_activities(resource))
    found = values_of(resource, parameter.element)
    if parameter.name != "focus":
        return found
    extensions = [item for item in _listed(resource.get("extension")) if isinstance(item, dict)]
    return found + [item.get("valueReference") for item in extensions if item.get("url") in FOCUSES]


def address_of(reference: Any) -> str | None:
    """The literal address in a Reference, without a version; None for a contained one, and where there is none."""
    literal = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(literal, str) or not literal or literal.startswith("#"):
        return None
    return literal.split("/_history/")[0]


def _terms(parameter: Parameter, resource: Resource) -> list[Term]:
    is_reference = parameter.kind == "reference"
    values = references_of(parameter, resource) if is_reference else values_of(resource, parameter.element)
    terms = _BY_KIND[parameter.kind]
    return [term for value in values for term in terms(value)]


def _code(value: Any) -> list[Term]:
    return [("code", value)] if isinstance(value, str) else []


def _coding(value: Any) -> list[Term]:
    return _said(value, "code")


def _concept(value: Any) -> list[Term]:
    codings = _listed(value.get("coding")) if isinstance(value, dict) else []
    return [term for coding in codings for term in _said(coding, "code")]


def _identifier(value: Any) -> list[Term]:
    return _said(value, "value")


def _reference(value: Any) -> list[Term]:
    if not isinstance(value, dict):
        return []
    address = address_of(value)
    terms: list[Term] = [] if address is None else [("at", address)]
    if "identifier" in value:
        named = {"is": "named", "code": "named-code"}
        terms += [(named[form], *words) for form, *words in _said(value["identifier"], "value") if form in named]
    return terms


def _said(value: Any, element: str) -> list[Term]:
    """The terms of a Coding or an Identifier, whose code or value is in an element."""
    if not isinstance(value, dict):
        return []
    code, system = value.get(element), value.get("system")
    if not isinstance(code, str) or not code:
        return []
    if not isinstance(system, str) or not system:
        return [("is", "", code), ("code", code)]
    return [("is", system, code), ("code", code), ("in", system)]


_BY_KIND: dict[Kind, Callable[[Any], list[Term]]] = {
    "code": _code,
    "coding": _coding,
    "concept": _concept,
    "identifier": _identifier,
    "reference": _reference,
}
_ELSEWHERE = ("activity-resource", "focus")
"""Parameters that look at more than one element."""
_SEARCHED_BY = {
    kind: [
        (one, None if one.name in _ELSEWHERE else one.element.partition(".")[0]) for one in named.values() if not one.of
    ]
    for kind, named in PARAMETERS.items()
}
"""The parameters of each type, each with the element without which a resource has no value of it, if there is one."""
_CODED = frozenset(
    name
    for named in PARAMETERS.values()
    for one in named.values()
    if one.kind in ("code", "coding", "concept")
    for name in (one.name, f"{one.name}+status")
)


def _is_common(term: Term) -> bool:
    """Whether others have it too, most likely: a code, the system of an identifier, that something is missing."""
    return term[0] in _CODED or term[1] in ("in", "missing")


def _activities(group: Resource) -> Iterator[Any]:
    """The resources of a RequestGroup's actions, those inside others too."""
    ahead = _listed(group.get("action"))
    for _ in range(_MOST_ACTIONS):
        if not ahead:
            return
        action = ahead.pop()
        if isinstance(action, dict):
            yield action.get("resource")
            ahead += _listed(action.get("action"))


def _listed(value: Any) -> list[Any]:
    """A copy of a list, or the one value there is."""
    if isinstance(value, list):
        return list(value)
    return [] if value is None else [value]
