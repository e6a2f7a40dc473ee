"""Reads what a client asks for in a search: https://hl7.org/fhir/R4/search.html.

Faults are found all at once, each with the parameter, and what to write instead. The parts of a value that are told
apart by `,` and `|` may have these characters themselves after a `\\`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gateway.errors import Issue, Refused
from gateway.fhir.identity import key
from gateway.fhir.search.cursors import Cursor, Order, read_cursor
from gateway.fhir.search.moments import Span, read_span
from gateway.fhir.search.parameters import PARAMETERS, Parameter
from gateway.fhir.search.tokens import Resource, Term, address_of, references_of, together
from gateway.fhir.search.values import ID, TYPED, Asked, Group, Unfit, plain_terms, read_group, split, unescaped

DEFAULT_COUNT = 20
MOST = 200
_MOST_PARAMETERS = 50
_MOST_TERMS = 200
_MOST_TOGETHER = 64

_OF_THE_ANSWER = ("_format", "_pretty")
"""Parameters that say how the answer is written, which is not decided here."""
_DERIVED = {"Provenance": ("target",), "AuditEvent": ("entity",)}


@dataclass(frozen=True, slots=True)
class Include:
    """`_include` or `_revinclude`: what the source's parameter refers to ("*": any), of a type, or of all (None)."""

    source: str
    parameter: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """A search that can be carried out. All of `groups`, `ids` and `span` must hold.

    `said` are the pairs that were understood, without the cursor; `ignored`, warnings about those that were not.
    """

    type: str
    groups: tuple[Group, ...] = ()
    ids: tuple[str, ...] | None = None
    span: Span | None = None
    order: Order | None = None
    count: int = DEFAULT_COUNT
    wants_total: bool = False
    cursor: Cursor | None = None
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    said: tuple[tuple[str, str], ...] = ()
    ignored: tuple[Issue, ...] = ()

    @property
    def sorted_by(self) -> Order:
        """As asked; else what changed last comes first where the time of change is asked for, or what is newest."""
        return self.order or ("-_lastUpdated" if self.span else "newest")


def parse(resource_type: str, pairs: Iterable[tuple[str, str]], base_url: str, lenient: bool = False) -> Query:
    """The query that decoded names and values make. Raises Refused with every fault.

    `lenient` leaves out parameters that are not known, as `Prefer: handling=lenient` asks for.
    """
    given = [pair for pair in pairs if pair[0] not in _OF_THE_ANSWER]
    if len(given) > _MOST_PARAMETERS:
        text = f"The search has {len(given)} parameters; it can have at most {_MOST_PARAMETERS}. Ask for less at once."
        raise Refused(Issue("too-costly", text))
    reading = _Reading(Query(resource_type), base_url, lenient)
    for name, value in given:
        reading.read(name, value)
    if reading.faults:
        raise Refused(*reading.faults)
    return _checked(reading.query)


def digests_of(resource_type: str, groups: Iterable[Iterable[Term]]) -> list[list[bytes]]:
    """The tokens of each group of terms, any of which must be found: all groups must.

    A status and a value that goes with it become one look-up: see `gateway.fhir.search.tokens`.
    """
    asked = [list(dict.fromkeys(group)) for group in groups]
    statuses = [term[2] for group in asked for term in group if term[0] == "status"]
    named = PARAMETERS[resource_type]
    joined, alone = [], []
    is_one = sum(group[:1] != [] and group[0][0] == "status" for group in asked) == 1
    for group in asked:
        goes_with = is_one and all((p := named.get(term[0])) is not None and p.with_status for term in group)
        if group and goes_with and len(group) * len(statuses) <= _MOST_TOGETHER:
            joined.append([together(term, status) for term in group for status in statuses])
        else:
            alone.append(group)
    if joined:
        alone = [group for group in alone if not group or group[0][0] != "status"]
    return [[key(resource_type, *term) for term in group] for group in joined + alone]


