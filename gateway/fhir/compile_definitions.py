"""Compiles the definitions package of FHIR R4 into the small table that `gateway.fhir.definitions` reads.

    python -m gateway.fhir.compile_definitions hl7.fhir.r4.core-4.0.1.zip

The package is https://hl7.org/fhir/R4/downloads.html (hl7.fhir.r4.core). The table says, of each type, which type it
is based on and which elements it has beyond that one's, in their order:

    "Observation": {"base": "DomainResource", "elements": {"value[x]": "0..1 Quantity CodeableConcept string …"}}

An element's types follow its cardinality; `@` before a type says that XML writes the element as an attribute. An
element with children of its own has a type named by its path (`Patient.contact`), to which content references go too.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from gateway.fhir.definitions import TABLE

Definition = dict[str, Any]
Elements = dict[str, str]
Types = dict[str, dict[str, Any]]

_SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_JSON_KINDS = {"Boolean": "boolean", "Integer": "integer", "Decimal": "decimal"}
_ERRATA = {"Resource.id": "0..1 id"}
"""What R4 4.0.1 defines otherwise than its own text does (https://hl7.org/fhir/R4/resource.html#id)."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m gateway.fhir.compile_definitions PACKAGE.zip", file=sys.stderr)
        return 2
    with ZipFile(arguments[0]) as package:
        text = compile_table(package)
    Path(str(TABLE)).write_text(text, encoding="utf-8")
    return 0


def compile_table(package: ZipFile) -> str:
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
    return _lines({"version": version, "primitives": dict(sorted(primitives.items())), "types": own})


def _definitions(package: ZipFile) -> Iterator[Definition]:
    for name in sorted(package.namelist()):
        if name.startswith("package/StructureDefinition-") and name.endswith(".json"):
            definition = json.loads(package.read(name))
            if definition["kind"] != "logical" and definition.get("derivation") != "constraint":
                yield definition


def _json_kind(definition: Definition, definitions: dict[str, Definition]) -> str:
    """Which JSON a primitive is written as: boolean, integer, decimal, string, or the XHTML that XML embeds.

    What is based on another primitive is written as that one: R4 4.0.1 calls the values of positiveInt strings.
    """
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
    base = _last_part(definition.get("baseDefinition", ""))
    types: Types = {name: {"base": base, "elements": {}}}
    if definition["abstract"]:
        types[name]["abstract"] = True
    for item in elements[1:]:
        path = item["path"]
        if path in parents:
            types[path] = {"base": item["type"][0]["code"], "elements": {}}
        types[_parent(path)]["elements"][path.rpartition(".")[2]] = _cardinality_and_types(item, parents)
    return types


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _cardinality_and_types(item: Definition, parents: Iterable[str]) -> str:
    path = item["path"]
    if path in _ERRATA:
        return _ERRATA[path]
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
    """The type with its own elements only; ValueError if they do not follow the inherited ones."""
    inherited: Elements = types[types[name]["base"]]["elements"] if types[name]["base"] else {}
    elements: Elements = types[name]["elements"]
    if list(elements)[: len(inherited)] != list(inherited):
        raise ValueError(f"{name}: the elements of its base do not come first")
    own = {element: said for element, said in elements.items() if inherited.get(element) != said}
    return {**types[name], "elements": own}


def _lines(table: dict[str, Any]) -> str:
    types = ",\n".join(f"{json.dumps(name)}:{_compact(said)}" for name, said in table["types"].items())
    version, primitives = json.dumps(table["version"]), _compact(table["primitives"])
    return f'{{"version":{version},\n"primitives":{primitives},\n"types":{{\n{types}\n}}}}\n'


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
