"""What the operator takes away is gone in every process, whatever that has seen and remembers of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.authentication import api_keys
from gateway.partners import Partner, document
from gateway.partners.directory import Directory
from gateway.partners.model import Authentication
from gateway.store.database import Database
from gateway.terms import Registered
from gateway.web import context
from tests import services
from tests.authentication import Gate, claims, elliptic, gate, hospital, pharmacy


class Operator:
    """Changes the partners of a gateway in another process; `gate` sees each change with its next look."""

    def __init__(self, one: Gate, url: str, *partners: Partner) -> None:
        standing = Registered(one.here.settings, one.here.database)
        standing.directory = Directory(one.here.database, loopback=True, look_every=0)
        one.here = replace(one.here, standing=standing)
        context.put(one.app.extensions, one.here)
        self.gate = one
        self.database = Database(url)
        self.directory = Directory(self.database, loopback=True)
        for partner in partners:
            self.directory.add(document.write(partner), "test")

    def is_let_in(self, **proof: str) -> bool:
        return self.gate.ask("GET", "Task", **proof).status_code == 200


@pytest.fixture
def operator(
    tmp_path: Path, sqlite_template: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Operator]:
    monkeypatch.setattr("gateway.authentication.authenticator.REMEMBERED_SECONDS", float("inf"))
    with services.sqlite_database(tmp_path, sqlite_template) as url, gate(url, redis_url) as one:
        made = Operator(one, url, hospital(), pharmacy())
        yield made
        made.database.close()


def test_a_key_that_is_revoked_is_refused_by_who_has_just_seen_it(operator: Operator) -> None:
    made = api_keys.make(operator.database, "Pharmacy", "test")
    assert operator.is_let_in(key=made.key)
    api_keys.revoke(operator.database, "Pharmacy", "test", made.hint)
    assert not operator.is_let_in(key=made.key)


def test_a_partner_that_is_blocked_is_refused_and_let_in_again_when_it_is_not(operator: Operator) -> None:
    key = api_keys.make(operator.database, "Pharmacy", "test").key
    assert operator.is_let_in(key=key)
    operator.directory.set_state("Pharmacy", "blocked", "test")
    assert operator.gate.ask("GET", "Task", key=key).status_code == 403
    operator.directory.set_state("Pharmacy", "active", "test")
    assert operator.is_let_in(key=key)


def test_keys_and_tokens_of_who_is_removed_are_not_those_of_who_gets_its_name(operator: Operator) -> None:
    key = api_keys.make(operator.database, "Pharmacy", "test").key
    token = operator.gate.token(elliptic().sign(claims())).json["access_token"]
    assert operator.is_let_in(key=key)
    assert operator.is_let_in(bearer=token)
    operator.directory.remove("Pharmacy", "test")
    operator.directory.add(document.write(pharmacy()), "test")
    assert not operator.is_let_in(key=key)
    assert not operator.is_let_in(bearer=token)


def test_a_scope_that_is_taken_away_is_gone_from_tokens_that_have_it(operator: Operator) -> None:
    token = operator.gate.token(elliptic().sign(claims())).json["access_token"]
    assert operator.is_let_in(bearer=token)
    own = Authentication(client_id="pharmacy", jwks=elliptic().jwks, scopes=("system/Bundle.c",))
    operator.directory.put("Pharmacy", document.write(pharmacy(authentication=own)), "test")
    assert operator.gate.ask("GET", "Task", bearer=token).status_code == 403