def terms_for(resource_type: str, parameter: str, value: str) -> list[Term]:
    """The terms of one plain value: see `plain_terms`. Raises KeyError for a parameter that there is not."""
    return plain_terms(PARAMETERS[resource_type][parameter], value)


def included(resource: Resource, includes: Iterable[Include]) -> list[tuple[str, str]]:
    """The (type, id) of what a resource refers to by these `_include`s and the gateway keeps, each once."""
    kind = str(resource.get("resourceType"))
    found: dict[tuple[str, str], None] = {}
    for include in includes:
        if include.source != kind:
            continue
        for parameter in _include_parameters(include):
            for reference in references_of(parameter, resource):
                match = TYPED.fullmatch(address_of(reference) or "")
                if match and include.target in (None, match[1]):
                    found[match[1], match[2]] = None
    return list(found)


def reverse_digests(include: Include, resource_type: str, resource_id: str) -> list[bytes]:
    """The tokens of what refers to a resource by a `_revinclude`."""
    if include.target not in (None, resource_type):
        return []
    address = f"{resource_type}/{resource_id}"
    return [key(include.source, p.name, "at", address) for p in _include_parameters(include)]


def _include_parameters(include: Include) -> list[Parameter]:
    """The parameters that have an element of their own: `patient` is `subject`."""
    named = PARAMETERS.get(include.source, {})
    asked = named.values() if include.parameter == "*" else [named[include.parameter]]
    found = [named[name] for parameter in asked for name in parameter.of or (parameter.name,)]
    return [parameter for parameter in dict.fromkeys(found) if parameter.kind == "reference"]


class _Reading:
    """Takes the parameters of a query one after the other."""

    def __init__(self, query: Query, base_url: str, lenient: bool) -> None:
        self.query = query
        self.faults: list[Issue] = []
        self._asked = Asked(query.type, base_url)
        self._lenient = lenient
        self._named = PARAMETERS[query.type]

    def read(self, name: str, value: str) -> None:
        try:
            is_known = self._read(name, value)
        except Unfit as unfit:
            text = f"The search parameter {name} cannot be used so: {unfit}"
            self.faults.append(Issue(unfit.code, text, _place(name)))
            return
        if not is_known:
            self._leave_out(name)
        elif name != "_cursor":
            self.query = replace(self.query, said=(*self.query.said, (name, value)))

    def _read(self, name: str, value: str) -> bool:
        """Whether the parameter is known. Raises Unfit."""
        if name in _CONTROLS:
            self.query = _CONTROLS[name](self.query, value)
            return True
        plain, _, modifier = name.partition(":")
        if plain.endswith(".identifier") and not modifier:
            plain, modifier = plain.removesuffix(".identifier"), "identifier"
        parameter = self._named.get(plain)
        if parameter is None:
            return False
        group = read_group(parameter, modifier, value, self._asked)
        self.query = replace(self.query, groups=(*self.query.groups, group))
        return True

    def _leave_out(self, name: str) -> None:
        known = ", ".join([*self._named, *_CONTROLS])
        text = f"{self.query.type} has no search parameter {name} here. Those it has: {known}."
        if self._lenient:
            issue = Issue("not-supported", f"{text} It was left out of the search.", _place(name), "warning")
            self.query = replace(self.query, ignored=(*self.query.ignored, issue))
        else:
            text += " Leave it out, or send Prefer: handling=lenient."
            self.faults.append(Issue("not-supported", text, _place(name)))


def _place(name: str) -> str:
    """Where a fault is: https://hl7.org/fhir/R4/operationoutcome-definitions.html#OperationOutcome.issue.location."""
    return f"http.{name}"


def _checked(query: Query) -> Query:
    """Raises Refused for a cursor of another order, and for a query that asks for too many values."""
    if (number := sum(len(group.terms) for group in query.groups)) > _MOST_TERMS:
        text = f"The search means {number} values; it can have {_MOST_TERMS}. Search in parts; write Type/id for an id."
        raise Refused(Issue("too-costly", text))
    if query.cursor is not None and query.cursor.order != query.sorted_by:
        text = "The _cursor is that of a search in another order. Follow the next link as it is, or begin anew."
        raise Refused(Issue("invalid", text, _place("_cursor")))
    return query


