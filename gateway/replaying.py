"""The worker of replays as a program: a Celery worker of its own, at a lower priority than all others.

Until there is a job for it, it is a small process that looks at the queue: what it needs is imported then.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial

from gateway import settings
from gateway.notices import Notices
from gateway.settings import Settings

NICENESS = 10
_LOOK_SECONDS = 1.0
_QUEUE = "replays"


def wait_for_work(name: str, in_force: Settings) -> Notices:
    """Returns when there is a job on the queue of replays; tells meanwhile that it lives."""
    notices = Notices(in_force.redis_url, "replayer")
    while not notices.count(_QUEUE):
        notices.beat(name, 0)
        time.sleep(_LOOK_SECONDS)
    return notices


def work(name: str) -> None:
    """One worker, until a signal ends it."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.nice(NICENESS)
    in_force = settings.load()
    notices = wait_for_work(name, in_force)
    from gateway.replay import work as replays  # with it comes all that handlers need
    from gateway.worker import Hand

    replays.work(name, in_force, notices, lambda in_hand: partial(Hand, in_hand, in_force.handler_timeout))


if __name__ == "__main__":
    work(sys.argv[1])
