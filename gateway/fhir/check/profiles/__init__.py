"""Profiles: what a network or a site demands of a resource beyond FHIR itself, as data that a deployment can add to.

Those of the Clinical Order Workflows guide are in gateway/fhir/profiles; docs/profiles.md says how to write others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path
from typing import Any

from gateway.errors import Issue
from gateway.fhir import definitions
from gateway.fhir.check.profiles import reading
from gateway.fhir.check.profiles.profile import MOST_ISSUES, Context, Profile, SliceError
from gateway.fhir.check.profiles.reading import Rule, Table
from gateway.fhir.check.profiles.rules import Resolve, Surroundings

__all__ = [
    "Context",
    "Profile",
    "ProfileError",
    "Profiles",
    "Resolve",
    "Surroundings",
    "claims",
    "load",
]

SHIPPED = files("gateway.fhir") / "profiles"
BASE = f"{definitions.FHIR}/StructureDefinition/"
"""What the profile that a type itself is begins with."""

OWN = Path("conf/profiles")
"""Where a site keeps its own, if it says nothing else; it may be missing."""
_LONGEST = 200


class ProfileError(Exception):
    """The table of profiles cannot be used; each sentence says which file and place, why, and what to write."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class Profiles:
    """The profiles that are known, by their urls."""

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self._by_url: dict[str, list[Profile]] = {}
        for profile in profiles:
            self._by_url.setdefault(profile.url, []).append(profile)

    def __iter__(self) -> Iterator[Profile]:
        """All but those that the types themselves are."""
        return (profile for listed in self._by_url.values() for profile in listed if not profile.url.startswith(BASE))

    def find(self, canonical: str) -> Profile | None:
        """The profile of this url, the one written last if there are versions of it; None if it is not known.

        With a version ("http://…|1.0.0"), the one that names it, or one that names none.
        """
        url, _, version = canonical.partition("|")
        for profile in reversed(self._by_url.get(url) or self._of_type(url)):
            if not version or not profile.versions or version in profile.versions:
                return profile
        return None

    def check_claims(
        self,
        resource: Any,
        path: str,
        context: Context | None = None,
        around: Surroundings | None = None,
        unknown: set[str] | None = None,
    ) -> Iterator[Issue]:
        """What is wrong by the profiles that the resource claims in `meta.profile`, and those claimed but not known.

        As `Profile.check`; the first `MOST_ISSUES`. What is `unknown` is not told of again; what is told is put there.
        """
        told = set() if unknown is None else unknown
        return islice(self._issues_of_claims(resource, path, context, around, told), MOST_ISSUES)

    def _issues_of_claims(
        self, resource: Any, path: str, context: Context | None, around: Surroundings | None, told: set[str]
    ) -> Iterator[Issue]:
        done: set[int] = set()
        for index, canonical in claims(resource):
            profile = self.find(canonical) if canonical not in told else None
            place = f"{path}.meta.profile[{index}]"
            if profile is not None and id(profile) not in done:
                done.add(id(profile))
                where = path if resource.get("resourceType") == profile.type else place
                yield from profile.check(resource, where, context, around)
            elif profile is None and canonical not in told:
                told.add(canonical)
                yield self._unknown(canonical, place)

    def _of_type(self, url: str) -> Sequence[Profile]:
        """The profile that a resource type itself is, which adds nothing."""
        name = url.removeprefix(BASE)
        if name == url or not any(definitions.is_resource(name, version) for version in definitions.TABLES):
            return ()
        table = Table(SHIPPED, url, name, name, name, (), "", "R4", ())
        return self._by_url.setdefault(url, [Profile(table)])

    def _unknown(self, canonical: str, path: str) -> Issue:
        url, _, version = canonical.partition("|")
        known = [each for profile in self._by_url.get(url, ()) for each in profile.versions]
        which = (
            f"version {_quoted(version)} of the profile {_quoted(url)}"
            if known
            else f"the profile {_quoted(canonical)}"
        )
        instead = f"; it knows {', '.join(known)}" if known else ""
        text = f"This claims {which}, which the gateway does not know{instead}. It was not checked against that."
        return Issue("not-supported", text, path, "information", rule="profile-unknown")


