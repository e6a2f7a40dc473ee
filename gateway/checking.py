"""The checker as a deployment has set it up: the levels of its rules, for each sender, and the profiles it knows."""

from __future__ import annotations

from gateway import metrics
from gateway.errors import Issue
from gateway.fhir.check import check, profiles
from gateway.fhir.check.levels import Levels
from gateway.fhir.check.profiles import Profile, ProfileError, Profiles
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.references import Entries
from gateway.settings import Settings, SettingsError

_MOST_OF_A_KIND = 3
"""Warnings of one rule in a reply: whoever sends a hundred makes them all in the same way."""


class Checking:
    """Raises SettingsError, when it is made, for profiles that cannot be used."""

    def __init__(self, in_force: Settings) -> None:
        try:
            self.profiles: Profiles = profiles.load(in_force.profiles)
        except ProfileError as error:
            raise SettingsError(*error.sentences) from None
        self._levels = Levels(in_force.check_levels)
        self._levels_of = {
            sender: Levels({**in_force.check_levels, **levels}) for sender, levels in in_force.check_levels_of.items()
        }

    def levels_for(self, source_endpoint: str | None) -> Levels:
        """The levels for the sender with this MessageHeader.source.endpoint."""
        return self._levels_of.get(source_endpoint or "", self._levels)

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
        self, bundle: Resource, version: Version, source_endpoint: str | None, entries: Entries | None
    ) -> list[Issue]:
        """What the reply to a message tells its sender: all errors, some warnings of each kind, no mere advice.

        What a reference means that is not in the Bundle is for the handlers to say, who know what has been kept, unless
        it is to be refused.
        """
        levels = self.levels_for(source_endpoint).without_advice()
        known, most = self.profiles, _MOST_OF_A_KIND
        issues = check(bundle, version, levels=levels, known=known, entries=entries, most_alike=most)
        metrics.checked(issue.rule for issue in issues if issue.rule)
        return [issue for issue in issues if issue.rule != "reference-unresolved" or issue.severity == "error"]
