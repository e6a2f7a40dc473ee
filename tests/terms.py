"""The terms of the default settings: the policy `cow`, and the partners of the demonstration."""

from gateway import terms
from gateway.settings import Settings

TERMS = terms.load(Settings())
ORDERS = TERMS.policy.order
