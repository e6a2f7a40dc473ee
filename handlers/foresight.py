"""What the handlers here will look up of what the gateway keeps for itself."""

from collections.abc import Iterator, Sequence

from gateway import Kept, Message, foresees
from gateway.fhir.task.elements import REQUESTS
from handlers.rules import held_requests, open_requests


@foresees
def own_lists(message: Message, found: Sequence[Kept]) -> Iterator[tuple[str, str]]:
    """The Lists of held requests for the orders in a message, and of those that are open about what is kept."""
    if not found:
        yield from (("List", name) for name in held_requests.names_of_lists(message))
    for kept in found:
        if kept.resource_type == "Task" or kept.resource_type in REQUESTS:
            yield from (("List", name) for name in open_requests.names_of_lists(kept))