def _quoted(text: str) -> str:
    """What a sender wrote, on one line and not too long."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def claims(resource: Any) -> Iterator[tuple[int, str]]:
    """The profiles that a resource claims, each with its index in `meta.profile`; those that are no text left out."""
    meta = resource.get("meta") if isinstance(resource, dict) else None
    listed = meta.get("profile") if isinstance(meta, dict) else None
    for index, canonical in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(canonical, str):
            yield index, canonical


def load(paths: Iterable[Path] = ()) -> Profiles:
    """The profiles of the gateway, and those of the files and of the directories' *.toml; ProfileError.

    A profile of the same url and versions as one of the gateway's takes its place. `conf/profiles` may be missing.
    """
    wrong: list[str] = []
    tables = [table for file in _files(SHIPPED) for table in reading.read(file, wrong, trial=False)]
    own = [table for path in paths for file in _found(path, wrong) for table in reading.read(file, wrong)]
    wrong += _repeated(own)
    replaced = {(table.url, table.versions) for table in own}
    tables = [table for table in tables if (table.url, table.versions) not in replaced] + own
    profiles = _compiled(tables, wrong) if not wrong else []
    if wrong:
        raise ProfileError(*wrong)
    return Profiles(profiles)


def _files(directory: Traversable) -> list[Traversable]:
    return sorted((file for file in directory.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)


def _found(path: Path, wrong: list[str]) -> list[Traversable]:
    if path.is_dir():
        return _files(path)
    if path == OWN and not path.exists():
        return []
    if not path.exists():
        wrong.append(f"{path} is not there. Let the setting `profiles` name files and directories that are.")
        return []
    return [path]


def _repeated(tables: Sequence[Table]) -> Iterator[str]:
    for index, table in enumerate(tables):
        for other in tables[:index]:
            place = f"{table.file}, profile {table.name}"
            if table.url != other.url and table.name == other.name:
                yield f"{place}: {other.file} has a profile {table.name} too. Write another name."
            if table.url == other.url and (
                set(table.versions) & set(other.versions) or table.versions == other.versions
            ):
                yield f"{place}: {other.file} has the url {table.url} too. Leave one out, or write their versions."


def _compiled(tables: Sequence[Table], wrong: list[str]) -> list[Profile]:
    profiles = [(table, Profile(table)) for table in tables]
    known = Profiles(profile for _, profile in profiles)
    by_url = {table.url: table for table in tables}
    for table, profile in profiles:
        try:
            profile.compile(tuple(_inherited(table, by_url)), lambda url: _named(url, known))
        except (SliceError, _UnknownError) as error:
            wrong.append(f"{table.file}, profile {table.name}: {error}.")
    return [profile for _, profile in profiles]


class _UnknownError(ValueError):
    """A profile that another one names is not known; or that is based on itself."""


def _inherited(table: Table, by_url: dict[str, Table]) -> Iterator[Rule]:
    line = [table]
    while line[-1].base and not line[-1].base.startswith(BASE):
        base = by_url.get(line[-1].base)
        if base is None:
            raise _UnknownError(
                f"base is {line[-1].base}, which is no profile here. Write that one too, or leave out base"
            )
        if base in line or base.type != table.type:
            raise _UnknownError(f"base is {base.url}, which is based on this one or of another type. Leave out base")
        line.append(base)
    for each in reversed(line):
        yield from each.rules


def _named(url: str, known: Profiles) -> Profile:
    profile = known.find(url)
    if profile is None:
        raise _UnknownError(
            f"{url} is named in a rule, but is no profile here. Write that one too, or name resource types"
        )
    return profile
