"""The compat lane: what 32-bit programs and `int 0x80` call, seen by one program on every call of the host.

Classic tracepoints skip these calls.  The raw tracepoint `sys_exit` has them,
and costs every system call of the host something while a program is attached
to it.  So it is there when asked for alone: the probes are compiled a second
time, for the calls of i386, once the others are at work, and then attached.

Blind to: what is done in the seconds until the second load is over.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
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
from agent.sensor.ebpf import ring

When = Literal["always", "off"]
_DISPATCHER = "compat_dispatch"
_TRACEPOINT = "syscalls:sys_exit_"
_VSYSCALL32 = Path("/proc/sys/abi/vsyscall32")  # there where the kernel was built with IA32_EMULATION

_log = logging.getLogger(__name__)


def absent() -> str:
    """Return why nobody can make calls of i386 here, '' when they can be made."""
    if os.uname().machine != "x86_64":
        return f"{os.uname().machine} has no calls of i386"
    return "" if _VSYSCALL32.exists() else "this kernel runs no 32-bit programs (IA32_EMULATION)"


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


def request(probes: tuple[Probe, ...]) -> dict[str, Any]:
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
    return {**wanted, "prelude": prelude, "held": [_DISPATCHER]}


def _call(hook: Hook) -> str:
    """Return the system call at whose end a hook is, '' when it is none."""
    is_call = hook.kind == "tracepoint" and hook.target.startswith(_TRACEPOINT)
    return hook.target[len(_TRACEPOINT) :] if is_call else ""


class CompatLane:
    """Loads the programs in a thread of its own, and attaches them."""

    def __init__(self, when: When, probes: tuple[Probe, ...], maps: Mapping[str, int]) -> None:
        """Keep `maps`, those of the first load: both write to the same rings and tables."""
        self._when = when
        self._probes = probes
        self._maps = maps
        self._library = ring.load_library()
        self._loader: child.Loader | None = None
        self._fds: list[int] = []
        self._link: int | None = None
        self._decided = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, python: str) -> None:
        """Begin to load, if it is wanted and there is anything to see."""
        if self._when == "off" or absent():
            return
        self._loader = child.Loader(python)
        self._thread = threading.Thread(target=self._work, args=(self._loader,), name="compat-lane", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all is loaded or has failed; return whether calls of i386 are seen now."""
        self._decided.wait(timeout_s if self._thread else 0)
        return self._link is not None

    def counters(self) -> dict[str, int]:
        """Return whether the programs are attached; nothing when they are not wanted."""
        return {} if self._when == "off" else {"sensor.compat_attached": int(self._link is not None)}

    def close(self) -> None:
        """Stop loading, and detach."""
        self._closing.set()
        if self._loader and self._thread:
            self._loader.stop()
            self._thread.join()
        self._detach()
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def _work(self, loader: child.Loader) -> None:
        try:
            with loader:
                loaded = loader.load(request(self._probes), self._maps)
            self._fds = loaded.fds
            for probe in loaded.answer["probes"]:
                if not probe["attached"]:
                    _log.warning("probe %s does not see calls by 32-bit programs: %s", probe["name"], probe["reason"])
            self._attach(loaded.fds[loaded.answer["held"][_DISPATCHER]])
        except HostUnsupported as error:
            if not self._closing.is_set():
                _log.warning("calls by 32-bit programs are not seen: %s", error)
        finally:
            self._decided.set()

    def _attach(self, program: int) -> None:
        link = self._library.bpf_attach_raw_tracepoint(program, b"sys_exit")
        if link < 0:
            raise HostUnsupported(f"raw tracepoint sys_exit: {os.strerror(-link)}")
        self._link = link

    def _detach(self) -> None:
        if self._link is not None:
            os.close(self._link)
            self._link = None
