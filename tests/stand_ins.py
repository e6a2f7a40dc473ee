"""Stand-ins for the gateway's programs, and a supervisor over them: `python -m tests.stand_ins DIR KIND…`.

Each writes its process id as a line of DIR/<name>.pids when it starts, and its name as one of DIR/stopped at its end.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from gateway.supervisor import Program, Stage, Supervisor, only_one

LOOP = "while :; do sleep 0.02; done"
STOPS = "trap 'echo {name} >> stopped; exit 0' TERM"
KINDS = {
    "plain": f"{STOPS}; echo $$ >> {{name}}.pids; {LOOP}",
    "parent": f"{STOPS}; sleep 1000 & echo $! >> {{name}}.pids; echo $$ >> {{name}}.pids; {LOOP}",
    "stubborn": f"trap '' TERM; echo $$ >> {{name}}.pids; {LOOP}",
    "never-ready": LOOP,
    "broken": "echo $$ >> {name}.pids; exit 3",
    "frozen": f"trap '' TERM; echo $$ >> {{name}}.pids; {LOOP}",
    "unclear": f"{STOPS}; echo $$ >> {{name}}.pids; {LOOP}",
    "slow": f"{STOPS}; sleep 0.3; echo $$ >> {{name}}.pids; {LOOP}",
}


def forked_plain(directory: Path, name: str) -> None:
    def stop(*_: object) -> None:
        _add(directory / "stopped", name)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    forked_bare(directory, name)


def forked_bare(directory: Path, name: str) -> None:
    _add(directory / f"{name}.pids", os.getpid())
    while True:
        time.sleep(0.02)


def forked_stubborn(directory: Path, name: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forked_bare(directory, name)


def forked_broken(directory: Path, name: str) -> None:
    _add(directory / f"{name}.pids", os.getpid())
    sys.exit(3)


def _add(path: Path, said: object) -> None:
    with path.open("a") as file:
        print(said, file=file)


FORKED = {"plain": forked_plain, "bare": forked_bare, "stubborn": forked_stubborn, "broken": forked_broken}


def stage(directory: Path, name: str, kind: str) -> Stage:
    """Of a kind in KINDS, or of one in FORKED by its name after "forked-"; any other is a command that is not there."""
    command = ["sh", "-c", f"cd {directory}; " + KINDS[kind].format(name=name)] if kind in KINDS else ["/is/not/there"]
    main = FORKED.get(kind.removeprefix("forked-")) if kind.startswith("forked-") else None
    program = Program(
        name,
        [sys.executable, "-m", "stand-in", name] if main else command,
        ready=(directory / f"{name}.pids").exists if kind in KINDS or main else None,
        main=main and partial(main, directory, name),
        healthy={"frozen": lambda: False, "unclear": _fails}.get(kind),
        check_every=0.05,
    )
    return Stage([program], grace=0.5)


def _fails() -> bool:
    raise ConnectionError


def main(directory: Path, kinds: list[str]) -> int:
    with only_one(directory / "lock"):
        stages = [stage(directory, f"{kind}-{number}", kind) for number, kind in enumerate(kinds)]
        return Supervisor(stages, announce=(directory / "started").touch).run()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["PYTHONUNBUFFERED"] = "1"
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
