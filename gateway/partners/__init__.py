"""The partners: the parties that a site has registered, what they are known by, how they speak and how they are told.

A party is known by names: its business identifiers (`system|value`), the endpoints that its messages come from, and the
resources that the gateway keeps of it (`Organization/…`). Two sets of names with one in common mean one party. What a
partner is known by is what is registered, and nothing else: docs/partners.md says why.
"""

from gateway.partners.files import load
from gateway.partners.model import Names, Partner, Partners, Subscription

__all__ = ["Names", "Partner", "Partners", "Subscription", "load"]
