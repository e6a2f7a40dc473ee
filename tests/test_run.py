"""`fhir-gateway run` and its programs, as their users start them: real processes, own port, own directory."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from gateway.cli import main
from tests import validity
from tests.live import FHIR_JSON
from tests.orders import Order, Resource
from tests.running import Gateway, command, running, started
from tests.services import eventually, free_port

SMALL = {f"GATEWAY_{kind}_PROCESSES": "1" for kind in ("WEB", "WORKER", "REPLAY")}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("house") / "var") as gateway:
        yield gateway


def refused(environ: dict[str, str], *words: str) -> str:
    """What the command says when it does not start."""
    done = subprocess.run(
        command(*words), env=os.environ | environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def sent(gateway: Gateway, message: Resource) -> bytes:
    """What the gateway answers to a message."""
    with validity.client() as client:
        answer = client.post(f"{gateway.url}/fhir/$process-message", json=message, headers={"Content-Type": FHIR_JSON})
    assert answer.status_code == 200, answer.text
    return answer.content


def test_it_says_where_it_is_and_what_to_try(gateway: Gateway) -> None:
    eventually(lambda: "curl" in gateway.log.read_text())
    said = gateway.log.read_text()
    assert f"listens at {gateway.url}/fhir" in said
    assert "urn:demo:hospital" in said
    assert "urn:demo:pharmacy" in said
    assert f"'{gateway.url}/fhir/$process-message'" in said


def test_it_answers_and_keeps_all_in_its_directory(gateway: Gateway) -> None:
    assert gateway.get("/healthz").status_code == 200
    assert gateway.get("/fhir/metadata").json()["resourceType"] == "CapabilityStatement"
    assert (gateway.var / "gateway.db").exists()
    assert (gateway.var / "broker.sock").is_socket()
    assert gateway.var.stat().st_mode & 0o777 == 0o700


def test_nothing_listens_beyond_its_port_on_this_machine(gateway: Gateway) -> None:
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in [psutil.Process(gateway.process.pid), *gateway.descendants()]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", int(gateway.url.rpartition(":")[2]))}


@pytest.mark.parametrize("word", ["valkey-server", "gunicorn", "gateway.worker", "gateway.delivering", "sweep"])
def test_a_program_that_is_killed_is_started_again(gateway: Gateway, word: str) -> None:
    before = gateway.find_child(word)
    assert before is not None
    before.kill()
    eventually(lambda: gateway.find_child(word) not in (None, before))
    eventually(gateway.is_ready)


def test_a_frozen_broker_is_killed_and_started_again(gateway: Gateway) -> None:
    before = gateway.find_child("valkey-server")
    assert before is not None
    before.suspend()
    eventually(lambda: not before.is_running(), seconds=30)
    eventually(gateway.is_ready)


def test_a_second_one_on_the_same_directory_is_refused(gateway: Gateway) -> None:
    said = refused({"GATEWAY_VAR": str(gateway.var), "GATEWAY_PORT": str(free_port())}, "run")
    assert f"A gateway runs with {gateway.var} already (process {gateway.process.pid})" in said


def test_a_second_one_on_the_same_port_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    port = gateway.url.rpartition(":")[2]
    said = refused({"GATEWAY_VAR": str(tmp_path / "var"), "GATEWAY_PORT": port}, "run")
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use." in said
    assert f"GATEWAY_PORT={int(port) + 1}" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example.org"])
def test_it_listens_to_this_machine_only(tmp_path: Path, host: str) -> None:
    result = CliRunner(env={"GATEWAY_VAR": str(tmp_path / "var"), "GATEWAY_HOST": host}).invoke(main, ["run"])
    assert result.exit_code == 1
    assert f"listens on this machine only, not on {host}: write GATEWAY_HOST=127.0.0.1" in result.stderr


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner(env={"GATEWAY_VAR": str(tmp_path / "file" / "var")}).invoke(main, ["run"])
    assert result.exit_code == 1
    assert "cannot be made: Not a directory. Let GATEWAY_VAR name one" in result.stderr


def test_a_database_that_is_not_there_is_refused(tmp_path: Path) -> None:
    url = f"postgresql://gateway:secret@127.0.0.1:{free_port()}/gateway"
    said = refused(
        {"GATEWAY_VAR": str(tmp_path / "var"), "GATEWAY_PORT": str(free_port()), "GATEWAY_DATABASE_URL": url}, "run"
    )
    assert "The database postgresql+psycopg://gateway:***@127.0.0.1" in said


def test_however_it_ends_nothing_is_left_and_it_starts_again_where_it_was(gateway: Gateway, tmp_path: Path) -> None:
    """Beside another, with a port and a directory of its own; what was answered is answered alike ever after."""
    port, directory = free_port(), tmp_path / ("a-directory-whose-name-is-too-long-for-a-socket-" * 3)
    order = Order().new_order()
    judged = validity.judged["reply"]
    with running(directory / "var", SMALL, port) as first:
        assert gateway.is_ready()
        answer = sent(first, order)
        left = first.descendants()
        assert len(left) == len(("broker", "worker", "replayer", "deliverer", "sweep", "gunicorn", "its child"))
        began = time.monotonic()
        assert first.stop() == 0
        assert time.monotonic() - began < 30
        assert not any(process.is_running() for process in left)
    with running(directory / "var", SMALL, port) as second:
        assert sent(second, order) == answer
        left = second.descendants()
        second.process.kill()
        eventually(lambda: not any(process.is_running() and process.status() != "zombie" for process in left), 5)
    with running(directory / "var", SMALL, port) as third:
        assert sent(third, order) == answer
        assert third.stop(signal.SIGINT) == 0
    reply_and_told = 2
    assert validity.judged["reply"] - judged == 3 * reply_and_told


def test_web_and_workers_run_apart_on_postgresql_and_redis(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    exporter = free_port()
    environ = SMALL | {"GATEWAY_DATABASE_URL": postgres_url, "GATEWAY_REDIS_URL": redis_url}
    var = {"GATEWAY_VAR": str(tmp_path / "upgrade")}
    upgrade = subprocess.run(command("db", "upgrade"), env=os.environ | environ | var, check=False)
    assert upgrade.returncode == 0
    port = free_port()
    with started(["web"], tmp_path / "web", environ, port) as web:
        eventually(lambda: _answers(port))
        assert not web.is_ready()
        own = environ | {"GATEWAY_METRICS_PORT": str(exporter)}
        with started(["worker", "--processes", "1"], tmp_path / "worker", own, port) as worker:
            web.wait_until_ready()
            eventually(lambda: _answers(exporter))
            said = refused({**environ, "GATEWAY_VAR": str(tmp_path / "worker")}, "worker")
            assert f"already (process {worker.process.pid}): for more of them use --processes" in said
            assert worker.stop() == 0
        assert web.stop() == 0


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
