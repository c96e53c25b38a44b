"""The source without eBPF: children that trace and look, their messages made into the records of the probes.

What waits, waits with the children, a few MiB each, and what is over is counted
there: a slow moment downstream stops nobody.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from agent import probes as declarations
from agent.model import ProbeStatus
from agent.probes.declaration import Probe
from agent.sensor.existing.cgroups import Cgroups
from agent.sensor.source import Harm
from agent.sensor.userspace import capabilities
from agent.sensor.userspace import network_records
from agent.sensor.userspace.outlet import MESSAGE_BYTES
from agent.sensor.userspace.outlet import messages
from agent.sensor.userspace.records import Records

POLL_DATAGRAMS = 32  # read at once: 1,000 usual records, as the eBPF source gives out
SOCKET_BYTES = 1 << 20  # asked for; the kernel gives as much as net.core.wmem_max lets it
START_S = 10.0  # until the tracer is ready: a tenth of a second, on a busy host two; later it may still come
_FIRST = "tracer"
STOP_S = 2.0  # until a child that was told to end is killed
UNREADABLE = (ValueError, LookupError, TypeError, OverflowError, struct.error)
"""What comes of a message that makes no sense."""
SWITCHED_OFF = "switched off in [sensor] disabled_kinds"
_TIME = slice(0, 8)
_CHILD = """
import sys, types
sys.path += sys.argv[1:3]
del sys.argv[1:3]
light = sys.modules["ctypes.util"] = types.ModuleType("ctypes.util")
light.find_library = lambda name: None
from agent.sensor.userspace.__main__ import run
run()
"""
"""Without the module site, and what .pth files have it load: 2 MB of memory that nobody there needs.

