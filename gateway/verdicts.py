"""What becomes of what is to be delivered, by what its recipient has answered: docs/delivery.md"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from gateway.store.deliveries import Claimed, Verdict
from gateway.transport import Answer

LEAST_WAIT, USUAL_WAIT, LONGEST_WAIT = 1.0, 30.0, 3600.0
"""Seconds until a recipient that is busy is called again: at least, for want of its own word, and at most."""
JITTER = 0.1
_NO_PROOF = (401, 407)


def judge(entry: Claimed, answer: Answer, schedule: Sequence[float], now: datetime) -> Verdict:
    """What becomes of an entry that was answered so."""
    if answer.outcome == "delivered":
        return Verdict("delivered", None, None, entry.failures)
    if answer.outcome == "busy":
        wait = USUAL_WAIT if answer.retry_after is None else answer.retry_after
        due_at = now + timedelta(seconds=min(max(wait, LEAST_WAIT), LONGEST_WAIT))
        return Verdict("due", due_at, answer.detail, entry.failures)
    if not is_failure(answer):
        return Verdict("dead", None, answer.detail, entry.failures)
    if entry.failures >= len(schedule):
        error = f"{answer.detail} That was the last attempt of the schedule."
        return Verdict("dead", None, error, entry.failures + 1)
    pause = schedule[entry.failures] * random.uniform(1 - JITTER, 1 + JITTER)
    return Verdict("due", now + timedelta(seconds=pause), answer.detail, entry.failures + 1)


def is_failure(answer: Answer) -> bool:
    """Whether it is no fault of what was sent, so that it may go better later: our credentials' neither."""
    return answer.outcome in ("failed", "unreachable") or (answer.outcome == "refused" and answer.status in _NO_PROOF)
