"""Which executables are shells, for findings in which that is one sign among others.

By path, so a shell under another name is not one here: no finding rests on this
alone.
"""

from __future__ import annotations

# Names from /etc/shells of Debian 12, Fedora 40 and Alpine 3.20, with busybox and toybox, which are a shell in small
# images (2026-11).
_NAMES = (
    "sh",
    "bash",
    "dash",
    "ash",
    "ksh",
    "ksh93",
    "mksh",
    "zsh",
    "fish",
    "csh",
    "tcsh",
    "rbash",
    "busybox",
    "toybox",
)
_DIRECTORIES = ("/bin", "/usr/bin", "/usr/local/bin")
_PATHS = frozenset(f"{directory}/{name}" for directory in _DIRECTORIES for name in _NAMES)


def is_shell(path: str) -> bool:
    """Answer whether the executable at `path` is a shell that a distribution ships."""
    return path in _PATHS
