"""A program that a user started runs as root, by its set-user-id bit or by a capability, and is none made for that.

The programs that distributions ship to do it are known good at their own paths. What is left is a backdoor somebody
made (a copy of a shell with the bit set), a careless chmod of a program that can be talked into anything, or an
interpreter that was given CAP_SETUID. Weak by itself.

Noise: software of one's own that needs the bit, and file systems of other distributions that are run in a chroot.
Blind to: rights taken from the kernel itself by an exploit; what a known program can be made to do, such as sudo.
"""

from __future__ import annotations

import stat
from typing import Any

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.findings._reach_examples import nobody
from agent.findings._reach_examples import user_id
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Severity
from agent.model import UserId
from agent.model import UserIds

NAME = "PrivilegeEscalation:Runtime/ElevationToRoot"


def match(event: ProcessExec | UserId, context: Context) -> Evidence | None:
    """Return by what the user became root."""
    reason = _by_the_bit(event) if isinstance(event, ProcessExec) else _by_capability(event)
    if reason is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(reason=reason)


def _by_the_bit(event: ProcessExec) -> str | None:
    """Return what is said of a user who started a set-user-id program of root's."""
    if event.uid == 0 or event.euid != 0 or not event.mode_raw & stat.S_ISUID:
        return None
    return f"user {event.uid} is root by the set-user-id bit of a program that is not known to need it"


def _by_capability(event: UserId) -> str | None:
    """Return what is said of a program that gave itself root's id, having had it nowhere."""
    if event.old is None or _is_root(event.old) or not _is_root(event.new):
        return None
    return f"user {event.old.uid} is root by a capability of the program"


def _is_root(ids: UserIds) -> bool:
    """Answer whether any of the user ids is root's: with one of them, the others can be had."""
    return 0 in {ids.uid, ids.euid, ids.suid}


_BIT: dict[str, Any] = {"uid": 1000, "euid": 0, "mode_raw": 0o104755}

FINDING = FindingType[ProcessExec | UserId](
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    attack="T1548.001",
    title="{process} {place} runs as root for a user",
    on=(ProcessExec, UserId),
    match=match,
    examples=(
        fires("a copy with the bit set", process_exec(**_BIT), on_host()),
        fires("a shell with the bit set, in a container", process_exec(**_BIT | {"path": "/bin/bash"}), in_container()),
        fires("by a capability", user_id(), on_host()),
        fires("… to act as root only", user_id(uid=65534, suid=65534), on_host()),
        silent("of root", process_exec(**_BIT | {"uid": 0}), on_host()),
        silent("of another user", process_exec(**_BIT | {"euid": 999}), on_host()),
        silent("a program that root's program started", process_exec(**_BIT | {"mode_raw": 0o100755}), on_host()),
        silent("who was root already", user_id(nobody(uid=0)), on_host()),
        silent("who acted as root", user_id(nobody(euid=0)), on_host()),
        silent("who gave it up for a while", user_id(nobody(suid=0)), on_host()),
        silent("who becomes another user", user_id(uid=999, euid=999, suid=999), on_host()),
        silent("of whom nothing was known", user_id(None), on_host()),
    ),
)
