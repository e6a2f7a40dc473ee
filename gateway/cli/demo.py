"""`fhir-gateway demo`: a prescription from its order to its cancellation, every message and every answer shown."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table

from gateway import settings
from gateway.errors import Refused
from gateway.fhir import formats
from gateway.fhir.json import Resource
from gateway.transport import Target, Transport

PAYLOADS = Path("conf/demo")
START_SECONDS, STOP_SECONDS, ANSWER_SECONDS = 60.0, 15.0, 30.0
_OWN_SYSTEMS = ("http://hospital.example/", "http://pharmacy.example/")
_MARGIN = 2
_OK = 200


@dataclass(frozen=True)
class Step:
    """A message and what the answer must be: its code, the order's status, and the outcome of a cancellation.

    A payload that comes a second time is the same message, byte for byte; so must its answer be.
    """

    title: str
    payload: str
    code: str
    order: str | None = None
    outcome: str | None = None
    format: str = "json"


WALK = (
    Step("The hospital places a prescription", "new-order", "ok", order="requested"),
    Step("It is not sure that it arrived and sends the same again", "new-order", "ok", order="requested"),
    Step("The pharmacy accepts it; it speaks XML", "order-update-accepted", "ok", order="accepted", format="xml"),
    Step("The pharmacy begins to dispense", "order-update-in-progress", "ok", order="in-progress"),
    Step("The hospital cancels, but work has begun: refused", "order-update-cancelled", "fatal-error"),
    Step(
        "So it asks for cancellation; the pharmacy decides",
        "cancellation-request",
        "ok",
        order="in-progress",
        outcome="pending",
    ),
    Step(
        "The pharmacy agrees, and the order is cancelled",
        "cancellation-accepted",
        "ok",
        order="cancelled",
        outcome="accepted",
    ),
)


class WrongAnswerError(Exception):
    """An answer that is not what it should be; the text says how."""


@click.command()
def demo() -> None:
    """Walk a prescription from order to cancellation, on the gateway that runs here, or on one of its own."""
    in_force = settings.load()
    console = Console(highlight=False)
    url = f"{_root(in_force.host, in_force.port)}/fhir/$process-message"
    try:
        if _status(_root(in_force.host, in_force.port), "/healthz") == _OK:
            console.print(f"Talking to the gateway at [bold]{escape(url)}[/].")
            walk(url, console)
        else:
            console.print(f"No gateway answers at port {in_force.port}: starting one, for the time of the demo.")
            with temporary_gateway() as root:
                walk(f"{root}/fhir/$process-message", console)
    except (WrongAnswerError, Refused) as error:
        raise click.ClickException(str(error)) from None


def walk(url: str, console: Console) -> None:
    """Sends each message of WALK and shows it with its answer. Raises WrongAnswerError at the first wrong one."""
    run = uuid.uuid4().hex[:8].upper()
    sent: dict[str, tuple[bytes, bytes]] = {}
    table = Table("", "message", "answer", title=f"The order ORD-1-{run}, as it went", title_justify="left")
    for number, step in enumerate(WALK, 1):
        console.print()
        console.rule(f"[bold]{number}  {step.title}[/]", align="left")
        before = sent.get(step.payload)
        body = before[0] if before else formats.serialize(payload(step.payload, run, url), step.format)
        _show(console, "message", body, step.format, in_full=not before)
        answer = _post(url, body, step.format)
        _show(console, "answer", answer, step.format, in_full=not before)
        if before:
            _check_same(before[1], answer)
            console.print("These are the bytes of the first answer. Nothing was done twice.", style="green")
        read = formats.parse(answer, step.format)
        check(step, read)
        sent[step.payload] = body, answer
        table.add_row(str(number), step.title, escape(summary(read, with_sentences=False)))
    console.print("\n", table, "\nEvery answer was as it should be.")


def payload(name: str, run: str, url: str) -> Resource:
    """A message of `conf/demo` with ids of its own, and business identifiers that no other run has."""
    path = PAYLOADS / f"{name}.json"
    try:
        message = formats.parse(path.read_bytes(), "json")
    except OSError as error:
        text = f"{path} cannot be read ({error.strerror}): start the demo in the directory of the project."
        raise click.ClickException(text) from None
    _rename(message, run)
    header_id = str(uuid.uuid4())
    first = message["entry"][0]
    first["resource"] |= {"id": header_id, "destination": [{"name": "FHIR messaging gateway", "endpoint": url}]}
    first["fullUrl"] = f"urn:uuid:{header_id}"
    return message | {"id": str(uuid.uuid4())}


def check(step: Step, answer: Resource) -> None:
    """Raises WrongAnswerError when an answer is not what the step expects."""
    resources = [entry["resource"] for entry in answer.get("entry", [])]
    code = resources[0].get("response", {}).get("code") if resources else None
    orders = [r["status"] for r in resources if r["resourceType"] == "Task" and "abort" not in str(r.get("code"))]
    found = {"code": code, "order": next(iter(orders), None), "outcome": next(iter(_outcomes(resources)), None)}
    for name, wanted in (("code", step.code), ("order", step.order), ("outcome", step.outcome)):
        if wanted is not None and found[name] != wanted:
            raise WrongAnswerError(
                f"“{step.title}”: the answer should have the {name} {wanted}, but has {found[name]}. "
                f"{' '.join(_sentences(resources))}".rstrip()
            )


@contextmanager
def temporary_gateway() -> Iterator[str]:
    """The address of a gateway with its own directory and port, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="fhir-gateway-demo-") as directory:
        port, log = _free_port(), Path(directory) / "log"
        configuration = Path(directory) / "gateway.toml"
        configuration.touch()
        own = {"GATEWAY_CONFIG": str(configuration), "GATEWAY_VAR": str(Path(directory) / "var")}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(settings.PREFIX)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run"],
                env=environment | own | {"GATEWAY_PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            root = _root("127.0.0.1", port)
            _wait_until_ready(root, process, log)
            yield root
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(root: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while _status(root, "/readyz") != _OK:
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise click.ClickException("\n".join(["The gateway did not start:", *said]))
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _root(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - "any address" is none to call
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _transport() -> Transport:
    return Transport(user_agent="fhir-gateway demo")


def _ourselves(url: str, timeout: float) -> Target:
    """This machine, by whatever address the gateway is bound to."""
    return Target(url, timeout, networks=("0.0.0.0/0", "::/0"), loopback=True)


def _status(root: str, path: str) -> int | None:
    with closing(_transport()) as transport:
        return transport.get(_ourselves(root + path, timeout=2.0)).status


def _post(url: str, body: bytes, wire_format: str) -> bytes:
    with closing(_transport()) as transport:
        response = transport.post(_ourselves(url, ANSWER_SECONDS), body, f"application/fhir+{wire_format}")
    if response.status is None:
        raise WrongAnswerError(response.detail)
    if response.status != _OK or b"MessageHeader" not in response.body:
        said = response.body[:500].decode(errors="replace")
        raise WrongAnswerError(
            f"The answer should be a message with the HTTP status 200, but is {response.status}: {said}"
        )
    return response.body


def _check_same(first: bytes, second: bytes) -> None:
    if first != second:
        raise WrongAnswerError("The same message, sent twice, should be answered by the same bytes, but was not.")


def _rename(value: Any, run: str) -> None:
    if isinstance(value, dict):
        if str(value.get("system", "")).startswith(_OWN_SYSTEMS) and "value" in value:
            value["value"] = f"{value['value']}-{run}"
        for item in value.values():
            _rename(item, run)
    elif isinstance(value, list):
        for item in value:
            _rename(item, run)


def _outcomes(resources: list[Resource]) -> list[str]:
    codings = [coding for issue in _issues(resources) for coding in issue["details"].get("coding", [])]
    return [coding["code"] for coding in codings]


def _sentences(resources: list[Resource]) -> list[str]:
    return [issue["details"]["text"] for issue in _issues(resources)]


def _issues(resources: list[Resource]) -> list[Resource]:
    return [issue for r in resources if r["resourceType"] == "OperationOutcome" for issue in r["issue"]]


# --- what is shown ---------------------------------------------------------------------------------------------------


def _show(console: Console, what: str, data: bytes, wire_format: str, *, in_full: bool) -> None:
    resource = formats.parse(data, wire_format)
    colour = "cyan" if what == "message" else "yellow"
    console.print(f"[{colour}]{what}[/]  {escape(summary(resource))}")
    if in_full:
        width = console.width - 2 * _MARGIN
        text = _indented(data.decode()) if wire_format == "xml" else compact(resource, width)
        shown = Syntax(text, wire_format, theme="ansi_dark", background_color="default", word_wrap=True)
        console.print(Padding(shown, (0, _MARGIN)))


def summary(message: Resource, *, with_sentences: bool = True) -> str:
    """One line: who says what about which Task, and how it was answered."""
    resources = [entry["resource"] for entry in message["entry"]]
    header = resources[0]
    is_answer = "response" in header
    words = [header["response"]["code"]] if is_answer else [header["source"]["endpoint"], header["eventCoding"]["code"]]
    for task in (resource for resource in resources if resource["resourceType"] == "Task"):
        words.append(f"Task {task['identifier'][0]['value']} {task['status']}")
    words += [f"outcome {code}" for code in _outcomes(resources)]
    return " · ".join(words + (_sentences(resources) if with_sentences else []))


def compact(value: Any, width: int, indent: str = "", name: str = "") -> str:
    """JSON with as much on a line as fits into the width; `name` is what comes before the value."""
    flat = name + formats.serialize({"": value}, "json").decode().removeprefix('{"":').removesuffix("}")
    if len(indent) + len(flat) < width or not isinstance(value, dict | list):
        return indent + flat
    members = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    named = (("" if key is None else f'"{key}": ', item) for key, item in members)
    inner = _filled([compact(item, width, indent + "  ", before) for before, item in named], width)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([indent + name + opening, *inner, indent + closing])


def _filled(members: list[str], width: int) -> list[str]:
    """The members with their commas; those of one line are put on the line before, where they fit."""
    lines: list[str] = []
    for member in (*(f"{member}," for member in members[:-1]), *members[-1:]):
        joined = f"{lines[-1]} {member.lstrip()}" if lines else member
        if lines and "\n" not in joined and len(joined) < width:
            lines[-1] = joined
        else:
            lines.append(member)
    return lines


def _indented(xml: str) -> str:
    """XML as the gateway writes it, an element a line."""
    lines, depth = [], 0
    for tag in xml.replace("><", ">\n<").splitlines():
        depth -= tag.startswith("</")
        lines.append("  " * depth + tag)
        depth += tag[1] not in "/?" and not tag.endswith("/>") and "</" not in tag
    return "\n".join(lines)
