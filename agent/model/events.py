"""What happened: one class per probe, its tag the name of the probe; and the values that events are made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any
from typing import NamedTuple

import msgspec

NS_PER_TICK = 10_000_000  # USER_HZ is 100 on every Linux ABI that /proc is read through


class ProcessKey(NamedTuple):
    """Identity of a process on one boot: a tgid is reused, with its start time it is not."""

    tgid: int
    started_ticks: int


class FileId(NamedTuple):
    """Identity of a file: device number as the kernel keeps it (s_dev) and inode number."""

    device: int
    inode: int


class Stdio(msgspec.Struct, frozen=True, kw_only=True):
    """What one of the descriptors 0-2 was when a program started."""

    fd: int
    """0, 1 or 2."""
    kind: str
    """`socket`, `pipe`, `file`, `tty`, `device` or `other`."""
    socket: Socket | None = None
    """Set for an internet socket only."""
    inode: int | None = None
    """Inode of the pipe or socket: who holds the other end can be found by it."""


class Socket(msgspec.Struct, frozen=True, kw_only=True):
    """An internet socket, read from `struct sock`."""

    protocol: int
    """IANA number: 6 TCP, 17 UDP."""
    local_address: str | None
    """None when the kernel has yet to choose it, as at connect; so the port."""
    local_port: int | None
    remote_address: str | None
    """None while not connected."""
    remote_port: int | None
    cookie: int | None
    """The kernel's socket cookie; None when none was ever given out for it."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every record says, from the record header; one subclass per probe.

    The actor is the process that did it, at the moment it did it.
    """

    time_ns: int
    at_ns: int
    tgid: int
    tid: int
    started_ns: int
    """Start of the process, boot clock."""
    ns_tgid: int
    """The process id as its own pid namespace knows it."""
    cgroup_id: int
    mnt_ns: int
    pid_ns: int
    uid: int
    euid: int
    gid: int
    egid: int
    result: int
    """What the system call returned; 0 where the hook has no result."""
    flags: tuple[str, ...] = ()
    """How far the record can be trusted: `truncated`, `user_memory`, `fd_shared`, `fd_raced`, `read_error`,
    `owner_unsure`, `outcome_unknown`, `sampled`, `environment_cut`;
    agent/probes/header.py says what each means. One that leaves without its secrets says `redacted`, too."""
    via: str | None = None
    """`io_uring`, or `compat` for the 32-bit system calls; None for the ordinary way, or where the hook cannot tell."""
    existing: bool = False
    """Nothing that happened, but what was there already when the agent began to watch, seen then; the actor is the
    process that has it, the oldest of several."""

    @property
    def actor(self) -> ProcessKey:
        """Return the identity of the process that acted."""
        return ProcessKey(self.tgid, self.started_ns // NS_PER_TICK)


class Aimed:
    """What events have in common that one process aimed at another."""

    __slots__ = ()
    target_tgid: int | None
    target_started_ns: int | None

    @property
    def target(self) -> ProcessKey | None:
        """Return the identity of the target, None when it is unknown."""
        if self.target_tgid is None or self.target_started_ns is None:
            return None
        return ProcessKey(self.target_tgid, self.target_started_ns // NS_PER_TICK)


class ProcessExec(Event, frozen=True, kw_only=True, tag="process_exec"):
    """A program was started (sched_process_exec): the new image, from kernel objects."""

    path: str
    """Of bprm->file, walked from the dentry up to the root of its mount tree: in a container, the container's."""
    path_in_root: str | None = None
    """As the root directory of the process has it, in a chroot; None where that is `path`, or the file is outside."""
    filename: str
    """As the caller named it; for a script, the script. The kernel's own copy."""
    interpreted: bool
    """True for a script: `path` is its interpreter and `filename` the script."""
    args: tuple[str, ...]
    """The arguments, or the first of them when `args_omitted_bytes` is not 0: then the last one may be cut."""
    args_tail: tuple[str, ...] = ()
    """The last arguments, when some in the middle were left out; the first is what the cut left of it."""
    args_omitted_bytes: int = 0
    cwd: str | None
    cwd_mnt_ns: int | None = None
    """Number of the mount namespace that the working directory is in: another than `mnt_ns` for who was left a
    descriptor from outside. None where that is mounted nowhere any more."""
    comm: str
    cgroup_path: str | None
    """Of the cgroup that says most: the unified one, else the v1 pids hierarchy."""
    parent_tgid: int
    parent_started_ns: int
    device: int
    inode: int
    size_bytes: int
    mode_raw: int
    """st_mode, so that a set-user-id program can be told."""
    changed_at_ns: int
    """ctime of the executable: no user can set it back without the clock."""
    memfd: bool
    unlinked: bool
    upper: bool | None
    """In an overlay: True when the file is in the writable layer; None when not on an overlay or unknown."""
    ld_preload: str | None = None
    ld_library_path: str | None = None
    stdio: tuple[Stdio, ...] = ()

    @property
    def file(self) -> FileId:
        """Return the identity of the executable."""
        return FileId(self.device, self.inode)


