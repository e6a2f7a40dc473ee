"""Handlers to try the gateway with: one that crashes, one that takes its time, one that counts what it does.

In force where the setting `handlers` names this module too; see `tests.live.TRIAL_HANDLERS`.
"""

import os
import time
from pathlib import Path

from gateway import Event, Message, Records, Reply, handles

SYSTEM = "urn:trial"


@handles(Event(SYSTEM, "crash"), category="consequence", title="Crash", focus=("Task",))
def crash(message: Message, records: Records) -> Reply:
    """Crashes for as long as there is a file of the name in Task.description."""
    [entry] = message.focus("Task")
    kept = records.keep(entry)
    if Path(entry.resource["description"]).exists():
        raise RuntimeError("as asked")
    return Reply((kept,))


@handles(Event(SYSTEM, "die"), category="consequence", title="Die", focus=("Task",))
def die(message: Message, records: Records) -> Reply:
    """Ends its whole process for as long as there is a file of the name in Task.description."""
    [entry] = message.focus("Task")
    if Path(entry.resource["description"]).exists():
        os._exit(1)
    return Reply((records.keep(entry),))


@handles(Event(SYSTEM, "sleep"), category="consequence", title="Sleep", focus=("Task",))
def sleep(message: Message, records: Records) -> Reply:
    """Takes as many seconds as Task.description says."""
    [entry] = message.focus("Task")
    time.sleep(float(entry.resource["description"]))
    return Reply((records.keep(entry),))


@handles(Event(SYSTEM, "count"), category="currency", title="Count", focus=("Task",))
def count(message: Message, records: Records) -> Reply:
    """Keeps in Task.description how often it was called for the Task."""
    [entry] = message.focus("Task")
    known = records.find(entry)
    called = int(known.resource["description"]) if known else 0
    return Reply((records.keep(entry, records.localise(entry) | {"description": str(called + 1)}),))
