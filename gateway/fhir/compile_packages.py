"""Opens the packages of definitions that HL7 and others publish, whatever they are packed as.

R4, R4B and R5: the package https://hl7.org/fhir/R4/downloads.html has, or `npm pack hl7.fhir.r5.core@5.0.0` gets, one
JSON file a definition in `package/`, as zip or tgz. STU3 never was such a package: what Maven Central has as
ca.uhn.hapi.fhir:hapi-fhir-validation-resources-dstu3 is a jar of Bundles in XML, which are read into the shape that R4
gives its definitions.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from lxml import etree

Definition = dict[str, Any]

_FHIR = "{http://hl7.org/fhir}"
_JSON_FILE = re.compile(r"package/(?P<type>[A-Z][A-Za-z]+)-[^/]*\.json")
_BUNDLE = re.compile(r".*/(?:profile/profiles-(?:types|resources)|valueset/[^/]+)\.xml")
_REPEATED = (
    *("element", "type", "constraint", "representation", "extension"),
    *("concept", "property", "parent", "include", "exclude", "filter"),
)
"""The elements that are read as lists wherever they are met; of others only the last is read."""
_XML_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-xml-type"
_SYSTEM_TYPES = {"xsd:boolean": "Boolean", "xsd:decimal": "Decimal", "xsd:int": "Integer"}


class Package:
    """The files of a package by their names."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, *types: str) -> Iterator[Definition]:
        """The definitions that are resources of these types, in the order of the files' names."""
        for name in sorted(self._files):
            if (match := _JSON_FILE.fullmatch(name)) and match["type"] in types:
                yield json.loads(self._files[name])
            elif _BUNDLE.fullmatch(name):
                yield from _read_bundle(self._files[name], types)


def open_package(path: Path) -> Package:
    """The package in a zip, jar or tgz file; OSError or ValueError if it cannot be read as one."""
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            return Package({item.name: _content(archive, item) for item in archive if item.isfile()})
    with ZipFile(path) as archive:
        return Package({name: archive.read(name) for name in archive.namelist()})


def _content(archive: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(item)
    return file.read() if file else b""


def _read_bundle(data: bytes, types: tuple[str, ...]) -> Iterator[Definition]:
    for resource in etree.fromstring(data, etree.XMLParser(huge_tree=True)).iterfind(f"{_FHIR}entry/{_FHIR}resource/*"):
        kind = etree.QName(resource).localname
        if kind in types:
            definition: Definition = _read(resource)
            yield _like_r4({"resourceType": kind, **definition})


def _read(element: etree._Element) -> Any:
    """An element's value, else its members."""
    if element.get("value") is not None:
        return element.get("value")
    members: Definition = {str(name): value for name, value in element.items()}
    for child in element.iterchildren(f"{_FHIR}*"):
        name = etree.QName(child).localname
        if _is_repeated(name, child, element):
            members.setdefault(name, []).append(_read(child))
        else:
            members[name] = _read(child)
    return members


def _is_repeated(name: str, child: etree._Element, parent: etree._Element) -> bool:
    if name == "type":  # of an element; that of a definition is one code
        return child.get("value") is None
    of_selection = etree.QName(parent).localname in ("include", "exclude")
    return name in _REPEATED or (name == "valueSet" and of_selection)


def _like_r4(definition: Definition) -> Definition:
    """A definition of STU3 in R4's shape, as far as a table is made of it."""
    definition["abstract"] = definition.get("abstract") == "true"
    for item in definition.get("snapshot", {}).get("element", ()):
        for code in item.get("type", ()):
            if isinstance(code.get("code"), dict):
                code["code"] = f"http://hl7.org/fhirpath/System.{_system_type(code['code'])}"
            if "targetProfile" in code:
                code["targetProfile"] = [code["targetProfile"]]
        if binding := item.get("binding"):
            reference = binding.get("valueSetReference", {}).get("reference")
            binding["valueSet"] = reference or binding.get("valueSetUri", "")
    return definition


def _system_type(code: Definition) -> str:
    said = {item["url"]: item["valueString"] for item in code["extension"]}
    return _SYSTEM_TYPES.get(said[_XML_TYPE], "String")
