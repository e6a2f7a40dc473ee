"""The sentence for each fault: what is wrong, where, and what to do, for the developer of whoever sent it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from gateway.errors import Issue
from gateway.fhir.check.kinds import Kind, Member
from gateway.fhir.check.walk import Fault
from gateway.fhir.definitions import Binding, Version
from gateway.fhir.issues import printable, step
from gateway.fhir.json import Number

_LONGEST_QUOTE = 60
_MOST_NAMES = 8
_LARGE = 10**18


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: for a program (`expression`, FHIRPath), and for whoever wrote the JSON (`name`)."""

    expression: str
    name: str

    def at(self, index: int | None) -> Place:
        """The place of one of several."""
        return self if index is None else Place(f"{self.expression}[{index}]", f"{self.name}[{index}]")

    def of(self, member: Member | None, name: str) -> Place:
        """The place of a member of what is here; of a name that is no member's, as it is."""
        element = member.said.element if member is not None else name
        return Place(f"{self.expression}.{element}", f"{self.name}.{name}")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault with where it is: `outer` is the object it is in, `here` the member of it that it is about."""

    fault: Fault
    outer: Place
    here: Place
    kind: Kind | None
    member: Member | None
    version: Version

    @property
    def found(self) -> Any:
        """What is at the place of the fault."""
        value = self.fault.inside.get(self.fault.name)
        if self.fault.place is None or not isinstance(value, list) or self.fault.place >= len(value):
            return value
        return value[self.fault.place]


def issue_of(finding: Finding) -> Issue:
    """The issue that tells of a fault; its severity is that of an error."""
    code, text, place = _SENTENCES.get(finding.fault.rule, _broken_invariant)(finding)
    return Issue(code, text, place.expression, rule=finding.fault.rule)


_Told = tuple[str, str, Place]
"""The code of the issue, its sentence, and its place."""


def _missing(finding: Finding) -> _Told:
    name, here = finding.fault.name, finding.here
    choices = finding.kind.choices if finding.kind is not None else ()
    names = next((names for element, names, _ in choices if element == name), None)
    if names is None:
        found = "empty" if name in finding.fault.inside else "missing"
        return "required", f"{here.name} is {found}, and FHIR {finding.version} requires it. Add it.", here
    wanted = sorted(name for name in names if not name.startswith("_"))
    return "required", f"{finding.outer.name} has no {name}[x]. Give one of {_some(wanted)}.", here


def _unknown(finding: Finding) -> _Told:
    known = [*finding.fault.about.members, *(("resourceType",) if finding.fault.about.is_resource else ())]
    name, outer = finding.fault.name, finding.outer
    alike = get_close_matches(name[:_LONGEST_QUOTE], known, n=1, cutoff=0.75)
    advice = f"Did you mean {alike[0]}?" if alike and alike[0] != name else "Remove it."
    text = f"{outer.name} has no element {quoted(name)} in FHIR {finding.version}. {advice}"
    return "structure", text, Place(f"{outer.expression}.{step(name)}", outer.name)


def _choice(finding: Finding) -> _Told:
    text = f"{finding.outer.name} has {' and '.join(finding.fault.about)}. Keep one of them."
    return "structure", text, finding.here


def _null(finding: Finding) -> _Told:
    if isinstance(finding.fault.about, int):
        text = (
            f"{finding.here.name} has another number of items than the array beside it ({finding.fault.about}). "
            "Fill the shorter one up with null."
        )
    else:
        text = f"{finding.here.name} is null, which FHIR does not allow here. Leave it out."
    return "structure", text, finding.here


def _empty(finding: Finding) -> _Told:
    return "structure", f"{finding.here.name} is empty, which FHIR does not allow. Leave it out.", finding.here


def _only_id(finding: Finding) -> _Told:
    text = f"{finding.here.name} has nothing but an id: no value, no children, no extension. Fill it or leave it out."
    return "invariant", text, finding.here


def _repeated(finding: Finding) -> _Told:
    text = f"{finding.here.name} is an array, but may be given only once. Write {_wanted(finding)}."
    return "structure", text, finding.here


def _wrong_type(finding: Finding) -> _Told:
    return "structure", f"{finding.here.name} is {quoted(finding.found)}. Write {_wanted(finding)}.", finding.here


def _wrong_form(finding: Finding) -> _Told:
    return "value", f"{finding.here.name} is {quoted(finding.found)}. Write {_wanted(finding)}.", finding.here


def _wanted(finding: Finding) -> str:
    member = finding.member
    if member is None:
        return "what FHIR defines"
    if member.said.many and finding.fault.place is None and not isinstance(finding.found, list):
        return "an array, even of one"
    primitive = member.primitive
    if primitive is None or member.name == member.said.sibling:
        return f"an object ({member.kind.name})" if member.kind.name else "a resource"
    return primitive.wording


def _code(finding: Finding) -> _Told:
    member = finding.member
    binding = member.said.binding if member is not None else None
    if binding is None:
        return _wrong_form(finding)
    if member is not None and member.bound is not None:
        text = f"{finding.here.name} has no code of {binding.value_set}, which FHIR requires. Use {_codes(binding)}."
        return "code-invalid", text, finding.here
    codes = {code for _, code in binding.codes}
    alike = get_close_matches(str(finding.found)[:_LONGEST_QUOTE].lower().strip(), codes, n=1, cutoff=0.7)
    advice = f"Did you mean {alike[0]}?" if alike else f"Use {_codes(binding)}."
    return (
        "code-invalid",
        f"{finding.here.name} is {quoted(finding.found)}, which is no code for it. {advice}",
        finding.here,
    )


def _codes(binding: Binding) -> str:
    codes = sorted({code for _, code in binding.codes})
    if not codes:
        return f"a code of {binding.value_set}"
    return f"one of {', '.join(codes)}" if len(codes) <= 2 * _MOST_NAMES else f"a code of {binding.value_set}"


def _better_code(finding: Finding) -> _Told:
    binding = finding.fault.about.said.binding
    text = f"{finding.here.name} has no code of {binding.value_set} ({binding.strength}). Add one if one fits."
    return "code-invalid", text, finding.here


def _wrong_target(finding: Finding) -> _Told:
    kind, targets = finding.fault.about
    if finding.fault.name == "type":
        text = f"{finding.here.name} says {targets[0]}, but the reference is to {_a(kind)}. Make the two agree."
    else:
        text = f"{finding.outer.name} refers to {_a(kind)}. FHIR allows {_some(targets)} there."
    return "invalid", text, finding.outer


def _a(kind: Any) -> str:
    name = printable(str(kind)[:_LONGEST_QUOTE])
    return f"an {name}" if name[:1] in "AEIOU" else f"a {name}"


def _unresolved(finding: Finding) -> _Told:
    text = (
        f"{finding.outer.name} refers to {quoted(finding.fault.about)}, which is not in the Bundle: its receiver "
        "cannot read it. Put it into an entry, or give an identifier too."
    )
    return "not-found", text, finding.outer


def _by_id(finding: Finding) -> _Told:
    text = (
        f"{finding.outer.name} refers to {quoted(finding.fault.about)}, which is the fullUrl of no entry. The gateway "
        "takes the entry of this type and id; others may not. Refer to its fullUrl."
    )
    return "not-found", text, finding.outer


def _not_contained(finding: Finding) -> _Told:
    text = (
        f"{finding.outer.name} refers to {quoted(finding.fault.about)}, but no contained resource has this id. "
        "Put it into `contained`."
    )
    return "invariant", text, finding.outer


_FULL_URLS = {
    "missing": "is missing. Give each entry an absolute URI, such as urn:uuid:… , that references can name.",
    "relative": "is not an absolute URI. Write urn:uuid:… or the address of the resource.",
    "uuid": "is no UUID. Write urn:uuid: and 8-4-4-4-12 hex digits.",
    "oid": "is no OID. Write urn:oid: and numbers with dots between them.",
    "type": "is the address of a resource of another type. Make the two agree.",
    "id": "is the address of another id than the resource has. Make the two agree.",
}


def _full_url(finding: Finding) -> _Told:
    return "value", f"{finding.here.name} {_FULL_URLS[finding.fault.about]}", finding.here


def _narrative(finding: Finding) -> _Told:
    return "invalid", f"{finding.here.name}: {finding.fault.about}", finding.here


def _resource_type(finding: Finding) -> _Told:
    name = finding.fault.about
    text = (
        f"The resourceType is {quoted(name) if name is not None else 'missing'}. "
        f"Write the name of a resource type of FHIR {finding.version}."
    )
    code = "required" if name is None else "not-supported" if isinstance(name, str) else "structure"
    return code, text, finding.outer


def _broken_invariant(finding: Finding) -> _Told:
    invariant = finding.fault.about
    return "invariant", f"{finding.here.name} breaks {invariant.key}: {invariant.human.rstrip('.')}.", finding.here


_SENTENCES: dict[str, Callable[[Finding], _Told]] = {
    "binding-extensible": _better_code,
    "binding-preferred": _better_code,
    "binding-required": _code,
    "cardinality-max": _repeated,
    "cardinality-min": _missing,
    "choice": _choice,
    "ele-1": _only_id,
    "empty": _empty,
    "format": _wrong_form,
    "full-url": _full_url,
    "narrative": _narrative,
    "narrative-markup": _narrative,
    "null": _null,
    "ref-1": _not_contained,
    "reference-by-id": _by_id,
    "reference-target": _wrong_target,
    "reference-unresolved": _unresolved,
    "resource-type": _resource_type,
    "type": _wrong_type,
    "unknown-element": _unknown,
}


def _some(names: Collection[str]) -> str:
    listed = list(names)
    return ", ".join(listed) if len(listed) <= _MOST_NAMES else f"its {len(listed)} types, such as {listed[-1]}"


def quoted(value: object) -> str:
    """Short enough for a sentence, and on one line: whoever sent it need only recognise it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'"{printable(_shortened(value))}"'
        case Number():
            return _shortened(value.lexeme)
        case int():
            return str(value) if abs(value) < _LARGE else "a number of very many digits"
        case list():
            return "an array"
        case _:
            return "an object"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
