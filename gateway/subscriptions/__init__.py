"""The subscriptions that partners create by REST: docs/subscriptions.md.

`directory` has those in force, in memory; `events` finds those that a change matches, and keeps their notifications;
`life` is how they begin, go on and end.
"""

from gateway.subscriptions.directory import Directory, InForce
from gateway.subscriptions.events import Occurred, entry, keep, matching
from gateway.subscriptions.life import Heartbeats, OutdatedError, Subscriptions, fail_all, settle

__all__ = [
    "Directory",
    "Heartbeats",
    "InForce",
    "Occurred",
    "OutdatedError",
    "Subscriptions",
    "entry",
    "fail_all",
    "keep",
    "matching",
    "settle",
]
