"""The invariants of StructureDefinition and StructureMap: https://hl7.org/fhir/R4/structuredefinition.html#invs"""

from __future__ import annotations

import re
from itertools import chain

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
    only_if,
    text,
)

_CORE = "http://hl7.org/fhir/StructureDefinition"
_SYSTEM_TYPE = r"http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+"
_CORE_TYPE = re.compile(rf"[a-zA-Z0-9]+|{_SYSTEM_TYPE}")
_CORE_TYPE_IN_SNAPSHOT = re.compile(rf"[a-zA-Z0-9.]+|{_SYSTEM_TYPE}")


def _elements(structure: Element, view: str) -> list[Element]:
    return [element for inside in items(structure, view) for element in items(inside, "element")]


def _path(element: Element) -> str:
    return text(element, "path") or ""


def _roots(elements: list[Element]) -> list[Element]:
    return [element for element in elements if (path := text(element, "path")) is not None and "." not in path]


def _in_both(structure: Element) -> list[Element]:
    return _elements(structure, "snapshot") + _elements(structure, "differential")


def _sdf_1(structure: Element, _context: Context) -> bool:
    return structure.get("derivation") == "constraint" or are_distinct(
        [element.get("path") for element in _elements(structure, "snapshot")]
    )


def _sdf_4(structure: Element, _context: Context) -> bool:
    return structure.get("abstract") is not False or has(structure, "baseDefinition")


def _sdf_5(structure: Element, _context: Context) -> bool:
    is_extension = structure.get("type") == "Extension" and structure.get("derivation") != "specialization"
    return not is_extension or "context" in structure


def _sdf_9(structure: Element, _context: Context) -> bool:
    names = ("label", "code", "requirements")
    return not any(has(root, name) for root in _roots(_in_both(structure)) for name in names)


def _sdf_11(structure: Element, _context: Context) -> bool:
    elements = _elements(structure, "snapshot")
    return structure.get("kind") == "logical" or not elements or elements[0].get("path") == structure.get("type")


def _sdf_14(structure: Element, _context: Context) -> bool:
    return all(has(element, "id") for element in _in_both(structure))


def _sdf_15(structure: Element, _context: Context) -> bool:
    elements = _elements(structure, "snapshot")
    return structure.get("kind") == "logical" or not elements or "type" not in elements[0]


def _sdf_15a(structure: Element, _context: Context) -> bool:
    first = _elements(structure, "differential")[:1]
    return structure.get("kind") == "logical" or not any("type" in root for root in _roots(first))


def _with_unique_ids(view: str) -> Holds:
    def holds(structure: Element, _context: Context) -> bool:
        elements = _elements(structure, view)
        return all(has(element, "id") for element in elements) and are_distinct(
            [element.get("id") for element in elements]
        )

    return holds


def _sdf_19(structure: Element, _context: Context) -> bool:
    if not (text(structure, "url") or "").startswith(_CORE):
        return True
    views = (("differential", _CORE_TYPE), ("snapshot", _CORE_TYPE_IN_SNAPSHOT))
    return all(
        pattern.fullmatch(code)
        for view, pattern in views
        for element in _elements(structure, view)
        for kind in items(element, "type")
        if (code := text(kind, "code")) is not None
    )


def _sdf_21(structure: Element, _context: Context) -> bool:
    return structure.get("derivation") == "specialization" or not any(
        has_choice(element, "defaultValue") for element in _elements(structure, "differential")
    )


def _sdf_22(structure: Element, _context: Context) -> bool:
    return not (text(structure, "url") or "").startswith(_CORE) or not any(
        has_choice(element, "defaultValue") for element in _in_both(structure)
    )


def _sdf_23(structure: Element, _context: Context) -> bool:
    return not any(has(root, "sliceName") for root in _roots(_in_both(structure)))


def _each_has(*names: str) -> Holds:
    def holds(view: Element, _context: Context) -> bool:
        return all(has(element, name) for element in items(view, "element") for name in names)

    return holds


def _sdf_8(snapshot: Element, context: Context) -> bool:
    elements = items(snapshot, "element")
    if not elements:
        return True
    root = _path(elements[0])
    is_of_type = context.resource.get("kind") == "logical" or root == context.resource.get("type")
    return is_of_type and _all_begin_with(f"{root}.", elements[1:])


