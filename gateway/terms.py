"""The terms on which parties deal with each other here: the policy in force, and the partners that are registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway import partners
from gateway.fhir import dialects
from gateway.fhir.dialects import DialectError
from gateway.fhir.policy import loading
from gateway.fhir.policy.model import Policy
from gateway.partners import Partners, files
from gateway.partners.directory import Directory
from gateway.settings import Settings, SettingsError
from gateway.store.database import Database

FIRST_START = "first start"


@dataclass(frozen=True)
class Terms:
    """The terms at one moment."""

    policy: Policy
    partners: Partners

    def current(self) -> Terms:
        """Themselves: so they can stand where `Standing` terms do."""
        return self


class Standing(Protocol):
    """Terms that change while a process runs: partners are registered, changed, blocked."""

    def current(self) -> Terms: ...


class Registered:
    """The terms of a deployment, whose partners are those of its `directory`.

    When they are first asked for and there has never been a partner, the files of the setting `partners` are brought
    in, by one process of those that start together. From then on the database has them, whatever the files say.
    """

    def __init__(self, in_force: Settings, database: Database) -> None:
        self._policy = _policy(in_force)
        self._files = in_force.partners
        self._is_open = False
        self.directory = Directory(database, loopback=in_force.is_sandbox)

    def current(self) -> Terms:
        """Raises DatabaseUnavailable; the first time, where files are brought in, SettingsError."""
        if not self._is_open:
            self.open()
        return Terms(self._policy, self.directory.current())

    def open(self) -> None:
        """Brings in the files, if it is time to. Raises SettingsError and DatabaseUnavailable."""
        if self.directory.is_new():
            wrong: list[str] = []
            found = files.read(self._files, wrong)
            if wrong:
                raise SettingsError(*wrong)
            self.directory.bring_in(found, FIRST_START, only_first=True)
        self._is_open = True


def load(in_force: Settings) -> Terms:
    """The terms as files have them. Raises SettingsError for a policy or partners that cannot be used."""
    return Terms(_policy(in_force), partners.load(in_force.partners, loopback=in_force.is_sandbox))


def _policy(in_force: Settings) -> Policy:
    """The policy; and the dialects that partners may speak are in force from now on."""
    try:
        dialects.use(in_force.dialects)
        return loading.load(in_force.policy, in_force.policies)
    except (DialectError, loading.PolicyError) as error:
        raise SettingsError(*error.sentences) from None
