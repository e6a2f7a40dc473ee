"""Every state × every state × every set of roles, for each pack, against the table as its source has it."""

from collections.abc import Iterator
from itertools import chain, combinations

import pytest

from gateway.fhir.policy.loading import load
from gateway.fhir.policy.model import STATUSES, Machine, Role, Roles
from gateway.fhir.task.checks import check_move, check_new

Table = dict[tuple[str, str], str]
"""Who may make a move: P the placer, F the fulfiller (or who may yet become it), C the creator, A any party; r: by an
accepted request of the other party. Several letters: each of them."""

LETTERS = {
    "P": {Role.PLACER},
    "F": {Role.FULFILLER, Role.CANDIDATE},
    "C": {Role.CREATOR},
    "A": {*Role},
    "r": set[Role](),
}

# The diagram of https://hl7.org/fhir/R4/task.html#statemachine, with who makes each move by the guide
COW = """
                  dra req rec acc rea inp hol rej can fai com err
draft              =   P   .   .   P   .   .   .   P   .   .   C
requested          .   =   F   F   .   .   .   F   P   .   .   C
received           .   .   =   F   .   .   .   F   P   .   .   C
accepted           .   .   .   =   .   F   .   .   P   .   .   C
ready              .   .   .   .   =   F   .   .   P   .   .   C
in-progress        .   .   .   .   .   =   F   .   r   F   F   C
on-hold            .   .   .   .   .   F   =   .   r   .   .   C
rejected           .   .   .   .   .   .   .   =   .   .   .   C
cancelled          .   .   .   .   .   .   .   .   =   .   .   C
failed             .   .   .   .   .   .   .   .   .   =   .   C
completed          .   .   .   .   .   .   .   .   .   .   =   C
entered-in-error   .   .   .   .   .   .   .   .   .   .   .   =
"""
FHIR = """
                  dra req rec acc rea inp hol rej can fai com err
draft              =   A   .   .   A   .   .   .   A   .   .   A
requested          .   =   A   A   .   .   .   A   A   .   .   A
received           .   .   =   A   .   .   .   A   A   .   .   A
accepted           .   .   .   =   .   A   .   .   A   .   .   A
ready              .   .   .   .   =   A   .   .   A   .   .   A
in-progress        .   .   .   .   .   =   A   .   A   A   A   A
on-hold            .   .   .   .   .   A   =   .   A   .   .   A
rejected           .   .   .   .   .   .   .   =   .   .   .   A
cancelled          .   .   .   .   .   .   .   .   =   .   .   A
failed             .   .   .   .   .   .   .   .   .   =   .   A
completed          .   .   .   .   .   .   .   .   .   .   =   A
entered-in-error   .   .   .   .   .   .   .   .   .   .   .   =
"""
REQUEST = """
                  req rec acc com rej can err
requested          =   F   F   .   F   P   P
received           .   =   F   .   F   P   P
accepted           .   .   =   .   .   .   .
completed          .   .   .   =   .   .   .
rejected           .   .   .   .   =   .   .
cancelled          .   .   .   .   .   =   .
entered-in-error   .   .   .   .   .   .   =
"""
# The guide's "Harmonized State Transitions": number, who, from, to. Its initiator is P, its recipient F.
BSER = """
01 P draft             received
02 F received          accepted
03 F received          rejected
04 P received          in-progress/5.2
05 F accepted          rejected
06 F accepted          in-progress/5.1.1
07 P accepted          in-progress/5.2
08 F accepted          in-progress/5.1.4
09 F accepted          completed
10 F in-progress/5.1.1 rejected
11 F in-progress/5.1.1 in-progress/5.1.1
12 F in-progress/5.1.1 in-progress/5.1.2
13 F in-progress/5.1.1 in-progress/5.1.3
14 P in-progress/5.1.1 in-progress/5.2
15 F in-progress/5.1.1 in-progress/5.1.4
16 F in-progress/5.1.1 completed
17 F in-progress/5.1.2 rejected
18 F in-progress/5.1.2 in-progress/5.1.1
19 F in-progress/5.1.2 in-progress/5.1.3
20 P in-progress/5.1.2 in-progress/5.2
21 F in-progress/5.1.3 in-progress/5.1.1
22 P in-progress/5.1.3 in-progress/5.2
23 F in-progress/5.2   cancelled
24 F in-progress/5.2   completed
25 F in-progress/5.1.4 rejected
26 F in-progress/5.1.4 in-progress/5.1.1
27 F in-progress/5.1.4 in-progress/5.1.3
28 P in-progress/5.1.4 in-progress/5.2
29 F in-progress/5.1.4 in-progress/5.1.4
30 F in-progress/5.1.4 completed
31 F accepted          in-progress
32 F accepted          in-progress
33 F in-progress       rejected
34 P in-progress       in-progress/5.2
"""
BSER_STATES = [
    *("draft", "received", "accepted", "in-progress", "in-progress/5.1.1", "in-progress/5.1.2", "in-progress/5.1.3"),
    *("in-progress/5.1.4", "in-progress/5.2", "rejected", "cancelled", "completed", "entered-in-error"),
]