class ProcessFork(Event, frozen=True, kw_only=True, tag="process_fork"):
    """A process was made; threads are not reported. The actor is the caller of clone."""

    child_tgid: int
    child_started_ns: int
    child_ns_tgid: int
    parent_tgid: int
    """The child's real parent: not the caller under CLONE_PARENT."""
    parent_started_ns: int

    @property
    def child(self) -> ProcessKey:
        """Return the identity of the new process."""
        return ProcessKey(self.child_tgid, self.child_started_ns // NS_PER_TICK)

    @property
    def parent(self) -> ProcessKey:
        """Return the identity of its parent."""
        return ProcessKey(self.parent_tgid, self.parent_started_ns // NS_PER_TICK)


class ProcessExit(Event, frozen=True, kw_only=True, tag="process_exit"):
    """The last thread of a process ended."""

    exit_code: int | None
    """None when a signal ended it."""
    signal: int | None


class FileOpen(Event, Aimed, frozen=True, kw_only=True, tag="file_open"):
    """A regular file was created or opened for writing, or a sensitive one opened at all."""

    path: str
    path_in_root: str | None = None
    """As the root directory of the process has it, in a chroot; None where that is `path`, or the file is outside."""
    device: int
    inode: int
    flags_raw: int
    """f_flags of the open file (include/uapi/asm-generic/fcntl.h), and O_TRUNC (01000) where it was asked for."""
    created: bool
    sensitive: bool = False
    """Its name is on the list (agent/sensor/ebpf/sensitive.py, `[sensor] sensitive_files`)."""
    magic_raw: int | None = None
    """Of the file system, where the name is on the list for that one alone, and is the file's own there whatever it is
    mounted at: PROC_SUPER_MAGIC or CGROUP_SUPER_MAGIC (include/uapi/linux/magic.h)."""
    upper: bool | None
    target_tgid: int | None = None
    """Of a file below /proc/PID, the process, by whatever number it goes there; None for any other file."""
    target_started_ns: int | None = None
    user_path: str | None = None
    """The path as the caller wrote it: a second witness where the descriptor could be raced."""

    @property
    def changes(self) -> bool:
        """Return whether the file is new, emptied or may be written: one that is sensitive may be read only."""
        return self.created or bool(self.flags_raw & (os.O_ACCMODE | os.O_TRUNC))

    @property
    def file(self) -> FileId:
        """Return the identity of the file."""
        return FileId(self.device, self.inode)


class FileUnlink(Event, frozen=True, kw_only=True, tag="file_unlink"):
    """A name was taken away, of a file or of an empty directory: unlink, unlinkat or rmdir."""

    path: str | None
    """As the caller wrote it (`user_memory`), behind the directory that it is relative to as the kernel knows it.
    Links and `..` in what was written are as they were; None when it could not be read."""
    path_in_root: str | None = None
    """As the root directory of the process has it, in a chroot; None where that is `path`."""
    directory: bool


class FileRename(Event, frozen=True, kw_only=True, tag="file_rename"):
    """A file or directory was given another name: rename, renameat or renameat2.

    The names are told as that of FileUnlink is.
    """

    old_path: str | None
    old_path_in_root: str | None = None
    new_path: str | None
    """What was there before is gone, or with RENAME_EXCHANGE (2) now has the old name."""
    new_path_in_root: str | None = None
    flags_raw: int
    """RENAME_* (include/uapi/linux/fs.h)."""


class FileLink(Event, frozen=True, kw_only=True, tag="file_link"):
    """A file was given one more name, or a symbolic link was made: link, linkat, symlink or symlinkat.

    The names are told as that of FileUnlink is.
    """

    path: str | None
    """The new name."""
    path_in_root: str | None = None
    target: str | None
    """The name it had; of a symbolic link its content, as written: perhaps relative, perhaps of nothing."""
    target_in_root: str | None = None
    symbolic: bool


class FileMode(Event, frozen=True, kw_only=True, tag="file_mode"):
    """The permissions of a file were changed, or `result` says why not: chmod, fchmod, fchmodat or fchmodat2.

    What failed is told where setuid or setgid was asked for.
    """

    path: str | None
    """Of a descriptor, what the kernel calls the file; else told as that of FileUnlink is."""
    path_in_root: str | None = None
    mode_raw: int
    """Asked for: S_ISUID (0o4000), S_ISGID, S_ISVTX and the nine bits of who may do what."""


class FileOwner(Event, frozen=True, kw_only=True, tag="file_owner"):
    """A file was given another owner or group: chown, fchown, lchown or fchownat."""

    path: str | None
    """Of a descriptor, what the kernel calls the file; else told as that of FileUnlink is."""
    path_in_root: str | None = None
    uid_asked: int | None
    """As the caller's user namespace counts; None: left as it was."""
    gid_asked: int | None
    link_itself: bool
    """Where `path` is a symbolic link, that was given away, and not what it leads to."""


class FileTruncate(Event, frozen=True, kw_only=True, tag="file_truncate"):
    """A file was cut to a length, or made longer: truncate or ftruncate."""

    path: str | None
    """Of a descriptor, what the kernel calls the file; else told as that of FileUnlink is."""
    path_in_root: str | None = None
    length_bytes: int


class LibraryMap(Event, frozen=True, kw_only=True, tag="library_map"):
    """A file was mapped executable by mmap: what loading a shared library comes to.

    Told once a second for the same file, program and starting program, and the same user, in a cgroup.
    """

    path: str
    path_in_root: str | None = None
    """As the root directory of the process has it, in a chroot; None where that is `path`, or the file is outside."""
    device: int
    inode: int
    size_bytes: int
    changed_at_ns: int
    memfd: bool
    unlinked: bool
    upper: bool | None

    @property
    def file(self) -> FileId:
        """Return the identity of the mapped file."""
        return FileId(self.device, self.inode)


class MemfdCreate(Event, frozen=True, kw_only=True, tag="memfd_create"):
    """A file that exists in memory only was made."""

    name: str
    """From the dentry, without the kernel's `memfd:` prefix."""
    flags_raw: int
    """MFD_* (include/uapi/linux/memfd.h)."""
    device: int
    inode: int


class FdDup(Event, frozen=True, kw_only=True, tag="fd_dup"):
    """An internet socket was put on descriptor 0, 1 or 2 by dup, dup2, dup3 or fcntl."""

    old_fd: int
    new_fd: int
    socket: Socket


class NetConnect(Event, frozen=True, kw_only=True, tag="net_connect"):
    """A TCP or UDP socket was told where to send: connect, or the first sendto of a destination."""

    protocol: int
    """IANA number: 6 TCP, 17 UDP."""
    remote_address: str
    remote_port: int
    cookie: int
    connected: bool
    """True for connect(), False for a datagram sent without one."""


class DnsQuery(Event, frozen=True, kw_only=True, tag="dns_query"):
    """A DNS question left this host, over UDP or TCP, to any resolver. The actor is who asked."""

    name: str
    """As asked, lower-cased, without the trailing dot; bytes outside printable ASCII are escaped."""
    type_raw: int
    """QTYPE (RFC 1035 3.2.2, IANA registry)."""
    transaction: int
    protocol: int
    """IANA number of the transport: 6 or 17."""
    remote_address: str
    remote_port: int
    local_address: str
    local_port: int
    cookie: int | None


class Ptrace(Event, Aimed, frozen=True, kw_only=True, tag="ptrace"):
    """One process began to watch, read or change another, or tried to: `result` tells.

    Told once a second for the same caller, request, target and outcome.
    """

    request_raw: int
    """PTRACE_* (include/uapi/linux/ptrace.h). The target of PTRACE_TRACEME (0) is the caller itself."""
    target_number: int
    """The thread as the caller called it: in the caller's pid namespace, and perhaps of nobody."""
    target_tgid: int | None
    """None when there was no such process once the call was over."""
    target_started_ns: int | None
    target_path: str | None
    """Of the program it runs; None for the dead and for kernel threads."""


class ProcessVm(Event, Aimed, frozen=True, kw_only=True, tag="process_vm"):
    """One process read or wrote the memory of another by process_vm_readv or writev, or tried to: `result` tells.

    `result` is the number of bytes. Told once a second for the same caller, direction, target and outcome.
    """

    direction: str
    """`read` or `write`."""
    flags_raw: int
    """The kernel refuses any but 0, so far."""
    target_number: int
    """The thread as the caller called it: in the caller's pid namespace, and perhaps of nobody."""
    target_tgid: int | None
    """None when there was no such process once the call was over."""
    target_started_ns: int | None
    target_path: str | None
    """Of the program it runs; None for the dead and for kernel threads."""


class PerfEvent(Event, Aimed, frozen=True, kw_only=True, tag="perf_event"):
    """A process asked the kernel to count or sample what it or others do, or tried to: `result` is the descriptor.

    Told once a second for the same program, event, flags and target, and for the same program, target and failure.
    """

    type_raw: int | None
    """PERF_TYPE_* (include/uapi/linux/perf_event.h), or that of a kind that this kernel numbered by itself, such as
    kprobe and uprobe: /sys/bus/event_source/devices/*/type. None when it could not be read."""
    config_raw: int | None
    """Which event of that type; of a tracepoint its id."""
    target_number: int
    """The thread as the caller called it, in the caller's pid namespace; 0 for itself, -1 for everybody. With
    PERF_FLAG_PID_CGROUP (4) the descriptor of a cgroup."""
    target_tgid: int | None
    """None for everybody and for a cgroup, and when there was no such process once the call was over."""
    target_started_ns: int | None
    on_cpu: int
    """-1: wherever the target runs."""
    flags_raw: int


class Namespaces(msgspec.Struct, frozen=True, kw_only=True):
    """The namespaces of a thread by their numbers, as in /proc/PID/ns; None for a kind that this kernel has not.

    The number of a namespace that is gone is soon that of another.
    """

    mnt: int | None
    pid_for_children: int | None
    """Of children to come: nobody's own changes."""
    time_for_children: int | None
    net: int | None
    ipc: int | None
    uts: int | None
    cgroup: int | None
    user: int | None


class ProcessNamespace(Event, Aimed, frozen=True, kw_only=True, tag="process_namespace"):
    """A running program went into other namespaces by setns, made new ones by unshare, or tried to: `result` tells.

    Told once a second for the same program and failure, or namespace gone into, and for the same thread and kinds made.
    """

    operation: str
    """`setns` or `unshare`."""
    flags_raw: int
    """As asked: CLONE_* (include/uapi/linux/sched.h); 0 lets setns take whatever namespace it is given."""
    kinds: tuple[str, ...]
    """`mnt`, `net`, ... as in /proc/PID/ns: of the namespace that setns was given, else those asked for."""
    inum: int | None
    """Number of the namespace that setns was given; None when it was given something else."""
    target_tgid: int | None
    """The process whose namespaces setns was to take, by its pidfd."""
    target_started_ns: int | None
    now: Namespaces
    """Once the call was over, whether it changed anything or not."""


class ProcessRoot(Event, frozen=True, kw_only=True, tag="process_root"):
    """A process was given another root directory, or tried to: `result` tells.

    Told once a second for the same program and directory, or failure.
    """

    operation: str
    """`chroot` or `pivot_root`."""
    path: str | None
    """Where the root is now, as the mount namespace has it and the kernel knows it; None when the call failed."""
    written: str | None
    """As the caller wrote it (`user_memory`), perhaps relative; None when it could not be read."""
    put_old: str | None
    """Where pivot_root is to put the old root, as the caller wrote it."""


class ProcessChdir(Event, frozen=True, kw_only=True, tag="process_chdir"):
    """A process went into another working directory: chdir or fchdir.

    Told once a second for the same program and directory.
    """

    path: str
    """Where it is now, as the mount namespace has it and the kernel knows it."""
    path_in_root: str | None = None
    """As the root directory of the process has it, in a chroot; None where that is `path`, or not above it."""
    path_mnt_ns: int | None = None
    """Number of the mount namespace that it is in: see ProcessExec.cwd_mnt_ns."""


class ProcessName(Event, frozen=True, kw_only=True, tag="process_name"):
    """A thread gave itself another name by prctl PR_SET_NAME; `tid` says which, the first one's is the process's.

    Told once a second for the same thread and name.
    """

    comm: str
    """The new one, of at most 15 bytes, as the kernel keeps it."""


class Userfaultfd(Event, frozen=True, kw_only=True, tag="userfaultfd"):
    """A process asked to handle page faults itself, or tried to: `result` tells, and is the descriptor.

    Told once a second for the same caller and outcome.
    """

    flags_raw: int
    """UFFD_USER_MODE_ONLY (1): faults of the kernel are not handled (include/uapi/linux/userfaultfd.h)."""


class IoUringSetup(Event, frozen=True, kw_only=True, tag="io_uring_setup"):
    """A process made a ring of io_uring, or tried to: `result` tells, and is the descriptor.

    Told once a second for the same program and outcome, and the same of the first eight flags.
    """

    entries: int
    flags_raw: int | None
    """IORING_SETUP_* (include/uapi/linux/io_uring.h), as the caller wrote them; SQPOLL (2): the kernel looks for
    requests by itself, which then come without any system call. None when they could not be read."""


class MemProtect(Event, frozen=True, kw_only=True, tag="mem_protect"):
    """Memory that was there already was made executable by mprotect or pkey_mprotect.

    Told once a second for the same program, protection and region.
    """

    start_address: int
    end_address: int
    """The first byte behind the range: whole pages."""
    protection_raw: int
    """PROT_* (include/uapi/asm-generic/mman-common.h): 7 is writable, too."""
    region: str | None
    """`stack` (the main thread's) or `heap`, where the range touches it; None elsewhere: see Surroundings.mapping."""


class Mount(Event, frozen=True, kw_only=True, tag="mount"):
    """A file system was mounted, unmounted or put elsewhere, or somebody tried: `result` tells."""

    operation: str
    """`mount`, `umount`, `move_mount`, `fsopen`, `fsconfig` or `open_tree` (only when it clones): the system call."""
    source: str | None
    """Of a mount put in place by its descriptor, its device as the kernel keeps it; else as the caller wrote it."""
    target: str | None
    """As the caller wrote it: perhaps relative."""
    filesystem: str | None
    key: str | None = None
    """What `fsconfig` sets, as the caller wrote it: `source`, for one."""
    value: str | None = None
    """What it is set to, where that is text and no secret: a password never is here."""
    whole: bool | None = None
    """Of a mount put in place by its descriptor: whether it is all of its file system, and no directory of it."""
    flags_raw: int
    """Those of the call: MS_*, MNT_*, MOVE_MOUNT_*, FSOPEN_* or OPEN_TREE_*, or the command of `fsconfig`, FSCONFIG_*
    (include/uapi/linux/mount.h); of an existing mount what it has of MS_*."""


class Kexec(Event, frozen=True, kw_only=True, tag="kexec"):
    """Another kernel was put into memory by kexec_load, or by kexec_file_load from a file, or somebody tried."""

    operation: str
    path: str | None
    path_in_root: str | None = None
    segments: int | None
    """How many pieces kexec_load was given; with 0, what was loaded before is thrown away."""
    flags_raw: int


class ModuleLoad(Event, frozen=True, kw_only=True, tag="module_load"):
    """Code was put into the kernel by init_module, or by finit_module from a file, or somebody tried."""

    operation: str
    path: str | None
    path_in_root: str | None = None
    size_bytes: int | None
    parameters: str | None
    flags_raw: int


class UserIds(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of a process, as the host counts them, and its capabilities as bits (include/uapi/linux/capability.h)."""

    uid: int
    euid: int
    suid: int
    gid: int
    egid: int
    sgid: int
    effective_raw: int
    permitted_raw: int


class UserId(Event, frozen=True, kw_only=True, tag="user_id"):
    """A running program changed its user or group ids, or its capabilities; starting one is process_exec.

    Told once a second for the same program and change: libc changes the threads of a process one by one.
    """

    old: UserIds | None
    """None for a thread that is older than the sensor and had not changed before."""
    new: UserIds


class NetListen(Event, frozen=True, kw_only=True, tag="net_listen"):
    """An internet socket was told to wait for connections; `result` says whether it does."""

    fd: int
    socket: Socket | None
    """None when another thread had taken the descriptor away: `fd_raced`."""


class NetBind(Event, frozen=True, kw_only=True, tag="net_bind"):
    """A TCP or UDP socket was given an address of this host, or tried to: the result is not known."""

    protocol: int
    """IANA number: 6 TCP, 17 UDP."""
    local_address: str
    local_port: int
    """0 when the kernel was left to choose."""
    cookie: int


class NetAccept(Event, frozen=True, kw_only=True, tag="net_accept"):
    """A connection was taken from a listening internet socket.

    Told once a second for the same program, local port and remote address.
    """

    fd: int
    """Of the new connection."""
    listening_fd: int | None
    """None for an existing connection."""
    socket: Socket | None
    """Of the new connection; None when another thread had taken the descriptor away: `fd_raced`."""


class NetSocket(Event, frozen=True, kw_only=True, tag="net_socket"):
    """A raw or packet socket was made, or refused: `result` is its descriptor, or why there is none."""

    family: int
    """AF_* (include/linux/socket.h): 2 IPv4, 10 IPv6, 17 packet, 44 XDP."""
    type_raw: int
    """SOCK_* (include/linux/net.h), without the flags: 3 raw, 2 datagram, 10 the old packet socket."""
    protocol: int
    """IANA number; of a packet socket the EtherType (include/uapi/linux/if_ether.h), 3 for every packet."""


class UnixConnect(Event, frozen=True, kw_only=True, tag="unix_connect"):
    """A socket of this host (AF_UNIX) was connected to another by name, or refused: `result` tells.

    Told once a second for the same program and name, each time when refused.
    """

    path: str | None
    """What the other end was bound to, as it was bound; of a refused connect what the caller wrote (`user_memory`).
    None when there was nothing to read."""
    abstract: bool
    """Whether the name is abstract: no file, its leading NUL shown as `@`."""
    type_raw: int | None
    """SOCK_*: 1 stream, 2 datagram, 5 seqpacket; None when another thread had taken the socket away: `fd_raced`."""


class DnsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a DNS answer: an address, or another name."""

    name: str
    """Whose record it is; written as that of a question."""
    type_raw: int
    """1 A, 28 AAAA, 5 CNAME."""
    ttl_s: int
    value: str
    """The address, or the name that is the true one."""


class DnsAnswer(Event, frozen=True, kw_only=True, tag="dns_answer"):
    """A DNS answer reached a socket of this host, over UDP or TCP. The actor is who asked."""

    name: str
    """As asked, lower-cased, without the trailing dot; bytes outside printable ASCII are escaped."""
    type_raw: int
    """QTYPE (RFC 1035 3.2.2, IANA registry)."""
    transaction: int
    rcode: int
    """0 no error, 3 no such name (IANA registry)."""
    answers: tuple[DnsRecord, ...] = ()
    """Its A, AAAA and CNAME records, in order; not all of them when `truncated`."""
    protocol: int
    """IANA number of the transport: 6 or 17."""
    remote_address: str
    """Of who answered; anybody can claim it over UDP."""
    remote_port: int
    local_address: str
    local_port: int
    cookie: int | None


class Throttled(Event, frozen=True, kw_only=True, tag="throttled"):
    """A cgroup (`cgroup_id`) opens so many files for writing that not all are told; once a second while it does.

    The process is the one that was first over the budget, at `since_ns`. Files that are new, programs or sensitive
    are told all the same.
    """

    since_ns: int
    """When the flood began, on the boot clock."""
    withheld: int
    """Opens that were not told since the last such event, or since it began."""


class Canary(Event, frozen=True, kw_only=True, tag="canary"):
    """The agent let a canary go: the same token comes once through each ring, every 30 seconds.

    Where its rows are, the host was watched; a gap says when it was not.
    """

    token: int
    """Drawn anew each time, so that nobody can know it before."""
    ring: str
    """`lifecycle` or `activity`: the one that this record came through."""


class AgentSignal(Event, Aimed, frozen=True, kw_only=True, tag="agent_signal"):
    """Another process sent a signal to one of the agent's own processes; the actor is the sender.

    Told once a second for the same sending program, signal, target and outcome.
    """

    signal: int
    code_raw: int
    """SI_* (include/uapi/asm-generic/siginfo.h): 0 by kill, -1 queued, -6 by tgkill; the sender may choose another
    below 0."""
    outcome: str | None
    """`delivered`, `ignored`, `already_pending`, or for want of memory `overflow_fail` or `lose_info`; None when this
    kernel has another word (TRACE_SIGNAL_*, include/trace/events/signal.h)."""
    target_tgid: int
    target_started_ns: int


class Bpf(Event, frozen=True, kw_only=True, tag="bpf"):
    """Somebody else changed what BPF has in the kernel, or tried to: `result` tells, and is a new descriptor.

    Writes into maps, and what fails, are told once a second for the same program, object and outcome.
    """

    operation: str
    """`map_create`, `map_update`, `map_delete`, `map_freeze`, `map_open` (only of a map of ours), `program_load`,
    `program_attach`, `program_detach`, `raw_tracepoint_open`, `link_create`, `link_update` or `link_detach`."""
    ours: bool
    """Whether the map, program or link is one of this agent's."""
    map_id: int | None
    map_type_raw: int | None
    """BPF_MAP_TYPE_* (include/uapi/linux/bpf.h)."""
    map_name: str | None
    program_id: int | None
    """None for a program that was refused."""
    program_type_raw: int | None
    """BPF_PROG_TYPE_*."""
    program_name: str | None
    attach_type_raw: int | None
    """BPF_* of enum bpf_attach_type: what the program was loaded for, or what the caller asked for."""
    link_id: int | None
    link_type_raw: int | None
    """BPF_LINK_TYPE_*."""
    function: str | None
    """The kernel's function or raw tracepoint that the program hangs on."""


def facts(event: Event) -> dict[str, Any]:
    """Return the fields an event adds to the common header, by name."""
    names, values = _own_fields(type(event))
    return dict(zip(names, values(event), strict=True))


@cache
def _own_fields(event_class: type[Event]) -> tuple[tuple[str, ...], Callable[[Event], tuple[Any, ...]]]:
    """Return the names of the fields that a class adds to the header, and what reads them all."""
    names = tuple(name for name in event_class.__struct_fields__ if name not in Event.__struct_fields__)
    if len(names) == 1:  # attrgetter returns no tuple then
        return names, lambda event: (getattr(event, names[0]),)
    return names, attrgetter(*names)
