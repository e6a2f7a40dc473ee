"""`fhir-gateway run`: the whole gateway on this machine, one process over all others."""

import sys
from pathlib import Path

import click

from gateway import forking
from gateway.cli import programs
from gateway.cli.db import upgrade_database
from gateway.logs import set_up_logs
from gateway.settings import Settings
from gateway.supervisor import AlreadyRunning, Stage, Supervisor, only_one

EXAMPLE = Path("conf/demo/new-order.json")


@click.command()
def run() -> None:
    """Run the whole gateway on this machine: broker, web server, workers and sweep. Ctrl-C ends it."""
    in_force = programs.load_settings()
    if not in_force.loopback:
        raise click.ClickException(
            f"`fhir-gateway run` listens on this machine only, not on {in_force.host}: write GATEWAY_HOST=127.0.0.1. "
            "To serve others, run `fhir-gateway web` and `fhir-gateway worker` behind a proxy (conf/deploy)."
        )
    if in_force.tls_certificate:
        text = "`fhir-gateway run` speaks plain HTTP on this machine: tls_certificate is for `fhir-gateway web`."
        raise click.ClickException(text)
    programs.make_directory(in_force.var)
    set_up_logs(in_force)
    try:
        with only_one(in_force.var / "run.lock"), programs.listener(in_force) as listener:
            programs.empty_metrics(in_force, "run")
            upgrade_database(in_force)
            forking.prepare(*programs.OF_WORKERS, *programs.OF_WEB)
            stages = [
                *_broker_stage(in_force),
                programs.workers(in_force, in_force.worker_processes, "run"),
                programs.supervised_web(in_force, listener),
            ]
            sys.exit(Supervisor(stages, announce=lambda: click.echo(welcome(in_force))).run())
    except AlreadyRunning as holder:
        raise click.ClickException(
            f"A gateway runs with {in_force.var} already (process {holder}): stop it, or give this one a directory "
            f"and a port of its own: GATEWAY_VAR=var2 GATEWAY_PORT={in_force.port + 1}."
        ) from None


def welcome(in_force: Settings) -> str:
    """What to try first."""
    return f"""
The FHIR messaging gateway listens at {in_force.base_url} and keeps its data in {in_force.var}.
{_mode(in_force)}

Two partners to play with, by their MessageHeader.source.endpoint:
  urn:demo:hospital   places orders
  urn:demo:pharmacy   fulfils them

Try it:
  curl -H 'Content-Type: application/fhir+json' --data-binary @{EXAMPLE} '{in_force.endpoint}'

See an order through to its cancellation: make demo. Stop: Ctrl-C.
"""


def _mode(in_force: Settings) -> str:
    if in_force.is_sandbox:
        return "It is a sandbox: whoever calls is believed to be whom its message names, on this machine only."
    return "Whoever calls proves who it is: docs/security.md."


def _broker_stage(in_force: Settings) -> list[Stage]:
    return [programs.embedded_broker(in_force)] if in_force.broker_embedded else []
