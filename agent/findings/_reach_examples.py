"""Builders for examples about reaching into other processes and about rights."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agent.findings._examples import AT_START
from agent.findings._examples import executable
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._network_examples import net_connect
from agent.model import Event
from agent.model import Process
from agent.model import ProcessKey
from agent.model import ProcessVm
from agent.model import Ptrace
from agent.model import Stdio
from agent.model import UserId
from agent.model import UserIds
from agent.model import Wire

_EXEC = process_exec()
_HEADER: dict[str, Any] = {field: getattr(_EXEC, field) for field in Event.__struct_fields__}
_NOBODY = UserIds(
    uid=65534, euid=65534, suid=65534, gid=65534, egid=65534, sgid=65534, effective_raw=0, permitted_raw=0
)
_USER_ID = UserId(**_HEADER, old=_NOBODY, new=replace(_NOBODY, uid=0, euid=0, suid=0))
_TARGET = replace(
    process(),
    key=ProcessKey(777, 1_000),
    uuid="0d6f2f0a-0000-5000-8000-000000000777",
    parent=ProcessKey(1, 5),
    started_at_ns=AT_START,
    container_id=None,
)
_AIMED: dict[str, Any] = {
    "target_number": _TARGET.key.tgid,
    "target_tgid": _TARGET.key.tgid,
    "target_started_ns": _TARGET.key.started_ticks * 10_000_000,
    "target_path": "/usr/sbin/sshd",
}
_PTRACE = Ptrace(**_HEADER, **_AIMED, request_raw=16)
_PROCESS_VM = ProcessVm(**_HEADER, **_AIMED, direction="write", flags_raw=0)


def ptrace(request_raw: int, **changes: Any) -> Ptrace:
    """Return a request that was made of `target()` by ptrace."""
    return replace(_PTRACE, request_raw=request_raw, **changes)


def process_vm(**changes: Any) -> ProcessVm:
    """Return a write into the memory of `target()`."""
    return replace(_PROCESS_VM, **changes)


def user_id(old: UserIds | None = _NOBODY, **new: int) -> UserId:
    """Return a change of ids from nobody's, `old`, to root's but for those that are given."""
    return replace(_USER_ID, old=old, new=replace(_USER_ID.new, **new))


def nobody(**changes: int) -> UserIds:
    """Return the ids of a user without rights."""
    return replace(_NOBODY, **changes)


def target(**changes: Any) -> Process:
    """Return the process that others are aimed at: no relative of the one that acts."""
    return replace(_TARGET, **{"exe": executable("/usr/sbin/sshd"), "name": "sshd", **changes})


def wired(*options: str, kind: str = "tty", apart_ns: int = 0) -> Wire:
    """Return the connection that a shell, the process that acts, hangs on by way of `target()`."""
    ends = tuple(Stdio(fd=fd, kind=kind, inode=3) for fd in (0, 1, 2))
    shell = process("/bin/bash", args=("bash", *options), stdio=ends)
    return Wire(shell=shell, holder=target(), kind=kind, connect=net_connect("198.51.100.7"), apart_ns=apart_ns)
