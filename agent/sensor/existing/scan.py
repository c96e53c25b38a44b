"""Runs the child that tells what exists, and reads what it tells.  In the agent.

It is started before the probes are loaded and asked once they are attached, so
that it costs the start no time; where memory is scarce it imports what it needs
only then, when the compiler's is free again.  What it writes lies in a file in memory, from
which it is read little by little.  A child that hangs or breaks is ended, counted
and logged: what it told by then is kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Collection

from agent.probes.header import HEADER

WAIT_S = 10.0  # 8,192 sockets and 4,096 mounts take one; who is late is given up, and events wait no longer
RECORD_BYTES = 65_536  # more than any record has
_LEN = HEADER.offset("len")
_ANSWER_BYTES = 4_096

EARLY = (sys.executable, "-I", "-m", "agent.sensor.existing")
LATE = (
    sys.executable,
    "-I",
    "-c",
    "import runpy, sys; sys.stdin.buffer.peek(); runpy.run_module('agent.sensor.existing', run_name='__main__')",
)
"""Two ways to run the child: one that imports at once, 38 MB, and one that waits with 9 MB until it is asked."""

_WAITING_NICE = 10  # the compilers of the probes go first: both have their processor to themselves, or nearly

_log = logging.getLogger(__name__)


class Scan:
    """One child, from its start to its end."""

    def __init__(self, command: tuple[str, ...] = EARLY) -> None:
        """Start the child.  It waits to be asked; one that cannot be started counts as broken."""
        self._records_fd = os.memfd_create("existing", os.MFD_CLOEXEC)
        self._numbers: dict[str, int] = {"submitted": 0}
        self._deadline_s = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        try:
            self._child = subprocess.Popen(
                (*command, str(self._records_fd)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[self._records_fd],
            )
        except OSError as error:
            self._break_off(f"could not be started: {error}")
        self._set_nice(_WAITING_NICE)

    @property
    def tgid(self) -> int | None:
        """Return the pid of the child, None when it is not there."""
        return None if self._child is None else self._child.pid

    def ask(self, kinds: Collection[str], own_tgids: Collection[int]) -> None:
        """Let the child tell what there is of these kinds, but of our own processes."""
        if self._child is None or self._child.stdin is None:
            return
        self._deadline_s = time.monotonic() + WAIT_S
        self._set_nice(0)
        try:
            with self._child.stdin as request:
                request.write(json.dumps({"kinds": sorted(kinds), "own_tgids": sorted(own_tgids)}).encode())
        except OSError as error:
            self._break_off(f"ended before it was asked: {error}")

    def _set_nice(self, nice: int) -> None:
        """Set how the child gives way to others; without CAP_SYS_NICE it cannot be hurried again."""
        if self._child is not None:
            with contextlib.suppress(OSError):  # that, or it has ended
                os.setpriority(os.PRIO_PROCESS, self._child.pid, nice)

    def is_over(self, timeout_s: float) -> bool:
        """Wait for the child to have told everything, `timeout_s` at most; tell whether it has, or was given up."""
        if self._child is None or self._child.stdout is None:
            return True
        left_s = self._deadline_s - time.monotonic()
        ready = select.select([self._child.stdout], [], [], max(min(timeout_s, left_s), 0.0))[0]
        if not ready and left_s > timeout_s:
            return False
        answer = os.read(self._child.stdout.fileno(), _ANSWER_BYTES) if ready else b""
        if answer:
            self._numbers |= json.loads(answer)
            self._end()
        else:
            self._break_off("broke" if ready else f"did not end within {WAIT_S:.0f} s")
        return True

    def records(self, most: int) -> list[bytes]:
        """Return the next `most` records, none when that was all; for when it is over."""
        records: list[bytes] = []
        while self._records_fd >= 0 and len(records) < most:
            head = os.read(self._records_fd, HEADER.size)
            size = int.from_bytes(head[_LEN : _LEN + 4], sys.byteorder)
            record = head + os.read(self._records_fd, min(max(size - len(head), 0), RECORD_BYTES))
            if size < HEADER.size or len(record) < size:
                os.close(self._records_fd)
                self._records_fd = -1
                break
            records.append(record)
        self._numbers["submitted"] = self._numbers.get("submitted", 0) + len(records)
        return records

    def counters(self) -> dict[str, int]:
        """Return totals: those of a source, of the kind `existing`; `submitted`: what `records` returned."""
        return {f"sensor.existing.{name}": number for name, number in self._numbers.items()}

    def close(self) -> None:
        """End the child, if it is still there; what it told can still be read, and that it is not all is counted."""
        if self._child is not None:
            self._end()
            self._count_failed()

    def _break_off(self, reason: str) -> None:
        said = self._end().strip().splitlines()[-1:]
        last = f" ({said[0].decode(errors='backslashreplace')})" if said else ""
        _log.warning("what was there before the start is not fully known: the child that looks %s%s", reason, last)
        self._count_failed()

    def _count_failed(self) -> None:
        self._numbers["failed"] = self._numbers.get("failed", 0) + 1

    def _end(self) -> bytes:
        """End the child; return what it said on standard error."""
        child, self._child = self._child, None
        if child is None:
            return b""
        child.kill()
        with child:  # closes the pipes, and waits
            os.lseek(self._records_fd, 0, os.SEEK_SET)
            return child.stderr.read() if child.stderr else b""
