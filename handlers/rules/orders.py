"""What follows from a change of an order, whichever handler changed it.

A handler that changes a Coordination Task calls `follow` once it has kept it.
"""

from collections.abc import Callable

from gateway import Kept, Message, Records, Reply
from handlers.rules import bids, open_requests, parts, succession

Consequence = Callable[[Kept | None, Kept, Message, Records], Reply]

_CONSEQUENCES: tuple[Consequence, ...] = (
    open_requests.close_by_end,
    bids.settle,
    succession.settle,
    open_requests.close_by_requests,
    parts.raise_outputs,
    parts.name_open_parts,
)


def follow(before: Kept | None, order: Kept, message: Message, records: Records) -> Reply:
    """Lets happen what follows from an order being as it is now; `before` it was so, None when it is new.

    Returns what else changed, without the order itself, and what its sender is to know of that.
    """
    replies = [consequence(before, order, message, records) for consequence in _CONSEQUENCES]
    focus = {kept.reference: kept for reply in replies for kept in reply.focus}
    return Reply(tuple(focus.values()), tuple(issue for reply in replies for issue in reply.issues))
