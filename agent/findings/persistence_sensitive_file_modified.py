"""A file changed that lets somebody in again: keys, accounts, timetables, services, what shells and sessions start.

Also scripts that a web service serves and programs of the system, when the service changes them: a web shell.

Noise: administrators and what configures machines for them; packages and their scripts; a web application that
updates itself.
Blind to: where agent/findings/_sensitive.py is; accounts in a directory service; homes outside /home and /root but for
SSH keys; a web service that is an interpreter alone.
"""

from __future__ import annotations

import os

from agent.findings import _sensitive
from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import AFTER_START
from agent.findings._examples import executable
from agent.findings._examples import file_open
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._examples_files import file_link
from agent.findings._examples_files import file_rename
from agent.findings._examples_files import file_unlink
from agent.model import Context
from agent.model import Evidence
from agent.model import Severity

NAME = "Persistence:Runtime/SensitiveFileModified"


def match(event: _sensitive.SensitiveEvent, context: Context) -> Evidence | None:
    """Return the file and what was done to it, if it is one of sensitive/persistence.toml."""
    return _sensitive.judge(NAME, "persistence", event, context)


_KEYS = "/root/.ssh/authorized_keys"
_SHELL = process("/usr/bin/dash")
_SERVED_BY_NGINX = on_host(actor=_SHELL, lineage=(process("/usr/sbin/nginx"),))
_PAGE = "/var/www/html/up/x.php"

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    same_fact=_sensitive.SAME_FACT,
    attack="T1546",
    title="{process} changed a file that lets somebody in again {place}",
    on=_sensitive.EVENTS,
    match=match,
    examples=(
        fires(
            "keys written",
            file_open(_KEYS, flags_raw=os.O_WRONLY | os.O_APPEND),
            on_host(),
            shows={
                "file_operation": "Write",
                "file_path": _KEYS,
                "reason": f"{_KEYS}, keys that may log in, was opened for writing",
            },
        ),
        fires(
            "a prepared file put in the place of the accounts",
            file_rename("/etc/passwd.edit", "/etc/passwd"),
            on_host(),
            shows={
                "file_operation": "Rename",
                "file_path": "/etc/passwd",
                "reason": "/etc/passwd, the accounts of this machine, was replaced by /etc/passwd.edit",
            },
        ),
        fires("a timetable taken away", file_unlink("/etc/cron.d/x"), on_host(), shows={"file_operation": "Delete"}),
        fires(
            "a unit that is a symbolic link",
            file_link("/etc/systemd/system/multi-user.target.wants/x.service", "/dev/shm/x", symbolic=True),  # noqa: S108
            on_host(),
            shows={"file_operation": "Symlink"},
        ),
        fires(
            "another name for the accounts",
            file_link("/tmp/x", "/etc/shadow"),  # noqa: S108  # a path in an example
            on_host(),
            shows={"file_operation": "Link", "file_path": "/etc/shadow"},
        ),
        fires("the host's accounts, from a container", file_open("/host/etc/passwd"), in_container()),
        fires("a page written by what nginx started", file_open(_PAGE, created=True), _SERVED_BY_NGINX),
        fires(
            "a program replaced by a web service",
            file_open("/usr/bin/ls"),
            on_host(actor=process(exe=executable("/usr/sbin/php-fpm8.2"))),
        ),
        silent("keys read", file_open(_KEYS, flags_raw=os.O_RDONLY), on_host()),
        silent("a key of one's own", file_open("/root/.ssh/known_hosts"), on_host()),
        silent("the same name where no accounts are", file_open("/tmp/etc/passwd"), on_host()),  # noqa: S108
        silent("a page written by who is no web service", file_open(_PAGE, created=True), on_host(actor=_SHELL)),
        silent("a picture", file_open("/var/www/html/up/x.png", created=True), _SERVED_BY_NGINX),
        silent(
            "accounts kept by a program of a package",
            file_rename("/etc/passwd+", "/etc/passwd"),
            on_host(actor=process(exe=executable("/usr/sbin/useradd", package="passwd"), container_id=None)),
        ),
        fires(
            "by a program that lies where that one does",
            file_rename("/etc/passwd+", "/etc/passwd"),
            on_host(actor=process("/usr/sbin/useradd", container_id=None)),
        ),
        silent(
            "accounts kept by a program of the image",
            file_open("/etc/shadow"),
            in_container(actor=process("/usr/sbin/usermod")),
        ),
        fires(
            "by a program that was brought into the image's place",
            file_open("/etc/shadow"),
            in_container(actor=process(exe=executable("/usr/sbin/usermod", changed_at_ns=AFTER_START))),
        ),
        silent(
            "a unit linked by a package's script",
            file_link("/etc/systemd/system/x.service", "/lib/systemd/system/x.service", symbolic=True),
            on_host(
                actor=_SHELL, lineage=(process(exe=executable("/usr/bin/dpkg", package="dpkg"), container_id=None),)
            ),
        ),
    ),
)
