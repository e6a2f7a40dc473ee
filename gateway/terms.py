"""The terms on which parties deal with each other here: the policy in force, and the partners that are registered."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import partners
from gateway.fhir.policy import loading
from gateway.fhir.policy.model import Policy
from gateway.partners import Partners
from gateway.settings import Settings, SettingsError


@dataclass(frozen=True)
class Terms:
    """Made once a process."""

    policy: Policy
    partners: Partners


def load(in_force: Settings) -> Terms:
    """The terms of a deployment. Raises SettingsError for a policy or partners that cannot be used."""
    try:
        policy = loading.load(in_force.policy, in_force.policies)
    except loading.PolicyError as error:
        raise SettingsError(*error.sentences) from None
    return Terms(policy, partners.load(in_force.partners))
