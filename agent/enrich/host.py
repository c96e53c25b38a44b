"""The machine we run on, read once at start.

A host is its machine id; the instance of a cloud stands beside it once its metadata
service tells (agent/enrich/place).

Blind to: the distribution, where the agent is in a container: that of its image is told.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

from agent.enrich.procfs import ProcFs
from agent.model import Host

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")  # machine-id(5); an image not yet booted says `uninitialized`
_BY_NAME = uuid.UUID("6f0a4b53-9f0e-4a53-8f6c-0d5a2f1c7be4")  # drawn once for this purpose


def machine_id(machine_id_path: Path, hostname: str) -> str:
    """Return the id in machine-id(5)'s file, else one derived from the host's name, which is less stable."""
    try:
        found = machine_id_path.read_text("ascii", "replace")[:64].strip()
    except OSError:
        found = ""
    if _MACHINE_ID.fullmatch(found) and found.strip("0"):
        return found
    return uuid.uuid5(_BY_NAME, hostname).hex


def os_name(os_release_path: Path) -> str | None:
    """Return the distribution's name, as os-release(5) has it for people; None when it does not say."""
    try:
        lines = os_release_path.read_text("utf-8", "replace")[:16_384].splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("PRETTY_NAME=")), "")
    return found.partition("=")[2].strip("\"' ")[:128] or None


def this_host(
    procfs: ProcFs | None = None,
    machine_id_path: Path = Path("/etc/machine-id"),
    os_release_path: Path = Path("/etc/os-release"),
) -> Host:
    """Return the identity of this host and boot; HostUnsupported when /proc is not there."""
    procfs = procfs or ProcFs()
    system = os.uname()
    return Host(
        id=machine_id(machine_id_path, system.nodename),
        name=system.nodename,
        boot_id=procfs.boot_id(),
        kernel=system.release,
        architecture=system.machine,
        os=os_name(os_release_path),
        mnt_ns=procfs.host_namespace("mnt"),
        pid_ns=procfs.host_namespace("pid"),
    )
