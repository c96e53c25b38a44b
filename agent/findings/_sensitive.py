"""Sensitive files: which they are, what changes them, and which ways of changing them are ordinary.

The files are data, sensitive/*.toml: one file for each of the three findings, which says what a path holds.
Five operations change a file: it is opened for writing or cut (`Write`), taken away, renamed or replaced by a rename,
given another name (`Link`; so does a mount, and hides what is below), or a symbolic link is put in its place.  Of some
files a few ways are ordinary, and no sign of anything, whoever does it:

    append     opened to add to it (O_APPEND), and not emptied: what a service does to its log all day
    create     a new file where there was none
    rotate     given a number or a date behind its name: `syslog` becomes `syslog.1`
    rewrite    replaced by a file named after it: a shell saves its history so

Names are compared as the mount namespace of the process has them, with `..` worked out by the text and roots of other
processes taken off; in a chroot also as its root has them, and in a container also behind the places where the host's
root is mounted by custom (/host).  What a bind mount shows under another name is known by the kernel's mark.

Blind to: symbolic links to directories from before the agent, in names that no descriptor backs (all but opens); a
directory above them bind-mounted elsewhere; mounts by a relative name; a file given another name before we watched;
changes through a mapping made earlier.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
import tomllib
from collections.abc import Iterable
from collections.abc import Iterator
from importlib import resources
from typing import Literal
from typing import NamedTuple

import msgspec

from agent.findings import _mounts
from agent.model import Context
from agent.model import Evidence
from agent.model import FileLink
from agent.model import FileOpen
from agent.model import FileRename
from agent.model import FileTruncate
from agent.model import FileUnlink
from agent.model import Mount

TYPES = frozenset(
    f"{tactic}:Runtime/SensitiveFileModified" for tactic in ("Persistence", "PrivilegeEscalation", "DefenseEvasion")
)
"""No company for each other: who sets up a machine changes files of all three kinds."""
SAME_FACT = TYPES | {"Persistence:Runtime/SuspiciousCommand"}
"""Nor is a command that adds a user or a service company for the file in which it does that: one deed, seen twice."""
STEMS = ("persistence", "privilege_escalation", "defense_evasion")
SensitiveEvent = FileOpen | FileTruncate | FileUnlink | FileRename | FileLink | Mount
EVENTS: tuple[type[SensitiveEvent], ...] = (FileOpen, FileTruncate, FileUnlink, FileRename, FileLink, Mount)

_CUT = "…"  # agent/probes/header.py: in place of a beginning that is not known
_OTHER_ROOTS = re.compile(r"\A(?:/proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?/root)+(?=/)")
_HOST_ROOTS = frozenset({"host", "hostfs", "host-root", "hostroot", "host_root", "rootfs", "node", "mnt", "media"})
"""Where containers are given the root of the host: Falco's, Datadog's, Cilium's and kubectl debug's manifests, and
what write-ups of escapes use."""
_ROTATED = re.compile(r"(?:[-._][0-9]{1,16}){0,4}(?:\.gz|\.xz|\.zst|\.bz2)?")
_EXCHANGE = 2  # RENAME_EXCHANGE, include/uapi/linux/fs.h
_SERVICE_DEPTH = 6  # a web service, its worker, php-fpm's pool, a shell, what that started


class Files(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[files]]`: files of which the same is to be said."""

    what: str
    """What they hold, as a finding says it."""
    paths: tuple[str, ...]
    """`*` and `?` stand for part of one name, `**` for anything."""
    ordinary: frozenset[Literal["append", "create", "rotate", "rewrite"]] = frozenset()
    changed_by: tuple[str, ...] = ()
    """Programs: then only what they do, and what they started, counts."""
    history: bool = False
    """Whether they are what somebody typed into a shell."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    files: tuple[Files, ...]


class Change(NamedTuple):
    """What an event did to one name."""

    operation: str
    """GuardDuty's word."""
    name: str
    in_root: str | None
    """The name as the root of the process has it."""
    done: str
    """The same in a sentence, behind `was`."""
    way: str | None = None
    """In which it may be ordinary."""
    whole: bool = False
    """Whether the name may be that of a directory, all files of which changed with it."""


class Changed(NamedTuple):
    """A sensitive file that changed in a way that is not ordinary."""

    path: str
    change: Change
    files: Files


