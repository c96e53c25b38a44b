"""Hand-made events and /proc trees for the tests of enrichment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.counters import Counters
from agent.enrich.limits import Limits
from agent.enrich.processes import ProcessTable
from agent.enrich.procfs import ProcFs
from agent.model import NS_PER_TICK
from agent.model import FdDup
from agent.model import FileOpen
from agent.model import Host
from agent.model import LibraryMap
from agent.model import NetConnect
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.model import ProcessFork
from agent.model import ProcessKey
from agent.model import Socket

BOOT_AT_NS = 1_700_000_000_000_000_000
HOST_MNT, HOST_PID = 4026531841, 4026531836
OWN_MNT, OWN_PID = 4026532500, 4026532501
ID = "4f" * 32
DOCKER = f"/system.slice/docker-{ID}.scope"

HOST = Host(
    id="m", name="h", boot_id="b", kernel="6.1", architecture="x86_64", mnt_ns=HOST_MNT, pid_ns=HOST_PID
)  # fmt: skip


def header(tgid: int, started: int, **changes: Any) -> dict[str, Any]:
    """The common header of a record of process `tgid` that started at tick `started`, one second later."""
    time_ns = changes.pop("time_ns", (started + 100) * NS_PER_TICK)
    return {
        "time_ns": time_ns,
        "at_ns": BOOT_AT_NS + time_ns,
        "tgid": tgid,
        "tid": tgid,
        "started_ns": started * NS_PER_TICK + 5,
        "ns_tgid": tgid,
        "cgroup_id": 1,
        "mnt_ns": HOST_MNT,
        "pid_ns": HOST_PID,
        "uid": 0,
        "euid": 0,
        "gid": 0,
        "egid": 0,
        "result": 0,
    } | changes


def key(tgid: int, started: int) -> ProcessKey:
    return ProcessKey(tgid, started)


def executed(tgid: int, started: int, *, parent: tuple[int, int] = (0, 0), **changes: Any) -> ProcessExec:
    own = {name: changes.pop(name) for name in tuple(changes) if name in ProcessExec.__struct_fields__[14:]}
    facts = {
        "path": "/usr/bin/tool",
        "filename": "/usr/bin/tool",
        "interpreted": False,
        "args": ("tool",),
        "cwd": "/",
        "comm": "tool",
        "cgroup_path": "/system.slice/cron.service",
        "device": 1,
        "inode": 2,
        "size_bytes": 3,
        "mode_raw": 0o100755,
        "changed_at_ns": 4,
        "memfd": False,
        "unlinked": False,
        "upper": None,
    }
    lineage = {"parent_tgid": parent[0], "parent_started_ns": parent[1] * NS_PER_TICK + 5}
    return ProcessExec(**header(tgid, started, **changes), **lineage, **(facts | own))


def forked(caller: tuple[int, int], child: tuple[int, int], **changes: Any) -> ProcessFork:
    parent = changes.pop("parent", caller)
    return ProcessFork(
        **header(*caller, **{"time_ns": child[1] * NS_PER_TICK + 9} | changes),
        child_tgid=child[0],
        child_started_ns=child[1] * NS_PER_TICK + 5,
        child_ns_tgid=child[0],
        parent_tgid=parent[0],
        parent_started_ns=parent[1] * NS_PER_TICK + 5,
    )


def exited(tgid: int, started: int, **changes: Any) -> ProcessExit:
    return ProcessExit(**header(tgid, started, **changes), exit_code=0, signal=None)


def opened(tgid: int, started: int, *, inode: int, path: str = "/tmp/x", **changes: Any) -> FileOpen:
    facts = {"path": path, "device": 1, "inode": inode, "flags_raw": 1, "created": True, "upper": None}
    return FileOpen(**header(tgid, started, **changes), **facts)


def mapped(tgid: int, started: int, *, inode: int) -> LibraryMap:
    facts = {"path": "/x.so", "device": 1, "inode": inode, "size_bytes": 1, "changed_at_ns": 1}
    return LibraryMap(**header(tgid, started), **facts, memfd=False, unlinked=False, upper=None)


def connected(tgid: int, started: int, *, cookie: int) -> NetConnect:
    facts = {"protocol": 6, "remote_address": "192.0.2.1", "remote_port": 443, "connected": True}
    return NetConnect(**header(tgid, started), **facts, cookie=cookie)


def tcp(cookie: int | None) -> Socket:
    return Socket(
        protocol=6,
        local_address="192.0.2.2",
        local_port=1,
        remote_address="192.0.2.1",
        remote_port=443,
        cookie=cookie,
    )


def duplicated(tgid: int, started: int, *, cookie: int | None) -> FdDup:
    return FdDup(**header(tgid, started), old_fd=3, new_fd=0, socket=tcp(cookie))


class Tree:
    """A made-up proc file system below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/kernel/random").mkdir(parents=True)
        (root / "sys/kernel/random/boot_id").write_text("0e89343e-02fe-4b05-bbce-c0e4104c31ee\n")

    def add(self, tgid: int, started: int, *, parent: int = 0, comm: bytes = b"tool", **changes: Any) -> Path:
        """Add a process; `changes`: exe, cwd, args, environ, status, cgroup, mnt, pid."""
        home = self.root / str(tgid)
        (home / "ns").mkdir(parents=True, exist_ok=True)
        (home / "stat").write_bytes(stat_text(tgid, started, parent, comm))
        (home / "status").write_bytes(
            changes.get("status", b"Name:\ttool\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNStgid:\t%d\n" % tgid)
        )
        (home / "cgroup").write_bytes(changes.get("cgroup", b"0::/system.slice/cron.service\n"))
        (home / "cmdline").write_bytes(changes.get("args", b"tool\0"))
        (home / "environ").write_bytes(changes.get("environ", b""))
        link(home / "ns/mnt", f"mnt:[{changes.get('mnt', HOST_MNT)}]")
        link(home / "ns/pid", f"pid:[{changes.get('pid', HOST_PID)}]")
        link(home / "exe", changes.get("exe", "/usr/bin/tool-that-is-not-there"))
        link(home / "cwd", changes.get("cwd", "/"))
        return home

    def procfs(self) -> ProcFs:
        return ProcFs(self.root, pids=self.pids, boot_at_ns=lambda: BOOT_AT_NS)

    def pids(self) -> list[int]:
        return [int(entry.name) for entry in self.root.iterdir() if entry.name.isdigit()]


def stat_text(tgid: int, started: int, parent: int = 0, comm: bytes = b"tool") -> bytes:
    fields = [b"S", b"%d" % parent, *[b"0"] * 17, b"%d" % started, *[b"0"] * 30]
    return b"%d (%b) %b\n" % (tgid, comm, b" ".join(fields))


def link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def table(tree: Tree, counters: Counters | None = None, **limits: int) -> ProcessTable:
    return ProcessTable(host=HOST, counters=counters or Counters(), procfs=tree.procfs(), limits=Limits(**limits))


def process(tgid: int, started: int = 1, **changes: Any) -> Process:
    facts = {"uuid": f"u{tgid}", "parent": None, "started_at_ns": BOOT_AT_NS}
    return Process(key=ProcessKey(tgid, started), **(facts | changes))
