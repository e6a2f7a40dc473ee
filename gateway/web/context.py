"""What the endpoints share: one process's settings, database, handlers, and ways to the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app

from gateway import routing, terms
from gateway.authentication.authenticator import Authenticator
from gateway.authentication.rates import Rates
from gateway.checking import Checking
from gateway.fhir.message import Ourselves
from gateway.jobs import Courier, Dispatcher, Doorbell, celery_app
from gateway.notices import Listener, Notices
from gateway.partners.directory import Directory
from gateway.replay.life import Replays
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.terms import Standing, Terms
from gateway.transport import Transport
from gateway.web.waiting import WaitingRoom

_NAME = "fhir-gateway"


@dataclass(frozen=True, slots=True)
class Context:
    """Made once a process, after gunicorn has forked."""

    settings: Settings
    database: Database
    registry: Registry
    ourselves: Ourselves
    checking: Checking
    authenticator: Authenticator
    rates: Rates
    standing: Standing
    directory: Directory
    courier: Courier
    doorbell: Doorbell
    notices: Notices
    room: WaitingRoom
    replays: Replays

    @property
    def terms(self) -> Terms:
        """The terms in force now."""
        return self.standing.current()


def make(in_force: Settings) -> Context:
    """Connects to nothing yet but Redis, where it begins to listen. Raises ImportError for handlers not to be found."""
    room, database = WaitingRoom(), Database(in_force.database_url)
    Listener(in_force.redis_url, room.call)
    standing = terms.Registered(in_force, database)
    dispatcher, notices = Dispatcher(celery_app(in_force), in_force), Notices(in_force.redis_url)
    registry = routing.load(in_force.handlers)
    return Context(
        settings=in_force,
        database=database,
        registry=registry,
        ourselves=Ourselves(in_force.name, in_force.endpoint, in_force.base_url),
        checking=Checking(in_force),
        authenticator=Authenticator(in_force, database, Transport(user_agent=in_force.name)),
        rates=Rates(in_force.redis_url),
        standing=standing,
        directory=standing.directory,
        courier=Courier(dispatcher),
        doorbell=Doorbell(dispatcher, notices),
        notices=notices,
        room=room,
        replays=Replays(database, registry, standing, in_force, dispatcher),
    )


def put(extensions: dict[str, object], context: Context) -> None:
    extensions[_NAME] = context


def get() -> Context:
    """The context of the application that handles the current request."""
    return cast(Context, current_app.extensions[_NAME])
