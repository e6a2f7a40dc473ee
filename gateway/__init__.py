"""A gateway for FHIR messages: the one Task per order that placer and fulfiller both trust.

The path of a message:

1. `web.process_message` turns the bytes of a request into a Bundle.
2. `receiving` recognises the sender, tells a repeat from a new message, and keeps the new one: one commit.
3. `worker` puts the message's lane on the queue of its event; a worker drains the lane, oldest message first.
4. `processing` claims the message, checks it, lets `routing` find its handler, and keeps the handler's effects together
   with the reply and with what `telling` composes for the other parties: one commit.
5. The web process that waits is told, and sends the reply; whoever sends the message again gets the same bytes.

The names below are what a handler may use. They are imported when they are asked for: not every command needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.errors import Issue, Refused
    from gateway.fhir.message import Event, Message
    from gateway.fhir.references import Entry
    from gateway.kept import Kept
    from gateway.records import Records
    from gateway.routing import Reply, foresees, handles

__all__ = ["Entry", "Event", "Issue", "Kept", "Message", "Records", "Refused", "Reply", "foresees", "handles"]

_HOMES = {
    "Entry": "gateway.fhir.references",
    "Event": "gateway.fhir.message",
    "Issue": "gateway.errors",
    "Kept": "gateway.kept",
    "Message": "gateway.fhir.message",
    "Records": "gateway.records",
    "Refused": "gateway.errors",
    "Reply": "gateway.routing",
    "foresees": "gateway.routing",
    "handles": "gateway.routing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gateway' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
