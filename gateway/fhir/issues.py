"""What is wrong in a resource, and where: FHIRPath, and names that a sender made up, fit to be shown to anybody."""

import re

from lxml.etree import XMLSyntaxError

from gateway.errors import Issue, Refused
from gateway.fhir.definitions import Type

MAX_ISSUES = 50
_LONGEST = 64
_MOST_CHOICES = 12
_ESCAPED = re.compile(r"[^ -~]|[`\\]")
_ADVICE = re.compile(r", (?:try|use) XML_PARSE_HUGE(?: option)?")

Where = tuple["Where | None", str, int | None]
"""The place that contains it, its name there, and its index if it is one of several."""


class Issues:
    """Collects what is wrong, and refuses at once when it has become too much."""

    def __init__(self, refusal: type[Refused]) -> None:
        self.found: list[Issue] = []
        self._refusal = refusal

    def add(self, code: str, text: str, where: Where | None) -> None:
        self.found.append(Issue(code, text, expression(where) or None))
        if len(self.found) == MAX_ISSUES:
            self.refuse_any()

    def refuse_any(self) -> None:
        if self.found:
            raise self._refusal(*self.found)


def expression(where: Where | None) -> str:
    """`Bundle.entry[2].resource.status`."""
    steps = []
    while where is not None:
        where, name, index = where
        steps.append(step(name) if index is None else f"{step(name)}[{index}]")
    return ".".join(reversed(steps))


def step(name: str) -> str:
    """`name` as FHIRPath writes it: between backticks if it is no identifier, and cut if it is long.

    https://hl7.org/fhirpath/N1/#identifiers
    """
    if name.isidentifier() and name.isascii() and len(name) <= _LONGEST:
        return name
    return f"`{_ESCAPED.sub(_escape, name[:_LONGEST])}`"


def _escape(found: re.Match[str]) -> str:
    if found[0] in "`\\":
        return f"\\{found[0]}"
    units = found[0].encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    return "".join(f"\\u{unit}" for unit in units)


def shown(text: str) -> str:
    """`text` in quotes, on one line, without the characters that JSON or XML cannot carry, cut if it is long."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def printable(text: str) -> str:
    """`text` on one line, and nothing in it that would turn around or hide what stands beside it."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def reason(error: XMLSyntaxError) -> str:
    """What libxml2 says is wrong, on one line, without its advice to us to allow more."""
    return _ADVICE.sub("", " ".join(error.msg.split()))


def unknown_element(kind: Type, name: str, version: str = "R4") -> str:
    """The sentence for an element that `kind` has not; names those it has if `name` is a choice of them."""
    choices = [field.name for field in kind.fields.values() if field.element == name.removesuffix("[x]")]
    advice = f"Write it as {' or '.join(choices)}." if 0 < len(choices) < _MOST_CHOICES else "Check its name and place."
    return f"{kind.name} has no element {shown(name)} in FHIR {version}. {advice}"