Of ctypes.util, which brings subprocess, tempfile and all that compresses, inotify_simple has find_library("c") alone;
None stands for what is loaded already."""

_log = logging.getLogger("vedette.agent")


@dataclass(frozen=True)
class Options:
    """How to open the source."""

    probes: tuple[Probe, ...] = field(default_factory=declarations.load)
    own_tgids: tuple[int, ...] = ()
    """Processes that belong to us and are neither traced nor told of, nor is what they make."""
    disabled: frozenset[str] = frozenset()
    """Kinds that are switched off."""
    sensitive_files: tuple[str, ...] = ()
    """PARENT/LEAF of files that are sensitive beside the list."""
    tracing: bool | None = None
    """Whether processes are traced; None for as far as that is allowed."""


class UserspaceSource:
    """Records of this pid and network namespace without eBPF; see agent.sensor.source.Source."""

    def __init__(self, options: Options | None = None) -> None:
        """Keep `options`; nothing is started before open()."""
        self._options = options or Options()
        self._wanted = {probe.name for probe in self._options.probes} - self._options.disabled
        self._records = Records(Cgroups(Path("/proc")))
        self._children: list[subprocess.Popen[bytes]] = []
        self._sockets: list[socket.socket] = []
        self._totals: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._held: list[bytes] = []

    def open(self) -> tuple[ProbeStatus, ...]:
        """Start the children and say what becomes of each kind."""
        asked = self._options.tracing
        tracing = capabilities.can_trace() if asked is None else asked
        raw_packets = capabilities.holds(capabilities.NET_RAW)
        self._start(capabilities.PTRACE if tracing else capabilities.POLLING)
        self._await()
        return tuple(
            self._unless_off(capabilities.status(probe.name, tracing=tracing, raw_packets=raw_packets))
            for probe in self._options.probes
        )

    def poll(self, timeout_s: float) -> list[bytes]:
        """Return the records that are ready, oldest first; [] after `timeout_s` without any."""
        ready, _, _ = select.select(self._sockets, [], [], 0.0 if self._held else timeout_s)
        records = self._held + [record for one in ready for record in self._received(one)]
        self._held = []
        self._totals["reader.records"] += len(records)
        return sorted(records, key=lambda record: int.from_bytes(record[_TIME], sys.byteorder))

    def let_go(self, _token: int) -> bool:
        """Return False: there is no kernel whose records could be lost on the way."""
        return False

    def counters(self) -> dict[str, int]:
        """Return totals since open: of each kind, and of the children."""
        return {**self._totals, **self._told}

    def look_after(self) -> list[Harm]:
        """Return that a child is gone, which the watchdog of the tracer cannot mend."""
        return [
            Harm("process_exec", f"the tracer's watchdog ended with status {child.returncode}", mended=False)
            for child in self._children
            if child.poll() is not None
        ]

    def switch(self, kind: str, *, on: bool) -> None:
        """Give records of a kind again, or none from now on."""
        self._wanted = self._wanted | {kind} if on else self._wanted - {kind}

    def close(self) -> None:
        """End the children: whoever is traced goes on.  What they told can still be polled."""
        children, self._children = self._children, []
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _await(self) -> None:
        """Wait until the tracer has met all who are there: from then on nobody is missed."""
        deadline_s = time.monotonic() + START_S
        while f"sensor.{_FIRST}.submitted" not in self._told and time.monotonic() < deadline_s:
            ready, _, _ = select.select(self._sockets, [], [], deadline_s - time.monotonic())
            self._held += [record for one in ready for record in self._received(one)]

    def _unless_off(self, status: ProbeStatus) -> ProbeStatus:
        if status.name not in self._options.disabled or not status.attached:
            return status
        return ProbeStatus(name=status.name, attached=False, reason=SWITCHED_OFF)

    def _start(self, mode: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        own = {os.getpid(), *self._options.own_tgids}
        command = [sys.executable, "-I", "-S", "-c", _CHILD, *_places(), str(theirs.fileno()), mode]
        with theirs:
            command += [*map(str, sorted(own)), *self._options.sensitive_files]
            self._children.append(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
        self._sockets.append(ours)

    def _received(self, one: socket.socket) -> Iterator[bytes]:
        """Yield the records of what a child has told by now."""
        for _ in range(POLL_DATAGRAMS):
            try:
                data = one.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._sockets.remove(one)
                one.close()
                return
            yield from filter(None, map(self._record, messages(data)))

    def _record(self, message: dict[str, Any]) -> bytes | None:
        kind = message["kind"]
        if kind in _NOTES:
            _NOTES[kind](self, message)
            return None
        try:
            record = self._records.of(message)
        except UNREADABLE:
            self._totals["sensor.userspace.read_error"] += 1
            return None
        name = _KINDS.get(kind)
        if record is None or name not in self._wanted:
            return None
        self._totals[f"sensor.{name}.submitted"] += 1
        return record

    def _note_counts(self, message: dict[str, Any]) -> None:
        of, counts = message["of"], message["counts"]
        for name, number in counts.items():
            self._told[f"sensor.{of}.{_COUNTED.get(name, name)}"] = number

    def _note_restart(self, message: dict[str, Any]) -> None:
        self._totals[f"sensor.{message['of']}.restarted"] += 1
        _log.warning(
            "the %s is started anew: %s; it sees nothing for %.1f s",
            message["of"],
            message["reason"],
            message["pause_s"],
        )

    def _note_alone(self, message: dict[str, Any]) -> None:
        self._totals["sensor.tracer.alone"] += 1
        name = message["status"].partition(b"\n")[0].partition(b"\t")[2].decode("utf-8", "backslashreplace")
        why = f"process {message['tracer']} traces it" if message["tracer"] else "the kernel refuses"
        _log.warning("process %d (%r) is not traced, only looked at: %s", message["tgid"], name, why)


def _places() -> tuple[str, str]:
    """Return where the children find this package, and the one library that they need."""
    library = importlib.util.find_spec("inotify_simple")
    ours = str(Path(__file__).parents[3])
    return ours, str(Path(library.origin).parent) if library and library.origin else ours


_KINDS = {
    "exec": "process_exec",
    "fork": "process_fork",
    "exit": "process_exit",
    "library": "library_map",
    "open": "file_open",
    **network_records.KINDS,
}
_COUNTED = {"events": "submitted", "dropped": "failed"}
"""Our words for what is counted of every kind."""
_NOTES = {
    "counts": UserspaceSource._note_counts,  # noqa: SLF001  # of this module
    "restarted": UserspaceSource._note_restart,  # noqa: SLF001
    "alone": UserspaceSource._note_alone,  # noqa: SLF001
}
