"""What must be there before eBPF can work, asked for before anything is started.

Each raises HostUnsupported with what is missing, a colon, and what to do about it.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.errors import HostUnsupported
from agent.sensor.ebpf import child
from agent.sensor.ebpf import ring
from agent.sensor.ebpf.btf import VMLINUX_BTF


def require_root() -> None:
    """Raise HostUnsupported unless we are root."""
    if os.geteuid() != 0:
        raise HostUnsupported("eBPF probes need root: run it with sudo")


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
