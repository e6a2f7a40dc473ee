"""What a Task says of itself: its status, its identifiers, and what kind of Task it is."""

from __future__ import annotations

from typing import Any

from gateway.errors import Issue, Refused
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.message import Message
from gateway.fhir.references import Entry

Resource = dict[str, Any]

# What authorises work, and so can be in focus of a Task: https://hl7.org/fhir/R4/request.html
REQUESTS = (
    "CommunicationRequest",
    "DeviceRequest",
    "MedicationRequest",
    "NutritionOrder",
    "RequestGroup",
    "ServiceRequest",
    "SupplyRequest",
    "VisionPrescription",
)
ENTERED_IN_ERROR = "entered-in-error"
CANCELLED = "cancelled"
TASK_CODES = "http://hl7.org/fhir/CodeSystem/task-code"
# Several focuses of one Task, as the Clinical Order Workflows guide has them, and as R5 would carry them.
FOCUS_EXTENSIONS = (
    "http://hl7.org/fhir/4.0/StructureDefinition/extension-Task.focus",
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-Task.focus",
)
REQUEST_CODES = ("abort", "change", "replace", "suspend", "resume")


def request_code(task: Resource) -> str | None:
    """What a Task asks of the other party of an order, by its code: one of REQUEST_CODES.

    None for any other Task, an order's own (a Coordination Task) above all.
    """
    code = task.get("code")
    codings = dicts(code.get("coding")) if isinstance(code, dict) else []
    asked = [coding.get("code") for coding in codings if coding.get("system") == TASK_CODES]
    return next((code for code in asked if code in REQUEST_CODES), None)


def is_cancellation(task: Resource) -> bool:
    """Whether a Task asks for another to be cancelled."""
    return request_code(task) == "abort"


def status_of(task: Resource) -> str:
    """`Task.status`, or "" where it is missing or no string."""
    status = task.get("status")
    return status if isinstance(status, str) else ""


def only_task(message: Message) -> Entry:
    """The one Task that a message is about. Raises Refused: messages are kept in order for each Task by itself."""
    tasks = message.focus("Task")
    if len(tasks) > 1:
        text = f"The message has {len(tasks)} Tasks in focus. Send one message for each of them."
        raise Refused(Issue("not-supported", text, "Bundle.entry[0].resource.focus[1]"))
    return tasks[0]


def tasks_of_group(message: Message) -> list[Entry]:
    """The Tasks that a message is about: one, or several of one `groupIdentifier`, which are the lines of one order.

    Raises Refused for Tasks that have nothing to do with each other.
    """
    tasks = message.focus("Task")
    groups = {_group_of(entry.resource) for entry in tasks}
    if len(tasks) > 1 and (len(groups) > 1 or ("", "") in groups):
        text = (
            f"The message has {len(tasks)} Tasks in focus, which are not of one group. Send one message for each of "
            "them, or give those that belong together one groupIdentifier (system and value)."
        )
        raise Refused(Issue("not-supported", text, "Bundle.entry[0].resource.focus[1]"))
    return tasks


def _group_of(task: Resource) -> tuple[str, str]:
    group = task.get("groupIdentifier")
    system, value = name_of(group) if isinstance(group, dict) else ("", "")
    return (system, value) if value else ("", "")


def check_no_task(entry: Entry) -> None:
    """Raises Refused for a Task that is only referred to: it would be kept without the rules of any event."""
    if entry.resource.get("resourceType") == "Task":
        name = " or ".join(identifiers_of(entry.resource)) or entry.full_url or "without an identifier"
        text = f"The Task {name} is referred to but not known: send it in a new-order of its own first."
        raise Refused(Issue("business-rule", text, entry.path))


def identifiers_of(resource: Resource) -> list[str]:
    """The business identifiers as "system|value" (or "value"), in their order; the gateway's own are none."""
    return ["|".join(filter(None, name)) for name in names_of(resource) if not name[0].startswith(OWN_SYSTEMS)]


def names_of(resource: Resource) -> list[tuple[str, str]]:
    """The business identifiers as (system, value), those with a value."""
    return [name for identifier in dicts(resource.get("identifier")) if (name := name_of(identifier))[1]]


def name_of(identifier: Resource) -> tuple[str, str]:
    """An Identifier as (system, value), "" for what it has not."""
    system, value = identifier.get("system"), identifier.get("value")
    return system if isinstance(system, str) else "", value if isinstance(value, str) else ""


def dicts(value: Any) -> list[Resource]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def focuses_of(task: Resource) -> list[Resource]:
    """The References to all that a Task is about: `Task.focus`, then those of the extensions, in their order."""
    extensions = [extension.get("valueReference") for extension in dicts(task.get("extension")) if is_focus(extension)]
    return dicts([task.get("focus"), *extensions])


def is_focus(extension: Resource) -> bool:
    """Whether an extension is one more focus of a Task, in one of its two forms."""
    return extension.get("url") in FOCUS_EXTENSIONS
