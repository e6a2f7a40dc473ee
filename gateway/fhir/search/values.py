"""Reads the values that a search parameter is given, each kind of parameter in its own way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.fhir.identity import identifier_key, own_address
from gateway.fhir.search.parameters import MISSING, Kind, Parameter, codes_of
from gateway.fhir.search.tokens import Term

MOST_VALUES = 50

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
TYPED = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.+", re.DOTALL)
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_SEPARATORS = {mark: re.compile(rf"((?:[^\\{mark}]|\\.|\\$)*+)(?:{re.escape(mark)}|$)", re.DOTALL) for mark in ",|"}
_ESCAPED = re.compile(r"\\([,|$\\])")


class Unfit(Exception):  # noqa: N818 - the client's value, not a fault of ours
    """A value cannot be searched for: an issue code, and a sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Group:
    """What one parameter asks for: any of some terms.

    `keys` are identities of what the `parameters` refer to: where these are known, references to it are asked for too.
    """

    terms: tuple[Term, ...]
    parameters: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What is searched, and where: our own addresses begin with `base_url`."""

    type: str
    base_url: str


def split(text: str, mark: str) -> list[str]:
    """The parts between marks ("," or "|"), those after a backslash being none; parts are still escaped."""
    found, start = [], 0
    while True:
        match = _SEPARATORS[mark].match(text, start)
        assert match is not None  # the pattern takes any text
        found.append(match[1])
        if match.end() == match.end(1):
            return found
        start = match.end()


def unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def read_group(parameter: Parameter, modifier: str, value: str, asked: Asked) -> Group:
    """What a parameter with a modifier ("" for none) and its values ask for. Raises Unfit."""
    values = split(value, ",")
    if len(values) > MOST_VALUES:
        raise Unfit("too-costly", f"It has {len(values)} values; it can have at most {MOST_VALUES}. Search in parts.")
    if not all(values):
        raise Unfit("invalid", "It has an empty value. Leave the parameter out, or give it a value.")
    if modifier == "missing":
        return _missing(parameter, values, asked)
    if modifier == "not":
        return _not(parameter, values, asked)
    if modifier == "identifier" and parameter.kind == "reference":
        return _joined([_named(parameter, one) for one in values])
    if parameter.kind == "reference" and _TYPE.fullmatch(modifier):
        return _joined([_reference(parameter, f"{modifier}/{one}", asked) for one in values])
    if modifier:
        raise Unfit("not-supported", f"The modifier :{modifier} is not supported for it. {_modifiers(parameter)}")
    read = _READERS[parameter.kind]
    return _joined([read(parameter, one, asked) for one in values])


def plain_terms(parameter: Parameter, value: str) -> list[Term]:
    """The terms of one value that has no escapes: `Type/id`, an address, `system|value` or `value`."""
    if parameter.kind == "reference":
        return [(name, "at", value) for name in _names(parameter)]
    system, bar, code = value.rpartition("|")
    return [(name, "is", system, code) if bar else (name, "code", code) for name in _names(parameter)]


def _modifiers(parameter: Parameter) -> str:
    if parameter.kind == "reference":
        return "Use :identifier, a type as in :Organization, or none."
    return "Use :not, or none." if parameter.name == "status" else "Use none."


def _joined(groups: list[Group]) -> Group:
    return Group(
        tuple(term for group in groups for term in group.terms),
        groups[0].parameters,
        tuple(key for group in groups for key in group.keys),
    )


def _names(parameter: Parameter) -> tuple[str, ...]:
    return parameter.of or (parameter.name,)


def _missing(parameter: Parameter, values: list[str], asked: Asked) -> Group:
    able = MISSING.get(asked.type, ())
    if parameter.name not in able:
        which = f"only {' and '.join(able)} can be" if able else f"no parameter of {asked.type} can be"
        raise Unfit("not-supported", f"It cannot be asked for by :missing; {which}.")
    if values not in (["true"], ["false"]):
        raise Unfit("invalid", ":missing takes true or false.")
    return Group(((parameter.name, "missing", values[0]),))


def _not(parameter: Parameter, values: list[str], asked: Asked) -> Group:
    """What has a status has one of its codes: it is one of the others."""
    if parameter.name != "status":
        raise Unfit("not-supported", "The modifier :not is supported for status only. List the values that are wanted.")
    unwanted = {term[2] for one in values for term in _code(parameter, one, asked).terms}
    others = sorted({code for _, code in codes_of(asked.type, parameter)} - unwanted)
    return Group(tuple((parameter.name, "code", code) for code in others))


def _code(parameter: Parameter, value: str, asked: Asked) -> Group:
    *systems, code = [unescaped(part) for part in split(value, "|")]
    bound = codes_of(asked.type, parameter)
    is_bound = (systems[0], code) in bound if len(systems) == 1 else any(code == known for _, known in bound)
    if not is_bound or len(systems) > 1:
        codes, named = ", ".join(sorted({known for _, known in bound})), " and ".join(sorted({one for one, _ in bound}))
        raise Unfit("code-invalid", f"Its codes are {codes}. Write one of them, alone or after {named} and a |.")
    return Group(((parameter.name, "code", code),))


def _token(parameter: Parameter, value: str, _asked: Asked) -> Group:
    return Group(tuple((name, *words) for name in _names(parameter) for words in _words(value)))


def _words(value: str) -> Iterator[tuple[str, ...]]:
    """How a token is asked for: `code`, `system|code`, `|code` or `system|`. Raises Unfit."""
    parts = [unescaped(part) for part in split(value, "|")]
    if len(parts) == 1:
        yield "code", parts[0]
    elif len(parts) > 2 or not any(parts):
        raise Unfit("invalid", r"Write value, system|value, |value or system|; a | inside them is written \|.")
    elif parts[1]:
        yield "is", parts[0], parts[1]
    else:
        yield "in", parts[0]


def _reference(parameter: Parameter, value: str, asked: Asked) -> Group:
    address = unescaped(value)
    own = own_address(address, asked.base_url)
    if own is not None:
        address = "/".join(own)
    typed = TYPED.fullmatch(address)
    if typed and parameter.of and typed[1] not in parameter.targets:
        raise Unfit("invalid", f"It is a reference to {' or '.join(parameter.targets)}, not to {typed[1]}.")
    if typed:
        addresses = [f"{typed[1]}/{typed[2]}"]
    elif ID.fullmatch(address):
        addresses = [f"{target}/{address}" for target in parameter.targets]
    elif _ABSOLUTE.fullmatch(address):
        addresses = [address.split("/_history/")[0]]
    else:
        text = "Write Type/id, an id, an absolute address; or with the modifier :identifier, system|value."
        raise Unfit("invalid", text)
    return Group(tuple((name, "at", one) for name in _names(parameter) for one in addresses))


def _named(parameter: Parameter, value: str) -> Group:
    """References by a business identifier: logical ones, and those to what is kept under it."""
    [words] = _words(value)
    if words[0] == "in":
        raise Unfit("not-supported", "A reference is not found by a system alone. Write system|value.")
    form = "named" if words[0] == "is" else "named-code"
    terms = tuple((name, form, *words[1:]) for name in _names(parameter))
    if words[0] != "is" or not words[1]:
        return Group(terms, _names(parameter))
    identifier = {"system": words[1], "value": words[2]}
    keys = [identifier_key(target, identifier, "") for target in parameter.targets]
    return Group(terms, _names(parameter), tuple(key for key in keys if key is not None))


_READERS: dict[Kind, Callable[[Parameter, str, Asked], Group]] = {
    "code": _code,
    "coding": _token,
    "concept": _token,
    "identifier": _token,
    "reference": _reference,
}
