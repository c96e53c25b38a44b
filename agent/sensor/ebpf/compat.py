"""The compat lane: what 32-bit programs and `int 0x80` call, seen by one program on every call of the host.

Classic tracepoints skip these calls.  The raw tracepoint `sys_exit` has them,
and costs every system call of the host something while a program is attached
to it.  So the probes are compiled a second time, for the calls of i386, once the
others are at work; and `auto` attaches them only while a 32-bit program runs.
Attaching is one system call; compiling then would take seconds, more than
many a program lives.

Blind to: what is done until the second load is over; with `auto`, to what the
first 32-bit program does before the agent has heard of it, milliseconds, and to
`int 0x80` in a program of x86-64 while no 32-bit program runs.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import struct
import threading
import time
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from typing import Literal

from agent.errors import HostUnsupported
from agent.probes.declaration import Hook
from agent.probes.declaration import Lane
from agent.probes.declaration import Probe
from agent.sensor.ebpf import canary
from agent.sensor.ebpf import child
from agent.sensor.ebpf import i386
from agent.sensor.ebpf import ourselves
from agent.sensor.ebpf import ring

When = Literal["auto", "always", "off"]
LINGER_S = 30.0  # a build or a script starts 32-bit programs one after the other: the next is then seen whole
LOOK_S = 1.0  # between two looks at whether one still runs
_DISPATCHER = "compat_dispatch"
_WATCHERS = (
    Hook("compat_exec", "raw_tracepoint", "sched_process_exec"),
    Hook("compat_fork", "raw_tracepoint", "sched_process_fork"),
    Hook("compat_exit", "raw_tracepoint", "sched_process_exit"),
)
"""What knows whether a 32-bit program runs."""
_TRACEPOINT = "syscalls:sys_exit_"
_VSYSCALL32 = Path("/proc/sys/abi/vsyscall32")  # there where the kernel was built with IA32_EMULATION
_ELF_START = struct.Struct("<4sB13xH")  # magic, class, machine: include/uapi/linux/elf.h
_I386_MACHINES = (3, 6)  # EM_386, EM_486

_log = logging.getLogger(__name__)


def absent() -> str:
    """Return why there is nothing that the lane could see here, '' when there is."""
    if os.uname().machine != "x86_64":
        return f"unseen: there is no way to watch 32-bit programs on {os.uname().machine} yet"
    return "" if _VSYSCALL32.exists() else "this kernel runs none (IA32_EMULATION)"


def in_compat(probe: Probe) -> Probe:
    """Return the probe as the lane has it: a hook for each number of i386 by which its calls are made."""
    if probe.name == canary.PROBE:
        return replace(probe, lanes=())
    calls = [(hook.function, _call(hook)) for hook in probe.lanes[0].hooks]
    hooks = tuple(
        Hook(function, "program_array", f"compat_calls:{number}")
        for function, call in calls
        for number in i386.numbers(call)
    )
    return replace(probe, lanes=(Lane("compat", hooks),) if hooks else ())


def request(probes: tuple[Probe, ...], when: When) -> dict[str, Any]:
    """Return the request for the second load, to be made with the maps of the first."""
    wanted = child.request(tuple(map(in_compat, probes)), 1, 1)
    prelude = {}
    for name, text in wanted["prelude"].items():
        prelude[name] = text
        if name == "prelude_calls.c":
            wanted["defines"] |= i386.defines(text)
            prelude["prelude_compat.c"] = (child.sources_directory() / "prelude_compat.c").read_text(encoding="utf-8")
    # No call of i386 is handed on by io_uring: its half of each probe is left out.
    wanted["defines"] |= {"COMPAT_LANE": 1, "KERNEL_HAS_io_kiocb__cmd": 0}
    watchers = [asdict(hook) for hook in _WATCHERS] if when == "auto" else []
    return {**wanted, "prelude": prelude, "held": [_DISPATCHER], "dispatchers": watchers}


def running() -> Iterator[int]:
    """Yield the number of each process that runs a 32-bit program."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and _runs_compat(int(directory.name)):
            yield int(directory.name)


def _runs_compat(tgid: int) -> bool:
    try:
        with Path(f"/proc/{tgid}/exe").open("rb") as file:
            magic, elf_class, machine = _ELF_START.unpack(file.read(_ELF_START.size))
    except (OSError, struct.error):  # it has ended, or has no program
        return False
    return magic == b"\x7fELF" and elf_class == 1 and machine in _I386_MACHINES


def _call(hook: Hook) -> str:
    """Return the system call at whose end a hook is, '' when it is none."""
    is_call = hook.kind == "tracepoint" and hook.target.startswith(_TRACEPOINT)
    return hook.target[len(_TRACEPOINT) :] if is_call else ""


