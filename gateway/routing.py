"""Which handler a message goes to: the registry of handlers, filled by `@handles`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import structlog

from gateway.errors import Issue, Refused
from gateway.fhir.message import Event, Message
from gateway.foresight import OwnNames
from gateway.kept import Kept
from gateway.records import Records

log = structlog.get_logger()

Category = Literal["consequence", "currency", "notification"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers when it did what was asked: the resources in focus as they are now kept.

    `issues` (severity information or warning) become an OperationOutcome beside the `ok`.
    """

    focus: tuple[Kept, ...] = ()
    issues: tuple[Issue, ...] = ()


HandlerFunction = Callable[[Message, Records], Reply]


@dataclass(frozen=True, slots=True)
class Handler:
    """One event's handler, and all that is published about it (MessageDefinition, CapabilityStatement)."""

    event: Event
    category: Category
    title: str
    focus: tuple[str, ...]
    function: HandlerFunction
    recognises: Callable[[Message], bool] | None

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def documentation(self) -> str:
        return inspect.getdoc(self.function) or ""


class Registry:
    """The handlers there are, by event."""

    def __init__(self) -> None:
        self._handlers: dict[Event, Handler] = {}
        self.own_names: list[OwnNames] = []

    def add(self, handler: Handler) -> None:
        """Raises ValueError when the event has a handler already: two would mean that one is never called."""
        other = self._handlers.setdefault(handler.event, handler)
        if other.function is not handler.function:
            raise ValueError(f"The event {handler.event} has two handlers: {other.name} and {handler.name}.")

    def __iter__(self) -> Iterator[Handler]:
        return iter(sorted(self._handlers.values(), key=lambda handler: str(handler.event)))

    def find(self, message: Message) -> Handler | None:
        """The handler that recognises the message by its content, else the one of its event."""
        for handler in self._handlers.values():
            if handler.recognises is not None and _is_recognised(handler, handler.recognises, message):
                return handler
        return self._handlers.get(message.event)

    def get(self, message: Message) -> Handler:
        """As `find`; raises Refused, naming the events there are, when the message has no handler."""
        handler = self.find(message)
        if handler is None:
            events = ", ".join(str(handler.event) for handler in self) or "none"
            raise Refused(
                Issue(
                    "not-supported",
                    f"This gateway does not process the event {message.event}. It processes: {events}.",
                    "Bundle.entry[0].resource.event",
                )
            )
        return handler

    def label(self, event_code: str) -> str:
        """The event's code for counting: "other" for all that no handler has."""
        return event_code if any(event.code == event_code for event in self._handlers) else "other"


def _is_recognised(handler: Handler, recognises: Callable[[Message], bool], message: Message) -> bool:
    try:
        return recognises(message)
    except Exception as error:  # noqa: BLE001 - a message is kept whatever a handler makes of it
        log.error("recognition failed", handler=handler.name, cause=type(error).__name__)
        return False


registry = Registry()


def handles(
    event: Event,
    *,
    category: Category,
    title: str,
    focus: tuple[str, ...],
    recognises: Callable[[Message], bool] | None = None,
) -> Callable[[HandlerFunction], HandlerFunction]:
    """Registers a function as the handler of an event.

    Its docstring is published as the documentation of the event's MessageDefinition. A message that `recognises`
    accepts goes to this handler whatever its event says.
    """

    def register(function: HandlerFunction) -> HandlerFunction:
        registry.add(Handler(event, category, title, focus, function, recognises))
        return function

    return register


def foresees(function: OwnNames) -> OwnNames:
    """Registers what tells the names that handlers will ask `Records.find_own` for: of what a message says, and of
    the resources that it means, once they are known.

    So that is read for many messages at once. A name that is left out costs time, and nothing else.
    """
    if function not in registry.own_names:
        registry.own_names.append(function)
    return function


def load(packages: Iterable[str]) -> Registry:
    """Imports every module of the packages, so that their handlers register. Raises ImportError."""
    for name in packages:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            importlib.import_module(f"{name}.{module.name}")
    return registry
