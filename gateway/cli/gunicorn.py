"""What gunicorn is told, as its configuration file: it reads these names (https://docs.gunicorn.org/en/stable/settings.html)."""

import importlib
from typing import Any

from prometheus_client import multiprocess

from gateway import settings

APPLICATION = "gateway.web.application"
# Less than the supervisor lets it take, so that it ends by itself.
GRACE = 3

_in_force = settings.load()

wsgi_app = f"{APPLICATION}:create()"
bind = f"[{_in_force.host}]:{_in_force.port}" if ":" in _in_force.host else f"{_in_force.host}:{_in_force.port}"
worker_class = "gateway.web.reception.Worker"
workers = _in_force.web_processes
threads = _in_force.web_threads
graceful_timeout = GRACE
keepalive = 15
loglevel = "warning"
proc_name = "fhir-gateway-web"
control_socket_disable = True


def on_starting(_server: object) -> None:
    """Imports the application's modules once, before the workers are forked; each worker makes its own application."""
    importlib.import_module(APPLICATION)


def child_exit(_server: object, worker: Any) -> None:
    """Lets go of the metrics of a worker that ended."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
