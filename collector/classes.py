"""Which OCSF class an event is of, and which activity of it (https://schema.ocsf.io/1.3.0/classes).

A kind that is named nowhere here is of the class that its name begins like, else a base event: a new probe needs no
line.  Names of folders are the classes' own.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

OTHER = 99
"""`activity_id` of what a class has no number for."""


class OcsfClass(NamedTuple):
    """A class of OCSF."""

    name: str
    uid: int
    category_uid: int


BASE = OcsfClass("base_event", 0, 0)
FILE = OcsfClass("file_activity", 1001, 1)
EXTENSION = OcsfClass("kernel_extension_activity", 1002, 1)
KERNEL = OcsfClass("kernel_activity", 1003, 1)
MEMORY = OcsfClass("memory_activity", 1004, 1)
MODULE = OcsfClass("module_activity", 1005, 1)
PROCESS = OcsfClass("process_activity", 1007, 1)
NETWORK = OcsfClass("network_activity", 4001, 4)
DNS = OcsfClass("dns_activity", 4003, 4)

ALL = (BASE, FILE, EXTENSION, KERNEL, MEMORY, MODULE, PROCESS, NETWORK, DNS)

_KINDS: dict[str, tuple[OcsfClass, int]] = {
    "process_exec": (PROCESS, 1),  # Launch
    "process_fork": (PROCESS, 1),
    "process_exit": (PROCESS, 2),  # Terminate
    "ptrace": (PROCESS, 3),  # Open
    "process_vm": (PROCESS, 4),  # Inject
    "user_id": (PROCESS, 5),  # Set User ID
    "fd_dup": (PROCESS, OTHER),
    "agent_signal": (PROCESS, OTHER),
    "file_open": (FILE, 14),  # Open
    "file_rename": (FILE, 5),  # Rename
    "file_unlink": (FILE, 4),  # Delete
    "file_truncate": (FILE, 3),  # Update
    "file_mode": (FILE, 7),  # Set Security
    "file_owner": (FILE, 7),
    "file_link": (FILE, 1),  # Create
    "mount": (FILE, 12),  # Mount
    "memfd_create": (MEMORY, 1),  # Allocate Page
    "mem_protect": (MEMORY, 2),  # Modify Page
    "userfaultfd": (MEMORY, OTHER),
    "library_map": (MODULE, 1),  # Load
    "module_load": (EXTENSION, 1),  # Load
    "bpf": (KERNEL, 1),  # Create
    "kexec": (KERNEL, 4),  # Invoke
    "perf_event": (KERNEL, 1),
    "io_uring_setup": (KERNEL, 1),
    "net_connect": (NETWORK, 1),  # Open
    "net_accept": (NETWORK, 1),
    "unix_connect": (NETWORK, 1),
    "net_listen": (NETWORK, 7),  # Listen
    "dns_query": (DNS, 1),  # Query
    "dns_answer": (DNS, 2),  # Response
}
_PREFIXES = (("process", PROCESS), ("file", FILE), ("mem", MEMORY), ("net", NETWORK), ("unix", NETWORK), ("dns", DNS))


@cache
def of_kind(kind: str | None) -> tuple[OcsfClass, int]:
    """Return class and `activity_id` of a kind of event; None is one that this collector does not know."""
    if kind is None:
        return BASE, OTHER
    known = _KINDS.get(kind)
    if known is not None:
        return known
    return next((found for prefix, found in _PREFIXES if kind.startswith(prefix)), BASE), OTHER


def type_uid(kind: str | None) -> int:
    """Return what names the activity among those of all classes."""
    found, activity_id = of_kind(kind)
    return found.uid * 100 + activity_id
