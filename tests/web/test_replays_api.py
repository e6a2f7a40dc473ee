"""Replays by the API of administrators: planned, started, approved, watched, reported; and what cannot be meant."""

from __future__ import annotations

import gzip
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from gateway.in_hand import InHand
from gateway.jobs import Dispatcher, celery_app
from gateway.replay.asking import Unclear
from gateway.replay.life import ReplayError
from gateway.replay.work import Replayer
from gateway.store import replays
from gateway.web import spooling
from gateway.web.administration_answers import ProblemError, comes_as_it_is_read
from gateway.web.context import Context
from gateway.web.reception import is_upload
from gateway.web.replay_documents import FILES, FILTERS, WISHES, read_asked, read_parameters
from tests.replay.desk import Holding
from tests.senders import Sender, task
from tests.web.served import served

REPLAYS = "/admin/replays"
ALL = {"everything": True}
NDJSON = "application/x-ndjson"
TOKENS = {name: f"the-token-of-{name}-alone" for name in ("anna", "bo")}


class Desk:
    """An administrator at a gateway in one process: `run` is what the workers of replays do."""

    def __init__(self, client: FlaskClient, here: Context, var: Path) -> None:
        self.client = client
        self.here = here
        self._var = var

    def receive(self, *numbers: str) -> list[bytes]:
        """Orders, sent and carried out."""
        bodies = [orjson.dumps(Sender().write("new-order", task(number))) for number in numbers]
        for body in bodies:
            answer = self.client.post("/fhir/$process-message", data=body, content_type="application/fhir+json")
            assert answer.status_code == 200, answer.text
        return bodies

    def ask(self, mode: str, selection: Any = ALL, by: str | None = None, **options: Any) -> TestResponse:
        said = {"mode": mode, "selection": selection, "options": options}
        return self.client.post(REPLAYS, json=said, headers=_as(by))

    def upload(self, body: bytes, media_type: str = NDJSON, asked: str = "mode=apply&effects=send") -> TestResponse:
        return self.client.post(f"{REPLAYS}?{asked}", data=body, content_type=media_type)

    def post(self, path: str, said: Any = None, by: str | None = None) -> TestResponse:
        return self.client.post(f"{REPLAYS}/{path}", json=said, headers=_as(by))

    def get(self, path: str) -> Any:
        answer = self.client.get(f"{REPLAYS}/{path}")
        assert answer.status_code == 200, answer.text
        return orjson.loads(answer.data)

    def run(self, replay_id: int) -> None:
        here, in_hand = self.here, InHand(self._var / "replayer.in-hand")
        dispatcher = Dispatcher(celery_app(here.settings), here.settings)
        given = (here.database, here.registry, here.standing, here.settings, dispatcher, here.notices, in_hand)
        replayer = Replayer(*given, Holding)
        while parts := self._open_parts(replay_id):
            for part in parts:
                replayer.replay(replay_id, part)
        in_hand.close()

    def _open_parts(self, replay_id: int) -> list[str]:
        with self.here.database.reading() as connection:
            return replays.find_open_parts(connection, replay_id)


