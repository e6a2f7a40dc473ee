"""Compiles the packages of definitions of FHIR's versions into the small tables that `gateway.fhir.definitions` reads.

    python -m gateway.fhir.compile_definitions hl7.fhir.r4.core-4.0.1.zip

writes the table of the version that the package is of. The packages are hl7.fhir.r4.core 4.0.1 (of
https://hl7.org/fhir/R4/downloads.html), hl7.fhir.r4b.core 4.3.0 and hl7.fhir.r5.core 5.0.0 (of npm: `npm pack
hl7.fhir.r5.core@5.0.0`), and for STU3, 3.0.2, Maven Central's hapi-fhir-validation-resources-dstu3-8.12.1.jar (of
ca.uhn.hapi.fhir); all are HL7's own definitions, CC0. A table says, of each type, which type it
is based on and what it has beyond that one, elements in their order:

    "Observation": {"base": "DomainResource",
        "elements": {"value[x]": "0..1 Quantity CodeableConcept string …"},
        "bindings": {"status": "required http://hl7.org/fhir/ValueSet/observation-status"},
        "targets": {"subject": "Patient Group Device Location"},
        "invariants": [["obs-6", "error", "dataAbsentReason SHALL only be …", "dataAbsentReason.empty() or …"]]}

An element's types follow its cardinality; `@` before a type says that XML writes the element as an attribute. An
element with children of its own has a type named by its path (`Patient.contact`), to which content references go too.
Bindings that only give an example are left out, and so are the targets of a Reference to anything. An invariant of an
element that has no type of its own has the element's name as its fifth item.

`codes` has the codes of each value set that an element is bound to, by their systems, if the package says them.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gateway.fhir.compile_packages import Package, open_package
from gateway.fhir.compile_value_sets import ValueSets
from gateway.fhir.definitions import TABLES, Version

Definition = dict[str, Any]
Elements = dict[str, str]
Types = dict[str, dict[str, Any]]

_SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_JSON_KINDS = {"Boolean": "boolean", "Integer": "integer", "Decimal": "decimal"}
_AS_STRINGS = ("integer64",)
"""Numbers that JSON writes as strings: https://hl7.org/fhir/R5/json.html#primitive"""
_VERSIONS: dict[str, Version] = {"3.0.2": "STU3", "4.0.1": "R4", "4.3.0": "R4B", "5.0.0": "R5"}
_CANONICAL_TYPE = "http://hl7.org/fhir/StructureDefinition/"
_REPEATED = {"ele-1": "Element", "ext-1": "Extension"}
"""Invariants that the definitions repeat at every element, and the types whose they are."""
_ALWAYS = ("base", "elements")
_MOST_CODES = 1000
"""Of a value set that an element is bound to only if it fits: more are not worth their weight."""
_ERRATA = {"Resource.id": "0..1 id", "Element.id": "0..1 @string"}
"""What is defined otherwise than the specification's own text has it, by the element that the definition begins with:
R4 4.0.1 https://hl7.org/fhir/R4/resource.html#id, R4B and R5 https://hl7.org/fhir/R5/element.html#id"""


def main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: python -m gateway.fhir.compile_definitions PACKAGE…", file=sys.stderr)
        return 2
    for argument in arguments:
        text = compile_table(open_package(Path(argument)))
        version = _VERSIONS[json.loads(text)["version"]]
        Path(__file__).with_name(TABLES[version]).write_text(text, encoding="utf-8")
    return 0


def compile_table(package: Package) -> str:
    """The table as JSON text, one type a line; the same text for the same package."""
    definitions = {definition["id"]: definition for definition in _definitions(package)}
    version = next(iter(definitions.values()))["fhirVersion"]
    primitives = {
        name: _json_kind(item, definitions) for name, item in definitions.items() if item["kind"] == "primitive-type"
    }
    types: Types = {}
    for name, definition in definitions.items():
        if definition["kind"] != "primitive-type":
            types.update(_types(name, definition))
    own = {name: _without_inherited(name, types) for name in sorted(types)}
    codes = _codes(own, ValueSets(package.read("ValueSet", "CodeSystem")))
    return _lines({"version": version, "primitives": dict(sorted(primitives.items())), "types": own, "codes": codes})


def _definitions(package: Package) -> Iterator[Definition]:
    for definition in package.read("StructureDefinition"):
        if definition["kind"] != "logical" and definition.get("derivation") != "constraint":
            yield definition


def _codes(types: Types, value_sets: ValueSets) -> dict[str, dict[str, list[str]]]:
    """The codes of the value sets in use, but for those of which the package does not know all."""
    bindings = {binding for said in types.values() for binding in said.get("bindings", {}).values()}
    codes = {}
    for strength, canonical in sorted(binding.split(" ") for binding in bindings):
        expanded = value_sets.expand(canonical) or {}
        number = sum(map(len, expanded.values()))
        if number > 0 and (strength == "required" or number <= _MOST_CODES):
            codes[canonical] = {system: sorted(some) for system, some in sorted(expanded.items())}
    return codes


