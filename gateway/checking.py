"""The checker as a deployment has set it up: the levels of its rules, for each sender, and the profiles it knows."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import Issue
from gateway.fhir import dialects
from gateway.fhir.check import check, profiles
from gateway.fhir.check.levels import Level, Levels
from gateway.fhir.check.profiles import Profile, ProfileError, Profiles
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.references import Entries
from gateway.partners import Partner
from gateway.settings import Settings, SettingsError

_NONE: Mapping[str, Level] = {}
_MOST_SENDERS = 1000
_MOST_OF_A_KIND = 3
"""Warnings of one rule in a reply: whoever sends a hundred makes them all in the same way."""


class Checking:
    """Raises SettingsError, when it is made, for profiles that cannot be used."""

    def __init__(self, in_force: Settings) -> None:
        try:
            self.profiles: Profiles = profiles.load(in_force.profiles)
        except ProfileError as error:
            raise SettingsError(*error.sentences) from None
        self._changes = in_force.check_levels
        self._changes_of = in_force.check_levels_of
        self._levels: dict[object, Levels] = {}

    def levels_for(
        self, source_endpoint: str | None, partner: Partner | None = None, dialect: str | None = None
    ) -> Levels:
        """The levels for the sender with this MessageHeader.source.endpoint, for the partner that it is, if it is one,
        and for the dialect that the message is in.

        Those of the partner come before those of the endpoint, these before the dialect's, then those for everybody.
        """
        own = partner.checking if partner is not None else ()
        of_dialect = dialects.get(dialect).pack.checking if dialect is not None else ()
        of_endpoint = self._changes_of.get(source_endpoint or "", _NONE)
        key = (source_endpoint if of_endpoint else None, own, of_dialect)
        if (known := self._levels.get(key)) is not None:
            return known
        if len(self._levels) >= _MOST_SENDERS:
            self._levels.clear()
        levels = self._levels[key] = Levels({**self._changes, **dict(of_dialect), **of_endpoint, **dict(own)})
        return levels

    def check(
        self,
        resource: Resource,
        version: Version,
        levels: Levels,
        entries: Entries | None,
        profile: Profile | None,
    ) -> list[Issue]:
        """Every issue of the resource: `gateway.fhir.check.check`."""
        return check(resource, version, levels=levels, known=self.profiles, profile=profile, entries=entries)

    def check_message(
        self,
        bundle: Resource,
        version: Version,
        source_endpoint: str | None,
        entries: Entries | None,
        partner: Partner | None = None,
        dialect: str | None = None,
    ) -> list[Issue]:
        """What the reply to a message tells its sender: all errors, some warnings of each kind, no mere advice.

        What a reference means that is not in the Bundle is for the handlers to say, who know what has been kept, unless
        it is to be refused.
        """
        levels = self.levels_for(source_endpoint, partner, dialect).without_advice()
        known, most = self.profiles, _MOST_OF_A_KIND
        issues = check(bundle, version, levels=levels, known=known, entries=entries, most_alike=most)
        from gateway import metrics  # not before it is known where a process leaves them

        metrics.checked(issue.rule for issue in issues if issue.rule)
        return [issue for issue in issues if issue.rule != "reference-unresolved" or issue.severity == "error"]
