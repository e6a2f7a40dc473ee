"""A gateway to subscribe to, on each database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from gateway import delivering, performing, terms
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.subscriptions import Directory, Heartbeats
from gateway.transport import Transport
from tests.delivery.receiver import OK, Answering, receiving
from tests.subscriptions.subscribing import MakeWorld, World, partners
from tests.web.served import BASE, served


class Nobody:
    """In the place of the doorbell: the test itself has what is due delivered."""

    def ring(self, recipients: Sequence[str]) -> None:
        """Nobody comes."""


@pytest.fixture
def make_world(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeWorld]:
    """`answer` is the pharmacy's to each notification, `tell` its key."""
    monkeypatch.setattr(performing, "Directory", partial(Directory, look_every=0.0))
    with ExitStack() as stack:

        def make(answer: Answering = lambda _: OK, tell: str = "nothing") -> World:
            receiver = stack.enter_context(receiving(answer))
            (tmp_path / "partners.toml").write_text(partners(receiver.url, tell))
            api = stack.enter_context(served(database_url, redis_url, partners=(tmp_path,)))
            settings = Settings(database_url=database_url, base_url=BASE, partners=(tmp_path,))
            database, transport = Database(database_url), Transport(user_agent="gateway")
            stack.callback(database.close)
            stack.callback(transport.close)
            monkeypatch.setattr(delivering, "Database", lambda _: database)
            monkeypatch.setattr(delivering, "Transport", lambda **_: transport)
            deliverer = delivering.make("process-1", settings, Nobody())  # type: ignore[arg-type]
            heartbeats = Heartbeats(database, BASE, terms.Registered(settings, database))
            return World(api, database, receiver, deliverer, heartbeats)

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()
