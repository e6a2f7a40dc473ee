"""Finds policy packs: those that the gateway brings, and those in a site's files and directories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from gateway.fhir.packs import PackError, find_files
from gateway.fhir.policy import reading
from gateway.fhir.policy.model import Policy

SHIPPED = Path(__file__).with_name("packs").resolve()
"""The conf/policies of the gateway itself, a link to which is installed as what it leads to."""

OWN = Path("conf/policies")
"""Where a site keeps its own, if it says nothing else; it may be missing."""


class PolicyError(PackError):
    """A policy pack cannot be used."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A file with a pack; `faults` is what is wrong with it, and `policy` None then."""

    file: Path
    policy: Policy | None
    faults: tuple[str, ...] = ()


def load(name: str, paths: Iterable[Path] = ()) -> Policy:
    """The pack of this name. Raises PolicyError when there is none, and when any of the packs cannot be used."""
    packs = find(paths)
    if wrong := [fault for pack in packs for fault in pack.faults]:
        raise PolicyError(*wrong)
    found = {pack.policy.name: pack.policy for pack in packs if pack.policy}
    if name not in found:
        near = get_close_matches(name, found, n=1)
        advice = f" Did you mean {near[0]}?" if near else ""
        raise PolicyError(f"policy is {name!r}, which is no policy pack here.{advice} There are {', '.join(found)}.")
    return found[name]


def find(paths: Iterable[Path] = ()) -> list[Pack]:
    """The packs of the gateway, and those of the files and of the directories' *.toml; `conf/policies` may be missing.

    A file that is found twice, or is a copy of another, is one pack.
    """
    packs: list[Pack] = []
    for file in find_files(SHIPPED, paths, OWN):
        packs.append(_read(file, packs))
    return packs


def _read(file: Path, others: Iterable[Pack]) -> Pack:
    policy, faults = _shipped(file) if file.parent == SHIPPED else _parsed(file)
    wrong = [*faults]
    for other in others:
        if policy and other.policy and other.policy.name == policy.name:
            wrong.append(f"{file}: {other.file} has a pack {policy.name} too. Write another name, or leave one out.")
    return Pack(file, None if wrong else policy, tuple(wrong))


def _parsed(file: Path) -> tuple[Policy | None, tuple[str, ...]]:
    wrong: list[str] = []
    return reading.read(file, wrong), tuple(wrong)


@cache
def _shipped(file: Path) -> tuple[Policy | None, tuple[str, ...]]:
    """Read once: what the gateway brings stays as it is while it runs."""
    return _parsed(file)
