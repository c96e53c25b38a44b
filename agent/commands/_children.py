"""The processes that `vedette run` supervises: started, listened to, started again, stopped.

A child is in a process group of its own, so that Ctrl-C at the terminal reaches
the supervisor alone, which then stops them in order; and it dies with the
supervisor, even one that was killed (see `_process.die_with`).  Start them from
the main thread: the kernel ties their death to the thread that made them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import IO
from typing import NamedTuple

from agent.terminal import escape

REFUSED = 2  # the exit status of a child that said in a line why it will not start
STEADY_S = 30.0  # a child that lived so long starts again at once
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
_LINE_BYTES = 4096

Said = Callable[[str], None]
"""Takes a line for the operator; escaped, without its end.  Called from any thread."""


class Ended(NamedTuple):
    """How a child ended."""

    status: int
    """The exit status, or minus the signal that ended it."""
    delay_s: float
    """How long until it should be started again."""

    def __str__(self) -> str:
        return f"killed by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


class Child:
    """One subcommand of ours as a process, kept running."""

    def __init__(self, subcommand: str, *, said: Said, pass_fds: tuple[int, ...] = ()) -> None:
        self.subcommand = subcommand
        self._said = said
        self._pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._started_s = 0.0
        self._due_s = 0.0
        self._delay_s = FIRST_DELAY_S

    @property
    def pid(self) -> int | None:
        """Return its pid while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self, arguments: Sequence[str]) -> None:
        """Start `vedette SUBCOMMAND arguments`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agent", self.subcommand, "--supervisor", str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=self._pass_fds,
            process_group=0,
            umask=0o077,
            env=os.environ | {"PYTHONSAFEPATH": "1"},  # else -m imports what lies in the current directory, as root
        )
        assert self._process.stderr is not None  # noqa: S101  tells mypy what PIPE means
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()
        self._started_s = time.monotonic()

    def ended(self) -> Ended | None:
        """Return, once, how it ended, and when it should be started again; None while it runs or is not due."""
        if self._process is None:
            return None
        status = self._process.poll()
        if status is None:
            return None
        self._reap()
        now_s = time.monotonic()
        if now_s - self._started_s >= STEADY_S:
            self._delay_s = FIRST_DELAY_S
        ended = Ended(status, self._delay_s)
        self._due_s = now_s + self._delay_s
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)
        return ended

    def due(self) -> bool:
        """Tell whether it ended and should be started again by now."""
        return self._process is None and time.monotonic() >= self._due_s

    def stop(self, timeout_s: float) -> None:
        """Have it end cleanly; kill it when it takes longer than `timeout_s`."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._said(f"the {self.subcommand} did not stop within {timeout_s:g} s and was killed")
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
        if self._listener is not None:
            self._listener.join()
        self._process = self._listener = None

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_LINE_BYTES):
                self._said(escape(line.decode(errors="backslashreplace").rstrip("\n")))
