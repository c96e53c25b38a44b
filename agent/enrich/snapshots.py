"""Makes `Process` values: from /proc, from an exec, a fork, or the bare header of a record.

Nothing is remembered here and no file is opened; tables decide what becomes of the values.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from operator import attrgetter

import msgspec

from agent.enrich.procfs import Facts
from agent.enrich.scripts import script_of
from agent.enrich.shells import Shells
from agent.enrich.users import UserNames
from agent.model import NS_PER_TICK
from agent.model import Event
from agent.model import Executable
from agent.model import Host
from agent.model import Process
from agent.model import ProcessExec
from agent.model import ProcessFork
from agent.model import ProcessKey

_PROCESSES = uuid.UUID("0d1f6c1e-52f7-4f5e-9c2b-7a3f4f0e6d18")  # drawn once for this purpose
_VARIANT = {digit: f"{8 | int(digit, 16) & 3:x}" for digit in "0123456789abcdef"}  # RFC 9562, 4.1

# Facts in every record header that a process can change without an exec: setuid, setns, unshare, a cgroup move.
_CREDENTIALS = attrgetter("uid", "euid", "gid", "egid")
_PLACE = attrgetter("mnt_ns", "pid_ns", "cgroup_id", "ns_tgid")


def key_of(tgid: int, started_ns: int) -> ProcessKey | None:
    """Return the identity of a process named in a record, None where the record says 0."""
    return ProcessKey(tgid, started_ns // NS_PER_TICK) if tgid else None


def cut(args: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return the first arguments, the last of them shortened, that together have at most `limit` characters."""
    if sum(map(len, args)) <= limit:
        return tuple(args)
    kept: list[str] = []
    for arg in args:
        kept.append(arg[:limit])
        limit -= len(arg)
        if limit <= 0:
            break
    return tuple(kept)


def name_of(exe: Executable | None, comm: str | None) -> str | None:
    """Return the basename of the executable, else the name that the kernel keeps."""
    base = exe.path.rpartition("/")[2] if exe is not None else ""
    return base or comm or None


class Snapshots:
    """Makes the processes of one host and boot."""

    def __init__(self, *, host: Host, users: UserNames, args_limit: int) -> None:
        boot = f"{host.id}/{host.boot_id}/"
        self._sha1 = hashlib.sha1(_PROCESSES.bytes + boot.encode(), usedforsecurity=False)
        self._users = users
        self._args_limit = args_limit
        self._shells = Shells()

    def uuid_of(self, key: ProcessKey) -> str:
        """Return the stable id: the same for the same process, boot and host, whoever asks.

        A version 5 of RFC 9562, 5.5, by hand: what uuid.uuid5 does around the hash takes ten times as long as that.
        """
        sha1 = self._sha1.copy()
        sha1.update(b"%d/%d" % key)
        text = sha1.hexdigest()
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"

    def of_facts(self, facts: Facts, parent: ProcessKey | None, boot_at_ns: int) -> Process:
        """Make a process that was there already."""
        ids = facts.ids
        started_ns = facts.key.started_ticks * NS_PER_TICK
        return Process(
            key=facts.key,
            uuid=self.uuid_of(facts.key),
            parent=parent,
            parent_uuid=None if parent is None else self.uuid_of(parent),
            exe=None if facts.exe is None else self._shells.marked(facts.exe),
            name=name_of(facts.exe, facts.comm),
            args=cut(facts.args, self._args_limit),
            cwd=facts.cwd,
            started_at_ns=boot_at_ns + started_ns,
            ns_tgid=ids.ns_tgid,
            uid=ids.uid,
            euid=ids.euid,
            gid=ids.gid,
            egid=ids.egid,
            user=self._users.of(ids.uid, facts.mnt_ns, started_ns),
            mnt_ns=facts.mnt_ns,
            pid_ns=facts.pid_ns,
            cgroup_path=facts.cgroup_path,
            ld_preload=facts.ld_preload,
            ld_library_path=facts.ld_library_path,
        )

    def of_header(self, event: Event) -> Process:
        """Make what the header of a record alone tells about who did it."""
        return Process(
            key=event.actor,
            uuid=self.uuid_of(event.actor),
            parent=None,
            started_at_ns=event.at_ns - event.time_ns + event.started_ns,
            ns_tgid=event.ns_tgid or None,
            uid=event.uid,
            euid=event.euid,
            gid=event.gid,
            egid=event.egid,
            user=self._users.of(event.uid, event.mnt_ns, event.time_ns),
            mnt_ns=event.mnt_ns or None,
            pid_ns=event.pid_ns or None,
            cgroup_id=event.cgroup_id or None,
        )

    def of_fork(self, event: ProcessFork, caller: Process | None) -> Process:
        """Make the child: a copy of the caller with an identity, a start and a parent of its own."""
        parent = event.parent
        return msgspec.structs.replace(
            self.of_header(event) if caller is None else caller,
            key=event.child,
            uuid=self.uuid_of(event.child),
            parent=parent,
            parent_uuid=caller.uuid if caller is not None and caller.key == parent else self.uuid_of(parent),
            replaced=None,
            started_at_ns=event.at_ns - event.time_ns + event.child_started_ns,
            exec_at_ns=None,
            exited_at_ns=None,
            ns_tgid=event.child_ns_tgid or None,
        )

    def of_exec(
        self, event: ProcessExec, former: Process | None, parent: ProcessKey | None, script: Executable | None = None
    ) -> Process:
        """Make the process as it is after an exec; `former` is what it was before."""
        before = self.of_header(event) if former is None else self.refreshed(former, event)
        exe = Executable(
            path=event.path,
            file=event.file,
            size_bytes=event.size_bytes,
            changed_at_ns=event.changed_at_ns,
            memfd=event.memfd,
            unlinked=event.unlinked,
            upper=event.upper,
            script_path=script_of(event),
        )
        return msgspec.structs.replace(
            before,
            parent=parent,
            parent_uuid=self._parent_uuid(parent, before),
            exe=self._shells.marked(exe),
            replaced=before.exe,
            script=script,
            name=name_of(exe, event.comm),
            args=cut(event.args, self._args_limit),
            cwd=event.cwd,
            exec_at_ns=event.at_ns,
            cgroup_path=event.cgroup_path if event.cgroup_path is not None else before.cgroup_path,
            ld_preload=event.ld_preload,
            ld_library_path=event.ld_library_path,
            environment_cut="environment_cut" in event.flags,
            stdio=event.stdio,
        )

    def refreshed(self, process: Process, event: Event) -> Process:
        """Return the process with the ids that a record of its own states; the same value if none changed."""
        if _CREDENTIALS(process) == _CREDENTIALS(event) and _PLACE(process) == _PLACE(event):
            return process
        user = self._users.of(event.uid, event.mnt_ns, event.time_ns)
        return msgspec.structs.replace(
            process,
            uid=event.uid,
            euid=event.euid,
            gid=event.gid,
            egid=event.egid,
            user=user,
            mnt_ns=event.mnt_ns or process.mnt_ns,
            pid_ns=event.pid_ns or process.pid_ns,
            cgroup_id=event.cgroup_id or process.cgroup_id,
            ns_tgid=event.ns_tgid or process.ns_tgid,
        )

    def _parent_uuid(self, parent: ProcessKey | None, before: Process) -> str | None:
        if parent is None:
            return None
        return before.parent_uuid if parent == before.parent else self.uuid_of(parent)
