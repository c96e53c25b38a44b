"""A task as Fargate has it, by its namespaces: one of pids and one of the network, and in it a watcher without eBPF.

with task() as made:
    made.watch(tmp_path / "events")
    done = made.run(["/bin/sh", "-c", "exit 3"])
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WAIT_S = 8.0  # two cores, shared

# Runs what it is told, one line of JSON a program, and says what became of it; also adopts orphans, as init does.
_INIT = """
import json, subprocess, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["wait"]:
        done = subprocess.run(asked["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        told = {"status": done.returncode, "out": done.stdout.decode(errors="replace")}
    else:
        made = subprocess.Popen(asked["argv"], stdin=subprocess.DEVNULL)
        told = {"status": made.pid, "out": ""}
    print(json.dumps(told), flush=True)
"""


class Done(NamedTuple):
    """What became of a program."""

    status: int
    out: str


class Task:
    """A pid namespace whose first process does what it is told."""

    def __init__(self, init: subprocess.Popen[str]) -> None:
        self._init = init
        self._events = Path()

    def run(self, argv: Sequence[str]) -> Done:
        """Run a program to its end."""
        return self._asked(argv, wait=True)

    def start(self, argv: Sequence[str]) -> int:
        """Start a program; return its pid in the namespace."""
        return self._asked(argv, wait=False).status

    def watch(self, events: Path, mode: str = "ptrace") -> int:
        """Have the source without eBPF watch, and write what it sees to a file; return its pid in the namespace."""
        self._events = events
        pid = self.start([sys.executable, "-m", "tests.kernel.watcher", str(events), mode])
        self.until(lambda told: told["kind"] == "ready")
        return pid

    def seen(self) -> list[dict[str, Any]]:
        """Return what was seen by now."""
        if not self._events.exists():
            return []
        return [
            json.loads(line) for line in self._events.read_text(encoding="utf-8").splitlines(keepends=False) if line
        ]

    def until(self, wanted: Any) -> dict[str, Any]:
        """Wait for something that was seen."""
        deadline_s = time.monotonic() + WAIT_S
        while True:
            try:
                found = next((told for told in self.seen() if wanted(told)), None)
            except json.JSONDecodeError:  # half a line
                found = None
            if found is not None:
                return found
            assert time.monotonic() < deadline_s, self.seen()[-5:]
            time.sleep(0.05)

    def pid_outside(self, inside: int) -> int:
        """Return the number that a process of the task has for us."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with_us = _ns_pids(entry)
                if with_us[-1:] == [inside] and len(with_us) == 2 and _same_namespace(entry, self._init.pid):
                    return int(entry.name)
        raise LookupError(f"no process {inside} in the task")

    def _asked(self, argv: Sequence[str], *, wait: bool) -> Done:
        assert self._init.stdin is not None
        assert self._init.stdout is not None
        self._init.stdin.write(json.dumps({"argv": list(argv), "wait": wait}) + "\n")
        self._init.stdin.flush()
        return Done(**json.loads(self._init.stdout.readline()))


def _ns_pids(entry: Path) -> list[int]:
    try:
        status = (entry / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [int(word) for word in status.partition("\nNSpid:")[2].split("\n")[0].split()]


def _same_namespace(entry: Path, unshared: int) -> bool:
    try:
        return os.stat(entry / "ns/pid").st_ino == os.stat(f"/proc/{unshared}/ns/pid_for_children").st_ino
    except OSError:
        return False


@contextmanager
def task() -> Iterator[Task]:
    """Make a task; all of it ends with the block."""
    unshare = ["unshare", "--pid", "--net", "--fork", "--mount-proc", "--kill-child"]
    init = subprocess.Popen(
        [*unshare, sys.executable, "-c", _INIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        made = Task(init)
        made.run(["ip", "link", "set", "lo", "up"])
        yield made
    finally:
        init.kill()
        init.communicate()
