"""What each tier of tests needs of the machine, and which of it is missing here.

A tier is a folder under tests/.  Its needs are looked at once, and only when a test of it was collected.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

Need = tuple[str, Callable[[], bool]]
"""The name of a capability, as a person would ask for it, and whether it is there."""


def is_root() -> bool:
    """Return whether this process may do everything."""
    return os.geteuid() == 0


def has_btf() -> bool:
    """Return whether the kernel describes its own types."""
    return Path("/sys/kernel/btf/vmlinux").exists()


def has_bcc() -> bool:
    """Return whether the system's own Python has bcc, without paying for its import."""
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('bcc') is None)"
    return succeeds("/usr/bin/python3", "-c", look)


def may_use_bpf() -> bool:
    """Return whether the bpf system call is allowed: root in a container often may not."""
    return succeeds("bpftool", "prog", "show")


def has_overlayfs() -> bool:
    """Return whether this kernel knows overlayfs."""
    return "\toverlay\n" in Path("/proc/filesystems").read_text(encoding="ascii")


def has_pip() -> bool:
    """Return whether this Python can build a wheel."""
    return importlib.util.find_spec("pip") is not None


def has_program(name: str) -> Need:
    """Return the need of a program on PATH."""
    return name, lambda: shutil.which(name) is not None


def succeeds(*command: str) -> bool:
    """Return whether `command` can be started and exits with 0."""
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except OSError:
        return False


KERNEL: tuple[Need, ...] = (
    ("root", is_root),
    ("BTF at /sys/kernel/btf/vmlinux", has_btf),
    ("bcc for /usr/bin/python3 (python3-bpfcc)", has_bcc),
    has_program("bpftool"),
    ("permission to call bpf()", may_use_bpf),
)
SYSTEM: tuple[Need, ...] = (*KERNEL, has_program("runc"), has_program("ip"), ("overlayfs", has_overlayfs))

TIERS: dict[str, tuple[Need, ...]] = {
    "unit": (),
    "kernel": KERNEL,
    "system": SYSTEM,
    "packaging": (("pip in this Python", has_pip),),
    "matrix": (has_program("qemu-system-x86_64"),),
    "soak": SYSTEM,
}
"""Every tier, and what it needs in the order in which to ask for it."""

TOUCHING_THE_KERNEL = frozenset({"kernel", "system", "soak"})
"""Tiers whose tests could leave something behind in the kernel."""


@functools.cache
def missing(tier: str) -> str | None:
    """Return the first capability that `tier` needs and this machine lacks."""
    return next((name for name, is_there in TIERS[tier] if not is_there()), None)
