"""What gunicorn is told, as its configuration file: it reads these names (https://docs.gunicorn.org/en/stable/settings.html)."""

import gc
import importlib
import os
import ssl
import sys
from typing import Any

from prometheus_client import multiprocess

from gateway import settings

APPLICATION = "gateway.web.application"
# Less than the supervisor lets it take, so that it ends by itself.
GRACE = 3

_in_force = settings.load()
settings.check_exposed(_in_force)

wsgi_app = f"{APPLICATION}:create()"
bind = f"[{_in_force.host}]:{_in_force.port}" if ":" in _in_force.host else f"{_in_force.host}:{_in_force.port}"
worker_class = "gateway.web.reception.Worker"
workers = _in_force.web_processes
threads = _in_force.web_threads
graceful_timeout = GRACE
keepalive = 15
loglevel = "warning"
if _in_force.tls_certificate:
    certfile, keyfile = _in_force.tls_certificate, _in_force.tls_key
if _in_force.tls_client_authority and _in_force.tls_certificate:
    ca_certs, cert_reqs = _in_force.tls_client_authority, ssl.CERT_OPTIONAL
proc_name = "fhir-gateway-web"
control_socket_disable = True


def on_starting(_server: object) -> None:
    """Imports the application's modules once, before the workers are forked; each worker makes its own application.

    What they consist of stays for good: neither a worker nor the end of the process has to look through it for what
    does not.
    """
    importlib.import_module(APPLICATION)
    gc.freeze()


def worker_exit(_server: object, _worker: object) -> None:
    """Ends the process at once when nobody is answered any more: threads that still wait for something hold it up."""
    ended = sys.exc_info()[1]
    sys.stdout.flush()
    os._exit(ended.code if isinstance(ended, SystemExit) and isinstance(ended.code, int) else 1)


def child_exit(_server: object, worker: Any) -> None:
    """Lets go of the metrics of a worker that ended."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
