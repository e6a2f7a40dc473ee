"""Messages of a partner that speaks as the gateway does, to those that do not."""

from typing import Any

from tests.senders import Sender

Resource = dict[str, Any]


def update(
    identifier: list[Resource], status: str, endpoint: str = "http://pharmacy.example/fhir", **said: Any
) -> Resource:
    """Moves a Task, known by its identifiers."""
    task = {"resourceType": "Task", "identifier": identifier, "status": status, "intent": "order", **said}
    return Sender(endpoint).write("order-update", task)
