"""Which of the kept resources that are referred to may be told: a reference alone gives nobody a view of others' data.

A party can write a reference to whatever it knows an address or an identifier of. What that means is told with the
resource that refers to it when who wrote the reference has made it, or was given it: it came with a message about a
Task of that party, which it may pass on. Whom and what everybody names (a patient, a doctor, a place, a medicine) is
told to whoever is told of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.fhir import json
from gateway.fhir.message import Resource
from gateway.fhir.task.checks import IMMUTABLE
from gateway.fhir.task.elements import dicts, is_focus
from gateway.fhir.task.performers import actor_of, performers_of
from gateway.kept import Kept
from gateway.partners import Names, Partner
from gateway.reading import ids_in
from gateway.records import Records

_EVERYBODYS = (
    "HealthcareService",
    "Location",
    "Medication",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
)
_OF_PLACER = (*IMMUTABLE, "encounter", "input", "insurance", "reasonReference")
_OF_OWNER = ("output",)
_TASK, _SPECIMEN = "Task", "Specimen"


class Sharing:
    """What one message's records may show a partner."""

    def __init__(self, records: Records, partner: Partner) -> None:
        self._records = records
        self._parties = records.parties
        self._partner = partner
        self._came_with: dict[str, list[Kept]] = {}

    def referred(self, found: Sequence[Kept]) -> list[Kept]:
        """What is kept of all that these refer to, and may be told with them; the Tasks are all among it."""
        there = self._records.referred(found)
        senders = {kept.sender for kept in found}
        if len(senders) == 1 and all(_is_written_by_its_sender(kept) for kept in found):
            allowed = {kept.id for kept in there if kept.sender in senders}
        else:
            allowed = set()
        allowed |= {kept.id for kept in there if self._is_anyway(kept)}
        if len(allowed) < len(there):
            allowed |= {target.id for source in found for target in self._lawful(source)}
        return [kept for kept in there if kept.id in allowed]

    def _is_anyway(self, target: Kept) -> bool:
        is_told_to_all = target.resource_type in (_TASK, *_EVERYBODYS)
        return is_told_to_all or self._parties.is_partner(target.sender, self._partner)

    def _lawful(self, source: Kept) -> Iterator[Kept]:
        """What a resource refers to, as far as who wrote the reference has made it, or was given it."""
        if source.resource_type == _TASK:
            creator = self._parties.names_of_sender(source.sender)
            of_placer = self._records.referred([_part(source, _placers(source.resource))])
            yield from (target for target in of_placer if self._has(creator, target))
            outputs = _only(source.resource, _OF_OWNER)
            if not outputs:
                return
            owners, of_owner = self._owners(source), self._records.referred([_part(source, outputs)])
            yield from (target for target in of_owner if self._has(owners, target) or self._is_of_part(target, source))
        elif _is_written_by_its_sender(source):
            creator = self._parties.names_of_sender(source.sender)
            yield from (target for target in self._records.referred([source]) if self._has(creator, target))

    def _has(self, names: Names, target: Kept) -> bool:
        """Whether somebody with these names has made a resource, or is a party of a Task with which it came."""
        if names & self._parties.names_of_sender(target.sender):
            return True
        return any(names & self._parties_of(task) for task in self._tasks_of(target))

    def _is_of_part(self, target: Kept, whole: Kept) -> bool:
        """Whether an output came with a part of a Task, of which it became that Task's too."""
        return any(
            whole.id in ids_in(_part(task, _only(task.resource, ("partOf",))).content)
            for task in self._tasks_of(target)
        )

    def _tasks_of(self, target: Kept) -> list[Kept]:
        if target.id not in self._came_with:
            self._came_with[target.id] = self._records.came_with(target)
        return self._came_with[target.id]

    def _parties_of(self, task: Kept) -> Names:
        return (
            self._parties.names_of_sender(task.sender)
            | self._records.party(task, "requester")
            | self._records.party(task, "owner")
        )

    def _owners(self, task: Kept) -> Names:
        """What those are known by who have a Task, or had it."""
        former = (self._records.names_of(actor_of(performer)) for performer in performers_of(task.resource))
        return self._records.party(task, "owner").union(*former)


def _is_written_by_its_sender(kept: Kept) -> bool:
    """A Task has several authors, and so has a Specimen that went with an order."""
    return kept.resource_type != _TASK and (kept.resource_type != _SPECIMEN or kept.version == 1)


def _placers(task: Resource) -> Resource:
    further = [extension for extension in dicts(task.get("extension")) if is_focus(extension)]
    return _only(task, _OF_PLACER) | ({"extension": further} if further else {})


def _only(task: Resource, names: Sequence[str]) -> Resource:
    return {name: task[name] for name in names if name in task}


def _part(task: Kept, elements: Resource) -> Kept:
    """A Task as if it had these elements alone."""
    return replace(task, content=json.serialize({"resourceType": _TASK, **elements}))
