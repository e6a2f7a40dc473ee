"""The invariants of ElementDefinition: https://hl7.org/fhir/R4/elementdefinition.html#invs"""

from __future__ import annotations

import re

from gateway.fhir.check.invariants.rules import (
    Context,
    Element,
    Holds,
    Rules,
    any_of,
    are_distinct,
    error,
    has,
    has_choice,
    items,
    needs,
    not_both,
    only_if,
    text,
    warning,
)

_SEGMENT = r"""[^\s.,:;'"/|?!@#$%&*()\[\]{}]{1,64}"""
_PATH = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT}(?:\[x\])?(?::[^\s.]+)?)*")
_SIMPLE_PATH = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[a-z][A-Za-z0-9]*(?:\[x\])?)*")
_SLICE_NAME = re.compile(r"[a-zA-Z0-9/\-_\[\]@]+")
_WHOLE = re.compile("[0-9]{1,9}")
_BINDABLE = ("code", "Coding", "CodeableConcept", "CodeableReference", "Quantity", "Duration", "string", "uri")
_URL = ("http:", "https", "urn:", "#")
_REFERRING = ("Reference", "canonical", "CodeableReference")


def _eld_2(element: Element, _context: Context) -> bool:
    least, most = element.get("min"), element.get("max")
    if type(least) is not int or type(most) is not str or not _WHOLE.fullmatch(most):
        return True
    return least <= int(most)


def _eld_3(element: Element, _context: Context) -> bool:
    most = text(element, "max")
    return most is None or most == "*" or _WHOLE.fullmatch(most) is not None


def _eld_5(element: Element, _context: Context) -> bool:
    if not has(element, "contentReference"):
        return True
    plain = ("type", "example", "maxLength", "binding")
    choices = ("defaultValue", "fixed", "pattern", "minValue", "maxValue")
    return not any(has(element, name) for name in plain) and not any(has_choice(element, name) for name in choices)


def _of_one_type(name: str) -> Holds:
    def holds(element: Element, _context: Context) -> bool:
        return len(items(element, "type")) <= 1 or not has_choice(element, name)

    return holds


def _eld_11(element: Element, _context: Context) -> bool:
    codes = [code for item in items(element, "type") if (code := text(item, "code"))]
    return "binding" not in element or not codes or any(code in _BINDABLE for code in codes)


def _eld_12(binding: Element, _context: Context) -> bool:
    value_set = text(binding, "valueSet")
    return value_set is None or value_set.startswith(_URL)


def _eld_13(element: Element, _context: Context) -> bool:
    return are_distinct([item.get("code") for item in items(element, "type")])


def _eld_14(element: Element, _context: Context) -> bool:
    return are_distinct([item.get("key") for item in items(element, "constraint")])


def _eld_16(element: Element, _context: Context) -> bool:
    name = text(element, "sliceName")
    return name is None or _SLICE_NAME.fullmatch(name) is not None


def _eld_18(element: Element, _context: Context) -> bool:
    return element.get("isModifier") is not True or has(element, "isModifierReason")


def _eld_19(element: Element, _context: Context) -> bool:
    path = text(element, "path")
    return path is None or _PATH.fullmatch(path) is not None


def _eld_20(element: Element, _context: Context) -> bool:
    path = text(element, "path")
    return path is None or _SIMPLE_PATH.fullmatch(path) is not None


_ELD_5 = (
    "if the element definition has a contentReference, it cannot have type, defaultValue, fixed, pattern, "
    "example, minValue, maxValue, maxLength, or binding"
)
_ELD_20 = (
    "Element names should be simple alphanumerics with a max of 64 characters, or code generation tools may be broken"
)

RULES: Rules = {
    "ElementDefinition": (
        error("eld-2", "Min <= Max", _eld_2),
        error("eld-3", 'Max SHALL be a number or "*"', _eld_3, path="max"),
        error("eld-5", _ELD_5, _eld_5),
        error("eld-6", "Fixed value may only be specified if there is one type", _of_one_type("fixed")),
        error("eld-7", "Pattern may only be specified if there is one type", _of_one_type("pattern")),
        error("eld-8", "Pattern and fixed are mutually exclusive", not_both("pattern[x]", "fixed[x]")),
        error("eld-11", "Binding can only be present for coded elements, string, and uri", _eld_11),
        error("eld-13", "Types must be unique by code", _eld_13),
        error("eld-14", "Constraints must be unique by key", _eld_14),
        error(
            "eld-15",
            "default value and meaningWhenMissing are mutually exclusive",
            not_both("defaultValue[x]", "meaningWhenMissing"),
        ),
        error("eld-16", 'sliceName must be composed of proper tokens separated by "/"', _eld_16),
        error("eld-18", "Must have a modifier reason if isModifier = true", _eld_18),
        error("eld-19", "Element names cannot include some special characters", _eld_19),
        warning("eld-20", _ELD_20, _eld_20),
        error(
            "eld-22",
            "sliceIsConstraining can only appear if slicename is present",
            needs("sliceIsConstraining", "sliceName"),
        ),
    ),
    "ElementDefinition.binding": (error("eld-12", "ValueSet SHALL start with http:// or https:// or urn:", _eld_12),),
    "ElementDefinition.constraint": (
        warning(
            "eld-21",
            "Constraints should have an expression or else validators will not be able to enforce them",
            any_of("expression"),
        ),
    ),
    "ElementDefinition.slicing": (
        error(
            "eld-1",
            "If there are no discriminators, there must be a definition",
            any_of("discriminator", "description"),
        ),
    ),
    "ElementDefinition.type": (
        error(
            "eld-4",
            "Aggregation may only be specified if one of the allowed types for the element is a reference",
            only_if("aggregation", "code", *_REFERRING),
        ),
        error(
            "eld-17",
            "targetProfile is only allowed if the type is Reference or canonical",
            only_if("targetProfile", "code", *_REFERRING),
        ),
    ),
}
