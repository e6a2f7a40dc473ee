"""poll: a partner fetches what waits for it, by a message of a network that has such messages.

Needs a Task in focus that says in `input` how much, and of which events. Answers with the Bundles. How to add a handler
is written in `handlers/__init__.py`.
"""

from gateway import Entry, Event, Issue, Message, Records, Refused, Reply, handles
from gateway.fhir.message import Resource
from gateway.fhir.task.elements import dicts, only_task

_MOST = 100
_MORE = ("urn:x-fhir-gateway:flag", "queued-messages")


@handles(
    Event("urn:x-fhir-gateway:message-event", "poll"),
    category="consequence",
    title="Poll",
    focus=("Task",),
)
def poll(message: Message, records: Records) -> Reply:
    """Fetches what waits for the sender, a partner that is told by polling: the oldest first.

    - `Task.input` has, each with its name in `type.text`: `count` (a valuePositiveInt, up to 100; 1 without it), and
      codes of events to `include`, or to `exclude` (valueCode).
    - Answered with `ok` and the Bundles in focus; an information with the code `queued-messages` of
      `urn:x-fhir-gateway:flag` says that more wait. They are delivered by that: the same message again gets the same
      answer, another one what comes next.
    - Refused when nobody is registered as the sender (`forbidden`).

    By HTTP alone the same is had by `$poll` and `$acknowledge`.
    """
    entry = only_task(message)
    partner = records.parties.sending_partner
    if partner is None:
        text = "Nothing waits for who is not registered as a partner. Send the message as the partner that you are."
        raise Refused(Issue("forbidden", text, entry.path))
    include, exclude = _codes(entry, "include"), _codes(entry, "exclude")
    if include and exclude:
        text = "Name events to include, or events to exclude; not both."
        raise Refused(Issue("invalid", text, f"{entry.path}.input"))
    bundles, is_more = records.queue.fetch(partner, _count(entry), include, exclude)
    text = "More messages wait: poll again."
    more = Issue("informational", text, severity="information", outcome=_MORE)
    return Reply(bundles, (more,) if is_more else ())


def _count(entry: Entry) -> int:
    said = str(next((one.get("valuePositiveInt") for one in _inputs(entry, "count")), 1))
    count = int(said) if said.isdecimal() and len(said) < 9 else 0
    if not 1 <= count <= _MOST:
        raise Refused(Issue("value", f"The input count is a number from 1 to {_MOST}.", f"{entry.path}.input"))
    return count


def _codes(entry: Entry, name: str) -> list[str]:
    said = [one.get("valueCode") for one in _inputs(entry, name)]
    return [code for code in said if isinstance(code, str)]


def _inputs(entry: Entry, name: str) -> list[Resource]:
    found = dicts(entry.resource.get("input"))
    return [one for one in found if isinstance(one.get("type"), dict) and one["type"].get("text") == name]