def _all_begin_with(start: str, elements: list[Element]) -> bool:
    return all(_path(element).startswith(start) for element in elements)


def _sdf_8a(differential: Element, context: Context) -> bool:
    elements = items(differential, "element")
    if not elements:
        return True
    first, kind = _path(elements[0]), text(context.resource, "type") or ""
    is_of_type = context.resource.get("kind") == "logical" or first.startswith(kind)
    root = first.partition(".")[0]
    return is_of_type and _all_begin_with(f"{root}.", elements[1:])


def _sdf_10(snapshot: Element, _context: Context) -> bool:
    bindings = chain.from_iterable(items(element, "binding") for element in items(snapshot, "element"))
    return all(has(binding, "valueSet") or has(binding, "description") for binding in bindings)


def _sdf_20(differential: Element, _context: Context) -> bool:
    return not any("slicing" in root for root in _roots(items(differential, "element")))


_SDF_9 = (
    'In any snapshot or differential, no label, code or requirements on an element without a "." in the path '
    "(e.g. the first element)"
)
_SDF_15A = 'If the first element in a differential has no "." in the path and it\'s not a logical model, it has no type'
_SDF_8A = (
    "In any differential, all the elements must start with the StructureDefinition's specified type for "
    "non-logical models, or with the same type name for logical models"
)
_SDF_8 = (
    "All snapshot elements must start with the StructureDefinition's specified type for non-logical models, "
    "or with the same type name for logical models"
)

RULES: Rules = {
    "StructureDefinition": (
        error("sdf-1", "Element paths must be unique unless the structure is a constraint", _sdf_1),
        error("sdf-4", "If the structure is not abstract, then there SHALL be a baseDefinition", _sdf_4),
        error(
            "sdf-5", "If the structure defines an extension then the structure must have context information", _sdf_5
        ),
        error(
            "sdf-6",
            "A structure must have either a differential, or a snapshot (or both)",
            any_of("snapshot", "differential"),
        ),
        error("sdf-9", _SDF_9, _sdf_9),
        error(
            "sdf-11",
            "If there's a type, its content must match the path name in the first element of a snapshot",
            _sdf_11,
        ),
        error("sdf-14", "All element definitions must have an id", _sdf_14),
        error("sdf-15", "The first element in a snapshot has no type unless model is a logical model.", _sdf_15),
        error("sdf-15a", _SDF_15A, _sdf_15a),
        error("sdf-16", "All element definitions must have unique ids (snapshot)", _with_unique_ids("snapshot")),
        error("sdf-17", "All element definitions must have unique ids (diff)", _with_unique_ids("differential")),
        error(
            "sdf-18",
            "Context Invariants can only be used for extensions",
            only_if("contextInvariant", "type", "Extension"),
        ),
        error("sdf-19", "FHIR Specification models only use FHIR defined types", _sdf_19),
        error("sdf-21", "Default values can only be specified on specializations", _sdf_21),
        error("sdf-22", "FHIR Specification models never have default values", _sdf_22),
        error("sdf-23", "No slice name on root", _sdf_23),
    ),
    "StructureDefinition.differential": (
        error("sdf-8a", _SDF_8A, _sdf_8a),
        error("sdf-20", "No slicing on the root element", _sdf_20),
    ),
    "StructureDefinition.mapping": (
        error("sdf-2", "Must have at least a name or a uri (or both)", any_of("name", "uri")),
    ),
    "StructureDefinition.snapshot": (
        error(
            "sdf-3",
            "Each element definition in a snapshot must have a formal definition and cardinalities",
            _each_has("definition", "min", "max"),
        ),
        error("sdf-8", _SDF_8, _sdf_8),
        error("sdf-8b", "All snapshot elements must have a base definition", _each_has("base")),
        error("sdf-10", "provide either a binding reference or a description (or both)", _sdf_10, path="element"),
    ),
    "StructureMap.group.rule.target": (
        error("smp-1", "Can only have an element if you have a context", needs("element", "context")),
        error("smp-2", "Must have a contextType if you have a context", needs("context", "contextType")),
    ),
}
