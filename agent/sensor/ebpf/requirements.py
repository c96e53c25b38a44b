"""What must be there before eBPF can work, asked for before anything is started.

Each raises HostUnsupported with what is missing, a colon, and what to do about it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

from agent.errors import HostUnsupported
from agent.sensor.ebpf import child
from agent.sensor.ebpf import ring
from agent.sensor.ebpf.btf import VMLINUX_BTF

# include/uapi/linux/bpf.h, asm/unistd.h.
_BPF_MAP_CREATE, _BPF_MAP_TYPE_ARRAY = 0, 2
_ATTRIBUTES_BYTES = 72
_NR_BPF = {"x86_64": 321, "aarch64": 280}


def require_root() -> None:
    """Raise HostUnsupported unless we are root."""
    if os.geteuid() != 0:
        raise HostUnsupported("eBPF probes need root: run it with sudo")


def require_bpf() -> None:
    """Raise HostUnsupported unless the kernel lets us make a map: asked before anything is compiled."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("=IIII", _BPF_MAP_TYPE_ARRAY, 4, 4, 1).ljust(_ATTRIBUTES_BYTES, b"\0")
    fd = libc.syscall(_NR_BPF.get(os.uname().machine, -1), _BPF_MAP_CREATE, attributes, len(attributes))
    if fd >= 0:
        os.close(fd)
    elif ctypes.get_errno() in {errno.EPERM, errno.EACCES, errno.ENOSYS}:
        raise HostUnsupported(
            f"the kernel refuses bpf(2) ({os.strerror(ctypes.get_errno())}): give CAP_BPF and CAP_PERFMON, or "
            "CAP_SYS_ADMIN, and a seccomp profile that has it; a container of Fargate has neither"
        )


def require_permission() -> None:
    """Raise HostUnsupported unless we are root and the kernel takes programs from us."""
    require_root()
    require_bpf()


def require_btf() -> None:
    """Raise HostUnsupported unless the kernel describes its types."""
    if not Path(VMLINUX_BTF).exists():
        raise HostUnsupported(
            f"the kernel has no BTF ({VMLINUX_BTF} is missing): boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, "
            "as those of Debian 11, Ubuntu 20.10, Amazon Linux 2023 and newer are"
        )


def require_all() -> None:
    """Raise HostUnsupported with the first thing that is missing."""
    require_root()
    require_btf()
    child.interpreter_with_bcc(None)
    ring.load_library()
