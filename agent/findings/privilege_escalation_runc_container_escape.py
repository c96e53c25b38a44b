"""A process in a container changed the host's container runtime, or works in a directory of the host.

Whoever overwrites or replaces runc has his code run as root on the host with the next container (CVE-2019-5736).
Whoever is left a descriptor from outside by runc, and goes there, has the host's files before him (CVE-2024-21626).
The runtime is known by its inode, the directory by its mount namespace: no path and no name matter.

Noise: containers that install or upgrade the runtime of their node; debuggers that give a container their directory.
Blind to: a runtime that was installed and not started since; files of the host that are opened through a descriptor
without going there; an open that is refused.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._escape_examples import process_chdir
from agent.findings._examples import CONTAINER_MNT_NS
from agent.findings._examples import HOST_MNT_NS
from agent.findings._examples import executable
from agent.findings._examples import file_open
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._examples_files import file_rename
from agent.findings._examples_files import file_unlink
from agent.model import Context
from agent.model import Evidence
from agent.model import FileOpen
from agent.model import FileRename
from agent.model import FileUnlink
from agent.model import ProcessChdir
from agent.model import ProcessExec
from agent.model import Severity

NAME = "PrivilegeEscalation:Runtime/RuncContainerEscape"


Watched = FileOpen | FileRename | FileUnlink | ProcessChdir | ProcessExec


def match(event: Watched, context: Context) -> Evidence | None:
    """Return the runtime that was opened or replaced, or the directory of the host."""
    if context.container is None:
        return None
    evidence = _outside(event, context) if isinstance(event, ProcessChdir | ProcessExec) else _changed(event, context)
    if evidence is None:
        return None
    return None if context.benign.excuse(NAME, event, context) is not None else evidence


def _changed(event: FileOpen | FileRename | FileUnlink, context: Context) -> Evidence | None:
    runtime = context.runtime
    if runtime is None or (isinstance(event, FileOpen) and not event.changes):
        return None
    did = "opened for writing" if isinstance(event, FileOpen) else "replaced or took away"
    return Evidence(
        reason=f"a process in a container {did} {runtime.path}, a container runtime of the host",
        runc_binary_path=runtime.path,
        file_path=event.new_path if isinstance(event, FileRename) else event.path,
    )


def _outside(event: ProcessChdir | ProcessExec, context: Context) -> Evidence | None:
    """Answer for the working directory: the runtime that left it to the container is the nearest one above."""
    if isinstance(event, ProcessExec):
        where, path = event.cwd_mnt_ns, event.cwd
    else:
        where, path = event.path_mnt_ns, event.path
    if where is None or where == event.mnt_ns or where not in _namespaces_outside(context):
        return None
    starter = next((one.exe for one in context.lineage if one.container_id is None), None)
    return Evidence(
        reason=f"a process in a container works in {path}, a directory of the host",
        runc_binary_path=starter.path if starter else None,
        file_path=path,
    )


def _namespaces_outside(context: Context) -> frozenset[int | None]:
    """Return the mount namespaces of the host, and of who started the container."""
    return frozenset((context.host.mnt_ns, *(one.mnt_ns for one in context.lineage if one.container_id is None)))


_RUNC = executable("/usr/sbin/runc")
_STARTED = process("/usr/sbin/runc", container_id=None, mnt_ns=4026532999)
_INSIDE = process("/bin/sh", mnt_ns=4026533000)
_LEFT = process_chdir(path="/sys/fs/cgroup", path_mnt_ns=HOST_MNT_NS)

FINDING: FindingType[Watched] = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1611",
    title="{process} may have left its container by the container runtime {place}",
    on=(FileOpen, FileRename, FileUnlink, ProcessChdir, ProcessExec),
    match=match,
    examples=(
        fires(
            "overwrites runc",
            file_open("/usr/sbin/runc"),
            in_container(runtime=_RUNC),
            shows={"runc_binary_path": "/usr/sbin/runc", "file_path": "/usr/sbin/runc"},
        ),
        fires(
            "overwrites runc by another path",
            file_open("/x"),
            in_container(runtime=_RUNC),
            shows={"runc_binary_path": "/usr/sbin/runc", "file_path": "/x"},
        ),
        fires(
            "replaces runc",
            file_rename("/mnt/x", "/mnt/runc"),
            in_container(runtime=_RUNC),
            shows={"runc_binary_path": "/usr/sbin/runc", "file_path": "/mnt/runc"},
        ),
        fires(
            "takes runc away",
            file_unlink("/mnt/runc"),
            in_container(runtime=_RUNC),
            shows={"file_path": "/mnt/runc"},
        ),
        fires(
            "goes to a directory of the host",
            _LEFT,
            in_container(lineage=(_INSIDE, _STARTED)),
            shows={"runc_binary_path": "/usr/sbin/runc", "file_path": "/sys/fs/cgroup"},
        ),
        fires("goes there, and nobody knows from where", _LEFT, in_container(), shows={"runc_binary_path": None}),
        fires(
            "goes to a directory of a runtime with a namespace of its own",
            process_chdir(path_mnt_ns=_STARTED.mnt_ns),
            in_container(lineage=(_INSIDE, _STARTED)),
        ),
        fires(
            "is started in a directory of the host",
            process_exec(cwd="/sys/fs/cgroup", cwd_mnt_ns=HOST_MNT_NS),
            in_container(),
            shows={"file_path": "/sys/fs/cgroup"},
        ),
        silent("writes another file", file_open("/usr/sbin/runc"), in_container()),
        silent("puts another runc in its own place", file_rename("/x", "/usr/sbin/runc"), in_container()),
        silent("reads runc", file_open("/usr/sbin/runc", flags_raw=0), in_container(runtime=_RUNC)),
        silent("an upgrade of runc on the host", file_open("/usr/sbin/runc"), on_host(runtime=_RUNC)),
        silent("goes to a directory of its own", process_chdir(), in_container()),
        silent("is started in a directory of its own", process_exec(cwd_mnt_ns=CONTAINER_MNT_NS), in_container()),
        silent("goes to a directory of nobody", process_chdir(path_mnt_ns=None), in_container()),
        silent(
            "goes to a directory of nobody, by whom nothing is known",
            process_chdir(path_mnt_ns=None, mnt_ns=0),
            in_container(lineage=(process(container_id=None, mnt_ns=None),)),
        ),
        silent(
            "goes to a directory of a namespace that it made",
            process_chdir(path_mnt_ns=_INSIDE.mnt_ns),
            in_container(lineage=(_INSIDE, _STARTED)),
        ),
        silent(
            "shares the host's namespace",
            process_chdir(path_mnt_ns=HOST_MNT_NS, mnt_ns=HOST_MNT_NS),
            in_container(),
        ),
        silent("goes anywhere on the host", process_chdir(path_mnt_ns=HOST_MNT_NS), on_host()),
    ),
)
