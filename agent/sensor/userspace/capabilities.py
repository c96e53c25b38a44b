"""What the source without eBPF gives, kind by kind, and what it cannot see of each.

A kind that is not named here it does not give at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from agent.model import ProbeStatus

PTRACE, POLLING, PACKETS, MAPS, SOCKETS, INOTIFY = "ptrace", "polling", "packets", "maps", "sock_diag", "inotify"
SYS_PTRACE, NET_RAW = 19, 13  # include/uapi/linux/capability.h
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_FIRST_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_NOBODY = "3"  # Yama: nobody may trace, whatever it can

NOT_GIVEN = "cannot be seen without eBPF: docs/userspace.md"
POLLED = "what starts and ends between two looks; needs SYS_PTRACE, and on a host `--sensor userspace`"


class Given(NamedTuple):
    """How a kind is seen."""

    lane: str
    needs: int | None
    """The capability without which it is not seen, or only sampled."""
    unseen: str
    """What is not seen of it; empty when it is as good as with eBPF."""


KINDS: dict[str, Given] = {
    "process_exec": Given(PTRACE, SYS_PTRACE, ""),
    "process_exit": Given(PTRACE, SYS_PTRACE, ""),
    "process_fork": Given(PTRACE, SYS_PTRACE, ""),
    "file_open": Given(
        INOTIFY, None, "files that are not sensitive, who has one open for less than 1 ms, a container's first second"
    ),
    "fd_dup": Given(MAPS, None, "a socket that is on 0, 1 or 2 for less than a quarter of a second"),
    "library_map": Given(MAPS, None, "what a process loads that ends within a second, files as old as the container"),
    "net_connect": Given(
        PACKETS, None, "UDP but DNS, TCP that never sends a packet, who held a socket for less than 1 ms"
    ),
    "net_accept": Given(PACKETS, None, "which of several processes took a connection, or whether one did"),
    "net_listen": Given(SOCKETS, None, "what listens for less than a second"),
    "dns_query": Given(PACKETS, NET_RAW, "who held a socket for less than 1 ms"),
    "dns_answer": Given(PACKETS, NET_RAW, "who asked, where that was not seen"),
}


PRICES = {
    PTRACE: "0.5 to 1 ms each start of a program, 0.1 ms each signal and thread, nothing else",
    POLLING: "2 % of a processor at most",
    PACKETS: "10 % of a processor at most, for who owns a connection",
    MAPS: "5 % of a processor at most",
    SOCKETS: "a few milliseconds a second",
    INOTIFY: "5 % of a processor at most",
}
"""What each way costs; bench/userspace.py measures the first."""


def can_trace() -> bool:
    """Tell whether we may trace processes that are not ours."""
    return holds(SYS_PTRACE) and not (_YAMA.exists() and _YAMA.read_text(encoding="ascii").strip() == _NOBODY)


def sees_a_whole_host() -> bool:
    """Tell whether the processes that we see are those of a host, rather than of a task or a container."""
    return _PID_NAMESPACE.stat().st_ino == _FIRST_NAMESPACE


def holds(capability: int) -> bool:
    """Tell whether we have a capability in effect."""
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    return int(status.partition("\nCapEff:")[2].split(maxsplit=1)[0], 16) >> capability & 1 == 1


def status(kind: str, *, tracing: bool, raw_packets: bool) -> ProbeStatus:
    """Return what becomes of a kind here."""
    given = KINDS.get(kind)
    if given is None:
        return ProbeStatus(name=kind, attached=False, reason=NOT_GIVEN)
    if given.needs == NET_RAW and not raw_packets:
        return ProbeStatus(name=kind, attached=False, reason="needs NET_RAW, which was dropped")
    if kind == "process_fork" and not tracing:
        return ProbeStatus(name=kind, attached=False, reason="needs SYS_PTRACE; the parent is told with the exec")
    if given.needs == SYS_PTRACE and not tracing:
        return ProbeStatus(name=kind, attached=True, lane=POLLING, reason=f"not seen: {POLLED}")
    return ProbeStatus(
        name=kind, attached=True, lane=given.lane, reason=f"not seen: {given.unseen}" if given.unseen else None
    )
