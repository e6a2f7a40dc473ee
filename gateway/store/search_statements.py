"""The statements of `gateway.store.searching`, made once for each number of tokens that they look for.

Parameters: `d_0`, `d_1` … are the tokens to walk through, `p0_0` … those of the first group to look up for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from gateway.store.schema import resource, search_key
from gateway.store.statements import Clause, Given, Rows, Statement, looked_up

_SHAPES = 256
_WANTED = sa.bindparam("wanted", type_=sa.Integer)
_EXAMINED = sa.bindparam("examined", type_=sa.Integer)
_ONE: sa.ColumnElement[int] = sa.literal_column("1")
_IS_PUBLIC = resource.c.sender != sa.bindparam("own")
"""What the gateway keeps for itself has no tokens: only where none is asked for, is it to be left out."""

OF_TYPE = Statement(
    sa.select(resource.c.number)
    .where(resource.c.type == sa.bindparam("type"), resource.c.number < sa.bindparam("before"), _IS_PUBLIC)
    .order_by(resource.c.number.desc())
    .limit(_WANTED)
)


def _newest(dialect: str, given: Given) -> Clause:
    number, has_it = search_key.c.number, search_key.c.digest == given["digest"]
    most: sa.ColumnElement[int] = sa.literal_column(str(FEW + 1))
    found = sa.select(search_key.c.digest, number).where(has_it).order_by(number.desc()).limit(most)
    if dialect == "sqlite":
        return found
    each = looked_up(found)
    return sa.select(*each.c).select_from(given["digest"].table.join(each, sa.true()))


FEW = 20
NEWEST = Rows([search_key.c.digest], _newest)
"""The tokens given, each with the numbers that have it: the highest, one more than `FEW` where there are more."""


@lru_cache(_SHAPES)
def token_walk(arms: int, others: tuple[int, ...]) -> Statement:
    """Numbers from `floor` on and `before` another, the highest first; what has two of the tokens comes twice.

    There is one SELECT for each token: what each finds is in order already, and has only to be merged.
    """
    number = search_key.c.number
    within = number >= sa.bindparam("floor"), number < sa.bindparam("before"), *_probes(number, others)
    each = [sa.select(number).where(one, *within) for one in _tokens(arms)]
    return Statement(lambda name: _merged(each, _WANTED, name).limit(_WANTED))


@lru_cache(_SHAPES)
def token_floor(arms: int) -> Statement:
    """The number where a walk through all that have the tokens has `examined` enough."""
    number = search_key.c.number
    each = [sa.select(number).where(one, number < sa.bindparam("before")) for one in _tokens(arms)]
    return Statement(lambda name: _merged(each, _EXAMINED + _ONE, name).offset(_EXAMINED).limit(_ONE))


@lru_cache(2)
def change_floor(rises: bool) -> Statement:
    """The place where a walk through the changes has `examined` enough."""
    return Statement(_changes(rises).offset(_EXAMINED).limit(_ONE))


@lru_cache(_SHAPES)
def change_walk(groups: tuple[int, ...], rises: bool) -> Statement:
    """Places in the order of change, from (`low_at`, `low`) on and before (`high_at`, `high`)."""
    matches = _probes(resource.c.number, groups) if groups else [_IS_PUBLIC]
    return Statement(_changes(rises).where(*matches).limit(_WANTED))


@lru_cache(_SHAPES)
def few(arms: int, others: tuple[int, ...], rises: bool) -> Statement:
    """As `change_walk`, of what has one of the tokens: all of these are looked up and sorted."""
    return Statement(_in_order(_of_tokens(arms, others), rises).limit(_WANTED))


@lru_cache(_SHAPES)
def few_counted(arms: int, others: tuple[int, ...]) -> Statement:
    return Statement(sa.select(sa.func.count()).select_from(_of_tokens(arms, others).subquery()))


@lru_cache(_SHAPES)
def by_ids(ids: int, groups: tuple[int, ...]) -> Statement:
    """The places of those ids `id_0` … that are of a type, and match all else."""
    return Statement(
        sa.select(resource.c.updated_at, resource.c.number).where(
            resource.c.id.in_([sa.bindparam(f"id_{n}") for n in range(ids)]),
            resource.c.type == sa.bindparam("type"),
            _IS_PUBLIC,
            *_is_within(),
            *_probes(resource.c.number, groups),
        )
    )


@lru_cache(_SHAPES)
def counted(groups: tuple[int, ...]) -> Statement:
    """How many have one of the tokens `g0_0` …, `g1_0` …, at most `examined` each."""
    some = [
        sa.select(search_key.c.number).where(_any_token(f"g{n}", size)).limit(_EXAMINED).subquery()
        for n, size in enumerate(groups)
    ]
    return Statement(sa.select(*(sa.select(sa.func.count()).select_from(one).scalar_subquery() for one in some)))


def _merged(each: list[sa.Select[Any]], most: sa.ColumnElement[int], name: str) -> sa.Select[Any]:
    """In order. PostgreSQL merges what is said to be in order, and prepares for no more of each than it is told; SQLite
    sees that by itself, and takes no ORDER BY there.
    """
    if len(each) == 1:
        return each[0].order_by(sa.desc("number"))
    arms = each if name == "sqlite" else [select.order_by(sa.desc("number")).limit(most) for select in each]
    whole = sa.union_all(*arms).subquery("merged")
    return sa.select(whole.c.number).order_by(whole.c.number.desc())


def _of_tokens(arms: int, others: tuple[int, ...]) -> sa.Select[Any]:
    number = search_key.c.number
    candidates = sa.select(number).where(_any_token("d", arms), *_probes(number, others)).distinct().subquery()
    found = sa.select(resource.c.updated_at, resource.c.number)
    return found.join(candidates, candidates.c.number == resource.c.number).where(*_is_within())


def _changes(rises: bool) -> sa.Select[Any]:
    select = sa.select(resource.c.updated_at, resource.c.number)
    return _in_order(select.where(resource.c.type == sa.bindparam("type"), *_is_within()), rises)


def _in_order(select: sa.Select[Any], rises: bool) -> sa.Select[Any]:
    columns = resource.c.updated_at, resource.c.number
    return select.order_by(*(column.asc() if rises else column.desc() for column in columns))


def _is_within() -> Iterable[sa.ColumnElement[bool]]:
    place = sa.tuple_(resource.c.updated_at, resource.c.number)
    yield place >= sa.tuple_(_moment("low_at"), sa.bindparam("low"))
    yield place < sa.tuple_(_moment("high_at"), sa.bindparam("high"))


def _moment(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=resource.c.updated_at.type)


def _tokens(arms: int) -> list[sa.ColumnElement[bool]]:
    return [search_key.c.digest == sa.bindparam(f"d_{n}") for n in range(arms)]


def _any_token(prefix: str, number: int, table: Any = search_key) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = table.c.digest.in_([sa.bindparam(f"{prefix}_{n}") for n in range(number)])
    return found


def _probes(number: sa.ColumnElement[int], groups: tuple[int, ...]) -> Iterable[sa.ColumnElement[bool]]:
    """Whether what has a number has a token of each group.

    As values, not as EXISTS: which a planner may turn into a join that reads all that have the token.
    """
    for n, size in enumerate(groups):
        probe = search_key.alias(f"probe_{n}")
        found = sa.select(_ONE).where(_any_token(f"p{n}", size, probe), probe.c.number == number)
        yield found.limit(_ONE).scalar_subquery().is_not(None)


CHANGES_COUNTED = Statement(
    sa.select(sa.func.count()).select_from(
        sa.select(_ONE)
        .select_from(resource)
        .where(resource.c.type == sa.bindparam("type"), _IS_PUBLIC, *_is_within())
        .limit(_EXAMINED)
        .subquery()
    )
)