def judge(finding: str, stem: str, event: SensitiveEvent, context: Context) -> Evidence | None:
    """Return what `finding` says when a file of sensitive/`stem`.toml changed and nobody excuses it.

    It is remembered, for what the same lineage changes next.
    """
    found = changed(stem, event, context)
    if found is None or context.benign.excuse(finding, event, context) is not None:
        return None
    return Evidence(
        reason=f"{found.path}, {found.files.what}, was {found.change.done}",
        file_path=found.path,
        file_operation=found.change.operation,
        related_file_paths=context.changes.related(event, context, found.path),
        shell_history_file_path=found.path if found.files.history else None,
    )


def changed(stem: str, event: SensitiveEvent, context: Context) -> Changed | None:
    """Return which file of sensitive/`stem`.toml an event changed, unless that is ordinary."""
    named = ((change, path) for change in _changes(event) for path in _names(change, event, context))
    for change, path in named:
        files = files_at(stem, path) or (files_at(stem, f"{path}/x") if change.whole else None)
        if files is not None and change.way not in files.ordinary and _by(files.changed_by, context):
            return Changed(path, change, files)
    return _behind_a_mount(stem, event)


@functools.lru_cache(maxsize=512)
def files_at(stem: str, path: str) -> Files | None:
    """Return the first entry of sensitive/`stem`.toml that a path belongs to."""
    listed, pattern, _ = _patterns(stem)
    found = pattern.fullmatch(path)
    return None if found is None else listed[(found.lastindex or 0) - 1]


def entries(stem: str) -> tuple[Files, ...]:
    """Return the entries of sensitive/`stem`.toml."""
    return _patterns(stem)[0]


def _changes(event: SensitiveEvent) -> Iterator[Change]:
    """Yield what the event did to which name, the name that is changed most first."""
    match event:
        case FileOpen():
            yield from _opened(event)
        case FileTruncate(path=str(path)):
            yield Change("Write", path, event.path_in_root, f"cut to {event.length_bytes} bytes")
        case FileUnlink(path=str(path)):
            yield Change("Delete", path, event.path_in_root, "taken away", whole=event.directory)
        case FileRename(old_path=str(old), new_path=str(new)):
            yield from _renamed(event, old, new)
        case FileLink(path=str(path)):
            yield from _linked(event, path)
        case Mount(result=0):
            yield from (Change("Link", name, None, done, whole=True) for name, done in _mounts.renamed(event))


def _opened(event: FileOpen) -> Iterator[Change]:
    if not event.changes:
        return
    emptied = bool(event.flags_raw & os.O_TRUNC)
    way = "create" if event.created else "append" if event.flags_raw & os.O_APPEND and not emptied else None
    done = "made" if event.created else "emptied" if emptied else "opened for writing"
    yield Change("Write", event.path, event.path_in_root, done, way)
    if event.user_path is not None and event.user_path.startswith("/"):
        yield Change("Write", event.user_path, None, done, way)


def _renamed(event: FileRename, old: str, new: str) -> Iterator[Change]:
    exchanged = bool(event.flags_raw & _EXCHANGE)
    before, after = plain(old), plain(new)
    onto = "rewrite" if _is_named_after(before, after) else "rotate" if _is_rotated(before, after) else None
    away = "rotate" if _is_rotated(before, after) else None
    done = f"exchanged with {old}" if exchanged else f"replaced by {old}"
    yield Change("Rename", new, event.new_path_in_root, done, None if exchanged else onto, whole=True)
    yield Change("Rename", old, event.old_path_in_root, f"renamed to {new}", None if exchanged else away, whole=True)


def _linked(event: FileLink, path: str) -> Iterator[Change]:
    if event.symbolic:
        done = f"replaced by a symbolic link to {event.target or 'somewhere'}"
        yield Change("Symlink", path, event.path_in_root, done, whole=True)
        return
    yield Change("Link", path, event.path_in_root, f"made another name of {event.target or 'a file'}")
    if event.target is not None:
        yield Change("Link", event.target, event.target_in_root, f"given another name, {path}")


def _is_named_after(old: str, new: str) -> bool:
    """Answer whether a file is one that belongs to another, by name: `x.tmp` to `x`."""
    return old.startswith(new) and "/" not in old[len(new) :]


