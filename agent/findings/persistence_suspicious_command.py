"""A command makes the host start something again, or lets somebody in again.

Cron jobs, units, init scripts, users, keys and start-up files; an attempt counts.

Noise: installers, administrators and configuration management, which do all of this on purpose.
Blind to: a file that a program writes by itself, which is what the events of files are for; units that are enabled
by a link of one's own; what is typed at a prompt, but for the programs that it starts.
"""

from __future__ import annotations

from agent.findings import _sensitive
from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import command
from agent.findings._examples import executable
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

NAME = "Persistence:Runtime/SuspiciousCommand"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the pattern that the command line is."""
    found = evidence("persistence", event, context)
    if found is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return found


_ADDED = command("/usr/sbin/useradd", "-m", "eve")
_POSTINST = process("/usr/bin/dash")
_DPKG = process(container_id=None, exe=executable("/usr/bin/dpkg", package="dpkg"))
_WRITE = "echo '* * * * * root /tmp/x' >> /etc/crontab"
_TEXT = command("/bin/sh", "-c", _WRITE)

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    same_fact=_sensitive.TYPES,
    attack="T1053.003",
    title="{process} was started {place} with a command line that makes something come back",
    on=ProcessExec,
    match=match,
    examples=(
        fires(
            "a user added",
            _ADDED,
            on_host(),
            shows={"command_line_example": "useradd NAME", "severity": Severity.MEDIUM},
        ),
        fires(
            "a cron job written by a shell",
            _TEXT,
            in_container(),
            shows={"command_line_example": "echo JOB >> /etc/cron.d/FILE"},
        ),
        fires(
            "by a script",
            command(
                "/usr/bin/perl",
                filename="/usr/sbin/adduser",
                interpreted=True,
                args=("/usr/bin/perl", "/usr/sbin/adduser", "eve"),
            ),
            on_host(),
            shows={"script_path": "/usr/sbin/adduser"},
        ),
        fires(
            "a user added below a dpkg of nobody's",
            _ADDED,
            on_host(lineage=(_POSTINST, process(container_id=None, exe=executable("/usr/bin/dpkg")))),
        ),
        silent("a user added by the script of a package", _ADDED, on_host(lineage=(_POSTINST, _DPKG))),
        silent("help on adding users", command("/usr/sbin/useradd", "--help"), on_host()),
        silent("a crontab read", command("/bin/sh", "-c", "cat < /etc/crontab; true"), on_host()),
        silent(
            "started by the text of a shell that was the finding",
            _TEXT,
            on_host(lineage=(process("/bin/sh", args=("sh", "-c", f"{_WRITE}; true")),)),
        ),
    ),
)
