"""The demo: it walks to the end on any gateway, and says so when an answer is not what it should be."""

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gateway.cli.demo import PAYLOADS, WALK, Step, WrongAnswerError, check, compact, payload
from gateway.fhir import json, xml
from tests.conftest import ROOT
from tests.live import Gateway
from tests.running import command
from tests.services import free_port
from tests.validity import assert_valid

SECONDS = 120


def demo(port: int, **more: str) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"GATEWAY_PORT": str(port), "COLUMNS": "120"} | more
    words = command("demo")
    return subprocess.run(words, check=False, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=SECONDS)


@pytest.fixture
def impostor() -> Iterator[int]:
    """The port of a server that is healthy and answers every message with a Bundle that says nothing."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"ok")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            header = b'{"resourceType":"MessageHeader","response":{"code":"fatal-error"}}'
            self._answer(b'{"resourceType":"Bundle","entry":[{"resource":' + header + b"}]}")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_the_demo_walks_to_the_end_again_and_again_on_the_gateway_that_runs(whole_gateway: Gateway) -> None:
    for _ in range(2):
        done = demo(whole_gateway.port)
        assert done.returncode == 0, done.stderr
        assert f"Talking to the gateway at {whole_gateway.endpoint}" in done.stdout
        for step in WALK:
            assert step.title in done.stdout
        assert "Every answer was as it should be." in done.stdout


def test_without_a_gateway_the_demo_starts_one_of_its_own_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = demo(free_port(), TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "No gateway answers" in done.stdout
    assert "Every answer was as it should be." in done.stdout
    assert list(tmp_path.glob("fhir-gateway-demo-*")) == []


def test_a_wrong_answer_ends_the_demo_with_a_sentence(impostor: int) -> None:
    done = demo(impostor)
    assert done.returncode == 1
    assert "The hospital places a prescription" in done.stderr
    assert "should have the code ok, but has fatal-error" in done.stderr


def test_what_an_answer_must_be_is_checked_piece_by_piece() -> None:
    step = Step("A step", "new-order", "ok", order="accepted")
    header = {"resource": {"resourceType": "MessageHeader", "response": {"code": "ok"}}}
    task = {"resource": {"resourceType": "Task", "status": "requested"}}
    with pytest.raises(WrongAnswerError, match="the order accepted, but has requested"):
        check(step, {"entry": [header, task]})
    with pytest.raises(WrongAnswerError, match="the code ok, but has None"):
        check(step, {})


def test_each_run_has_identifiers_of_its_own_and_the_same_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    one, other = (payload("new-order", run, "http://127.0.0.1:1/fhir/$process-message") for run in ("A", "B"))
    assert one["id"] != other["id"]
    orders = [message["entry"][1]["resource"]["identifier"][0]["value"] for message in (one, other)]
    assert orders == ["ORD-1-A", "ORD-1-B"]
    assert one["entry"][3] == other["entry"][3]


@pytest.mark.parametrize("path", sorted((ROOT / PAYLOADS).iterdir()), ids=lambda path: path.name)
def test_every_payload_is_valid(path: Path) -> None:
    message = (xml if path.suffix == ".xml" else json).parse(path.read_bytes())
    assert_valid(message)


def test_json_is_shown_with_as_much_on_a_line_as_fits() -> None:
    message = json.parse((ROOT / PAYLOADS / "new-order.json").read_bytes())
    wide, narrow = compact(message, 160), compact(message, 80)
    assert json.parse(wide.encode()) == json.parse(narrow.encode()) == message
    assert len(wide.splitlines()) < len(narrow.splitlines())
    assert compact({"a": [1, "x"]}, 80) == '{"a":[1,"x"]}'
