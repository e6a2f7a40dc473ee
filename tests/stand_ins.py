"""Stand-ins for the gateway's programs, and a supervisor over them: `python -m tests.stand_ins DIR KIND…`.

Each writes its process id as a line of DIR/<name>.pids when it starts, and its name as one of DIR/stopped at its end.
"""

import os
import signal
import sys
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


def stage(directory: Path, name: str, kind: str) -> Stage:
    command = ["sh", "-c", f"cd {directory}; " + KINDS[kind].format(name=name)] if kind in KINDS else ["/is/not/there"]
    program = Program(
        name,
        command,
        ready=(directory / f"{name}.pids").exists if kind in KINDS else None,
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
