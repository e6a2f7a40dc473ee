"""Logs: one event a line, names and ids only; what a message says of people never gets here."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import structlog

from gateway.settings import Settings


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
    level = logging.getLevelNamesMapping()[in_force.log_level]
    structlog.configure(
        processors=[*stamped, structlog.processors.format_exc_info, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=stamped))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def places_of(error: BaseException) -> list[str]:
    """Where an error came from, innermost last, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
