"""The eBPF source: opened by the loader child, read here, in time order.

Two rings are merged.  A round notes the boot clock, empties lifecycle, then
activity, and releases what is stamped no later than that note: whatever came
before a lifecycle record that we hold has then been read too, so a write is
never seen after the exec it led to.  What is younger waits for the next round.

A thread of its own reads, so that a slow moment downstream does not fill the
rings; it stops reading when QUEUE_BYTES wait, and what the kernel then cannot
reserve is counted there.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from itertools import chain
from typing import Any

from agent import probes as declarations
from agent.model import ProbeStatus
from agent.probes.declaration import Probe
from agent.sensor.ebpf import canary
from agent.sensor.ebpf import child
from agent.sensor.ebpf import guarding
from agent.sensor.ebpf import memory
from agent.sensor.ebpf import ourselves
from agent.sensor.ebpf import owners
from agent.sensor.ebpf import requirements
from agent.sensor.ebpf import ring
from agent.sensor.ebpf import sensitive
from agent.sensor.ebpf.compat import CompatLane
from agent.sensor.ebpf.compat import When
from agent.sensor.ebpf.floods import Floods
from agent.sensor.existing import scan
from agent.sensor.source import Harm

LIFECYCLE_BYTES = 2 << 20  # 500 execs (4 KiB reserved each): what two cores start while the reader is held up 300 ms
ACTIVITY_BYTES = 1 << 20  # 728 of the longest record (file_open, 1.4 KiB)
QUEUE_BYTES = 4 << 20  # records wait here at their true length, 240 bytes on average: twice what the rings hold
ROOMY_BYTES = 256 << 20  # the compiler and the child that looks at what exists, side by side, with as much to spare
POLL_RECORDS = 1024  # given out at once: some 70 ms of work for the stages behind
ROUND_RECORDS = 4096
ACTIVITY_PERIOD_S = 0.1  # how stale activity may get: the finding budget is 250 ms
HELD_PERIOD_S = 0.005
DETACHING_THREADS = 16  # each detachment waits for a grace period of RCU, some 40 ms: they wait side by side
BUSY_PAUSE_S = 0.010  # between rounds when there is much: each costs two switches of task, and a round of the pipeline
SWITCHED_OFF = "switched off in [sensor] disabled_kinds"
_LOSSES = ("submitted", "repeated", "failed", "truncated", "read_error", "throttled")
_TIME_BYTES = slice(0, 8)  # record_header.time_ns


@dataclass(frozen=True)
class Options:
    """How to open the source."""

    python: str | None = None
    """Interpreter that has bcc; None looks for one."""
    probes: tuple[Probe, ...] = field(default_factory=declarations.load)
    own_tgids: tuple[int, ...] = ()
    """Processes that belong to us and are left out; this one always is."""
    existing: bool = False
    """Whether to tell first what was there already."""
    sensitive_files: tuple[str, ...] = ()
    """PARENT/LEAF, beside those that are known."""
    disabled: frozenset[str] = frozenset()
    """Kinds that are switched off from the start."""
    lifecycle_bytes: int = LIFECYCLE_BYTES
    activity_bytes: int = ACTIVITY_BYTES
    compat: When = "off"
    """Whether calls of i386 are looked at: that costs every call of the host some time."""


class EbpfSource:
    """Records of this host from eBPF probes; see agent.sensor.source.Source."""

    def __init__(self, options: Options | None = None) -> None:
        """Keep `options`; nothing is loaded before open()."""
        self._options = options or Options()
        self._compat = CompatLane(self._options.compat, self._options.probes)
        self._slots: dict[str, int] = {}
        self._fds: list[int] = []
        self._maps: dict[str, int] = {}
        self._held: list[bytes] = []
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._changed = threading.Condition()
        self._totals: dict[str, int] = {}
        self._read_records = 0
        self._existing: scan.Scan | None = None
        self._existing_totals: dict[str, int] = {}
        self._has_canary = False
        self._guard: guarding.Guard | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="ring-reader", daemon=True)

    def open(self) -> tuple[ProbeStatus, ...]:
        """Load, attach and begin to read.  Raises HostUnsupported when nothing can be loaded."""
        requirements.require_permission()
        if self._options.existing:
            self._existing = scan.Scan(scan.EARLY if memory.room_bytes() >= ROOMY_BYTES else scan.LATE)
        self._library = ring.load_library()
        python = child.interpreter_with_bcc(self._options.python)
        page = os.sysconf("SC_PAGE_SIZE")
        pages = (self._options.lifecycle_bytes // page, self._options.activity_bytes // page)
        self._compat.prepare(python)
        loaded = child.load(python, child.request(self._options.probes, *pages))
        self._fds = loaded.fds
        self._slots = loaded.answer["slots"]
        self._maps = {name: loaded.fds[index] for name, index in loaded.answer["maps"].items()}
        own_tgids = {os.getpid(), *self._options.own_tgids, *self._children()}
        self._tell_kernel(own_tgids)
        self._lifecycle = ring.Ring(self._library, self._maps["lifecycle"], round_records=ROUND_RECORDS)
        self._activity = ring.Ring(self._library, self._maps["activity"], round_records=ROUND_RECORDS)
        self._floods = Floods(self._library, self._maps["floods"], self._slots.keys() - self._options.disabled)
        self._compat.start(self._maps)
        self._thread.start()
        self._guard = guarding.Guard(guarding.held_by(loaded.answer, loaded.fds), self._maps, own_tgids, self._told)
        statuses = tuple(self._unless_off(_status(entry)) for entry in loaded.answer["probes"])
        self._has_canary = any(status.name == canary.PROBE and status.attached for status in statuses)
        if self._existing is not None:
            self._existing.ask({probe.name for probe in self._options.probes} - self._options.disabled, own_tgids)
        return statuses

    def switch(self, kind: str, *, on: bool) -> None:
        """Have the kernel make records of a kind again, or none from now on; what is in the rings still comes."""
        slot, off = (number.to_bytes(4, sys.byteorder) for number in (self._slots[kind], int(not on)))
        self._told.write(("policy", slot), off, Harm(kind, "its switch in the kernel was turned", mended=True))

    def _unless_off(self, status: ProbeStatus) -> ProbeStatus:
        if status.name not in self._options.disabled or not status.attached:
            return status
        return ProbeStatus(name=status.name, attached=False, reason=SWITCHED_OFF)

    def await_compat(self, timeout_s: float) -> str:
        """Wait until the second load is over; return why calls of i386 cannot be seen, '' when they can."""
        return self._compat.wait(timeout_s)

    def _tell_kernel(self, own_tgids: set[int]) -> None:
        for tgid in own_tgids:
            ring.put_key(self._library, self._maps["own_tgids"], tgid)
        ourselves.claim(self._library, self._maps["own_objects"])
        self._told = guarding.Told(self._library, self._maps)
        for kind in self._slots:
            self.switch(kind, on=kind not in self._options.disabled)
        changed = Harm("file_open", "the list of sensitive files was changed", mended=True)
        for name, rows in sensitive.tables(self._options.sensitive_files).items():
            for key, value in rows.items():
                self._told.write((name, key), value, changed)

    def poll(self, timeout_s: float) -> list[bytes]:
        """Return the records that are ready, oldest first, and before all others what was there already."""
        if self._existing is not None:
            return self._poll_existing(self._existing, timeout_s)
        with self._changed:
            if not self._queue:
                self._changed.wait(timeout_s)
            records, self._queue = self._queue[:POLL_RECORDS], self._queue[POLL_RECORDS:]
            self._queued_bytes -= sum(map(len, records))
            self._changed.notify_all()
        return records

    def _poll_existing(self, existing: scan.Scan, timeout_s: float) -> list[bytes]:
        if not existing.is_over(timeout_s):
            return []
        records = existing.records(POLL_RECORDS)
        self._existing_totals = existing.counters()
        if records:
            if self._maps:  # not closed meanwhile
                owners.remember(self._library, self._maps["socket_owners"], records)
            return records
        self._existing = None
        return self.poll(0.0)

    def let_go(self, token: int) -> bool:
        """Let a canary go, whose records come through every ring; False when nothing listens for it."""
        if not self._has_canary or not self._maps:
            return False
        canary.let_go(token)
        return True

    def look_after(self) -> list[Harm]:
        """Look whether all hooks are attached and nobody else is left out; [] when closed."""
        return self._guard.look() if self._guard is not None and self._maps else []

    def counters(self) -> dict[str, int]:
        """Return the kernel's loss counters, by probe, how many records were read, and what was there already."""
        if not self._maps:
            return self._totals | self._existing_totals
        totals = self._existing_totals | {"reader.records": self._read_records}
        for name, slot in self._slots.items():
            values = ring.read_u64s(self._library, self._maps["losses"], slot, len(_LOSSES))
            totals.update({f"sensor.{name}.{what}": value for what, value in zip(_LOSSES, values, strict=True)})
        return totals | self._floods.counters() | self._compat.counters()

    def close(self) -> None:
        """Detach everything, and read what it had reported: `poll` gives that out, and the counters are final."""
        if self._existing is not None:
            self._existing.close()
        self._compat.close()
        if not self._maps:
            return
        maps = set(self._maps.values())
        hooks = [fd for fd in self._fds if fd not in maps]
        with ThreadPoolExecutor(DETACHING_THREADS) as threads:
            list(threads.map(os.close, hooks))
        self._fds = [fd for fd in self._fds if fd in maps]
        if self._thread.ident is not None:
            self._read_to_the_end()
        self._totals = self.counters()
        for fd in self._fds:
            os.close(fd)
        self._fds, self._maps = [], {}

    def _children(self) -> set[int]:
        existing = None if self._existing is None else self._existing.tgid
        return {tgid for tgid in (existing, self._compat.loader_tgid) if tgid is not None}

    def _read_to_the_end(self) -> None:
        """Stop the thread and empty the rings, when nothing can come any more."""
        ring.await_programs()
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        self._enqueue(self._rest())
        self._lifecycle.close()
        self._activity.close()

    def _read(self) -> None:
        with select.epoll() as ready:
            ready.register(self._maps["lifecycle"], select.EPOLLIN)
            ready.register(self._maps["activity"], select.EPOLLIN)
            ended_s = 0.0
            while not self._closing.is_set():
                self._wait_for_room()
                self._say_waiting(1)
                ready.poll(HELD_PERIOD_S if self._held else ACTIVITY_PERIOD_S)
                self._say_waiting(0)
                if time.monotonic() - ended_s < BUSY_PAUSE_S:
                    time.sleep(BUSY_PAUSE_S)  # a start after a quiet moment does not come here: it is read at once
                self._enqueue(self._round())
                ended_s = time.monotonic()

    def _say_waiting(self, waits: int) -> None:
        """Say to the kernel whether a record has to wake us; what came before we wait ends the waiting at once."""
        ring.put(self._library, self._maps["reader_waits"], bytes(4), waits.to_bytes(4, sys.byteorder))

    def _round(self) -> list[bytes]:
        """Return what can be released now, oldest first, and hold the rest."""
        watermark_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        lifecycle, emptied = self._lifecycle.drain()
        activity, _ = self._activity.drain()
        if not emptied:
            watermark_ns = _time_ns(lifecycle[-1])
        records = sorted(chain(self._held, lifecycle, activity, self._floods.records(watermark_ns)), key=_time_ns)
        released = [record for record in records if _time_ns(record) <= watermark_ns]
        self._held = records[len(released) :]
        return released

    def _rest(self) -> list[bytes]:
        """Return all that is left, oldest first."""
        records, emptied = self._held, False
        while not emptied:
            lifecycle, no_more_lifecycle = self._lifecycle.drain()
            activity, no_more_activity = self._activity.drain()
            records = records + lifecycle + activity
            emptied = no_more_lifecycle and no_more_activity
        self._held = []
        records += self._floods.records(time.clock_gettime_ns(time.CLOCK_BOOTTIME), at_once=True)
        return sorted(records, key=_time_ns)

    def _wait_for_room(self) -> None:
        with self._changed:
            while self._queued_bytes > QUEUE_BYTES and not self._closing.is_set():
                self._changed.wait(ACTIVITY_PERIOD_S)

    def _enqueue(self, records: list[bytes]) -> None:
        if not records:
            return
        with self._changed:
            self._read_records += len(records)
            self._queue += records
            self._queued_bytes += sum(map(len, records))
            self._changed.notify_all()


def _time_ns(record: bytes) -> int:
    return int.from_bytes(record[_TIME_BYTES], "little")


def _status(entry: dict[str, Any]) -> ProbeStatus:
    return ProbeStatus(**{name: value for name, value in entry.items() if name != "hooks"})
