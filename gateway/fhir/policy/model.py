"""What a policy pack says: the states of a Task, the moves between them, and who may make each.

https://hl7.org/fhir/R4/task.html#statemachine calls its diagram typical; networks have their own. A state is a status,
or, in a pack whose states have business statuses too, `status/code` with the code of `Task.businessStatus`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

Resource = dict[str, Any]

# https://hl7.org/fhir/R4/valueset-task-status.html, and those after which FHIR knows nothing but an error
STATUSES = (
    *("draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold"),
    *("rejected", "cancelled", "failed", "completed", "entered-in-error"),
)
_TAKEN = frozenset({"accepted", "in-progress", "on-hold"})
_TAKING = _TAKEN | {"received"}
FINAL = frozenset({"rejected", "cancelled", "failed", "completed", "entered-in-error"})


class Role(StrEnum):
    """What a party is towards one Task; it can be several at once, and with none it is a bystander.

    A candidate is somebody other than the placer, of a Task that has no owner yet: who accepts it becomes its owner.
    """

    PLACER = "placer"
    FULFILLER = "fulfiller"
    CANDIDATE = "candidate"
    CREATOR = "creator"


Roles = frozenset[Role]
Effect = Literal["cancelled", "on-hold", "failed", "left"]
"""What becomes of an order in work when its cancellation is accepted; "left": its fulfiller says so itself."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The states that a Task can have and the moves between them.

    `moves`: what may follow a state, and who may make that move (empty: nobody by itself); `initial`: what a new Task
    may have; `create`: who may make one; `on_request`: moves that only an accepted request of the other party makes;
    `unsettled`: states in which a Task's immutable elements may still change; `fields`: elements that only these roles
    may change (an element that is in none may be changed by any party of the Task); `business_system`: the system of
    the codes of business statuses, None in a pack that has none; `business_status`: the code that goes with a state
    that is a status alone. A business status that the pack does not know, or none, makes no difference.
    """

    name: str
    states: tuple[str, ...]
    moves: Mapping[str, Mapping[str, Roles]]
    initial: frozenset[str]
    create: Roles
    on_request: Mapping[str, frozenset[str]]
    unsettled: frozenset[str]
    fields: Mapping[str, Roles]
    business_system: str | None = None
    business_status: Mapping[str, str] = field(default_factory=dict)

    def state_of(self, task: Resource) -> str:
        """The Task's state; "" where its status is missing or no string."""
        status = task.get("status")
        if not isinstance(status, str):
            return ""
        paired = f"{status}/{self._business_code(task) or ''}"
        return paired if paired in self.states else status

    def misfit(self, task: Resource) -> str | None:
        """The Task's business status, where it is one that the pack has, and has for other statuses than the Task's."""
        code = self._business_code(task)
        if code is None:
            return None
        status = self.state_of(task).partition("/")[0]
        fitting, is_known = self.fitting(status), any(code in self.fitting(other) for other in STATUSES)
        return code if fitting and is_known and code not in fitting else None

    def fitting(self, status: str) -> list[str]:
        """The business statuses that go with a status."""
        pairs = [state.partition("/") for state in self.states]
        own = [self.business_status[status]] if status in self.business_status else []
        return [*own, *(code for paired, _, code in pairs if code and paired == status)]

    def named(self, state: str) -> str:
        """A state in a sentence, with the business status that goes with it in brackets."""
        status, _, code = state.partition("/")
        code = code or self.business_status.get(status, "")
        return f"{status} ({code})" if code else status or "(no status)"

    def allowed(self, state: str, roles: Roles | None = None) -> list[str]:
        """The states that may follow, in the order of the machine; only those that these roles may bring about."""
        following = self.moves.get(state, {})
        return [s for s in self.states if s in following and (roles is None or self.may(state, s, roles))]

    def may(self, old: str, new: str, roles: Roles) -> bool:
        """Whether a party with these roles may make a move that there is; the same state again is no move."""
        by = self.who(old, new)
        return old == new or bool(by & roles) or (Role.FULFILLER in by and Role.CANDIDATE in roles)

    def who(self, old: str, new: str) -> Roles:
        """Who may make a move; empty where nobody may by itself, or where there is no such move."""
        return self.moves.get(old, {}).get(new, frozenset())

    @property
    def offered(self) -> frozenset[str]:
        """The statuses in which a Task without an owner waits for somebody to take it."""
        moves = [
            (old.partition("/")[0], new.partition("/")[0], old, new) for old in self.moves for new in self.moves[old]
        ]
        return frozenset(
            status
            for status, following, old, new in moves
            if status not in _TAKEN and following in _TAKING and self.may(old, new, frozenset({Role.CANDIDATE}))
        )

    def is_final(self, state: str) -> bool:
        """Whether nothing follows a state but that it turns out to have been an error."""
        return self.moves.get(state, {}).keys() <= {"entered-in-error"}

    def way(self, old: str, new: str, roles: Roles | None = None) -> list[str]:
        """The shortest row of moves from one state to another, without the first; empty when there is none.

        Only of those that these roles may bring about.
        """
        ways, seen = deque([[old]]), {old, "entered-in-error"}
        while ways:
            way = ways.popleft()
            for following in self.allowed(way[-1], roles):
                if following == new:
                    return [*way[1:], new]
                if following not in seen:
                    seen.add(following)
                    ways.append([*way, following])
        return []

    def _business_code(self, task: Resource) -> str | None:
        concept = task.get("businessStatus") if self.business_system else None
        codings = concept.get("coding") if isinstance(concept, dict) else None
        for coding in codings if isinstance(codings, list) else ():
            if isinstance(coding, dict) and coding.get("system") == self.business_system:
                code = coding.get("code")
                return code if isinstance(code, str) else None
        return None


@dataclass(frozen=True, slots=True)
class Expiry:
    """What happens to a Task that is not final when its `restriction.period` has ended, and for how long not yet."""

    action: Literal["flag", "expire"]
    status: str
    after: timedelta


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy pack: the machine of orders (Coordination Tasks), that of requests about them (abort, change, replace,
    suspend, resume; their placer is who asks, their fulfiller who is asked), and what else sites settle differently.

    `accepted`: the effect of an accepted cancellation on an order in work; `hold`: how long a cancellation that has
    overtaken its order waits for it; `bidding`: whether a placer selects among the bids, or the first claim wins.
    """

    name: str
    title: str
    description: str
    source: str
    order: Machine
    request: Machine
    accepted: Effect
    hold: timedelta
    bidding: Literal["selection", "first-claim"]
    expiry: Expiry
