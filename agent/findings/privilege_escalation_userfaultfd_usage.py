"""A process asked the kernel to let it handle page faults itself, by userfaultfd.

Whoever decides when a fault ends can stop the kernel in the middle of a copy: what wins the race in most exploits of
use-after-free in the kernel. Few programs have another use for it. What was refused counts, too: see the result.

Noise: virtual machines that are moved or started from a snapshot (QEMU, Firecracker, CRIU); garbage collectors of
Android.
Blind to: descriptors made by /dev/userfaultfd, and those received from another process; FUSE, which stops the kernel as
well.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.findings._examples import userfaultfd
from agent.model import Context
from agent.model import Evidence
from agent.model import Severity
from agent.model import Userfaultfd

NAME = "PrivilegeEscalation:Runtime/UserfaultfdUsage"
ENOSYS = -38  # include/uapi/asm-generic/errno.h: this kernel has no such call, which is what a program looks for
USER_MODE_ONLY = 1  # include/uapi/linux/userfaultfd.h


def match(event: Userfaultfd, context: Context) -> Evidence | None:
    """Return what was asked for and what came of it."""
    if event.result == ENOSYS:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    user_only = bool(event.flags_raw & USER_MODE_ONLY)
    whose = "its own page faults" if user_only else "page faults, also those of the kernel"
    return Evidence(
        reason=f"it handles {whose}" if event.result >= 0 else f"it asked to handle {whose}, and was refused",
        flags=("UFFD_USER_MODE_ONLY",) if user_only else (),
        result=event.result,
    )


FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1068",
    title="{process} used userfaultfd {place}",
    on=Userfaultfd,
    match=match,
    examples=(
        fires(
            "in a container",
            userfaultfd(result=5),
            in_container(),
            shows={"flags": (), "reason": "it handles page faults, also those of the kernel"},
        ),
        fires(
            "descriptor 0",
            userfaultfd(),
            on_host(),
            shows={"reason": "it handles page faults, also those of the kernel"},
        ),
        fires(
            "of its own code alone",
            userfaultfd(result=5, flags_raw=USER_MODE_ONLY),
            on_host(),
            shows={"flags": ("UFFD_USER_MODE_ONLY",), "reason": "it handles its own page faults"},
        ),
        fires(
            "refused",
            userfaultfd(result=-1),
            in_container(),
            shows={"reason": "it asked to handle page faults, also those of the kernel, and was refused", "result": -1},
        ),
        silent("on a kernel without it", userfaultfd(result=ENOSYS), in_container()),
    ),
)
