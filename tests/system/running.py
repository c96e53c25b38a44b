"""`vedette run` as a process of its own, listened to line by line, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import NamedTuple

import psutil

from tests import leaks

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0  # two cores, shared; and another agent on this host may have to end first


class Found(NamedTuple):
    """A finding as it came over standard output."""

    arrived_at_s: float
    document: dict[str, Any]

    @property
    def type(self) -> str:
        """Return the finding type."""
        return str(self.document["type"])

    @property
    def process(self) -> dict[str, Any]:
        """Return the acting process."""
        process: dict[str, Any] = self.document["service"]["runtimeDetails"]["process"]
        return process


class Run:
    """`vedette run --json` and what it says."""

    def __init__(self, state_dir: Path, *options: str, before: tuple[str, ...] = ()) -> None:
        self.state_dir = state_dir
        self.findings: list[Found] = []
        self.out: list[str] = []
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [*before, *command("run", "--json", "--state-dir", str(state_dir), *options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_err)]
        for reader in self._readers:
            reader.start()

    def ready(self) -> str:
        """Wait until the probes are attached; return the line that says so."""
        try:
            wait_for(lambda: self.lines("ready") or self.process.poll() is not None, self.said)
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise
        assert self.lines("ready"), self.said
        return self.lines("ready")[0]

    def lines(self, beginning: str) -> list[str]:
        """Return what it said with this beginning."""
        return [line for line in list(self.said) if line.startswith(beginning)]

    def child(self, subcommand: str) -> psutil.Process:
        """Return the child that runs a subcommand."""
        children = psutil.Process(self.process.pid).children()
        return next(one for one in children if one.cmdline()[1:4] == ["-m", "agent", subcommand])

    def finding(self, type_: str, pid: int) -> Found:
        """Wait for the finding of this type about this process."""

        def look() -> list[Found]:
            return [one for one in list(self.findings) if (one.type, one.process["pid"]) == (type_, pid)]

        wait_for(look, self.said)
        return look()[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        for reader in self._readers:
            reader.join(WAIT_S)
        return status

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.out.append(line)
                self.findings.append(Found(time.time(), json.loads(line)))

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.said.append(line.rstrip("\n"))


def command(*arguments: str) -> list[str]:
    """Return the command line of the real program."""
    return [sys.executable, "-m", "agent", *arguments]


def vedette(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the real program to its end, `before` standing in front of it."""
    line = [*before, *command(*arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=WAIT_S, cwd=ROOT)


def wait_for(condition: Callable[[], object], told: object = None) -> None:
    """Return when the condition holds; fail with what was told when it does not."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, told
        time.sleep(0.05)


def programs_of(pid: int) -> set[int]:
    """Return the ids of the BPF programs that a process holds, directly or by a link."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            text = Path(f"/proc/{pid}/fdinfo/{name}").read_text(encoding="ascii")
            found |= {int(one) for one in re.findall(r"^prog_id:\t(\d+)$", text, re.MULTILINE)}
    return found


def loaded_programs() -> set[int]:
    """Return the ids of all BPF programs of this machine."""
    return {int(name.split()[0]) for name in leaks.program_names()}


FEW = ("NewBinaryExecuted", "NewLibraryLoaded", "FilelessExecution", "ReverseShell", "BitcoinTool.B!DNS")
"""Types whose findings name the program that did it, and need nothing but the records: one for each stage."""


def simulated() -> list[dict[str, Any]]:
    """Do the deeds of FEW, and return what each says of itself."""
    told = [vedette("simulate", name, "--json").stdout for name in FEW]
    return [json.loads(line) for text in told for line in text.splitlines()]
