"""What we make of it: the surroundings of an event, findings and their evidence, and whom a finding may ask."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec

from agent.model.events import Event
from agent.model.events import NetConnect
from agent.model.events import ProcessKey
from agent.model.events import Socket
from agent.model.places import EcsTask
from agent.model.places import Package
from agent.model.places import Workload
from agent.model.ruled import RuleMatch
from agent.model.subjects import Container
from agent.model.subjects import Executable
from agent.model.subjects import Host
from agent.model.subjects import Process


class Severity(Enum):
    """GuardDuty's bands; the value is the number that its sample findings use."""

    LOW = 2.0
    MEDIUM = 5.0
    HIGH = 8.0


class Sensitivity(Enum):
    """How much company a finding needs before it fires."""

    LOW = "low"
    BALANCED = "balanced"
    HIGH = "high"


class Threat(msgspec.Struct, frozen=True, kw_only=True):
    """The entry of a threat list that matched."""

    list_name: str
    entry: str
    names: tuple[str, ...] = ()
    sha256: str | None = None


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """Something else that was odd near a finding: in the lineage of its process, or in its container."""

    name: str
    """Of the oddity (agent/findings/_oddities.py), or the type of another finding."""
    reason: str
    at_ns: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a finding fired.

    `reason` is the sentence an analyst reads first. The other fields are those of
    GuardDuty's RuntimeContext (botocore model `guardduty`), with the same names in
    snake case, and what fills `service.action` and `service.evidence`.
    """

    reason: str
    modifying_process: Process | None = None
    modified_at_ns: int | None = None
    script_path: str | None = None
    library_path: str | None = None
    ld_preload_value: str | None = None
    address_family: str | None = None
    iana_protocol_number: int | None = None
    target_process: Process | None = None
    tool_name: str | None = None
    tool_category: str | None = None
    command_line_example: str | None = None
    threat_file_path: str | None = None
    file_path: str | None = None
    flags: tuple[str, ...] = ()
    domain: str | None = None
    """Asked for: becomes a DNS_REQUEST action."""
    socket: Socket | None = None
    """Becomes a NETWORK_CONNECTION action."""
    connection_direction: str | None = None
    """`INBOUND` when the socket was accepted, else `OUTBOUND`; None without a socket."""
    threats: tuple[Threat, ...] = ()
    socket_path: str | None = None
    runc_binary_path: str | None = None
    release_agent_path: str | None = None
    mount_source: str | None = None
    mount_target: str | None = None
    file_system_type: str | None = None
    module_name: str | None = None
    module_file_path: str | None = None
    module_sha256: str | None = None
    shell_history_file_path: str | None = None
    memory_regions: tuple[str, ...] = ()
    service_name: str | None = None
    file_operation: str | None = None
    """`Write`, `Delete`, `Rename`, `Link` or `Symlink`."""
    related_file_paths: tuple[str, ...] = ()
    """At most 25."""
    result: int | None = None
    """Of the system call, where the attempt is what counts: below 0 it failed, and is the negative errno."""
    severity: Severity | None = None
    """Instead of that of the type, for types whose severity is variable."""
    signals: tuple[Signal, ...] = ()
    """The company in which it fired."""
    rule: RuleMatch | None = None
    """Which fired, where it is no type of ours."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One occurrence of a finding type on this host."""

    type: str
    severity: float
    title: str
    at_ns: int
    event_kind: str
    event_time_ns: int
    """With the kind and the actor, names the event in the store."""
    process: Process
    sha256: str | None
    """Of the executable; None with `sha256_missing` saying why."""
    sha256_missing: str | None = None
    lineage: tuple[Process, ...]
    """Ancestors, parent first."""
    container: Container | None
    evidence: Evidence
    attack: str | None
    """MITRE ATT&CK technique, such as T1620; None for a rule that names none."""
    workload: Workload | None = None
    """Of Kubernetes, that the container is of; None when it is of none, or not known in time."""
    task: EcsTask | None = None
    package: Package | None = None
    """That installed the executable, of the host or of the container's image; None where none did, or nobody knows."""


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """Who last opened a file for writing, while we watched."""

    process: Process
    at_ns: int
    path: str


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound connection that a shell hangs on by way of another process, which holds it."""

    shell: Process
    holder: Process
    kind: str
    """What is between the two: `pipe`, `tty`, or a unix `socket`."""
    connect: NetConnect
    """The last connection that the holder made."""
    apart_ns: int
    """How long after one another the shell was started and the connection made, in either order."""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """What lay at an address of a process when /proc/PID/maps was read: late, after the event."""

    kind: str
    """`file` (a memfd, too), `anonymous`, or `kernel`: what it names in brackets, `[vdso]` and the like."""
    path: str | None
    """Of the file, in the mount namespace of the process, or the kernel's name with its brackets; None: anonymous."""
    start_address: int
    end_address: int


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a file that was executed, or given to what was."""

    path: str
    role: str
    """`program`, `script` or `config`: settings that the program was told to read."""
    sha256: str
    marks: tuple[str, ...] = ()
    """Names of the byte strings of known programs that it holds (agent/findings/tools.toml)."""
    changed_at_ns: int | None = None
    """ctime when it was read, which may be after it was executed."""


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a process spoke to of late over internet sockets: the 32 newest addresses each way, the newest last."""

    connected_to: tuple[str, ...] = ()
    """Those that it connected or sent datagrams to."""
    accepted_from: tuple[str, ...] = ()
    """Those of which it took connections."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What enrichment knows about an event at the moment it is looked at."""

    host: Host
    actor: Process | None
    """None when the process was gone and never seen."""
    lineage: tuple[Process, ...] = ()
    """Ancestors, parent first."""
    container: Container | None = None
    writer: Writer | None = None
    """Of the file that the event is about."""
    outbound_cookies: frozenset[int] = frozenset()
    """Those sockets of the event that we saw connecting out of this host."""
    target: Process | None = None
    """Whom the event is aimed at."""
    mapping: Mapping | None = None
    """What was made executable, where the kernel's record does not name it; None when it was gone already."""
    peers: Peers | None = None
    """Whom the actor spoke to before this; of connects and accepted connections alone."""
    asker: ProcessKey | None = None
    """Who asked before for the name that the actor, a resolver of this host, asks for or hears of."""
    siblings: tuple[Process, ...] = ()
    """Of a start of a program: what else its parent started within the minute before, the newest last, at most 16."""
    serving: Process | None = None
    """Of a program that was started: the nearest of itself and its ancestors that serves the network."""
    module: Executable | None = None
    """The file that a kernel module was loaded from, as it was at its path just afterwards."""
    runtime: Executable | None = None
    """The container runtime of this host that the file of the event is."""
    wire: Wire | None = None
    """Of a shell that was started, or a connection that was made: how the one hangs on the other."""
    led_to: tuple[tuple[str, str], ...] = ()
    """Names of the event that do not lead where they say, by links on the way, each with where it leads."""
    contents: tuple[Content, ...] = ()
    """What was executed, once it is read: later, when the event is looked at a second time."""