class CompatLane:
    """Loads the programs, and attaches them when it is time, in a thread of its own."""

    def __init__(self, when: When, probes: tuple[Probe, ...]) -> None:
        """Keep what is wanted; nothing is begun before prepare()."""
        self._when = when
        self._probes = probes
        self._given: Mapping[str, int] = {}
        self._maps: dict[str, int] = {}
        self._loader: child.Loader | None = None
        self._fds: list[int] = []
        self._told_to_close = -1
        self._dispatcher = -1
        self._link: int | None = None
        self._refused = ""
        self._decided = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def prepare(self, python: str) -> None:
        """Start the child that loads, if the lane is wanted and there is anything to see: it waits to be asked."""
        if self._when == "off" or absent() or not any(in_compat(probe).lanes for probe in self._probes):
            return
        self._loader = child.Loader(python)
        self._loader.yield_to_others()

    @property
    def loader_tgid(self) -> int | None:
        """Return the pid of that child, None when there is none."""
        return None if self._loader is None else self._loader.tgid

    def start(self, maps: Mapping[str, int]) -> None:
        """Begin to load on top of `maps`, those of the first load: both write to the same rings and tables."""
        if self._loader is None:
            return
        self._given = maps
        self._library = ring.load_library()
        self._told_to_close = os.eventfd(0)
        self._thread = threading.Thread(target=self._work, args=(self._loader,), name="compat-lane", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> str:
        """Wait until all is loaded or has failed; return why it has, '' when nothing is known against it."""
        if self._thread is not None and not self._decided.wait(timeout_s):
            return "it is not loaded yet"
        return self._refused

    def counters(self) -> dict[str, int]:
        """Return whether the programs are attached; nothing when they are not wanted."""
        return {} if self._when == "off" else {"sensor.compat_attached": int(self._link is not None)}

    def close(self) -> None:
        """Stop loading, and detach."""
        self._closing.set()
        if self._loader is not None and self._thread is not None:
            self._loader.stop()
            os.eventfd_write(self._told_to_close, 1)
            self._thread.join()
            self._fds.append(self._told_to_close)
        elif self._loader is not None:
            self._loader.close()
        self._loader = None
        self._detach()
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def _work(self, loader: child.Loader) -> None:
        try:
            with loader:
                self._take(loader.load(request(self._probes, self._when), self._given))
            if self._when == "always":
                self._attach()
            else:
                self._watch()
        except HostUnsupported as error:
            self._refused = str(error)
            if not self._closing.is_set():
                _log.warning("calls by 32-bit programs are not seen: %s", error)
        finally:
            self._decided.set()

    def _take(self, loaded: child.Loaded) -> None:
        """Keep the lane's own maps, the dispatcher and the watchers: the array holds the programs in it."""
        answer = loaded.answer
        maps = {name: loaded.fds[place] for name, place in answer["maps"].items()}
        self._maps = {name: fd for name, fd in maps.items() if name not in self._given}
        self._dispatcher = loaded.fds[answer["held"][_DISPATCHER]]
        watchers = [loaded.fds[place] for hook in answer["dispatchers"] for place in hook["fds"]]
        self._fds = [*self._maps.values(), self._dispatcher, *watchers]
        for fd in set(loaded.fds) - set(self._fds):
            os.close(fd)
        ourselves.claim(self._library, self._given["own_objects"])
        reasons = sorted({probe["reason"] for probe in answer["probes"] if probe.get("reason")})
        if reasons:
            self._refused = f"not all is seen: {'; '.join(reasons)}"
            _log.warning("calls by 32-bit programs: %s", self._refused)

    def _watch(self) -> None:
        """Attach while a 32-bit program runs, and for a while after."""
        started = ring.Ring(self._library, self._maps["compat_started"], round_records=1024)
        self._seed()
        ran_s = time.monotonic() - LINGER_S
        with select.epoll() as ready:
            ready.register(self._maps["compat_started"], select.EPOLLIN)
            ready.register(self._told_to_close, select.EPOLLIN)
            while not self._closing.is_set():
                if started.drain()[0] or ring.has_keys(self._library, self._maps["compat_programs"]):
                    ran_s = time.monotonic()
                    self._attach()
                elif time.monotonic() - ran_s >= LINGER_S:
                    self._detach()
                self._decided.set()
                ready.poll(LOOK_S if self._link is not None else None)
        started.close()

    def _seed(self) -> None:
        """Note what ran before the sensor did; what does not fit is missed once the rest has ended."""
        one = ctypes.byref(ctypes.c_uint8(1))
        programs = self._maps["compat_programs"]
        # Twice: a child of a program that was not found yet may have a number that was passed already.
        for tgid in chain(running(), running()):
            key = ctypes.byref(ctypes.c_uint32(tgid))
            self._library.bpf_update_elem(programs, key, one, 0)
            if not _runs_compat(tgid):  # it ended before there was anything to take out
                self._library.bpf_delete_elem(programs, key)

    def _attach(self) -> None:
        if self._link is not None:
            return
        link = self._library.bpf_attach_raw_tracepoint(self._dispatcher, b"sys_exit")
        if link < 0:
            raise HostUnsupported(f"raw tracepoint sys_exit: {os.strerror(-link)}")
        self._link = link

    def _detach(self) -> None:
        if self._link is not None:
            os.close(self._link)
            self._link = None