@pytest.fixture
def template(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "gateway.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def desk(template: str, redis_url: str, tmp_path: Path) -> Iterator[Desk]:
    with served(template, redis_url, var=tmp_path) as api:
        yield Desk(api.client, api.here, tmp_path)


@pytest.fixture
def two(template: str, redis_url: str, tmp_path: Path) -> Iterator[Desk]:
    """Two administrators, at a gateway where reprocessing needs both."""
    file = tmp_path / "tokens"
    file.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    named = {"var": tmp_path, "admin_token_file": str(file), "replay_approval": "always"}
    with served(template, redis_url, **named) as api:
        yield Desk(api.client, api.here, tmp_path)


def _as(name: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"} if name else {}


def said(answer: TestResponse, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return orjson.loads(answer.data)


def problem(answer: TestResponse, status: int) -> str:
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    return str(orjson.loads(answer.data)["detail"])


def test_a_replay_is_planned_started_and_reported(desk: Desk) -> None:
    desk.receive("T-1", "T-2")
    answer = desk.ask("apply", effects="send")
    planned = said(answer, 201)
    assert answer.headers["Location"] == f"{REPLAYS}/{planned['id']}"
    assert (planned["state"], planned["items"], planned["created_by"]) == ("planned", 2, "sandbox (API)")
    [group] = planned["forecast"]["groups"]
    assert (group["event"], group["what"], group["messages"]) == ("new-order", "skipped", 2)
    one = str(planned["id"])
    started = said(desk.post(f"{one}/start"))
    assert (started["state"], started["started_by"], started["remaining"]) == ("running", "sandbox (API)", 2)
    again = desk.ask("apply", effects="send")
    assert said(again)["id"] == planned["id"], "the same one, which is under way"
    desk.run(planned["id"])
    done = desk.get(f"{one}?wait=30")
    assert (done["state"], done["counts"], done["remaining"]) == ("done", {"skipped": 2}, 0)
    assert [line["outcome"] for line in desk.get(f"{one}/report")["lines"]] == ["skipped", "skipped"]
    assert desk.get(f"{one}/report?outcome=failed&outcome=left")["lines"] == []
    table = desk.client.get(f"{REPLAYS}/{one}/report?format=csv")
    assert (table.content_type, len(table.text.splitlines())) == ("text/csv; charset=utf-8", 3)
    bundle = desk.get(f"{one}/report?format=bundle")
    assert (bundle["type"], len(bundle["entry"])) == ("batch-response", 2)
    assert [found["id"] for found in desk.get("")["replays"]] == [planned["id"]]
    assert desk.get(f"?before={one}")["replays"] == []


def test_what_is_carried_out_again_is_confirmed_and_leaves_a_history(desk: Desk) -> None:
    desk.receive("T-1", "T-2")
    planned = said(desk.ask("reprocess", {"ids": ["1"]}, effects="suppress"), 201)
    one = planned["id"]
    assert "1 messages" in problem(desk.post(f"{one}/start"), 409)
    problem(desk.post(f"{one}/start", {"confirm": 2}), 409)
    assert "confirm" in problem(desk.post(f"{one}/start", {"confirmed": 1}), 422)
    problem(desk.post(f"{one}/start", {"confirm": "1"}), 422)
    said(desk.post(f"{one}/start", {"confirm": 1}))
    desk.run(one)
    history = said(desk.client.get("/admin/messages/1/history"))
    assert (history["message"]["state"], history["message"]["response_code"], history["original"]) == (
        "done",
        "ok",
        None,
    )
    [replayed], [repeat] = history["replays"], history["repeats"]
    assert (replayed["replay_id"], replayed["mode"], replayed["made_id"]) == (one, "reprocess", repeat["id"])
    other = said(desk.client.get(f"/admin/messages/{repeat['id']}/history"))
    assert (other["original"]["id"], other["message"]["replay_id"]) == (1, one)
    for nobody in ("99", "x", "9" * 40, "%C2%B2"):
        problem(desk.client.get(f"/admin/messages/{nobody}/history"), 404)


def test_a_second_person_approves(two: Desk) -> None:
    two.receive("T-1")
    planned = said(two.ask("reprocess", by="anna", effects="hold"), 201)
    one = planned["id"]
    waits = said(two.post(f"{one}/start", {"confirm": 1}, by="anna"))
    assert (waits["state"], waits["started_by"]) == ("approval", "anna (API)")
    assert "somebody else" in problem(two.post(f"{one}/approve", by="anna"), 409)
    with pytest.raises(ReplayError, match="somebody else"):
        two.here.replays.approve(one, "anna")  # by command
    running = said(two.post(f"{one}/approve", by="bo"))
    assert (running["state"], running["approved_by"]) == ("running", "bo (API)")
    assert "does not wait" in problem(two.post(f"{one}/approve", by="bo"), 409)
    problem(two.post(f"{one}/approve"), 401)


def test_whoever_has_no_name_is_told_how_to_get_one(template: str, redis_url: str, tmp_path: Path) -> None:
    with served(template, redis_url, var=tmp_path, replay_approval="always") as api:
        desk = Desk(api.client, api.here, tmp_path)
        desk.receive("T-1")
        one = said(desk.ask("reprocess", effects="send"), 201)["id"]
        assert problem(desk.post(f"{one}/approve"), 409).endswith("does not wait for an approval.")
        assert said(desk.post(f"{one}/start", {"confirm": 1}))["state"] == "approval"
        told = problem(desk.post(f"{one}/approve"), 409)
    assert "`NAME TOKEN`" in told
    assert f"fhir-gateway replay approve {one}" in told


def test_a_replay_is_paused_resumed_stopped_and_discarded(desk: Desk) -> None:
    desk.receive("T-1")
    one = said(desk.ask("apply", effects="send"), 201)["id"]
    assert "cannot become paused" in problem(desk.post(f"{one}/pause"), 409)
    states = [said(desk.post(f"{one}/{verb}"))["state"] for verb in ("start", "pause", "resume", "stop", "resume")]
    assert states == ["running", "paused", "running", "stopped", "running"]
    problem(desk.client.delete(f"{REPLAYS}/{one}"), 409)
    other = said(desk.ask("dry-run"), 201)["id"]
    assert desk.client.delete(f"{REPLAYS}/{other}").status_code == 204
    problem(desk.client.get(f"{REPLAYS}/{other}"), 404)
    for verb in ("start", "approve", "pause", "resume", "stop", "release", "drop"):
        problem(desk.post(f"{other}/{verb}"), 404)
    problem(desk.client.delete(f"{REPLAYS}/{other}"), 404)
    problem(desk.client.get(f"{REPLAYS}/{other}/report"), 404)


def test_watching_ends_with_the_replay(desk: Desk) -> None:
    desk.receive("T-1")
    one = said(desk.ask("apply", effects="send"), 201)["id"]
    said(desk.post(f"{one}/start"))
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(desk.client.application.test_client().get, f"{REPLAYS}/{one}?wait=30")
        desk.run(one)
        assert said(watched.result())["state"] == "done"


def test_what_is_held_is_released_or_dropped(desk: Desk) -> None:
    desk.client.post(
        "/admin/partners",
        json={
            "name": "Lab",
            "identifiers": ["urn:org|L"],
            "endpoints": ["http://hospital.example/fhir"],
            "tell": "poll",
        },
    )
    desk.receive("T-1", "T-2")
    planned = said(desk.ask("answer", effects="hold", to="Lab"), 201)
    said(desk.post(f"{planned['id']}/start"))
    desk.run(planned["id"])
    assert desk.get(str(planned["id"]))["held"] == 2
    assert said(desk.post(f"{planned['id']}/release"))["held"] == 0
    assert "was the same" in problem(desk.ask("answer", effects="hold", to="Lab"), 409)
    other = said(desk.ask("answer", effects="hold", to="Lab", again=True), 201)["id"]
    said(desk.post(f"{other}/start"))
    desk.run(other)
    assert said(desk.post(f"{other}/drop"))["held"] == 0


# --- files -----------------------------------------------------------------------------------------------------------


def zipped(bodies: list[bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for number, body in enumerate(bodies):
            archive.writestr(f"day/{number}.json", body)
    return written.getvalue()


def test_messages_are_sent_along(desk: Desk) -> None:
    bodies = [orjson.dumps(Sender().write("new-order", task(number))) for number in ("T-1", "T-2")]
    forms = {
        NDJSON: b"\n".join(bodies),
        "application/gzip": gzip.compress(b"\n".join(bodies)),
        "application/zip": zipped(bodies),
        "application/fhir+json": bodies[0],
    }
    for media_type, body in forms.items():
        planned = said(desk.upload(body, media_type, "mode=dry-run"), 201)
        messages = 1 if media_type == "application/fhir+json" else 2
        assert (planned["source"], planned["items"], planned["forecast"]["messages"]) == ("files", messages, messages)
    planned = said(desk.upload(forms["application/zip"], "application/zip"), 201)
    said(desk.post(f"{planned['id']}/start"))
    desk.run(planned["id"])
    lines = desk.get(f"{planned['id']}/report")["lines"]
    assert {(line["file"], line["outcome"]) for line in lines} == {("body/day/0.json", "ok"), ("body/day/1.json", "ok")}
    assert (
        said(desk.upload(forms["application/zip"], "application/zip"), 201)["forecast"]["groups"][0]["what"]
        == "skipped"
    )
    assert list(desk.here.settings.var.glob("tmp*")) == []


def test_what_is_no_message_is_a_line_of_the_forecast(desk: Desk) -> None:
    for media_type in FILES[::3]:
        planned = said(desk.upload(b"\0\xff nothing \n at all", media_type, "mode=dry-run"), 201)
        assert {group["what"] for group in planned["forecast"]["groups"]} == {"unreadable"}, media_type


def test_a_body_has_bounds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "application/zip" in problem(desk.upload(b"x", "text/plain"), 415)
    assert "empty" in problem(desk.upload(b""), 400)
    encoded = {"Content-Encoding": "gzip"}
    address = f"{REPLAYS}?mode=dry-run"
    problem(desk.client.post(address, data=b"x", content_type=NDJSON, headers=encoded), 415)
    cut = {"CONTENT_LENGTH": "50", "wsgi.input": io.BytesIO(b"x" * 10)}
    answer = desk.client.post(address, content_type=NDJSON, environ_overrides=cut)
    assert "breaks off" in problem(answer, 400)
    monkeypatch.setattr(spooling, "MOST_BYTES", 100)
    assert "By command" in problem(desk.upload(b"x" * 101), 413)
    monkeypatch.setattr(spooling, "LEAST_FREE", 2**80)
    assert "room" in problem(desk.upload(b"x"), 507)


def test_a_process_reads_one_body_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    monkeypatch.setattr(spooling, "_one_at_a_time", lock)
    with lock:
        assert "another replay" in problem(desk.upload(b"x"), 503)
    assert said(desk.upload(b"x"), 201)["items"] == 1
    assert not lock.locked()


@pytest.mark.parametrize(
    ("line", "content_type", "is_large"),
    [
        ("POST /admin/replays?mode=apply", "application/zip", True),
        ("POST /admin/replays", "text/plain", True),
        ("POST /admin/replays", "", True),
        ("POST /admin/replays", "application/json", False),
        ("POST /admin/replays?a=b", "Application/JSON; charset=utf-8", False),
        ("POST /admin/replays/1/start", "application/zip", False),
        ("POST /admin/replays/", "application/zip", False),
        ("PUT /admin/replays", "application/zip", False),
        ("GET /admin/replays", "application/zip", False),
        ("POST /admin/partners", "application/zip", False),
    ],
)
def test_of_what_comes_as_it_is_read_nothing_is_read_in_vain(
    desk: Desk, line: str, content_type: str, is_large: bool
) -> None:
    """Else whoever sends slowly, and is no administrator, would hold a thread up."""
    head = f"{line} HTTP/1.1\r\nHost: g\r\nContent-Type: {content_type}\r\nContent-Length: 9\r\n\r\n".encode()
    method, path = line.split()
    with desk.client.application.test_request_context(path, method=method, content_type=content_type):
        assert comes_as_it_is_read() == is_large
    assert is_upload(head) == is_large


# --- what cannot be meant --------------------------------------------------------------------------------------------

ODD: list[Any] = [
    None, True, 0, -1, 1.5, 2**70, "", " ", "\0", "x", "²", "٣", "x" * 5000, "%' OR 1=1;--", "💉", [], {}, [None], [1],
    ["\0"], ["x\0y"], [""], ["²"], [["x"]], {"x": 1}, ["x" * 2000], ["x"] * 1001, "9999-99-99",
    "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "999999w",
]  # fmt: skip
BASE = "http://gateway.example/fhir"


def is_clear(read: Callable[[], object]) -> bool:
    try:
        read()
    except (ProblemError, Unclear):
        return False
    return True


def test_nothing_that_is_asked_for_breaks_anything(desk: Desk) -> None:
    """All that is clear of the same oddness is asked for together."""
    desk.receive("T-1")
    clear = 0
    for odd, mode in ((odd, mode) for odd in ODD for mode in ("answer", "send", "dry-run")):
        asked: dict[str, Any] = {"mode": mode, "selection": {}, "options": {}}
        for where, names in (("selection", FILTERS), ("options", WISHES)):
            for name in names:
                alone = {"mode": mode, "selection": ALL, "options": {}, where: {name: odd}}
                if is_clear(lambda alone=alone: read_asked(alone, BASE, "anybody")):
                    asked[where][name] = odd
        if asked["selection"]:
            clear += len(asked["selection"]) + len(asked["options"])
            answer = desk.client.post(REPLAYS, json=asked)
            assert answer.status_code in (200, 201, 409, 422), (asked, answer.text)
        for name in ("mode", "source", "selection", "options"):
            whole = {"mode": mode, "selection": ALL, name: odd}
            assert is_clear(lambda whole=whole: read_asked(whole, BASE, "anybody")) == (name == "options" and odd == {})
        assert not is_clear(lambda odd=odd: read_asked(odd, BASE, "anybody"))
    assert clear > 50


def test_no_parameter_breaks_anything(desk: Desk) -> None:
    said(desk.ask("answer"), 201)
    odd = [one for one in ODD if isinstance(one, str)]
    for one in (*odd, "true", "1", "nan", "inf"):
        clear = {"mode": "dry-run"}
        for name in WISHES:
            if is_clear(
                lambda name=name, one=one: read_parameters({"mode": "answer", name: one}, "body", BASE, "anybody")
            ):
                clear[name] = one
        answer = desk.client.post(REPLAYS, query_string=clear, data=b"x", content_type=NDJSON)
        assert answer.status_code in (201, 422), (clear, answer.text)
        assert desk.client.post(REPLAYS, query_string={"mode": one}, data=b"x", content_type=NDJSON).status_code == 422
    for path, name in (("", "before"), ("/1", "wait"), ("/1/report", "format"), ("/1/report", "outcome")):
        for one in odd:
            answer = desk.client.get(f"{REPLAYS}{path}", query_string={name: one})
            assert answer.status_code in (404, 422), (path, name, one)


def test_the_most_of_each_filter_can_be_asked_for(desk: Desk) -> None:
    """Of PostgreSQL and SQLite, the latter is the stricter: it bounds how deep a condition is."""
    desk.receive("T-1")
    values = [f"v{number}" for number in range(1000)]
    assert said(desk.ask("dry-run", {"partners": values[:200]}), 201)["items"] == 0
    assert "at most 200" in problem(desk.ask("dry-run", {"partners": values}), 422)
    most = {"events": values, "ids": values, "tasks": values, "identifiers": [f"urn:x|{value}" for value in values]}
    assert said(desk.ask("dry-run", most), 201)["items"] == 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"mode": "aply", "selection": ALL}, "aply is no way to replay"),
        ({"mode": "apply", "selection": ALL}, "Say what becomes"),
        ({"mode": "apply", "selection": {}, "options": {"effects": "send"}}, "Say what is meant"),
        ({"mode": "dry-run", "selection": {"partner": "x"}}, "Did you mean partners?"),
        ({"mode": "dry-run", "selection": ALL, "options": {"rat": 1}}, "Did you mean rate?"),
        ({"mode": "dry-run", "selection": {"states": ["due"]}}, "due is no state"),
        ({"mode": "dry-run", "selection": ALL, "source": "files"}, "dry-run is for the inbox"),
        ({"mode": "send", "selection": ALL, "source": "inbox"}, "send is for the outbox"),
        ({"mode": "dry-run", "selection": {"since": "soon"}}, "soon is no time"),
        ({"mode": "dry-run", "selection": ALL, "confirm": 1}, "There is no confirm here"),
        ({"mode": "dry-run", "selection": {"events": [1]}}, "events is a list of texts"),
    ],
)
def test_what_is_unclear_is_said(desk: Desk, asked: Any, told: str) -> None:
    assert told in problem(desk.client.post(REPLAYS, json=asked), 422)


def test_its_schemas_are_what_is_answered(desk: Desk) -> None:
    desk.receive("T-1")
    described = said(desk.client.get("/admin/openapi.json"))

    def check(name: str, document: Any) -> None:
        Draft202012Validator({"$ref": f"#/components/schemas/{name}", **described}).validate(document)

    for selection in (ALL, {"since": "2h", "partners": ["x"], "identifiers": ["urn:x|1"]}):
        asked = {"mode": "apply", "source": "inbox", "selection": selection, "options": {"effects": "hold", "rate": 5}}
        check("NewReplay", asked)
        planned = said(desk.client.post(REPLAYS, json=asked), 201)
        check("Replay", planned)
    check("Replay", said(desk.post(f"{planned['id']}/start")))
    check("Replay", said(desk.upload(b"nothing", asked="mode=dry-run&limit=1&stop_on_failure=true"), 201))
    check("Replays", desk.get(""))
    check("Report", desk.get(f"{planned['id']}/report"))
    check("History", said(desk.client.get("/admin/messages/1/history")))
