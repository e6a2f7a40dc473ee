"""docs/policies.md: its tables are those of the packs, its example works, its keys are those there are."""

import re
from pathlib import Path

import pytest

from gateway.fhir.policy import reading
from gateway.fhir.policy.loading import load
from gateway.fhir.policy.model import Machine, Role
from gateway.fhir.task.checks import check_move
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "policies.md").read_text()
NAMES = ["cow", "fhir", "bser"]
SHORT = {Role.PLACER: "P", Role.FULFILLER: "F", Role.CANDIDATE: "", Role.CREATOR: "C"}


def table(machine: Machine) -> str:
    """The moves of a machine as the page has them: who takes the state of the row to that of the column."""
    rows = [["", *(machine.named(state) for state in machine.states)], ["---"] * (len(machine.states) + 1)]
    for old in machine.states:
        rows.append([f"**{machine.named(old)}**", *(cell(machine, old, new) for new in machine.states)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cell(machine: Machine, old: str, new: str) -> str:
    who = machine.who(old, new)
    by = "A" if who == {*Role} else "".join(SHORT[role] for role in Role if role in who)
    return by + ("r" if new in machine.on_request.get(old, ()) else "")


def part(title: str) -> str:
    """What the page has between the marks of a table."""
    [found] = re.findall(rf"<!-- {title} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_moves_on_the_page_are_those_of_the_pack(name: str) -> None:
    assert part(f"moves of {name}") == table(load(name).order)


@pytest.mark.parametrize("name", NAMES)
def test_requests_move_on_the_page_as_in_every_pack(name: str) -> None:
    assert part("requests of cow") == table(load(name).request)


@pytest.mark.parametrize("key", [*reading.PACK, *reading.EXPIRY, *reading.MACHINE, *reading.MOVE])
def test_every_key_is_documented(key: str) -> None:
    assert re.search(rf"`(\[(order\.)?)?{key}\]?( = true)?`", PAGE)


def test_every_role_is_documented() -> None:
    for role in Role:
        assert f"| `{role}` |" in PAGE


def test_the_example_on_the_page_is_a_pack(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "pharmacy.toml").write_text(example)
    policy = load("pharmacy", [tmp_path])
    assert policy.expiry.action == "expire"
    assert check_move("accepted", "in-progress", "Task", policy.order, frozenset({Role.FULFILLER})) == []
    assert check_move("in-progress/ready", "cancelled", "Task", policy.order, frozenset({Role.PLACER}))


def test_what_the_page_says_of_each_pack_is_so() -> None:
    cow, fhir, bser = (load(name) for name in NAMES)
    assert [Role.CREATOR in policy.order.create for policy in (cow, fhir, bser)] == [False, True, False]
    assert [policy.bidding for policy in (cow, fhir, bser)] == ["selection", "first-claim", "selection"]
    assert [policy.expiry.action for policy in (cow, fhir, bser)] == ["flag"] * 3
    assert [bool(policy.order.fields) for policy in (cow, fhir, bser)] == [True, False, True]
    cancels = [Role.PLACER in policy.order.who("accepted", "cancelled") for policy in (cow, fhir, bser)]
    assert cancels == [True, True, False]
