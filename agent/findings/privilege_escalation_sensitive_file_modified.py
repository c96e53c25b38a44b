"""A file changed that decides who may become whom: sudo, PAM, polkit, Kerberos, limits, the lookup of accounts.

One line in any of them makes an account that was taken over root, and leaves no other trace.

Noise: administrators and what configures machines for them; packages and their scripts.
Blind to: where agent/findings/_sensitive.py is; rules that a directory service keeps.
"""

from __future__ import annotations

import os

from agent.findings import _sensitive
from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import executable
from agent.findings._examples import file_open
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._examples_files import file_link
from agent.findings._examples_files import file_rename
from agent.findings._examples_files import file_truncate
from agent.findings._examples_files import file_unlink
from agent.model import Context
from agent.model import Evidence
from agent.model import Severity

NAME = "PrivilegeEscalation:Runtime/SensitiveFileModified"


def match(event: _sensitive.SensitiveEvent, context: Context) -> Evidence | None:
    """Return the file and what was done to it, if it is one of sensitive/privilege_escalation.toml."""
    return _sensitive.judge(NAME, "privilege_escalation", event, context)


_RULE = "/etc/sudoers.d/x"

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    same_fact=_sensitive.SAME_FACT,
    attack="T1548",
    title="{process} changed a file that decides who may become whom {place}",
    on=_sensitive.EVENTS,
    match=match,
    examples=(
        fires(
            "a rule of sudo's",
            file_open(_RULE, created=True),
            in_container(),
            shows={
                "file_operation": "Write",
                "file_path": _RULE,
                "reason": f"{_RULE}, who may run what as another, was made",
            },
        ),
        fires("by a name with steps back", file_unlink("/tmp/../etc/sudoers"), on_host()),  # noqa: S108  # an example
        fires("through the root of another process", file_truncate("/proc/1/root/etc/sudoers"), on_host()),
        fires("in a chroot", file_unlink("/srv/x/etc/sudoers", path_in_root="/etc/sudoers"), on_host()),
        fires(
            "a module of PAM's renamed",
            file_rename("/lib/security/pam_unix.so", "/lib/security/x"),
            on_host(),
            shows={"file_operation": "Rename"},
        ),
        fires(
            "a rule of PAM's that is a symbolic link",
            file_link("/etc/pam.d/sshd", "/dev/shm/x", symbolic=True),  # noqa: S108  # a path in an example
            on_host(),
            shows={"file_operation": "Symlink"},
        ),
        silent("a rule read", file_open(_RULE, flags_raw=os.O_RDONLY), on_host()),
        silent("another file of the directory above", file_open("/etc/sudoers.dist"), on_host()),
        silent("a link to it", file_link("/tmp/x", "/etc/sudoers", symbolic=True), on_host()),  # noqa: S108
        silent(
            "a rule of sudo's by its own editor",
            file_rename("/etc/sudoers.tmp", "/etc/sudoers"),
            on_host(actor=process(exe=executable("/usr/sbin/visudo", package="sudo"), container_id=None)),
        ),
    ),
)