def _with_ids(query: Query, value: str) -> Query:
    asked = tuple(dict.fromkeys(unescaped(part) for part in split(value, ",")))
    if not all(asked):
        raise Unfit("invalid", "It has an empty value. Write one or more ids, with commas between them.")
    if len(asked) > MOST:
        raise Unfit("too-costly", f"It has {len(asked)} values; it can have at most {MOST}. Search in parts.")
    possible = tuple(one for one in asked if ID.fullmatch(one))
    return replace(query, ids=possible if query.ids is None else tuple(one for one in query.ids if one in possible))


def _with_span(query: Query, value: str) -> Query:
    span = read_span(value)
    if span is None:
        text = (
            "Write a date or a moment, as 2024-05-01 or 2024-05-01T12:00:00Z, after eq, ge, gt, le or lt, or nothing; "
            "in an address the + of an offset is written %2B. Repeat the parameter for a range."
        )
        raise Unfit("invalid", text)
    return replace(query, span=span if query.span is None else query.span & span)


def _with_order(query: Query, value: str) -> Query:
    orders: dict[str, Order] = {"_lastUpdated": "_lastUpdated", "-_lastUpdated": "-_lastUpdated"}
    if value not in orders or query.order is not None:
        text = "Sort by _lastUpdated or -_lastUpdated, once; without _sort what was created last comes first."
        raise Unfit("not-supported", text)
    return replace(query, order=orders[value])


def _with_count(query: Query, value: str) -> Query:
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0):
        raise Unfit(
            "invalid", f"Write a whole number from 1 to {MOST}; for the number of matches alone, _summary=count."
        )
    return replace(query, count=min(int(value), MOST))


def _with_total(query: Query, value: str) -> Query:
    if value not in ("accurate", "estimate", "none"):
        raise Unfit("invalid", "Write accurate, estimate or none.")
    return replace(query, wants_total=value != "none")


def _with_cursor(query: Query, value: str) -> Query:
    cursor = read_cursor(value)
    if cursor is None:
        raise Unfit("invalid", "It is none that this gateway gave. Follow the next link as it is, or begin anew.")
    return replace(query, cursor=cursor)


def _with_include(query: Query, value: str) -> Query:
    include = _include(value, from_type=query.type)
    return replace(query, includes=(*query.includes, include))


def _with_revinclude(query: Query, value: str) -> Query:
    include = _include(value, from_type=None)
    if include.target not in (None, query.type):
        raise Unfit("invalid", f"It asks for what refers to a {include.target}, but the search is for {query.type}.")
    return replace(query, revincludes=(*query.revincludes, include))


def _include(value: str, from_type: str | None) -> Include:
    """Raises Unfit."""
    source, _, rest = value.partition(":")
    parameter, _, target = rest.partition(":")
    named = {name for name, found in PARAMETERS.get(source, {}).items() if found.kind == "reference"}
    able = {*named, "*"} if named else set(_DERIVED.get(source, ())) if from_type is None else set()
    if parameter not in able or (from_type is not None and source != from_type):
        known = f"{from_type}: and a reference parameter" if from_type else "Type:parameter, a reference parameter"
        raise Unfit(
            "not-supported", f"{value!r} is not known. Write {known} or *, and :Type after it if only one is wanted."
        )
    return Include(source, parameter, target or None)


_CONTROLS: dict[str, Callable[[Query, str], Query]] = {
    "_id": _with_ids,
    "_lastUpdated": _with_span,
    "_sort": _with_order,
    "_count": _with_count,
    "_total": _with_total,
    "_cursor": _with_cursor,
    "_include": _with_include,
    "_revinclude": _with_revinclude,
}
