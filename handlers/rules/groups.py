"""The lines of one order: several Tasks in one message, which are carried out together or not at all."""

from collections.abc import Callable, Sequence

from gateway import Entry, Issue, Refused, Reply


def each(entries: Sequence[Entry], carry_out: Callable[[Entry], Reply]) -> Reply:
    """What came of each entry, as one Reply. Raises Refused with the issues of all that are refused."""
    replies: list[Reply] = []
    issues: list[Issue] = []
    for entry in entries:
        try:
            replies.append(carry_out(entry))
        except Refused as refused:
            issues += refused.issues
    if issues:
        raise Refused(*dict.fromkeys(issues))
    kept = {one.reference: one for reply in replies for one in reply.focus}
    return Reply(tuple(kept.values()), tuple(dict.fromkeys(issue for reply in replies for issue in reply.issues)))