def matrix(text: str) -> tuple[list[str], Table]:
    rows = [line.split() for line in text.strip().splitlines()[1:]]
    states = [row[0] for row in rows]
    cells = {(row[0], new): cell for row in rows for new, cell in zip(states, row[1:], strict=True)}
    return states, {move: cell for move, cell in cells.items() if cell not in "=."}


def bser() -> tuple[list[str], Table]:
    """The guide's transitions, and what the pack adds to them."""
    rows = [line.split() for line in BSER.strip().splitlines()]
    assert len(rows) == 34
    table = {(old, new): who for _, who, old, new in rows if old != new} | {("draft", "cancelled"): "P"}
    going_on = [state for state in BSER_STATES[1:] if state.startswith(("received", "accepted", "in-progress"))]
    for new in ("in-progress/5.1.1", "in-progress/5.1.4", "completed"):
        table["in-progress", new] = "F"
    for old in going_on:
        table[old, "cancelled"] = table.get((old, "cancelled"), "") + "r"
    for old in BSER_STATES[:-1]:
        table[old, "entered-in-error"] = "C"
    return BSER_STATES, table


def sets_of_roles() -> Iterator[Roles]:
    yield from map(frozenset, chain.from_iterable(combinations(Role, size) for size in range(len(Role) + 1)))


MACHINES = [
    *(("cow", "order", *matrix(COW)), ("fhir", "order", *matrix(FHIR)), ("bser", "order", *bser())),
    *((name, "request", *matrix(REQUEST)) for name in ("cow", "fhir", "bser")),
]
EVERY = pytest.mark.parametrize(("name", "part", "states", "table"), MACHINES)


def machine_of(name: str, part: str) -> Machine:
    policy = load(name)
    return policy.order if part == "order" else policy.request


@EVERY
def test_every_move_is_made_by_those_in_the_table_and_by_nobody_else(
    name: str, part: str, states: list[str], table: Table
) -> None:
    machine = machine_of(name, part)
    everything = [*states, *(status for status in STATUSES if status not in states), "", "done"]
    for roles in sets_of_roles():
        for old in states:
            for new in everything:
                cell = table.get((old, new), "")
                may = old == new or any(LETTERS[letter] & roles for letter in cell)
                issues = check_move(old, new, "Task", machine, roles)
                assert (issues == []) == may, (old, new, {*roles})
                for issue in issues:
                    assert machine.named(old) in issue.text
                    assert not roles or machine.named(new) in issue.text
                    is_for_others = not roles or cell.strip("r") != ""
                    assert issue.code == (
                        "forbidden" if is_for_others else ("business-rule" if new in states else "value")
                    )


@EVERY
def test_a_refused_move_says_what_the_sender_can_do_instead(
    name: str, part: str, states: list[str], table: Table
) -> None:
    machine = machine_of(name, part)
    for roles in sets_of_roles():
        for old in states:
            for new in states:
                for issue in check_move(old, new, "Task", machine, roles):
                    yours = [s for s in states if any(LETTERS[x] & roles for x in table.get((old, s), ""))]
                    assert all(machine.named(state) in issue.text for state in yours), issue.text
                    if roles and "r" in table.get((old, new), ""):
                        assert "cancellation request" in issue.text


@EVERY
def test_what_comes_by_request_only_is_in_the_table(name: str, part: str, states: list[str], table: Table) -> None:
    machine = machine_of(name, part)
    by_request = {(old, new) for old, following in machine.on_request.items() for new in following}
    assert by_request == {move for move, cell in table.items() if "r" in cell}
    assert sorted(machine.states) == sorted(states)


@EVERY
def test_who_has_ended_has_ended(name: str, part: str, states: list[str], table: Table) -> None:
    machine = machine_of(name, part)
    for state in states:
        is_over = {new for old, new in table if old == state} <= {"entered-in-error"}
        assert machine.is_final(state) == is_over
    for state in ("rejected", "cancelled", "completed", "entered-in-error"):
        assert machine.is_final(state)


@pytest.mark.parametrize(
    ("name", "initial"),
    [("cow", "draft requested ready"), ("fhir", "draft requested ready"), ("bser", "draft received")],
)
def test_a_new_order_begins_where_the_pack_says(name: str, initial: str) -> None:
    machine = load(name).order
    for status in STATUSES:
        task = {"identifier": [{"system": "s", "value": "1"}], "status": status}
        issues = check_new(task, "Task", machine, frozenset({Role.PLACER, Role.CREATOR}))
        assert (issues == []) == (status in initial.split()), status
