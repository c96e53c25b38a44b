"""Known good company: read from `known/*.toml`, asked by a finding before it fires.

An excuse names executables by path and holds only while each is what its path
says.  A path alone is what an attacker writes first, so:

    actor       the program that acts; of an exec, the one that begins
    parent      the program of its parent
    under       the program of any ancestor in its lineage
    writer      the program that last wrote the file
    replaced    what this very process ran before, on the host: a file on disk,
                of exactly the size of what runs now; or what such a copy ran
                before, that started this one
    script      a script that the actor or an ancestor runs, which the kernel itself
                gave to its interpreter
    started_by  the program of the parent of whom `under` or `script` found

Given together, all must hold.  In a container a program must be of the image:
not changed since the container started, not in the writable layer.  On the host
it must belong to a package and have that package's content (agent/enrich/packages.py),
or with `unpackaged`, which says why, be root's and nobody else's to write.  A program
into which LD_PRELOAD brings a library from outside the system is none of these, nor is
one of which that cannot be known, behind an environment of 256 KiB.

Variables make a script read other code (PYTHONPATH, PERL5LIB, DEBOOTSTRAP_DIR).  So an
entry with `script` holds with `chroot` alone: for what was done in a chroot to what is
below its root, as the kernel has it, which is not this host's.  Or it says in
`steerable` why it holds all the same.

No entry can be bound to a name, comm or arguments, which anyone sets.

Blind to: a mount that puts one program of the image at the path of another, or this
host's files below the root of a chroot; a process stopped under ptrace that is made to
run a copy padded to the right size; options and variables by which a program of the
list loads code (perl, dpkg -i).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.counters import Counters
from agent.findings._excuses import BINDINGS
from agent.findings._excuses import Excuse
from agent.findings._libraries import foreign
from agent.model import Container
from agent.model import Context
from agent.model import Event
from agent.model import Executable
from agent.model import FileLink
from agent.model import FileOpen
from agent.model import FileRename
from agent.model import FileTruncate
from agent.model import FileUnlink
from agent.model import LibraryMap
from agent.model import Origin
from agent.model import Process
from agent.model import ProcessExec
from agent.model import Provenance

_UNSURE = frozenset({"fd_raced", "outcome_unknown"})  # the name may be that of a decoy


class AsStated:
    """For examples, where there is no file to look at: the package is the one that the program states."""

    def of(self, exe: Executable) -> Origin | None:
        """Return the stated package, or None."""
        return None if exe.package is None else Origin(package=exe.package)


class Unchecked:
    """For a replay, which may be of another host: each program of the host is taken for what its path says."""

    def of(self, exe: Executable) -> Origin | None:
        """Return a package, whatever it is."""
        return Origin(package=exe.package or "unknown")


class KnownGood:
    """The excuses in force.  Implements `agent.model.Benign`; counts `classify.excused`."""

    def __init__(self, excuses: Iterable[Excuse], counters: Counters, provenance: Provenance | None = None) -> None:
        self._rules: dict[str, list[_Rule]] = {}
        for excuse in excuses:
            self._rules.setdefault(excuse.finding, []).append(_Rule(excuse, provenance or AsStated()))
        self._counters = counters

    def excuse(self, finding: str, event: Event, context: Context) -> str | None:
        """Return why `finding` stays silent for this event, or None."""
        for rule in self._rules.get(finding, ()):
            if rule.holds(event, context):
                self._counters.add("classify.excused")
                return rule.excuse.reason
        return None


class _Rule:
    """An excuse with its paths compiled."""

    def __init__(self, excuse: Excuse, provenance: Provenance) -> None:
        self.excuse = excuse
        self._provenance = provenance
        self._paths = {binding: _compile(paths) for binding in BINDINGS if (paths := getattr(excuse, binding))}

    def holds(self, event: Event, context: Context) -> bool:
        """Answer whether this excuse covers the event."""
        if context.sensitivity not in self.excuse.at or (self.excuse.chroot and not _in_chroot(event)):
            return False
        bound = ((binding, paths) for binding, paths in self._paths.items() if binding != "started_by")
        return all(self._bound(binding, paths, event, context) for binding, paths in bound)

    def _bound(self, binding: str, paths: re.Pattern[str], event: Event, context: Context) -> bool:
        """Answer whether one binding holds."""
        if binding == "replaced":
            if not isinstance(event, ProcessExec):
                return False
            before = _before(event, context)
            return before is not None and _copied(before, event, context) and self._on_host(paths, before)
        chain = _bound_to(binding, context)
        return any(
            self._runs(process, paths, context, script=binding == "script")
            and self._begun(binding, chain[at + 1 :], context)
            for at, process in enumerate(chain)
        )

    def _begun(self, binding: str, above: tuple[Process, ...], context: Context) -> bool:
        """Answer whether whoever the entry wants there started the process that has these ancestors."""
        paths = self._paths.get("started_by")
        if paths is None or binding not in {"under", "script"}:
            return True
        return any(self._runs(process, paths, context) for process in above[:1])

    def _runs(self, process: Process, paths: re.Pattern[str], context: Context, *, script: bool = False) -> bool:
        """Answer whether a process runs a program, or a script, at one of `paths` that is what its path says."""
        exe = process.script if script else process.exe
        if exe is None or process.environment_cut or foreign(process.ld_preload, process.ld_library_path):
            return False
        if process.container_id is None:
            return self._on_host(paths, exe)
        if context.container is None or process.container_id != context.container.id:
            return False
        return paths.fullmatch(exe.path) is not None and _of_image(exe, context.container)

    def _on_host(self, paths: re.Pattern[str], exe: Executable) -> bool:
        """Answer whether a program of the host is at one of `paths`, and a package's unless the entry waives it."""
        if exe.memfd or exe.unlinked or paths.fullmatch(exe.path) is None:
            return False
        origin = self._provenance.of(exe)
        return origin is not None and (origin.package is not None or self.excuse.unpackaged is not None)


