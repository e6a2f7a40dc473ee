"""Who had a Task before its owner: R5's `Task.performer`, as R4 carries it.

`Task.owner` is who has the baton now; those who had it before are kept in
`http://hl7.org/fhir/5.0/StructureDefinition/extension-Task.performer`, each once, in their order.
"""

from __future__ import annotations

from typing import Any

from gateway.fhir.task.elements import dicts, name_of

Resource = dict[str, Any]

PERFORMER = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Task.performer"


def performers_of(task: Resource) -> list[Resource]:
    """The extensions for a Task's earlier performers."""
    return [extension for extension in dicts(task.get("extension")) if extension.get("url") == PERFORMER]


def actor_of(performer: Resource) -> Resource:
    """The Reference to who a performer is; empty when it does not say."""
    actors = [part.get("valueReference") for part in dicts(performer.get("extension")) if part.get("url") == "actor"]
    return next(iter(dicts(actors)), {})


def with_performers(task: Resource, performers: list[Resource]) -> Resource:
    """The Task with those performers before its own, each actor once."""
    own = performers_of(task)
    known, found = [], []
    for performer in [*performers, *own]:
        actor = _identity(actor_of(performer))
        if actor not in known:
            known.append(actor)
            found.append(performer)
    if found == own:
        return task
    others = [extension for extension in dicts(task.get("extension")) if extension.get("url") != PERFORMER]
    return task | {"extension": [*others, *found]}


def performer(actor: Resource) -> Resource:
    """The extension for one performer."""
    return {"url": PERFORMER, "extension": [{"url": "actor", "valueReference": actor}]}


def _identity(reference: Resource) -> object:
    literal, identifier = reference.get("reference"), reference.get("identifier")
    return literal or (name_of(identifier) if isinstance(identifier, dict) else reference)
