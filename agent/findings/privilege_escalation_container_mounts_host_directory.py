"""A process in a container mounted a file system of the host, or tried to.

What counts: a device's file system, by its type or by a source below /dev; cgroup v1 and devtmpfs, of which the kernel
has one for all; a bind mount or clone through the root, directory or descriptor of a process of the host. What a
container mounts for itself (tmpfs, proc, overlay, cgroup2, its own directories elsewhere) does not. Attempts count.

Noise: images that are mounted over a loop device; systemd and runc in a container on a host with cgroup v1.
Blind to: a bind mount of a volume that the container was given; names that another thread changes while the call runs;
the target of what fsopen made, until it is put in place.
"""

from __future__ import annotations

import errno

from agent.findings import _mounts
from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import mount
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.model import Context
from agent.model import Evidence
from agent.model import Mount
from agent.model import Severity

NAME = "PrivilegeEscalation:Runtime/ContainerMountsHostDirectory"


def match(event: Mount, context: Context) -> Evidence | None:
    """Return what was to be mounted where, if it is the host's."""
    if context.container is None or not _is_of_host(event, own_pids=event.pid_ns != context.host.pid_ns):
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    source = event.value if event.operation == "fsconfig" else event.source
    did = "mounted" if event.result >= 0 else "tried to mount"
    return Evidence(
        reason=f"a process in a container {did} {source or event.filesystem}",
        mount_source=source,
        mount_target=event.target,
        file_system_type=event.filesystem or None,
        flags=_mounts.words(event.flags_raw) if event.operation == "mount" else (),
        result=event.result,
    )


def _is_of_host(event: Mount, *, own_pids: bool) -> bool:
    match event.operation:
        case "mount":
            return _mounted(event, own_pids=own_pids)
        case "open_tree":
            return _mounts.is_through_process(event.source, own_pids=own_pids)
        case "move_mount":
            whole = event.whole or event.filesystem in _mounts.KERNEL_TYPES
            return bool(whole) and _mounts.is_of_host(event.filesystem, event.source)
        case "fsconfig":
            told = event.key == "source" or (event.flags_raw in _mounts.CREATE and event.result < 0)
            return told and _mounts.is_of_host(event.filesystem, event.value)
        case "fsopen":  # what succeeds is told by what follows
            return event.result < 0 and _mounts.is_of_host(event.filesystem, None)
    return False


def _mounted(event: Mount, *, own_pids: bool) -> bool:
    """Answer for mount(2), whose flags say in the order of path_mount() (fs/namespace.c) what it does."""
    flags = _mounts.flags_of(event.flags_raw)
    if flags & _mounts.MS_REMOUNT:
        return False
    if flags & _mounts.MS_BIND:
        return _mounts.is_through_process(event.source, own_pids=own_pids)
    if flags & (_mounts.MS_PROPAGATION | _mounts.MS_MOVE):
        return False
    return _mounts.is_of_host(event.filesystem, event.source)


_OF_DEVICE = mount(source="/dev/sda1", target="/mnt", filesystem="ext4", flags_raw=1)
_BOUND = mount(source="/host/proc/1/root/etc", filesystem="", flags_raw=_mounts.MS_BIND)
_HOST_PIDS = on_host().host.pid_ns
_SOURCE = mount(operation="fsconfig", key="source", value="/dev/sda1", source=None, target=None, flags_raw=1)
_MADE = mount(operation="fsconfig", source=None, target=None, flags_raw=6, result=-errno.EPERM)
_PLACED = mount(operation="move_mount", whole=True, flags_raw=4)


def _own(**changes: object) -> Mount:
    return mount(**{"source": "none", "filesystem": "tmpfs", **changes})


FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1611",
    title="{process} mounted a file system of the host {place}",
    on=Mount,
    match=match,
    examples=(
        fires(
            "a device",
            _OF_DEVICE,
            in_container(),
            shows={
                "mount_source": "/dev/sda1",
                "mount_target": "/mnt",
                "file_system_type": "ext4",
                "flags": ("MS_RDONLY",),
                "reason": "a process in a container mounted /dev/sda1",
            },
        ),
        fires(
            "a device, refused",
            mount(result=-errno.ENODEV),
            in_container(),
            shows={"reason": "a process in a container tried to mount /dev/sda1", "result": -errno.ENODEV},
        ),
        fires("a device by another name", mount(source="/x"), in_container()),
        fires("a device of an unheard-of type", mount(filesystem="auto"), in_container()),
        fires("with flags of Linux 2.2", mount(flags_raw=0xC0ED0001), in_container(), shows={"flags": ("MS_RDONLY",)}),
        fires("cgroup v1", mount(source="none", filesystem="cgroup"), in_container()),
        fires("FUSE on a device", mount(source="x", filesystem="fuseblk.ntfs-3g"), in_container()),
        fires("bound through a process of the host", _BOUND, in_container(), shows={"flags": ("MS_BIND",)}),
        fires(
            "bound through a process, with the numbers of the host",
            mount(source="//proc/1/task/1/cwd", filesystem="", flags_raw=_mounts.MS_BIND, pid_ns=_HOST_PIDS),
            in_container(),
            shows={"file_system_type": None},
        ),
        fires("cloned through a process of the host", mount(operation="open_tree", source="/x/9/fd/3"), in_container()),
        fires(
            "the new way",
            _SOURCE,
            in_container(),
            shows={"mount_source": "/dev/sda1", "file_system_type": "ext4", "mount_target": None, "flags": ()},
        ),
        fires(
            "the new way, refused when it is made",
            _MADE,
            in_container(),
            shows={"reason": "a process in a container tried to mount ext4", "mount_source": None},
        ),
        fires("the new way, refused at once", mount(operation="fsopen", result=-errno.EPERM), in_container()),
        fires("the new way, put in place", _PLACED, in_container(), shows={"mount_target": "/mnt"}),
        fires(
            "cgroup v1 the new way, in a namespace of cgroups",
            mount(operation="move_mount", source="none", filesystem="cgroup", whole=False),
            in_container(),
        ),
        silent("on the host", _OF_DEVICE, on_host()),
        silent("a file system of its own", _own(), in_container()),
        silent("a file system of its own, called like a device", _own(source="/dev/shm"), in_container()),  # noqa: S108
        silent("of a type that nobody knows", _own(filesystem="x"), in_container()),
        silent("of no type", _own(filesystem=None, source=None), in_container()),
        silent("mounted again with other flags", mount(flags_raw=_mounts.MS_REMOUNT), in_container()),
        silent("bound elsewhere", mount(source="/data", flags_raw=_mounts.MS_BIND), in_container()),
        silent("bound from nowhere", mount(source=None, flags_raw=_mounts.MS_BIND), in_container()),
        silent(
            "bound through a process of its own",
            mount(source="//proc/1/root/etc", flags_raw=_mounts.MS_BIND),
            in_container(),
        ),
        silent("made private", mount(flags_raw=0x40000), in_container()),
        silent("moved", mount(flags_raw=_mounts.MS_MOVE), in_container()),
        silent("unmounted", mount(operation="umount"), in_container()),
        silent("a directory of its own, cloned", mount(operation="open_tree"), in_container()),
        silent("a directory of its own, put in place", mount(operation="move_mount", whole=False), in_container()),
        silent("moved by its path", mount(operation="move_mount", whole=None), in_container()),
        silent("tmpfs the new way", _own(operation="move_mount", whole=True), in_container()),
        silent("another option", mount(operation="fsconfig", key="ro", flags_raw=0), in_container()),
        silent("made, after its source was told", mount(operation="fsconfig", flags_raw=6), in_container()),
        silent("an option that is refused", mount(operation="fsconfig", flags_raw=0, result=-1), in_container()),
        silent("tmpfs made in vain", _own(operation="fsconfig", flags_raw=6, result=-1), in_container()),
        silent("the source of tmpfs", _own(operation="fsconfig", key="source", value="/dev/x"), in_container()),
        silent("opened, to be set up", mount(operation="fsopen", result=3), in_container()),
        silent("opened, descriptor 0", mount(operation="fsopen"), in_container()),
        silent("tmpfs opened in vain", _own(operation="fsopen", result=-1), in_container()),
    ),
)