def _bound_to(binding: str, context: Context) -> tuple[Process, ...]:
    """Return the processes of which one must run a program of the entry."""
    if binding == "actor":
        return (context.actor,)
    if binding == "writer":
        return () if context.writer is None else (context.writer.process,)
    if binding == "script":
        return (context.actor, *context.lineage)
    return context.lineage[:1] if binding == "parent" else context.lineage


def _of_image(exe: Executable, container: Container) -> bool:
    """Answer whether an executable is as old as its container, and not in the writable layer."""
    if exe.changed_at_ns is None or container.started_at_ns is None:
        return False
    return exe.changed_at_ns <= container.started_at_ns and exe.upper is not True


def _before(event: ProcessExec, context: Context) -> Executable | None:
    """Return what a process ran before, or what ran before the copies of the same size that it came through."""
    size_bytes = event.size_bytes
    ran = [context.actor.replaced, *(exe for process in context.lineage for exe in (process.exe, process.replaced))]
    return next((exe for exe in ran if exe is None or not exe.memfd or exe.size_bytes != size_bytes), None)


def _copied(before: Executable, event: ProcessExec, context: Context) -> bool:
    """Answer whether a process runs what is as large as what ran before: on the host, or started by such a copy."""
    if before.size_bytes != event.size_bytes:
        return False
    return event.mnt_ns == context.host.mnt_ns or before is not context.actor.replaced


def _in_chroot(event: Event) -> bool:
    """Answer whether an event is about files below the root of a chroot alone, and done from within it."""
    match event:
        case ProcessExec() | LibraryMap() | FileOpen() | FileTruncate() | FileUnlink():
            below = [event.path_in_root]
        case FileRename():
            below = [event.old_path_in_root, event.new_path_in_root]
        case FileLink():
            below = [event.path_in_root] + ([] if event.symbolic else [event.target_in_root])
        case _:
            return False
    return _UNSURE.isdisjoint(event.flags) and None not in below


def _compile(paths: Iterable[str]) -> re.Pattern[str]:
    """Return one pattern for all paths; `*` does not cross a slash."""
    parts = ["[^/]*".join(re.escape(part) for part in path.split("*")) for path in paths]
    return re.compile("|".join(f"(?:{part})" for part in parts))