def _json_kind(definition: Definition, definitions: dict[str, Definition]) -> str:
    """Which JSON a primitive is written as: boolean, integer, decimal, string, or the XHTML that XML embeds.

    What is based on another primitive is written as that one: R4 4.0.1 calls the values of positiveInt strings.
    """
    if definition["id"] in _AS_STRINGS:
        return "string"
    base = definitions[_last_part(definition["baseDefinition"])]
    if base["kind"] == "primitive-type":
        return _json_kind(base, definitions)
    value = next(item for item in definition["snapshot"]["element"] if item["path"].endswith(".value"))
    if "xhtml" in value["representation"]:
        return "xhtml"
    return _JSON_KINDS.get(value["type"][0]["code"].removeprefix(_SYSTEM_TYPE), "string")


def _last_part(url: str) -> str:
    return url.rpartition("/")[2]


def _types(name: str, definition: Definition) -> Types:
    """The type itself and those of its elements that have children, each with all its elements."""
    elements = definition["snapshot"]["element"]
    parents = {_parent(item["path"]) for item in elements}
    types: Types = {name: _new_type(_last_part(definition.get("baseDefinition", "")))}
    if definition["abstract"]:
        types[name]["abstract"] = True
    types[name]["invariants"] = _invariants(elements[0])
    for item in elements[1:]:
        path = item["path"]
        parent, element = types[_parent(path)], path.rpartition(".")[2]
        if path in parents:
            types[path] = _new_type(item["type"][0]["code"])
            types[path]["invariants"] = _invariants(item)
        else:
            parent["invariants"] += [[*said, element] for said in _invariants(item, path)]
        parent["elements"][element] = _cardinality_and_types(item, parents)
        if binding := _binding(item):
            parent["bindings"][element] = binding
        if targets := _targets(item):
            parent["targets"][element] = targets
    return types


def _new_type(base: str) -> dict[str, Any]:
    return {"base": base, "elements": {}, "bindings": {}, "targets": {}, "invariants": []}


def _invariants(item: Definition, path: str | None = None) -> list[list[str]]:
    """Those of the element; with a `path`, those that its type has not already."""
    return [
        [said["key"], said["severity"], said["human"], said.get("expression", "")]
        for said in item.get("constraint", ())
        if _REPEATED.get(said["key"], item["path"]) == item["path"] and (path is None or _is_of(said, path))
    ]


def _is_of(constraint: Definition, path: str) -> bool:
    return _last_part(constraint.get("source", path)) in (path, path.partition(".")[0])


def _binding(item: Definition) -> str:
    binding = item.get("binding", {})
    canonical = binding.get("valueSet", "").partition("|")[0]
    return f"{binding['strength']} {canonical}" if canonical and binding["strength"] != "example" else ""


def _targets(item: Definition) -> str:
    """The resource types that a Reference may be to; empty if to any."""
    profiles = [
        url for code in item.get("type", ()) if code["code"] == "Reference" for url in code.get("targetProfile", ())
    ]
    names = [url.removeprefix(_CANONICAL_TYPE) for url in profiles]
    return "" if "Resource" in names else " ".join(names)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _cardinality_and_types(item: Definition, parents: Iterable[str]) -> str:
    path = item["path"]
    if (origin := item.get("base", {}).get("path")) in _ERRATA:
        return _ERRATA[origin]
    if path in parents:
        codes = [path]
    elif "contentReference" in item:
        codes = [item["contentReference"].removeprefix("#")]
    else:
        codes = list(dict.fromkeys(_code(code) for code in item["type"]))
    if "xmlAttr" in item.get("representation", ()):
        codes = [f"@{code}" for code in codes]
    return " ".join([f"{item['min']}..{item['max']}", *codes])


def _code(code: Definition) -> str:
    extensions = {item["url"]: item["valueUrl"] for item in code.get("extension", ()) if "valueUrl" in item}
    return str(extensions.get(_FHIR_TYPE, code["code"]))


def _without_inherited(name: str, types: Types) -> dict[str, Any]:
    """The type with what is its own only; ValueError if its elements do not follow the inherited ones."""
    said = types[name]
    base: dict[str, Any] = types.get(said["base"], _new_type(""))
    elements: Elements = said["elements"]
    if list(elements)[: len(base["elements"])] != list(base["elements"]):
        raise ValueError(f"{name}: the elements of its base do not come first")
    inherited = {(key, *element) for key, _, _, _, *element in base["invariants"]}
    own: dict[str, Any] = {"base": said["base"]}
    for part in ("elements", "bindings", "targets"):
        own[part] = {name: text for name, text in said[part].items() if base[part].get(name) != text}
    own["invariants"] = [item for item in said["invariants"] if (item[0], *item[4:]) not in inherited]
    return {part: value for part, value in {**said, **own}.items() if value or part in _ALWAYS}


def _lines(table: dict[str, Any]) -> str:
    lines = [f'"version":{json.dumps(table["version"])}', f'"primitives":{_compact(table["primitives"])}']
    for part in ("types", "codes"):
        lines.append(
            f'"{part}":{{\n' + ",\n".join(f"{json.dumps(k)}:{_compact(v)}" for k, v in table[part].items()) + "\n}"
        )
    return "{" + ",\n".join(lines) + "}\n"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
