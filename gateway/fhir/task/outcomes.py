"""What a cancellation comes to: one vocabulary for every answer; and what such vocabularies have in common."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from gateway.fhir.policy.model import Machine, Role
from gateway.fhir.task.elements import CANCELLED, dicts

Resource = dict[str, Any]

OUTCOME_SYSTEM = "urn:x-fhir-gateway:cancellation-outcome"


@dataclass(frozen=True, slots=True)
class Meaning:
    """An outcome as it is published, and as it is told to who asked."""

    display: str
    definition: str
    answer: str


class Coded(StrEnum):
    """What became of a request: the codes of a code system of the gateway's own, by its `system`."""

    system: ClassVar[str]

    def __init_subclass__(cls, *, system: str) -> None:
        super().__init_subclass__()
        cls.system = system

    @property
    def coding(self) -> tuple[str, str]:
        """(system, code), as `Issue.outcome` takes it."""
        return self.system, self.value

    @property
    def concept(self) -> Resource:
        """A CodeableConcept of the code alone."""
        return {"coding": [{"system": self.system, "code": self.value}]}

    @classmethod
    def find_in(cls, concept: Any) -> Self | None:
        """The outcome that a CodeableConcept names; None where it names none."""
        codings = dicts(concept.get("coding")) if isinstance(concept, dict) else []
        codes = [coding.get("code") for coding in codings if coding.get("system") == cls.system]
        return next((outcome for outcome in cls if outcome.value in codes), None)


class Outcome(Coded, system=OUTCOME_SYSTEM):
    """What became of a cancellation: the codes of `urn:x-fhir-gateway:cancellation-outcome`."""

    CANCELLED = "cancelled"
    PENDING = "pending"
    HELD = "held"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    TOO_LATE = "too-late-completed"
    ALREADY_CANCELLED = "already-cancelled"
    ALREADY_ENDED = "already-ended"
    ALREADY_PENDING = "already-pending"
    EXPIRED = "expired"
    NOT_THE_PLACER = "not-the-placer"
    NO_SUCH_ORDER = "no-such-order"
    NO_SUCH_REQUEST = "no-such-request"

    @property
    def concept(self) -> Resource:
        """A CodeableConcept: the code, with what it means in a sentence."""
        return {**super().concept, "text": self.answer}

    @property
    def answer(self) -> str:
        """What it means, in a sentence for who asked."""
        return MEANINGS[self].answer


MEANINGS = {
    Outcome.CANCELLED: Meaning(
        "Cancelled",
        "Work had not begun, or the order's fulfiller accepts at once: the order is cancelled.",
        "The order is cancelled.",
    ),
    Outcome.PENDING: Meaning(
        "Pending with the other party",
        "The cancellation request is kept and waits for the answer of the party asked; the order goes on until then.",
        "The other party decides: the cancellation request is kept and waits for its answer, and the order goes on as "
        "it is until then.",
    ),
    Outcome.HELD: Meaning(
        "Held until the order comes",
        "The cancellation request has overtaken its order: it is kept for a time, and applied when the order comes.",
        "The order is not known here yet: the cancellation request is kept, and applied as soon as the order comes. If "
        "it does not come in time, the request is rejected.",
    ),
    Outcome.ACCEPTED: Meaning(
        "Accepted",
        "The party asked has accepted the cancellation request.",
        "The cancellation request is accepted.",
    ),
    Outcome.REJECTED: Meaning(
        "Rejected by the other party",
        "The party asked has rejected the cancellation request, for the reason in its statusReason; the order goes on.",
        "The cancellation request is rejected: the order goes on as it is.",
    ),
    Outcome.WITHDRAWN: Meaning(
        "Withdrawn",
        "Who asked has withdrawn the cancellation request, or entered it in error; the order goes on.",
        "The cancellation request is withdrawn: the order goes on as it is.",
    ),
    Outcome.TOO_LATE: Meaning(
        "Too late, already completed",
        "The order was completed before the cancellation had an effect.",
        "The order is completed: it is too late to cancel it. Agree with the other party what to do.",
    ),
    Outcome.ALREADY_CANCELLED: Meaning(
        "Already cancelled",
        "The order, or the Request, was cancelled or revoked before.",
        "The order was cancelled before. There is nothing left to do.",
    ),
    Outcome.ALREADY_ENDED: Meaning(
        "Already rejected, failed or in error",
        "The order had ended before without having been done: rejected, failed or entered in error.",
        "The order had ended before: it was rejected, failed or entered in error.",
    ),
    Outcome.ALREADY_PENDING: Meaning(
        "Another cancellation request is open",
        "Another cancellation request of the same order waits for its answer.",
        "Another cancellation request of this order is open.",
    ),
    Outcome.EXPIRED: Meaning(
        "Expired",
        "The period of the order (Task.restriction.period) has ended, and that has ended the order.",
        "Its time has passed.",
    ),
    Outcome.NOT_THE_PLACER: Meaning(
        "Not requested by the placer",
        "Who asked for the cancellation is not the placer of the order, and so cannot.",
        "Only the placer of an order asks for its cancellation.",
    ),
    Outcome.NO_SUCH_ORDER: Meaning(
        "No such order",
        "No order is known by what the cancellation request names, or none has come while the request was held for it.",
        "There is no such order.",
    ),
    Outcome.NO_SUCH_REQUEST: Meaning(
        "No such cancellation request",
        "The message answers or withdraws a cancellation request that is not known.",
        "There is no such cancellation request.",
    ),
}

_ENDED = {
    "completed": Outcome.TOO_LATE,
    "cancelled": Outcome.ALREADY_CANCELLED,
    "rejected": Outcome.ALREADY_ENDED,
    "failed": Outcome.ALREADY_ENDED,
    "entered-in-error": Outcome.ALREADY_ENDED,
    # and what Requests are called when they have ended
    "revoked": Outcome.ALREADY_CANCELLED,
    "stopped": Outcome.ALREADY_ENDED,
}


def cancellation_of_task(state: str, machine: Machine) -> Outcome:
    """What the placer's request to cancel a Task in this state comes to: CANCELLED, PENDING, or why it is too late."""
    if machine.is_final(state):
        return _ENDED.get(state.partition("/")[0], Outcome.ALREADY_ENDED)
    is_placers = Role.PLACER in machine.who(state, CANCELLED)
    return Outcome.CANCELLED if is_placers else Outcome.PENDING


def cancellation_of_order(task: Resource, machine: Machine) -> Outcome:
    """The same of an order's Task: one that its time has ended has expired, whatever its state."""
    state = machine.state_of(task)
    has_expired = machine.is_final(state) and Outcome.find_in(task.get("statusReason")) == Outcome.EXPIRED
    return Outcome.EXPIRED if has_expired else cancellation_of_task(state, machine)


def cancellation_of_request(status: str) -> Outcome:
    """What a new proposal to cancel a Request of this status comes to: PENDING, or why it is too late."""
    return _ENDED.get(status, Outcome.PENDING)
