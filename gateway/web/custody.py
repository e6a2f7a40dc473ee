"""Taking a message into custody and waiting for what comes of it, however it came."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from gateway import metrics
from gateway.correlation import correlate, names_request, refuse
from gateway.errors import Issue
from gateway.fhir.message import Message
from gateway.receiving import Received, Submission, receive
from gateway.store import inbox
from gateway.store.inbox import Progress
from gateway.web.context import Context
from gateway.web.waiting import wait_for


def take(here: Context, message: Message, submission: Submission) -> Received:
    """Keeps the message, and counts it; a response closes what it answers.

    Raises NotAMessage when it is about more than can be put in order.
    """
    received = receive(here.database, here.registry, here.ourselves, message, submission)
    metrics.received(here.registry.label(message.event.code), received.kind)
    if message.is_response and message.refusal:
        refuse(here.database, message, received.message_id)
        return replace(received, came_to="refused")
    if not names_request(message):
        return received
    came_to = correlate(here.database, message, received.message_id, submission.party)
    return replace(received, came_to=came_to) if message.is_response else received


def nudge(here: Context, received: Received, message: Message) -> None:
    """Puts the lane of a new message on the queue, and has those called to whom its refusal is due already."""
    if received.kind == "new":
        here.courier.take(received.lane, message.event.code)
    elif received.due_to:
        here.doorbell.ring([received.due_to])


def wait(here: Context, received: Received, message: Message) -> Progress:
    """How far the message has come when it is processed, or when nobody waits for it any longer."""

    def look() -> Progress:
        with here.database.reading() as connection:
            return inbox.get_progress(connection, received.message_id)

    deadline = time.monotonic() + here.settings.reply_timeout
    with here.room.seat(received.message_id) as called:
        nudge(here, received, message)
        if received.kind != "new":
            called.set()
        return wait_for(called, look, deadline)


def wait_for_all(here: Context, taken: Sequence[tuple[Received, Message, bool]]) -> list[Progress | None]:
    """As `wait`, for several messages that share its time; None for those that nobody waits for, as the last of each
    says."""
    ids = [received.message_id for received, _, is_waited_for in taken if is_waited_for]

    def look(message_id: int) -> Progress:
        with here.database.reading() as connection:
            return inbox.get_progress(connection, message_id)

    deadline = time.monotonic() + here.settings.reply_timeout
    with ExitStack() as seats:
        called = {message_id: seats.enter_context(here.room.seat(message_id)) for message_id in dict.fromkeys(ids)}
        for received, message, is_waited_for in taken:
            nudge(here, received, message)
            if is_waited_for and received.kind != "new":
                called[received.message_id].set()
        found = {each: wait_for(seat, partial(look, each), deadline) for each, seat in called.items()}
    return [found[received.message_id] if is_waited_for else None for received, _, is_waited_for in taken]


def overdue(here: Context, progress: Progress) -> Issue:
    """What is said to who has waited for a message that is not processed yet."""
    what = (
        "waits for an earlier message about the same, which failed and is tried again."
        if progress.is_behind_failed
        else f"has not been processed within {here.settings.reply_timeout:g} s."
    )
    text = f"The message is kept, but {what} Send it again, unchanged, for its answer: it takes effect once."
    return Issue("timeout", text)


def failed(progress: Progress) -> Issue:
    """What is said while the message has failed: never kept, so that a later repeat gets what the next try comes to."""
    what_next = (
        "It is set aside for the gateway's operator."
        if progress.state == "dead"
        else "It is kept and tried again by itself."
    )
    text = (
        f"The gateway failed to process this message ({progress.attempts} times so far); it has had no effect. "
        f"{what_next} Send it again, unchanged, later for its answer."
    )
    return Issue("transient", text)
