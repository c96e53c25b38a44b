"""A file changed that would tell of an intruder, or hinder one: logs, shell histories, what is audited and confined.

A log that is added to, begun or rotated is not changed in this sense, whoever does it; one that is emptied, taken away,
overwritten, replaced or linked elsewhere is. Nor is a history that its shell saves.

Noise: administrators who make room; programs that begin their log anew at each start.
Blind to: where agent/findings/_sensitive.py is; a descriptor for appending that is made another by fcntl; a shell that
saves an emptied history; logs outside the directories listed; what is kept from being logged at all.
"""

from __future__ import annotations

import os

from agent.findings import _sensitive
from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import executable
from agent.findings._examples import file_open
from agent.findings._examples import fires
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

NAME = "DefenseEvasion:Runtime/SensitiveFileModified"


def match(event: _sensitive.SensitiveEvent, context: Context) -> Evidence | None:
    """Return the file and what was done to it, if it is one of sensitive/defense_evasion.toml."""
    return _sensitive.judge(NAME, "defense_evasion", event, context)


_LOG = "/var/log/auth.log"
_HISTORY = "/root/.bash_history"

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    same_fact=_sensitive.SAME_FACT,
    attack="T1070",
    title="{process} changed a file that would tell of an intruder {place}",
    on=_sensitive.EVENTS,
    match=match,
    examples=(
        fires(
            "a log emptied",
            file_open(_LOG, flags_raw=os.O_WRONLY | os.O_TRUNC),
            on_host(),
            shows={
                "file_operation": "Write",
                "file_path": _LOG,
                "shell_history_file_path": None,
                "reason": f"{_LOG}, a log of the system, was emptied",
            },
        ),
        fires("a log emptied to be added to", file_open(_LOG, flags_raw=os.O_APPEND | os.O_TRUNC), on_host()),
        fires("a log overwritten", file_open(_LOG), on_host()),
        fires("a log cut", file_truncate(_LOG), on_host()),
        fires("a log taken away", file_unlink(_LOG), on_host(), shows={"file_operation": "Delete"}),
        fires("lines left out", file_rename("/var/log/sedXyZ", _LOG), on_host(), shows={"file_operation": "Rename"}),
        fires("a log carried off", file_rename(_LOG, "/tmp/1"), on_host(), shows={"file_path": _LOG}),  # noqa: S108
        fires("added to who was logged in", file_open("/var/log/wtmp", flags_raw=os.O_WRONLY | os.O_APPEND), on_host()),
        fires(
            "a history into nowhere",
            file_link(_HISTORY, "/dev/null", symbolic=True),
            on_host(),
            shows={"file_operation": "Symlink", "shell_history_file_path": _HISTORY},
        ),
        silent("a log added to", file_open(_LOG, flags_raw=os.O_WRONLY | os.O_APPEND), on_host()),
        silent("a log begun", file_open(_LOG, created=True), on_host()),
        silent("a log rotated", file_rename(_LOG, f"{_LOG}.1"), on_host()),
        silent("the one before rotated, too", file_rename(f"{_LOG}.1.gz", f"{_LOG}.2.gz"), on_host()),
        silent("a history saved by its shell", file_rename(f"{_HISTORY}-0421.tmp", _HISTORY), on_host()),
        silent("a log of an application elsewhere", file_unlink("/opt/app/log/auth.log"), on_host()),
        silent(
            "old logs taken away by who rotates them",
            file_unlink(f"{_LOG}.4.gz"),
            on_host(actor=process(exe=executable("/usr/sbin/logrotate", package="logrotate"), container_id=None)),
        ),
        silent(
            "who logged in, noted by who let him",
            file_open("/var/log/wtmp"),
            on_host(actor=process(exe=executable("/usr/sbin/sshd", package="openssh-server"), container_id=None)),
        ),
    ),
)
