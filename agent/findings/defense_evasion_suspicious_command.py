"""A command takes a defence of the host away, removes its traces, or puts a library into what is started.

Firewalls, SELinux, security services, audit, cron jobs, histories, logs and dates of files; an attempt counts.

Noise: administrators and configuration management, which do all of this on purpose.
Blind to: what is typed at a prompt and needs no program, such as `history -c`; a service named by a variable; a
library that is preloaded by who was so already; /etc/ld.so.preload changed without a telling command.
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
from agent.findings._libraries import foreign
from agent.findings._libraries import is_scratch
from agent.findings._suspicious import evidence
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Severity

NAME = "DefenseEvasion:Runtime/SuspiciousCommand"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the pattern that the command line is, or the library that was preloaded."""
    found = evidence("defense_evasion", event, context) or _preloaded(event, context)
    if found is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return found


def _preloaded(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the library from no system directory that is preloaded here, and was not into the parent."""
    libraries = foreign(event.ld_preload, event.ld_library_path)
    first = next(iter(libraries), None)
    if first is None or any(parent.ld_preload == event.ld_preload for parent in context.lineage[:1]):
        return None
    return Evidence(
        reason=f"LD_PRELOAD puts {first} into {event.path}",
        severity=Severity.HIGH if any(map(is_scratch, libraries)) else Severity.MEDIUM,
        command_line_example="LD_PRELOAD=LIBRARY PROGRAM",
        ld_preload_value=event.ld_preload,
        library_path=first,
    )


_LS = command("/usr/bin/ls")
_HIDER = command("/usr/bin/ls", ld_preload="/tmp/x.so")  # noqa: S108  # a path in an example

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    severity_rule="that of the gravest pattern: High where a security service, the audit or SELinux is switched off or "
    "a library from a scratch directory is preloaded, Low for dates of files and single kernel settings",
    company=ASKS_COMPANY,
    same_fact=frozenset({"library_preloaded"}),
    attack="T1562.001",
    title="{process} was started {place} with a command line that takes a defence away",
    on=ProcessExec,
    match=match,
    examples=(
        fires(
            "a security service stopped",
            command("/usr/bin/systemctl", "stop", "auditd.service"),
            on_host(),
            shows={"service_name": "auditd", "severity": Severity.HIGH},
        ),
        fires(
            "the firewall flushed, by the applet of another program",
            command("/usr/sbin/xtables-nft-multi", args=("iptables", "-F")),
            on_host(),
            shows={"command_line_example": "iptables -F", "severity": Severity.MEDIUM, "service_name": None},
        ),
        fires(
            "a library from /tmp preloaded",
            _HIDER,
            in_container(),
            shows={
                "ld_preload_value": "/tmp/x.so",  # noqa: S108  # as above
                "library_path": "/tmp/x.so",  # noqa: S108  # as above
                "severity": Severity.HIGH,
            },
        ),
        fires("... by who had another", _HIDER, on_host(lineage=(process("/bin/sh", ld_preload="/opt/y.so"),))),
        fires(
            "... from a directory of nobody's",
            command("/usr/bin/ls", ld_preload="/opt/x.so"),
            on_host(),
            shows={"severity": Severity.MEDIUM},
        ),
        silent("an ordinary service stopped", command("/usr/bin/systemctl", "stop", "nginx.service"), on_host()),
        silent("a security service looked at", command("/usr/bin/systemctl", "status", "auditd.service"), on_host()),
        silent("a library of the system preloaded", command("/usr/bin/ls", ld_preload="/usr/lib/x.so"), on_host()),
        silent("nothing preloaded", _LS, on_host()),
        silent(
            "a library preloaded into the parent, too",
            _HIDER,
            on_host(lineage=(process("/bin/sh", ld_preload="/tmp/x.so"),)),  # noqa: S108  # as above
        ),
    ),
)
