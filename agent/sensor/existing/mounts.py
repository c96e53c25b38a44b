"""The mounts that exist, as records of the probe `mount`.  Runs in the child.

Each mount namespace is looked at through the oldest process in it, which is then
the actor; the host's comes first.  A namespace begins as a copy of another: what
has the same file system at the same place is told once.

Blind to: who mounted it, and by which name; namespaces without a process; mounts
outside of the root directory of that process; options of the file system.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.probes import mount
from agent.probes.header import FLAG_TRUNCATED
from agent.sensor.existing.counts import Counts
from agent.sensor.existing.mountinfo import Mounted
from agent.sensor.existing.mountinfo import mounts
from agent.sensor.existing.processes import Process
from agent.sensor.existing.processes import Processes

KIND = "mount"
MOUNTS = 4_096  # told: a host has some dozens, each container about twenty of its own
NAMESPACES = 1_024  # looked at: three for each pod of the largest node
MOUNTINFO_BYTES = 4_194_304  # of one namespace: 20,000 mounts
_SIZE = mount.RECORD.size
_ROOM = {field.name: field.size - 1 for field in mount.RECORD.fields}  # a NUL ends each name


def records(processes: Processes, counts: Counts) -> Iterator[bytes]:
    """Yield a record for each mount; what is over the limits is counted as failed."""
    told: set[Mounted] = set()
    namespaces = processes.sharing(lambda process: process.mnt_ns)
    counts.failed += len(namespaces[NAMESPACES:])
    for process, mounted in (one for members in namespaces[:NAMESPACES] for one in _seen(processes, members)):
        if mounted in told:
            counts.repeated += 1
            continue
        record = _record(processes, process, mounted) if len(told) < MOUNTS else None
        if record is None:
            counts.failed += 1
            continue
        told.add(mounted)
        yield record


def _seen(processes: Processes, members: list[Process]) -> Iterator[tuple[Process, Mounted]]:
    """Yield what the oldest of these processes that is still there has mounted."""
    texts = ((process, _mountinfo(processes, process)) for process in members)
    process, text = next(((process, text) for process, text in texts if text), (members[0], b""))
    for mounted in mounts(text):
        yield process, mounted


def _mountinfo(processes: Processes, process: Process) -> bytes:
    try:
        with processes.path(process, "mountinfo").open("rb") as file:
            return file.read(MOUNTINFO_BYTES)
    except OSError:
        return b""


def _record(processes: Processes, process: Process, mounted: Mounted) -> bytes | None:
    """Return the record of one mount, names that are too long cut; None when the process is gone."""
    names = {"source": mounted.source, "target": mounted.target, "filesystem": mounted.filesystem}
    cut = {field: name[: _ROOM[field]] for field, name in names.items()}
    header = processes.header(process, KIND, _SIZE, FLAG_TRUNCATED if cut != names else 0)
    if header is None:
        return None
    return mount.RECORD.pack(header=header, flags_raw=mounted.flags_raw, known=mount.KNOWN_ALL, **cut)
