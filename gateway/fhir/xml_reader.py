"""Reads the elements of FHIR XML into the dict that FHIR JSON gives."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lxml import etree

from gateway.errors import Issue, NotAMessage
from gateway.fhir import narrative
from gateway.fhir.definitions import FHIR, Field, Type, Version, get_type, is_resource
from gateway.fhir.issues import Issues, Where, shown, unknown_element
from gateway.fhir.json import MAX_DEPTH, Number, Resource, number

_NAMESPACE = f"{{{FHIR}"
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"


class Reader:
    """One reading of a resource of a version. A `depth` is that of the dicts and lists made."""

    def __init__(self, has_text: bool, version: Version = "R4") -> None:
        self._version: Version = version
        self._issues = Issues(NotAMessage)
        self._has_text = has_text

    def read(self, root: etree._Element) -> Resource:
        """NotAMessage with all issues found if `root` is no resource as the version defines it."""
        resource: Resource = {}
        self._resource(root, resource, None, 1)
        self._issues.refuse_any()
        return resource

    def _resource(self, element: etree._Element, into: Resource, where: Where | None, depth: int) -> None:
        namespace, _, name = element.tag.rpartition("}")
        if namespace != _NAMESPACE:
            text = f"The element {shown(name)} is not in the namespace {FHIR}. Declare it with xmlns."
            self._issues.add("structure", text, where)
        elif not is_resource(name, self._version):
            self._issues.add("structure", f"FHIR {self._version} has no resource {shown(name)}.", where)
        else:
            into["resourceType"] = name
            self._members(element, get_type(name, self._version), into, where or (None, name, None), depth)

    def _members(self, element: etree._Element, kind: Type, into: dict[str, Any], where: Where, depth: int) -> None:
        """Puts the attributes and the children of `element` into `into`."""
        if depth > MAX_DEPTH:
            text = f"The resource is nested more than {MAX_DEPTH} levels deep. Send a flatter one."
            raise NotAMessage(Issue("too-costly", text, severity="fatal"))
        if self._has_text:
            self._refuse_text(element, where)
        last = self._attributes(element, kind, into, where)
        in_order = True
        for child in element:
            field = kind.tags.get(child.tag)
            if field is None:
                self._refuse_child(child, kind, where)
                continue
            if field.order > last:
                last = field.order
            else:
                in_order = in_order and field.order == last
                if not field.many and self._is_repeated(field, kind, into, where):
                    continue
            if field.sibling:
                self._primitive(child, field, into, where, depth)
            else:
                self._compound(child, field, into, where, depth)
        if not in_order:
            _sort(into, kind)

    def _attributes(self, element: etree._Element, kind: Type, into: dict[str, Any], where: Where) -> int:
        """The place of the last attribute in the order of the members."""
        last = -1
        for name, value in element.items():
            field = kind.attributes.get(name)  # type: ignore[arg-type]
            if field is not None:
                into[field.name] = value
                last = max(last, field.order)
            elif name != _SCHEMA_LOCATION or "resourceType" not in into:
                text = f"{kind.name} has no attribute {shown(str(name))} in FHIR {self._version}. Leave it out."
                self._issues.add("structure", text, where)
        return last

    def _primitive(self, child: etree._Element, field: Field, into: dict[str, Any], where: Where, depth: int) -> None:
        attributes = child.items()
        value: Any
        sibling: dict[str, Any] = {}
        if len(attributes) == 1 and attributes[0][0] == "value" and not len(child) and not self._has_text:
            value = attributes[0][1]
        else:
            self._members(child, _PRIMITIVE, sibling, _here(field, into, where), depth + 1 + field.many)
            value = sibling.pop("value", None)
            if value is None and not sibling:
                text = f"{field.name} is empty. Give it a value, or leave it out."
                self._issues.add("structure", text, _here(field, into, where))
        if value is not None and field.kind != "string":
            value = self._converted(value, field, into, where)
        if field.many:
            _append(field, value, sibling or None, into)
            return
        if value is not None:
            into[field.name] = value
        if sibling:
            into[field.sibling] = sibling

    def _converted(self, lexeme: str, field: Field, into: dict[str, Any], where: Where) -> Any:
        try:
            return _VALUES[field.kind](lexeme)
        except (KeyError, ValueError):
            self._issues.add("value", f"{shown(lexeme)} is no {field.type}.", _here(field, into, where))

    def _compound(self, child: etree._Element, field: Field, into: dict[str, Any], where: Where, depth: int) -> None:
        here = _here(field, into, where)
        depth += 1 + field.many
        value: Any = {}
        if field.kind == "complex":
            self._members(child, get_type(field.type, self._version), value, here, depth)
        elif field.kind == "resource":
            self._wrapped(child, value, here, depth)
        else:
            value = self._narrative(child, here)
        if field.many:
            into.setdefault(field.name, []).append(value)
        else:
            into[field.name] = value

    def _wrapped(self, wrapper: etree._Element, into: Resource, where: Where, depth: int) -> None:
        if self._has_text:
            self._refuse_text(wrapper, where)
        elements = [child for child in wrapper if _is_element(child)]
        if len(elements) == 1 and not wrapper.keys():
            self._resource(elements[0], into, where, depth)
        else:
            self._issues.add("structure", "Exactly one resource, and no attribute, is expected here.", where)

    def _narrative(self, div: etree._Element, where: Where) -> str | None:
        try:
            return narrative.to_text(div)
        except ValueError as error:
            self._issues.add("structure", str(error), where)
            return None

    def _is_repeated(self, field: Field, kind: Type, into: dict[str, Any], where: Where) -> bool:
        if all(kind.order.get(name) != field.order for name in into):
            return False
        text = f"{field.element} is given more than once. Give it once."
        self._issues.add("structure", text, (where, field.element, None))
        return True

    def _refuse_child(self, child: etree._Element, kind: Type, where: Where) -> None:
        if not _is_element(child):
            return
        namespace, _, name = child.tag.rpartition("}")
        if namespace == _NAMESPACE:
            text = unknown_element(kind, name, self._version)
        else:
            text = f"The element {shown(name)} is in the namespace {shown(namespace[1:])}. Here it has to be in {FHIR}."
        self._issues.add("structure", text, where)

    def _refuse_text(self, element: etree._Element, where: Where) -> None:
        texts = (element.text, *(child.tail for child in element))
        for text in filter(None, (text.strip(" \t\r\n") for text in texts if text)):
            self._issues.add("structure", f"Text is not allowed here: {shown(text)}. Values are attributes.", where)


def _integer(lexeme: str) -> int:
    value = number(lexeme.removeprefix("+"))
    if isinstance(value, Number):
        raise ValueError(f"{lexeme!r} is not an integer")
    return value


_VALUES: dict[str, Callable[[str], Any]] = {
    "boolean": {"true": True, "false": False}.__getitem__,
    "integer": _integer,
    "decimal": number,
}


def _primitive_type() -> Type:
    """What an element with a value may have: the value, and what every element may have."""
    element = get_type("Element")
    value = Field("value", "", "value", -1, "string", "string", many=False, attribute=True)
    return replace(element, name="A primitive", attributes={**element.attributes, "value": value})


_PRIMITIVE = _primitive_type()


def _here(field: Field, into: dict[str, Any], where: Where) -> Where:
    """The place of the next value of `field`."""
    if not field.many:
        return where, field.element, None
    return where, field.element, len(into.get(field.name) or into.get(field.sibling) or ())


def _append(field: Field, value: Any, sibling: dict[str, Any] | None, into: dict[str, Any]) -> None:
    """Adds to the two arrays that JSON has for a repeated primitive; each is there only if it says something."""
    values, siblings = into.get(field.name), into.get(field.sibling)
    count = len(values or siblings or ())
    if values is None and value is not None:
        values = into[field.name] = [None] * count
    if siblings is None and sibling is not None:
        siblings = into[field.sibling] = [None] * count
    if values is not None:
        values.append(value)
    if siblings is not None:
        siblings.append(sibling)


def _is_element(node: etree._Element) -> bool:
    tag: object = node.tag
    return isinstance(tag, str)


def _sort(into: dict[str, Any], kind: Type) -> None:
    members = sorted(into.items(), key=lambda member: kind.order.get(member[0], -1))
    into.clear()
    into.update(members)