class Intelligence(Protocol):
    """One immutable snapshot of the threat lists."""

    def domain(self, name: str, category: str) -> Threat | None:
        """Return the entry that covers `name` (lower case, no trailing dot), matched by label suffix."""

    def address(self, address: str, category: str) -> Threat | None:
        """Return the entry, an address or a network, that covers an address; one mapped into IPv6 is IPv4."""

    def sha256(self, digest: str, category: str) -> Threat | None:
        """Return the entry for a file's SHA-256 (lower-case hexadecimal)."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a program of the host is from: root put it there, and nobody else may write it."""

    package: str | None
    """Whose it is, with that package's content; None: no package's."""


class Provenance(Protocol):
    """Knows the packages of the host."""

    def of(self, exe: Executable) -> Origin | None:
        """Return where a program is from; None when others may write it, or it is not what is at its path now."""


class Benign(Protocol):
    """Known good company, read from data."""

    def excuse(self, finding: str, event: Event, context: Context) -> str | None:
        """Return the reason why `finding` stays silent here at balanced, or None."""


class Changes(Protocol):
    """The sensitive files that were changed lately."""

    def related(self, event: Event, context: Context, path: str) -> tuple[str, ...]:
        """Return other files that relatives changed in the same place, newest first; and remember this one."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What `match` may look at beside the event: its surroundings, and the policy in force."""

    host: Host
    actor: Process
    lineage: tuple[Process, ...] = ()
    container: Container | None = None
    writer: Writer | None = None
    outbound_cookies: frozenset[int] = frozenset()
    target: Process | None = None
    mapping: Mapping | None = None
    siblings: tuple[Process, ...] = ()
    peers: Peers | None = None
    asker: ProcessKey | None = None
    serving: Process | None = None
    module: Executable | None = None
    runtime: Executable | None = None
    wire: Wire | None = None
    led_to: tuple[tuple[str, str], ...] = ()
    contents: tuple[Content, ...] = ()
    """Set at the second look alone, for types that want it."""
    intel: Intelligence
    benign: Benign
    changes: Changes
    sensitivity: Sensitivity = Sensitivity.BALANCED
