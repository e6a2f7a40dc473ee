"""`fhir-gateway deliveries`: what is due and dead, once more, and no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.delivery.conftest import NAME, Post
from tests.delivery.receiver import Script, receiving

Call = Callable[..., Result]


@pytest.fixture
def call(database_url: str) -> Call:
    def run(*words: str) -> Result:
        return CliRunner(env={"GATEWAY_DATABASE_URL": database_url}).invoke(main, ["deliveries", *words])

    return run


@pytest.fixture
def dead(post: Post) -> list[int]:
    """Two that were refused."""
    with receiving(lambda _: Script(422)) as receiver:
        post.register(receiver)
        numbers = [post.put("task-1", "b-1"), post.put("task-2", "b-2")]
        post.deliverer().deliver(NAME)
    return numbers


def test_what_is_dead_is_listed_with_its_reason(call: Call, post: Post, dead: list[int]) -> None:
    other = post.put("task-1", "b-3", "somebody")
    listed = call("list")
    assert listed.exit_code == 0, listed.output
    rows = [line.split() for line in listed.output.splitlines() if line[:1].isdigit()]
    assert [row[:2] for row in rows] == [[str(dead[0]), "dead"], [str(dead[1]), "dead"], [str(other), "due"]]
    assert "answered 422" in listed.output
    assert "In all: 1 due, 2 dead." in listed.output
    assert f"{other}  due" not in call("list", "--partner", NAME).output
    assert f"{dead[0]}  dead" not in call("list", "--state", "due").output


def test_one_is_shown_with_its_attempts(call: Call, dead: list[int]) -> None:
    shown = call("show", str(dead[0])).output
    assert "bundle_id: b-1" in shown
    assert "refused" in shown.splitlines()[-1]
    missing = call("show", "4711")
    assert (missing.exit_code, "There is no delivery 4711" in missing.output) == (1, True)


def test_what_is_dead_is_tried_again_and_what_is_due_is_dropped(call: Call, post: Post, dead: list[int]) -> None:
    assert f"{dead[0]} is due again." in call("again", str(dead[0])).output
    assert call("again", "--partner", NAME, "--dead").output == "1 are due again.\n"
    assert [post.letter(number).state for number in dead] == ["due", "due"]
    dropped = call("drop", str(dead[0]), "4711")
    assert (dropped.exit_code, "Neither due nor dead: 4711" in dropped.output) == (1, True)
    assert post.letter(dead[0]).state == "due"
    assert call("drop", str(dead[0])).exit_code == 0
    assert post.letter(dead[0]).state == "dead"


@pytest.mark.parametrize(
    "words", [["again"], ["again", "1", "--partner", "a", "--dead"], ["again", "--dead"], ["drop"]]
)
def test_what_is_not_said_clearly_is_not_done(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["deliveries", *words]).exit_code == 2
