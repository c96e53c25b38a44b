"""What must be there before eBPF can work: asked for by `run` before it starts anything, and listed by `doctor`."""

from __future__ import annotations

import os
from pathlib import Path

from agent.errors import HostUnsupported
from agent.sensor.ebpf import child
from agent.sensor.ebpf import ring

BTF = Path("/sys/kernel/btf/vmlinux")


def require_root() -> None:
    """Raise HostUnsupported unless we are root."""
    if os.geteuid() != 0:
        raise HostUnsupported("eBPF probes need root: run it with sudo")


def require_btf() -> None:
    """Raise HostUnsupported unless the kernel describes its types."""
    if not BTF.exists():
        raise HostUnsupported(
            f"the kernel has no BTF ({BTF} is missing): boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, "
            "as those of Debian 11, Ubuntu 20.10, Amazon Linux 2023 and newer are"
        )


def require_bcc(python: Path | None = None) -> str:
    """Return the interpreter that has bcc.  Raises HostUnsupported naming the package to install."""
    return child.interpreter_with_bcc(None if python is None else str(python))


def require_ring_reader() -> None:
    """Raise HostUnsupported unless the library that reads the rings loads."""
    ring.load_library()


def require_all() -> None:
    """Raise HostUnsupported with the first thing that is missing."""
    require_root()
    require_btf()
    require_bcc()
    require_ring_reader()
