"""`fhir-gateway simulate`: plays a partner, a placer or a fulfiller, against a gateway that runs. docs/simulator.md"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import click

from gateway.simulator import FaultError, Faults, Fulfiller, Part, Partner, Placer, Plan, Receiver
from gateway.simulator.calling import Gateway
from gateway.simulator.faults import VOCABULARY
from gateway.simulator.reading import dialects
from gateway.simulator.templates import TemplateError, load_order
from gateway.transport import Credentials

_GATEWAY = "http://127.0.0.1:8080/fhir"
_ORGANIZATIONS = "http://registry.example/identifier/organization"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_PROBABILITY = click.FloatRange(0, 1)
_SECONDS = click.FloatRange(min=0)
_SHARED = (
    click.option("--name", help="What the partner is called."),
    click.option("--identifier", metavar="SYSTEM|VALUE", help="What it is known by, as it is registered."),
    click.option("--endpoint", metavar="URI", help="Its MessageHeader.source.endpoint. Default: where it listens."),
    click.option("--listen", metavar="HOST:PORT", help="Take what is sent to it there. Port 0: a free one."),
    click.option("--poll", type=_SECONDS, metavar="SECONDS", help="Fetch what waits for it, every so many seconds."),
    click.option("--gateway", default=_GATEWAY, show_default=True, help="The gateway's base address."),
    click.option("--dialect", type=click.Choice(dialects()), default="cow", show_default=True),
    click.option("--format", type=click.Choice(["json", "xml"]), default="json", show_default=True),
    click.option("--fault", "faults", multiple=True, metavar="FAULT", help=f"{'; '.join(VOCABULARY)}."),
    click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same faults and choices."),
    click.option("--record", type=_DIRECTORY, help="Keep the bytes of each message in and out there."),
    click.option("--api-key-file", type=_FILE, help="Prove who it is by an API key."),
    click.option("--client-id", help="Prove who it is by a signed assertion, with --key-file."),
    click.option("--key-file", type=_FILE, help="The private key, a JWK or PEM."),
    click.option("--token-url", help="Where tokens are given. Default: the gateway's own /auth/token."),
    click.option("--scope", default="system/*.cruds", show_default=True),
    click.option("--quiet", is_flag=True, help="No line for each message."),
)


@click.group()
def simulate() -> None:
    """Play a partner of the gateway, who may be late, wrong, and out of order."""


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    return reduce(lambda decorated, option: option(decorated), reversed(_SHARED), command)


@simulate.command()
@_shared
@click.option("--accept", "conduct", flag_value="accept", help="Accept each order, and no more.")
@click.option("--reject", "conduct", flag_value="reject", help="Reject each order.")
@click.option("--start", "conduct", flag_value="start", help="Accept and start each order.")
@click.option(
    "--complete", "conduct", flag_value="complete", default=True, help="Accept, start, complete: the default."
)
@click.option("--silent", "conduct", flag_value="silent", help="Say nothing of orders.")
@click.option("--cancel", type=click.Choice(["accept", "reject", "ignore"]), help="Default: accept.")
@click.option("--delay", type=_SECONDS, default=0.5, show_default=True, help="Seconds before each of its messages.")
@click.option("--for", "seconds", type=_SECONDS, help="End after so many seconds; without it, at Ctrl-C.")
def fulfiller(conduct: Any, cancel: Any, delay: float, seconds: float | None, **shared: Any) -> None:
    """Take orders, go on with them, and answer who asks for a cancellation."""
    with _playing(shared, "Example Street Pharmacy", f"{_ORGANIZATIONS}|PHARMACY-7") as (common, hears):
        if not hears:
            raise click.UsageError("A fulfiller is told of orders: say --listen HOST:PORT or --poll SECONDS.")
        played = Fulfiller(**common, conduct=conduct, cancel=cancel, delay=delay)
        with _hearing(played, shared):
            _wait_until_interrupted(seconds)
        click.echo("\n".join(f"{name}: {count}" for name, count in sorted(played.tally.items())) or "told nothing")


@simulate.command()
@_shared
@click.option("--to", metavar="SYSTEM|VALUE", default=f"{_ORGANIZATIONS}|PHARMACY-7", show_default=True)
@click.option("--to-name", default="Example Street Pharmacy", show_default=True)
@click.option("--orders", type=click.IntRange(1, 100_000), default=1, show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Orders a second; without it, at once.")
@click.option("--from", "file", type=_FILE, help="The order, as a template (docs/simulator.md).")
@click.option("--update", type=_PROBABILITY, default=0.0, help="The part of the orders that is updated.")
@click.option("--cancel", type=_PROBABILITY, default=0.0, help="The part of the orders that is cancelled.")
@click.option("--cancel-after", type=_SECONDS, default=0.0, help="Seconds after the order's answer.")
@click.option("--async", "asynchronous", is_flag=True, help="Ask for answers later, where it listens.")
@click.option("--until", type=click.Choice(["accepted", "started", "completed", "rejected"]), help="Wait for that.")
@click.option("--wait", type=_SECONDS, default=30.0, show_default=True, help="Seconds to wait after the last order.")
def placer(file: Path | None, to: str, to_name: str, wait: float, **options: Any) -> None:
    """Place orders, update or cancel some, and report what has come of them.

    The exit status is 1 when an answer or an outcome is missing.
    """
    own = ("orders", "rate", "update", "cancel", "cancel_after", "asynchronous", "until")
    planned = {name: options.pop(name) for name in own}
    with _playing(options, "Example General Hospital", f"{_ORGANIZATIONS}|HOSPITAL-1") as (common, hears):
        if not hears and (planned["until"] or planned["asynchronous"]):
            raise click.UsageError("It can be told nothing: say --listen HOST:PORT or --poll SECONDS.")
        plan = Plan(Part(to_name, to, ""), hears=hears, template=load_order(file) if file else None, **planned)
        played = Placer(**common, plan=plan, seed=options["seed"])
        with _hearing(played, options):
            played.place()
            is_whole = played.wait(wait)
        click.echo("\n".join(played.report()))
    sys.exit(0 if is_whole else 1)


@contextmanager
def _playing(shared: dict[str, Any], name: str, identifier: str) -> Iterator[tuple[dict[str, Any], bool]]:
    """What a partner is made of, and whether it can be told anything; what is said wrongly ends with a sentence."""
    try:
        faults = Faults.read(shared["faults"], shared["seed"])
        named = shared["identifier"] or identifier
        with ExitStack() as stack:
            receiver = None
            if shared["listen"]:
                host, port = _address(shared["listen"])
                receiver = shared["receiver"] = Receiver(faults, host=host, port=port)
                stack.callback(receiver.stop)
                receiver.bind()
            demo = "urn:demo:pharmacy" if "PHARMACY" in named else "urn:demo:hospital"
            endpoint = shared["endpoint"] or (receiver.url if receiver else demo)
            part = Part(shared["name"] or name, named, endpoint, shared["dialect"])
            gateway = Gateway(shared["gateway"], named, _credentials(shared), wire_format=shared["format"])
            log = (lambda _: None) if shared["quiet"] else _log
            common = {"part": part, "gateway": gateway, "faults": faults, "log": log, "record": shared["record"]}
            yield common, receiver is not None or shared["poll"] is not None
    except (FaultError, TemplateError) as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{shared['listen']}: {error.strerror}.") from None


@contextmanager
def _hearing(played: Partner, shared: dict[str, Any]) -> Iterator[None]:
    receiver = shared.get("receiver")
    if receiver is not None:
        receiver.answer, receiver.hear = played.answer, played.hear
        receiver.start()
        click.echo(f"{played.part.name} listens at {receiver.url}.", err=True)
    if shared["poll"] is not None:
        threading.Thread(target=played.poll, args=(shared["poll"],), daemon=True).start()
    try:
        yield
    finally:
        played.close()


def _wait_until_interrupted(seconds: float | None) -> None:
    try:
        threading.Event().wait(seconds)
    except KeyboardInterrupt:
        click.echo(err=True)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise click.UsageError(f"--listen {listen}: write HOST:PORT, as in 127.0.0.1:9001.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _credentials(shared: dict[str, Any]) -> Credentials:
    if shared["api_key_file"]:
        return Credentials("header", header="X-API-Key", secret_file=shared["api_key_file"])
    if not shared["client_id"]:
        return Credentials()
    if not shared["key_file"]:
        raise click.UsageError("With --client-id goes --key-file, the private key.")
    root = shared["gateway"].rstrip("/").removesuffix("/$process-message").removesuffix("/fhir")
    return Credentials(
        "oauth",
        secret_file=shared["key_file"],
        client_id=shared["client_id"],
        token_url=shared["token_url"] or f"{root}/auth/token",
        scope=shared["scope"],
    )


def _log(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3] + f" {line}", err=True)
