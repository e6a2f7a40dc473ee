"""What scopes grant, in both of their forms, and what of them is given to whom."""

import pytest

from gateway.authentication.scopes import granted, grants, is_scope


@pytest.mark.parametrize(
    ("scope", "granting", "not_granting"),
    [
        ("system/Task.rs", [("Task", "r"), ("Task", "s")], [("Task", "u"), ("Bundle", "r")]),
        ("system/*.cruds", [("Task", "d"), ("Bundle", "c")], []),
        ("system/Task.read", [("Task", "r"), ("Task", "s")], [("Task", "c")]),
        ("system/Task.write", [("Task", "c"), ("Task", "u"), ("Task", "d")], [("Task", "r")]),
        ("system/*.*", [("Task", "s"), ("Bundle", "c")], []),
        ("user/Task.cruds", [], [("Task", "r")]),
        ("system/Task.", [], [("Task", "r")]),
        ("system/Task.sr", [], [("Task", "r")]),
        ("system/Task.rs?status=requested", [], [("Task", "r")]),
        ("admin", [], [("Task", "r")]),
    ],
)
def test_a_scope_grants_what_it_says(
    scope: str, granting: list[tuple[str, str]], not_granting: list[tuple[str, str]]
) -> None:
    assert all(grants([scope], kind, letter) for kind, letter in granting)  # type: ignore[arg-type]
    assert not any(grants([scope], kind, letter) for kind, letter in not_granting)  # type: ignore[arg-type]
    assert is_scope(scope) is bool(granting)


@pytest.mark.parametrize(
    ("asked", "most", "given"),
    [
        ("system/*.cruds", "system/*.cruds", "system/*.cruds"),
        ("system/Task.read", "system/*.cruds", "system/Task.read"),
        ("system/Task.cruds", "system/Task.rs", "system/Task.rs"),
        ("system/*.rs", "system/Task.cruds system/Bundle.c", "system/Task.rs"),
        ("system/*.*", "system/Task.r system/Bundle.c", "system/Bundle.c system/Task.r"),
        ("system/Task.cru", "system/Task.r system/*.c", "system/Task.cr"),
        ("system/Patient.r", "system/Task.cruds", ""),
        ("openid user/Task.r admin", "system/*.cruds", ""),
    ],
)
def test_nobody_is_given_more_than_asked_for_nor_more_than_registered(asked: str, most: str, given: str) -> None:
    assert granted(asked.split(), most.split()) == frozenset(given.split())
