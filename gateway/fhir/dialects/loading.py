"""Finds dialects: those that the gateway brings, each with its module if it has one, and a site's own packs."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gateway.fhir.dialects import composing, reading, speaking
from gateway.fhir.dialects.model import Dialect, Pack
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.packs import PackError, find_files, in_directory

SHIPPED = Path(__file__).with_name("packs").resolve()
"""The conf/dialects of the gateway itself, a link to which is installed as what it leads to."""

OWN = Path("conf/dialects")
"""Where a site keeps its own, if it says nothing else; it may be missing."""

COW = speaking.speak(Pack("cow", "HL7 Clinical Order Workflows"), Module())
"""The gateway's own: it has no rules, so that every message is taken as it is."""


class DialectError(PackError):
    """A pack of a dialect cannot be used."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file with a pack; `faults` is what is wrong with it, and `pack` None then."""

    file: Path
    pack: Pack | None
    faults: tuple[str, ...] = ()


def load(paths: Iterable[Path] = ()) -> Mapping[str, Pack]:
    """The packs by their names, that of COW too. Raises DialectError when any of them cannot be used."""
    found = find(paths)
    if wrong := [fault for each in found for fault in each.faults]:
        raise DialectError(*wrong)
    return {pack.name: pack for pack in (COW.pack, *(each.pack for each in found if each.pack))}


def speak(pack: Pack) -> Dialect:
    """The dialect of a pack, with its module if it is one that the gateway brings."""
    return speaking.speak(pack, module_of(pack.name)) if pack.rules else COW


def find(paths: Iterable[Path] = ()) -> list[Found]:
    """The packs of the gateway, and those of the files and of the directories' *.toml; `conf/dialects` may be missing.

    A file that is found twice, or is a copy of another, is one pack.
    """
    packs: list[Found] = []
    for file in find_files(SHIPPED, paths, OWN):
        packs.append(_read(file, packs))
    return packs


def _read(file: Path, others: Iterable[Found]) -> Found:
    pack, faults = _shipped(file) if file.parent == SHIPPED else _parsed(file, composing.TRANSLATIONS)
    wrong = [*faults]
    if pack and pack.name == COW.name:
        wrong.append(f"{file}: {COW.name} is the gateway's own dialect. Write another name.")
    for other in others:
        if pack and other.pack and other.pack.name == pack.name:
            wrong.append(f"{file}: {other.file} has a dialect {pack.name} too. Write another name, or leave one out.")
    return Found(file, None if wrong else pack, tuple(wrong))


def _parsed(file: Path, translations: Collection[str] | None) -> tuple[Pack | None, tuple[str, ...]]:
    wrong: list[str] = []
    return reading.read(file, translations, wrong), tuple(wrong)


@cache
def _shipped(file: Path) -> tuple[Pack | None, tuple[str, ...]]:
    """Read once: what the gateway brings stays as it is while it runs."""
    return _parsed(file, None)


def module_of(name: str) -> Module:
    """What the module of a dialect brings: the one here that is named after it."""
    path = f"gateway.fhir.dialects.{name.replace('-', '_')}"
    if name not in {file.stem for file in in_directory(SHIPPED)} or importlib.util.find_spec(path) is None:
        return Module()
    module: Module = importlib.import_module(path).MODULE
    return module