def _is_rotated(old: str, new: str) -> bool:
    """Answer whether a file's new name is its old one with a number or date behind it, or the next number."""
    stem = _ROTATED.sub("", old) if old[-1:].isdigit() or old.endswith((".gz", ".xz", ".zst", ".bz2")) else old
    return new.startswith(stem) and new != stem and _ROTATED.fullmatch(new[len(stem) :]) is not None


def _names(change: Change, event: SensitiveEvent, context: Context) -> Iterator[str]:
    """Yield the names under which what changed may be listed."""
    name = plain(change.name)
    yield name
    yield from (plain(to) for written, to in context.led_to if written == change.name)
    if change.in_root is not None:
        yield plain(change.in_root)
    if context.container is None:
        return
    first, *rest = name.lstrip("/").split("/")
    mounted = isinstance(event, FileOpen) and event.sensitive and event.upper is None
    if first in _HOST_ROOTS or mounted:
        yield "/" + "/".join(rest)
    if first in _HOST_ROOTS:
        yield "/" + "/".join(rest[1:])


def plain(path: str) -> str:
    """Return a path without `..`, the roots of other processes, and what stands for a lost beginning."""
    if path.startswith((_CUT, f"/{_CUT}")):
        path = path.partition(_CUT)[2]
    if "/.." in path:  # of a root it is the root itself
        path = posixpath.normpath(_OTHER_ROOTS.sub("", path, count=1))
    return _OTHER_ROOTS.sub("", path, count=1)


def _by(programs: tuple[str, ...], context: Context) -> bool:
    """Answer whether one of the programs did it, or started who did it; anybody counts when there are none."""
    if not programs:
        return True
    pattern = _any(programs)
    running = (context.actor, *context.lineage[:_SERVICE_DEPTH])
    return any(process.exe is not None and pattern.fullmatch(process.exe.path) for process in running)


def _behind_a_mount(stem: str, event: SensitiveEvent) -> Changed | None:
    """Return a file that the kernel knows as sensitive though it is seen under another directory's name."""
    if not isinstance(event, FileOpen) or not event.sensitive:
        return None
    _, _, leaves = _patterns(stem)
    parent, leaf = posixpath.split(event.path)
    files, _ = leaves.get(leaf, (None, None))
    if files is None or _is_listed_as(posixpath.basename(parent), leaf):
        return None
    for change in _opened(event):
        if change.way not in files.ordinary:
            return Changed(event.path, change, files)
    return None


@functools.lru_cache(maxsize=512)
def _is_listed_as(parent: str, leaf: str) -> bool:
    """Answer whether the last two names of a path are those of a listed one: then that is why the kernel marked it."""
    return _last_names().fullmatch(f"{parent}/{leaf}") is not None


@functools.cache
def _last_names() -> re.Pattern[str]:
    """Return a pattern for the last two names of every path of the three lists."""
    listed = (path for stem in STEMS for files in entries(stem) if not files.changed_by for path in files.paths)
    names = {"/".join(path.split("/")[-2:]) for path in listed} - {"*/*"}  # which would stand for anything
    return re.compile("|".join(sorted(map(_glob, names))), re.DOTALL)


@functools.cache
def _patterns(stem: str) -> tuple[tuple[Files, ...], re.Pattern[str], dict[str, tuple[Files, str]]]:
    """Return the entries of a file, one pattern with a group for each, and those that one name in one directory has."""
    text = resources.files(__package__).joinpath("sensitive", f"{stem}.toml").read_text(encoding="utf-8")
    listed = msgspec.convert(tomllib.loads(text), _File).files
    groups = (f"({'|'.join(map(_glob, files.paths))})" for files in listed)
    named = ((files, path.split("/")[-2:]) for files in listed for path in files.paths if not files.changed_by)
    leaves: dict[str, tuple[Files, str]] = {}
    for files, (parent, leaf) in named:
        if not re.search(r"[*?]", parent + leaf):
            leaves.setdefault(leaf, (files, parent))
    return listed, re.compile("|".join(groups), re.DOTALL), leaves


@functools.cache
def _any(paths: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_glob, paths)))


def _glob(path: str) -> str:
    """Return a pattern for a path of the data."""
    parts: Iterable[str] = re.split(r"(\*\*/|\*\*|\*|\?)", path)
    stands = {"**/": ".*/", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(stands.get(part) or re.escape(part) for part in parts)
