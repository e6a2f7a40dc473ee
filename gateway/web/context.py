"""What the endpoints share: one process's settings, database, handlers, and ways to the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app

from gateway import routing, terms
from gateway.checking import Checking
from gateway.fhir.message import Ourselves
from gateway.notices import Listener, Notices
from gateway.routing import Registry
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.terms import Terms
from gateway.web.waiting import WaitingRoom
from gateway.worker import Courier, Dispatcher, celery_app

_NAME = "fhir-gateway"


@dataclass(frozen=True, slots=True)
class Context:
    """Made once a process, after gunicorn has forked."""

    settings: Settings
    database: Database
    registry: Registry
    ourselves: Ourselves
    checking: Checking
    terms: Terms
    courier: Courier
    notices: Notices
    room: WaitingRoom


def make(in_force: Settings) -> Context:
    """Connects to nothing yet but Redis, where it begins to listen. Raises ImportError for handlers not to be found."""
    room = WaitingRoom()
    Listener(in_force.redis_url, room.call)
    return Context(
        settings=in_force,
        database=Database(in_force.database_url),
        registry=routing.load(in_force.handlers),
        ourselves=Ourselves(in_force.name, in_force.endpoint, in_force.base_url),
        checking=Checking(in_force),
        terms=terms.load(in_force),
        courier=Courier(Dispatcher(celery_app(in_force), in_force)),
        notices=Notices(in_force.redis_url),
        room=room,
    )


def put(extensions: dict[str, object], context: Context) -> None:
    extensions[_NAME] = context


def get() -> Context:
    """The context of the application that handles the current request."""
    return cast(Context, current_app.extensions[_NAME])
