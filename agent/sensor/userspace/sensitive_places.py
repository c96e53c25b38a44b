"""Where sensitive files lie in the root of a container, as far as inotify can watch them.

inotify watches directories, not names: these are those of the list that the probes
have (agent/sensor/ebpf/sensitive.py) whose files change seldom, by their full paths.

Blind to: files of the list elsewhere; logs, which change all day; /proc and /sys, where
inotify sees nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Iterator

from agent.sensor.ebpf import sensitive

HOMES = 16  # directories in /home that are watched
_OF_A_HOME = ("", ".ssh", ".aws", ".azure", ".docker", ".kube", ".config/gcloud", ".config/fish")
_PATHS = (
    "etc",
    "etc/apt/apt.conf.d",
    "etc/cron.d",
    "etc/cron.daily",
    "etc/cron.hourly",
    "etc/cron.monthly",
    "etc/cron.weekly",
    "etc/init.d",
    "etc/kubernetes",
    "etc/kubernetes/pki",
    "etc/ld.so.conf.d",
    "etc/pam.d",
    "etc/profile.d",
    "etc/security",
    "etc/ssh",
    "etc/ssh/sshd_config.d",
    "etc/sudoers.d",
    "etc/systemd/system",
    "lib/systemd/system",
    "var/run/secrets/kubernetes.io/serviceaccount",
    "var/spool/cron",
    "var/spool/cron/crontabs",
    *(f"root/{name}".rstrip("/") for name in _OF_A_HOME),
)
DIRECTORIES = tuple(path.encode() for path in _PATHS)


def of_a_home(name: bytes) -> Iterator[bytes]:
    """Yield the directories of somebody's home."""
    yield from (os.path.join(b"home", name, below.encode()).rstrip(b"/") for below in _OF_A_HOME)


class SensitiveNames:
    """Answers whether a file is on the list, by the last two names of its path."""

    def __init__(self, more: Iterable[str]) -> None:
        """Take in the list, and `more`, PARENT/LEAF each."""
        self._only_written = {
            (entry.parent, entry.leaf): entry.only_written for entry in sensitive.listed(more) if not entry.magic
        }

    def of(self, parent: bytes, leaf: bytes) -> str:
        """Return `read` for a file whose every open counts, `written` for one that counts when written, or ""."""
        found = [
            self._only_written[names]
            for names in ((parent, leaf), (parent, b""), (b"", leaf))
            if names in self._only_written
        ]
        if not found:
            return ""
        return "written" if all(found) else "read"
