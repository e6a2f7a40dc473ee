"""The supervisor over real processes: what ends is started again, what is to stop stops, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.forking import CAN_FORK
from gateway.supervisor import AlreadyRunning, only_one
from tests.services import eventually

Start = Callable[..., "subprocess.Popen[str]"]
FORKS = pytest.mark.skipif(not CAN_FORK, reason="programs are forked only on Linux")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*kinds: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.stand_ins", str(tmp_path), *kinds]
        output = (tmp_path / "log").open("w")
        with output:
            process = subprocess.Popen(command, stdout=output, stderr=output, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def pids(directory: Path, name: str) -> list[int]:
    path = directory / f"{name}.pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_up(directory: Path) -> Callable[[], bool]:
    return (directory / "started").exists


@pytest.mark.parametrize("kind", ["plain", pytest.param("forked-plain", marks=FORKS)])
def test_a_child_that_is_killed_is_started_again(start: Start, tmp_path: Path, kind: str) -> None:
    start(kind, "plain")
    eventually(is_up(tmp_path))
    [first] = pids(tmp_path, f"{kind}-0")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(pids(tmp_path, f"{kind}-0")) == 2)
    assert alive(pids(tmp_path, f"{kind}-0")[-1])
    assert len(pids(tmp_path, "plain-1")) == 1
    assert "killed by SIGKILL" in (tmp_path / "log").read_text()


@FORKS
def test_a_child_that_is_forked_is_like_a_program_that_was_started(start: Start, tmp_path: Path) -> None:
    supervisor = start("forked-bare")
    eventually(is_up(tmp_path))
    [pid] = pids(tmp_path, "forked-bare-0")
    [guard] = [child for child in psutil.Process(supervisor.pid).children() if child.pid != pid]
    child = psutil.Process(pid)
    assert " ".join(child.cmdline()).split() == ["stand-in", "forked-bare-0"]
    assert os.getpgid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: "killed by SIGTERM" in (tmp_path / "log").read_text())
    assert guard.is_running()


@pytest.mark.parametrize("kind", ["broken", pytest.param("forked-broken", marks=FORKS)])
def test_a_child_that_ends_at_once_is_started_again_later_and_later(start: Start, tmp_path: Path, kind: str) -> None:
    start(kind)
    eventually(lambda: len(pids(tmp_path, f"{kind}-0")) == 4)
    log = (tmp_path / "log").read_text()
    assert "exit code 3" in log
    assert [delay for delay in ("0.2", "0.4", "0.8") if delay in log] == ["0.2", "0.4", "0.8"]


def test_a_program_that_cannot_be_started_is_tried_again_and_said(start: Start, tmp_path: Path) -> None:
    supervisor = start("missing")
    eventually(lambda: (tmp_path / "log").read_text().count("/is/not/there") >= 2)
    assert supervisor.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_all_in_reverse_order(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    names = ["plain-0", "plain-1", *(["forked-plain-2"] if CAN_FORK else []), "plain-3"]
    supervisor = start(*(name[:-2] for name in names))
    eventually(is_up(tmp_path))
    supervisor.send_signal(number)
    assert supervisor.wait(10) == 0
    assert (tmp_path / "stopped").read_text().split() == names[::-1]
    assert not any(alive(pid) for name in names for pid in pids(tmp_path, name))


def test_a_signal_while_it_starts_stops_it(start: Start, tmp_path: Path) -> None:
    supervisor = start("plain", "never-ready", "plain")
    eventually(lambda: pids(tmp_path, "plain-0"))
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert (tmp_path / "stopped").read_text().split() == ["plain-0"]


def test_a_child_that_does_not_stop_in_time_is_killed(start: Start, tmp_path: Path) -> None:
    supervisor = start("plain", "stubborn")
    eventually(is_up(tmp_path))
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert not alive(pids(tmp_path, "stubborn-1")[0])
    assert "did not stop in time" in (tmp_path / "log").read_text()


def test_a_second_signal_does_not_wait(start: Start, tmp_path: Path) -> None:
    supervisor = start("stubborn", "stubborn", "stubborn", "stubborn")
    eventually(is_up(tmp_path))
    began = time.monotonic()
    supervisor.terminate()
    time.sleep(0.1)
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert time.monotonic() - began < 1.9


def test_a_stage_waits_until_the_one_before_is_ready(start: Start, tmp_path: Path) -> None:
    start("slow", "plain")
    eventually(is_up(tmp_path))
    slow, plain = tmp_path / "slow-0.pids", tmp_path / "plain-1.pids"
    assert slow.stat().st_mtime <= plain.stat().st_mtime


def test_no_child_outlives_a_killed_supervisor(start: Start, tmp_path: Path) -> None:
    supervisor = start("parent", "stubborn", *(["forked-stubborn"] if CAN_FORK else []))
    eventually(is_up(tmp_path))
    supervisor.kill()
    left = [pid for name in ("parent-0", "stubborn-1", "forked-stubborn-2") for pid in pids(tmp_path, name)]
    assert len(left) == (4 if CAN_FORK else 3)
    eventually(lambda: not any(alive(pid) for pid in left), seconds=3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children by itself")
def test_no_child_outlives_a_supervisor_killed_with_its_guard(start: Start, tmp_path: Path) -> None:
    supervisor = start("plain", "stubborn", "forked-stubborn")
    eventually(is_up(tmp_path))
    left = [pid for name in ("plain-0", "stubborn-1", "forked-stubborn-2") for pid in pids(tmp_path, name)]
    [guard] = [child for child in psutil.Process(supervisor.pid).children() if child.pid not in left]
    guard.kill()
    supervisor.kill()
    eventually(lambda: not any(alive(pid) for pid in left), seconds=3)


def test_a_child_that_lives_but_hangs_is_killed_and_started_again(start: Start, tmp_path: Path) -> None:
    start("frozen")
    eventually(lambda: len(pids(tmp_path, "frozen-0")) == 2)
    assert not alive(pids(tmp_path, "frozen-0")[0])
    assert "lives but does nothing" in (tmp_path / "log").read_text()


def test_a_check_of_health_that_fails_itself_ends_nothing(start: Start, tmp_path: Path) -> None:
    supervisor = start("unclear")
    eventually(lambda: (tmp_path / "log").read_text().count("check of health failed") > 4)
    assert supervisor.poll() is None
    assert len(pids(tmp_path, "unclear-0")) == 1


def test_only_one_holds_the_lock_and_the_other_learns_which(start: Start, tmp_path: Path) -> None:
    supervisor = start("plain")
    eventually(is_up(tmp_path))
    with pytest.raises(AlreadyRunning, match=str(supervisor.pid)), only_one(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("kind", ["stubborn", pytest.param("forked-stubborn", marks=FORKS)])
def test_the_lock_is_free_once_a_killed_supervisors_children_are_gone(start: Start, tmp_path: Path, kind: str) -> None:
    supervisor = start(kind)
    eventually(is_up(tmp_path))
    supervisor.kill()
    supervisor.wait()

    def take() -> bool:
        try:
            with only_one(tmp_path / "lock"):
                return not any(alive(pid) for pid in pids(tmp_path, f"{kind}-0"))
        except AlreadyRunning:
            return False

    eventually(take, seconds=3)
