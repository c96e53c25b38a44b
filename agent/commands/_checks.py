"""What `vedette doctor` looks at, beside the probes: one function a question, none of which changes anything."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable

import psutil

from agent.commands._check import Check
from agent.errors import HostUnsupported
from agent.sensor.ebpf import btf
from agent.sensor.ebpf import child
from agent.sensor.ebpf import requirements
from agent.sensor.ebpf import ring

_BCC_VERSION = "import bcc; print(bcc.__version__)"
_BCC_TIMEOUT_S = 30.0  # importing bcc loads LLVM, 100 MB from a cold disk
_MIB = 1024 * 1024
_AGENT_MIB = 128  # what an agent needs while it loads its probes
_MEMLOCK_BYTES = 32 * _MIB  # since commit d5299b67dd59 (5.11) BPF memory counts against the cgroup, not this limit


def kernel() -> Check:
    """Which kernel this is."""
    system = os.uname()
    return Check(ok=None, detail=f"{system.release} {system.machine}")


def root() -> Check:
    """Whether we may load probes at all."""
    return _required(requirements.require_root, f"uid {os.geteuid()}")


def btf_types() -> Check:
    """Whether the kernel describes its types."""
    return _required(requirements.require_btf, btf.VMLINUX_BTF)


def bcc() -> Check:
    """Which interpreter has bcc, and which version of it."""
    try:
        python = child.interpreter_with_bcc(None)
    except HostUnsupported as exc:
        return _missing(exc)
    asked = [python, "-I", "-c", _BCC_VERSION]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=_BCC_TIMEOUT_S)
    except subprocess.SubprocessError as exc:
        return Check(ok=False, detail=f"{python} cannot import it", advice=f"reinstall python3-bpfcc or bcc: {exc}")
    return Check(ok=True, detail=f"{done.stdout.strip()} in {python}")


def libbpf() -> Check:
    """Whether the library that writes kernel types as C is there."""
    try:
        btf.load_libbpf()
    except btf.BtfError as exc:
        return _missing(exc)
    return Check(ok=True, detail=btf.LIBBPF)


def libbcc_bpf() -> Check:
    """Whether the library that reads the rings is there."""
    return _required(ring.load_library, ring.LIBRARY)


def cgroup2() -> Check:
    """Where the unified cgroup hierarchy is mounted."""
    return _mounted("cgroup2")


def tracefs() -> Check:
    """Where the tracing file system is mounted."""
    return _mounted("tracefs")


def memlock() -> Check:
    """Whether a limit on locked memory is in the way, as it is on old kernels."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or soft >= _MEMLOCK_BYTES:
        return Check(ok=True, detail="enough")
    return Check(ok=None, detail=f"{soft // 1024} KiB; kernels up to 5.10 need LimitMEMLOCK=32M, newer ones none")


def memory() -> Check:
    """Whether there is room for the agent."""
    available = psutil.virtual_memory().available // _MIB
    if available >= _AGENT_MIB:
        return Check(ok=True, detail=f"{available:,} MiB available")
    return Check(
        ok=False, detail=f"{available:,} MiB available", advice=f"free {_AGENT_MIB} MiB: loading takes as much"
    )


QUESTIONS: dict[str, Callable[[], Check]] = {
    "kernel": kernel,
    "root": root,
    "btf": btf_types,
    "bcc": bcc,
    "libbpf": libbpf,
    "libbcc_bpf": libbcc_bpf,
    "cgroup2": cgroup2,
    "tracefs": tracefs,
    "memlock": memlock,
    "memory": memory,
}
"""In the order in which a person would ask."""


def _required(require: Callable[[], object], detail: str) -> Check:
    try:
        require()
    except HostUnsupported as exc:
        return _missing(exc)
    return Check(ok=True, detail=detail)


def _missing(exc: Exception) -> Check:
    """Return what an error says: our sentences have the form `what: what to do`."""
    detail, _, advice = str(exc).partition(": ")
    return Check(ok=False, detail=detail, advice=advice or None)


def _mounted(kind: str) -> Check:
    found = next((mount.mountpoint for mount in psutil.disk_partitions(all=True) if mount.fstype == kind), None)
    return Check(ok=None, detail=found or "not mounted; the loader mounts it for itself")
