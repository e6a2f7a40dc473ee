"""`fhir-gateway web`, `worker` and `sweep`: the programs one by one, as many as wanted on as many machines."""

import os
import sys
import threading
import time

import click

from gateway import forking, settings
from gateway.cli import programs
from gateway.logs import set_up_logs
from gateway.settings import Settings
from gateway.supervisor import AlreadyRunning, Supervisor, only_one

WATCH_SECONDS = 5.0


@click.command()
def web() -> None:
    """Run the web server alone, on any address."""
    in_force = programs.load_settings()
    settings.check_exposed(in_force)
    programs.make_directory(in_force.var)
    programs.empty_metrics(in_force, "web")
    command = programs.web()
    os.execv(command[0], command)


@click.command()
@click.option("--processes", type=click.IntRange(1, 256), help="How many; worker_processes of the settings by default.")
def worker(processes: int | None) -> None:
    """Run workers and their sweep alone. Ctrl-C ends them."""
    in_force = programs.load_settings()
    set_up_logs(in_force)
    programs.make_directory(in_force.var)
    try:
        with only_one(in_force.var / "worker.lock"):
            programs.empty_metrics(in_force, "worker")
            forking.prepare(*programs.OF_WORKERS)
            stage = programs.workers(in_force, processes or in_force.worker_processes, "worker")
            sys.exit(Supervisor([stage]).run())
    except AlreadyRunning as holder:
        raise click.ClickException(
            f"Workers run with {in_force.var} already (process {holder}): for more of them use --processes, or "
            "give these a directory of their own: GATEWAY_VAR=var2."
        ) from None


@click.command()
@click.option("--watch", multiple=True, metavar="NAME", help="A worker of this machine to tell its supervisor of.")
@click.option("--watch-deliverer", multiple=True, metavar="NAME", help="A deliverer of this machine, likewise.")
@click.option("--watch-replayer", multiple=True, metavar="NAME", help="A worker of replays of this machine, likewise.")
def sweep(watch: tuple[str, ...], watch_deliverer: tuple[str, ...], watch_replayer: tuple[str, ...]) -> None:
    """Queue again whatever is due, for ever. `run` and `worker` start it; more than one do no harm."""
    from gateway.sweeping import sweep_forever

    if watch or watch_deliverer or watch_replayer:
        watched = (settings.load(), watch, watch_deliverer, watch_replayer)
        threading.Thread(target=_watch, args=watched, name="watch", daemon=True).start()
    sweep_forever()


def _watch(
    in_force: Settings, workers: tuple[str, ...], deliverers: tuple[str, ...], replayers: tuple[str, ...]
) -> None:
    """Marks the workers that hang. It is here, not in the supervisor, which must never wait for a database."""
    from gateway.sweeping import Watchdog

    watchdogs = {name: Watchdog(name, in_force) for name in workers}
    watchdogs |= {name: Watchdog(name, in_force, kind="deliverer") for name in deliverers}
    watchdogs |= {name: Watchdog(name, in_force, kind="replayer") for name in replayers}
    watched = [(watchdog, programs.hanging(in_force, name)) for name, watchdog in watchdogs.items()]
    while True:
        for is_well, mark in watched:
            if is_well():
                mark.unlink(missing_ok=True)
            else:
                mark.touch()
        time.sleep(WATCH_SECONDS)
