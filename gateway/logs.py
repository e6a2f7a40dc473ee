"""Logs: one event a line, names and ids only; what a message says of people never gets here."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import structlog

from gateway.settings import Settings


class _StandardError:
    """What standard error is when a line is written: who redirects it for a while has the lines, and leaves nothing."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_STDERR: Any = _StandardError()


def set_up_logs(in_force: Settings) -> None:
    """Sends the gateway's and its libraries' logs to standard error, as JSON or as text."""
    as_text = in_force.log_format == "text"
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else structlog.processors.JSONRenderer()
    )
    stamped: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if in_force.is_sandbox:
        stamped.append(_in_sandbox)
    level = logging.getLevelNamesMapping()[in_force.log_level]
    structlog.configure(
        processors=[*stamped, structlog.processors.format_exc_info, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(_STDERR),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_STDERR)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=stamped))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _in_sandbox(_logger: object, _method: str, event: Any) -> Any:
    """Has every line say that nobody proves who he is here."""
    return {**event, "mode": "sandbox"}


def places_of(error: BaseException) -> list[str]:
    """Where an error came from, innermost last, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
