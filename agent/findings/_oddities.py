"""What is odd, but no finding: the company in which a finding that is weak alone fires.

An oddity is a fact about one event that ordinary work rarely brings, and that
proves nothing by itself.  It is never reported alone; the finding that it let
out names it (`Evidence.signals`).

Nothing here rests on a name that a process gave itself, but `name_of_a_kernel_thread`,
whose point that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from typing import Generic
from typing import TypeVar

from agent.findings._base import kind_of
from agent.model import Context
from agent.model import Event
from agent.model import MemProtect
from agent.model import ProcessExec

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, kw_only=True)
class Oddity(Generic[E]):
    """One of them: its name, the events it is seen in, and what is said of it."""

    name: str
    on: type[E]
    sees: Callable[[E, Context], str | None]
    """Answers with a sentence, or None."""

    @property
    def kind(self) -> str:
        """Return the kind of event, which is the name of its probe."""
        return kind_of(self.on)


# Writable for everybody, or for each user where nobody looks (Filesystem Hierarchy Standard 3.0, file-hierarchy(7)).
_SHARED = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/shm/", "/run/lock/", "/run/user/")  # noqa: S108  # matched
# Directories of system libraries (ld.so(8)) and of packages outside the distribution (FHS 3.13).
_SYSTEM_LIBRARIES = ("/usr/", "/lib/", "/lib64/", "/lib32/", "/opt/")
# Programs that bring a file from elsewhere: the packages curl, wget, aria2, axel, lftp, ftp, rsync and openssh-client
# of Debian 12 and Fedora 40 (2026-11).
_FETCHERS = frozenset({"curl", "wget", "wget2", "aria2c", "axel", "lftp", "ftp", "tnftp", "rsync", "scp", "sftp"})
_KERNEL_THREAD = re.compile(r"\[[^\[\]]{1,64}\]")


def _in_shared_directory(event: ProcessExec, _: Context) -> str | None:
    program = _program(event)
    inside = event.filename if event.interpreted else event.path_in_root or program
    shared = program.startswith(_SHARED) or inside.startswith(_SHARED)
    return f"{program} was run from a directory that others write to" if shared else None


def _hidden(event: ProcessExec, _: Context) -> str | None:
    program = _program(event)
    return f"{program}, a hidden file, was run" if program.rpartition("/")[2].startswith(".") else None


def _fetched(event: ProcessExec, context: Context) -> str | None:
    exe = context.writer.process.exe if context.writer else None
    if exe is None or exe.path.rpartition("/")[2] not in _FETCHERS:
        return None
    return f"{event.path}, which {exe.path} had brought, was run"


def _network_stdio(event: ProcessExec, _: Context) -> str | None:
    wired = any(one.socket is not None and one.socket.remote_address is not None for one in event.stdio)
    return f"{event.path} was started with a connection as a standard descriptor" if wired else None


def _preloaded(event: ProcessExec, _: Context) -> str | None:
    if not event.ld_preload:
        return None
    foreign = [path for path in re.split("[: ]", event.ld_preload) if path and not _of_system(path)]
    return f"{event.path} was started with {foreign[0]} preloaded" if foreign else None


def _as_kernel_thread(event: ProcessExec, _: Context) -> str | None:
    posing = bool(event.args) and _KERNEL_THREAD.fullmatch(event.args[0]) is not None
    return f"{event.path} calls itself as a thread of the kernel is shown" if posing else None


def _stack_or_heap(event: MemProtect, context: Context) -> str | None:
    if event.region is None or event.result < 0:
        return None
    return f"{context.actor.name or 'a process'} made its {event.region} executable"


def _program(event: ProcessExec) -> str:
    """Return the path of what was run: of a script, that of the script as far as its caller told it.

    In a chroot the caller's name begins at the root of that, which the program's two names tell.
    """
    if not event.interpreted or not event.filename.startswith("/"):
        return event.path
    root = event.path.removesuffix(event.path_in_root) if event.path_in_root else ""
    return root + event.filename


def _of_system(path: str) -> bool:
    """Answer whether a library is one of the system's: by its directory, or found there by its bare name."""
    return "/" not in path or (path.startswith(_SYSTEM_LIBRARIES) and "/../" not in path)


ODDITIES: tuple[Oddity[Any], ...] = (
    Oddity(name="program_in_shared_directory", on=ProcessExec, sees=_in_shared_directory),
    Oddity(name="hidden_program", on=ProcessExec, sees=_hidden),
    Oddity(name="fetched_program", on=ProcessExec, sees=_fetched),
    Oddity(name="connection_as_stdio", on=ProcessExec, sees=_network_stdio),
    Oddity(name="library_preloaded", on=ProcessExec, sees=_preloaded),
    Oddity(name="name_of_a_kernel_thread", on=ProcessExec, sees=_as_kernel_thread),
    Oddity(name="stack_or_heap_executable", on=MemProtect, sees=_stack_or_heap),
)
