"""A command is what turns a user into root, or somebody in a container into root of its host.

Setuid bits and capabilities given to programs, shells out of what sudo allows, namespaces and the root directory of
the host entered, containers started with either; an attempt counts.

Noise: installers that set such bits; tools of administrators that enter namespaces; rootless containers.
Blind to: exploits of the kernel; a program that does by itself what the tools do; what is typed at a prompt, but for
the programs that it starts.
"""

from __future__ import annotations

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import command
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._suspicious import evidence
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Severity

NAME = "PrivilegeEscalation:Runtime/SuspiciousCommand"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the pattern that the command line is."""
    found = evidence("privilege_escalation", event, context)
    if found is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return found


_WRITE = "echo 'eve ALL=(ALL) NOPASSWD:ALL' >> /etc/sudoers"
_TEXT = command("/bin/sh", "-c", _WRITE)

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    attack="T1548",
    title="{process} was started {place} with a command line that gives it more rights",
    on=ProcessExec,
    match=match,
    examples=(
        fires(
            "a setuid bit",
            command("/usr/bin/chmod", "u+s", "/tmp/sh"),  # noqa: S108  # a path in an example
            on_host(),
            shows={"command_line_example": "chmod u+s FILE", "severity": Severity.MEDIUM},
        ),
        fires(
            "the namespaces of the host entered",
            command("/bin/busybox", args=("nsenter", "-t", "1", "-m", "sh")),
            in_container(),
            shows={"command_line_example": "nsenter -t 1 -a"},
        ),
        fires("rights of sudo written by a shell", _TEXT, on_host()),
        silent("an ordinary mode", command("/usr/bin/chmod", "755", "/tmp/sh"), on_host()),  # noqa: S108  # as above
        silent("the namespaces of another process", command("/usr/bin/nsenter", "-t", "4711", "-n"), in_container()),
        silent(
            "started by the text of a shell that was the finding",
            _TEXT,
            on_host(lineage=(process("/bin/sh", args=("sh", "-c", f"{_WRITE}; true")),)),
        ),
    ),
)
