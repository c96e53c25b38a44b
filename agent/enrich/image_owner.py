"""Asks a child which package of its image a container's program is from; see agent/enrich/image_package.py.

It is the word of the container's own databases: who is root in it may have written them.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from agent.enrich.procfs import ProcFs
from agent.model import Package

WAIT_S = 5.0  # a child takes 0.05 s on a quiet machine; one that waits for a file system of the container's is ended
ANSWER_BYTES = 4_096
OWNERS = 8  # processes by whose root the container is looked at, if it still is the one
_CHILD = Path(__file__).with_name("image_package.py")


class _Said(msgspec.Struct):
    name: str | None = None
    version: str | None = None
    manager: str | None = None
    intact: bool | None = None


def package(procfs: ProcFs, tgids: Iterable[int | str], mnt_ns: int, program: tuple[str, int, int]) -> Package | None:
    """Return the package of a program, None when there is none or nobody is left to look by.

    `program`: its path in the mount namespace, size in bytes and ctime in nanoseconds.
    """
    for tgid in list(tgids)[:OWNERS]:
        try:
            root = procfs.open_in_root(tgid, ".")
        except OSError:
            continue
        try:
            if procfs.namespace(tgid, "mnt") == mnt_ns:  # still: a pid may be another's by now
                return _asked(root, program)
        finally:
            os.close(root)
    return None


def _asked(root: int, program: tuple[str, int, int]) -> Package | None:
    line = [sys.executable, "-I", "-S", str(_CHILD), str(root), *map(str, program)]
    nobody = subprocess.DEVNULL
    try:
        child = subprocess.Popen(line, stdin=nobody, stdout=subprocess.PIPE, stderr=nobody, pass_fds=(root,), env={})
    except (OSError, ValueError):
        return None
    with child:
        said = child.stdout
        ready = said is not None and select.select([said], [], [], WAIT_S)[0]
        answer = os.read(said.fileno(), ANSWER_BYTES) if said is not None and ready else b""
        child.kill()
    return _believed(answer)


def _believed(answer: bytes) -> Package | None:
    try:
        said = msgspec.json.decode(answer, type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not said.name or said.manager not in {"dpkg", "rpm"}:
        return None
    return Package(name=said.name, version=said.version, manager=said.manager, intact=said.intact)
