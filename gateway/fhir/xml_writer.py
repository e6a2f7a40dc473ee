"""Writes the dict that FHIR JSON gives as the elements of FHIR XML."""

from itertools import pairwise, zip_longest
from math import isfinite
from operator import attrgetter
from types import NoneType
from typing import Any

from gateway.errors import NotAMessage
from gateway.fhir import narrative
from gateway.fhir.definitions import FHIR, Field, Type, Version, get_type, is_resource
from gateway.fhir.issues import Issues, Where, shown, unknown_element
from gateway.fhir.json import Number

_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), ('"', "&quot;"), ("\t", "&#9;"), ("\n", "&#10;"), ("\r", "&#13;"))
_EXPECTED = {"boolean": "true or false", "integer": "an integer", "decimal": "a number"}
_GIVEN: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    Number: "a number",
    NoneType: "null",
}

_Plan = tuple[tuple[Field, bool], ...]
"""The fields of an object in the order of XML, each with whether it is a single primitive without a sibling."""
_plans: dict[tuple[Any, ...], _Plan] = {}
"""By type and names, in the orders they came in; emptied when there are too many of them."""
_MOST_PLANS = 5_000


class Writer:
    """One writing of a resource of a version."""

    def __init__(self, version: Version = "R4") -> None:
        self._version: Version = version
        self._issues = Issues(NotAMessage)
        self._out: list[str] = []

    def write(self, resource: Any) -> str:
        """NotAMessage with all issues found if `resource` is not built as the version defines it."""
        try:
            self._resource(resource, None, f' xmlns="{FHIR}"')
        except RecursionError:
            self._issues.add("too-costly", "The resource is nested too deeply to be written as XML.", None)
        self._issues.refuse_any()
        return "".join(self._out)

    def _resource(self, value: Any, where: Where | None, attributes: str = "") -> None:
        name = value.get("resourceType") if isinstance(value, dict) else None
        if isinstance(name, str) and is_resource(name, self._version):
            self._compound(name, value, get_type(name, self._version), where or (None, name, None), attributes)
        else:
            given = (
                f"FHIR {self._version} has no resource {shown(name)}."
                if isinstance(name, str)
                else "Here is no resourceType."
            )
            self._issues.add("structure", given, where)

    def _compound(self, tag: str, value: Any, kind: Type, where: Where, attributes: str = "") -> None:
        if not isinstance(value, dict):
            self._refuse_value("an object", value, where)
            return
        for name in kind.attributes:
            if value.get(name) is not None:
                attributes += f' {name}="{self._string(value[name], (where, name, None))}"'
        out = self._out
        out.append(f"<{tag}{attributes}>")
        length = len(out)
        plan = _plans.get((kind, *value))
        for field, simple in self._plan(kind, value, where) if plan is None else plan:
            name = field.name
            if not simple:
                self._field(field, value, where)
            elif field.kind == "string" and type(value[name]) is str:
                out.append(f'<{name} value="{_escaped(value[name])}"/>')
            else:
                self._primitive(field, value[name], None, (where, field.element, None))
        if len(out) == length:
            out[-1] = f"<{tag}{attributes}/>"
        else:
            out.append(f"</{tag}>")

    def _plan(self, kind: Type, value: dict[str, Any], where: Where) -> _Plan:
        """Looks at the names in `value`, and keeps the plan if nothing is wrong with them."""
        wrong = [name for name in value if name not in kind.order and not self._is_type(name, kind)]
        for name in wrong:
            self._issues.add("structure", unknown_element(kind, name, self._version), where)
        found = {field.name: field for name in value if (field := kind.fields.get(name) or kind.siblings.get(name))}
        fields = sorted(found.values(), key=attrgetter("order"))
        for one, other in pairwise(fields):
            if one.order == other.order:
                wrong.append(other.name)
                text = f"Only one of {one.name} and {other.name} may be given."
                self._issues.add("structure", text, (where, one.element, None))
        plan = tuple((field, _is_simple(field, value)) for field in fields)
        if not wrong:
            if len(_plans) >= _MOST_PLANS:
                _plans.clear()
            _plans[(kind, *value)] = plan
        return plan

    def _field(self, field: Field, value: dict[str, Any], where: Where) -> None:
        if field.sibling:
            self._primitives(field, value.get(field.name), value.get(field.sibling), where)
        elif field.many:
            self._compounds(field, value[field.name], where)
        elif value[field.name] is not None:
            self._one(field, value[field.name], (where, field.element, None))

    def _compounds(self, field: Field, values: Any, where: Where) -> None:
        if isinstance(values, list):
            for index, value in enumerate(values):
                self._one(field, value, (where, field.element, index))
        elif values is not None:
            self._refuse_value("an array", values, (where, field.element, None))

    def _one(self, field: Field, value: Any, where: Where) -> None:
        if field.kind == "complex":
            self._compound(field.name, value, get_type(field.type, self._version), where)
        elif field.kind == "resource":
            self._out.append(f"<{field.name}>")
            self._resource(value, where)
            self._out.append(f"</{field.name}>")
        else:
            self._narrative(value, where)

    def _narrative(self, value: Any, where: Where) -> None:
        if not isinstance(value, str):
            self._refuse_value("a string of XHTML", value, where)
            return
        try:
            self._out.append(narrative.to_xml(value))
        except ValueError as error:
            self._issues.add("structure", str(error), where)

    def _primitives(self, field: Field, value: Any, sibling: Any, where: Where) -> None:
        if not field.many:
            self._primitive(field, value, sibling, (where, field.element, None))
            return
        values, siblings = [] if value is None else value, sibling or []
        if not isinstance(values, list) or not isinstance(siblings, list):
            wrong = siblings if isinstance(values, list) else values
            self._refuse_value("an array", wrong, (where, field.element, None))
            return
        for index, (one, other) in enumerate(zip_longest(values, siblings)):
            here = (where, field.element, index)
            if one is None and not other:
                self._issues.add("structure", "Here is null, with nothing beside it.", here)
            self._primitive(field, one, other, here)

    def _primitive(self, field: Field, value: Any, sibling: Any, where: Where) -> None:
        attribute = "" if value is None else f' value="{self._lexeme(field, value, where)}"'
        if sibling:
            length = len(self._out)
            self._compound(field.name, sibling, get_type("Element", self._version), where, attribute)
            if self._out[length:] == [f"<{field.name}/>"]:
                self._issues.add("structure", f"{field.name} is empty. Give it a value, or leave it out.", where)
        elif attribute:
            self._out.append(f"<{field.name}{attribute}/>")

    def _lexeme(self, field: Field, value: Any, where: Where) -> str:
        if field.kind == "string":
            return self._string(value, where)
        if field.kind == "boolean" and isinstance(value, bool):
            return "true" if value else "false"
        if field.kind in ("integer", "decimal") and type(value) is int:
            return str(value)
        if field.kind == "decimal" and isinstance(value, Number):
            return value.lexeme
        if field.kind == "decimal" and type(value) is float and isfinite(value):
            return repr(value)
        return self._refuse_value(_EXPECTED[field.kind], value, where)

    def _string(self, value: Any, where: Where) -> str:
        return _escaped(value) if isinstance(value, str) else self._refuse_value("a string", value, where)

    def _refuse_value(self, expected: str, value: Any, where: Where) -> str:
        given = _GIVEN.get(type(value), type(value).__name__)
        self._issues.add("structure", f"Here is {given}, where FHIR {self._version} has {expected}.", where)
        return ""

    def _is_type(self, name: str, kind: Type) -> bool:
        return name == "resourceType" and is_resource(kind.name, self._version)


def _is_simple(field: Field, value: dict[str, Any]) -> bool:
    return bool(field.sibling) and not field.many and field.sibling not in value


def _escaped(text: str) -> str:
    if "&" in text or "<" in text or '"' in text or "\n" in text or "\r" in text or "\t" in text:
        for character, escape in _ESCAPES:
            text = text.replace(character, escape)
    return text
