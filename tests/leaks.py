"""What tests left behind in the kernel: processes, BPF programs, cgroup attachments, mounts, namespaces, cgroups.

A machine may run other things meanwhile, another session of these tests among them.  Processes are told apart by
a mark that the run of tests puts into its environment and every child inherits; BPF programs by the process that
holds them.  What nobody holds is blamed on us, unless a stranger was at the same kind of thing while we ran: a
process without our mark that holds a new BPF program, or one with the mark of another session.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MARK = "VEDETTE_TEST_SESSION"
NETNS = Path("/run/netns")  # `ip netns add` makes a mount of the directory itself, once, and never takes it away
SETTLE_SECONDS = 5.0  # the kernel frees programs and mounts a little after their last user is gone


class Remains(NamedTuple):
    """What exists on this machine at one moment, by name."""

    processes: frozenset[str]
    programs: frozenset[str]
    attachments: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    cgroups: frozenset[str]


def mark_session() -> bytes:
    """Mark this run of tests, and every child that it will start; return the mark as it stands in /proc."""
    os.environ[MARK] = uuid.uuid4().hex
    return f"{MARK}={os.environ[MARK]}".encode()


def look(mark: bytes) -> Remains:
    """Return what exists now; `processes` are those with the mark, this one aside."""
    return Remains(
        processes=frozenset(f"{pid} {comm(pid)}" for pid in pids() if pid != os.getpid() and carries(pid, mark)),
        programs=frozenset(program_names()),
        attachments=frozenset(attachment_names()),
        mounts=frozenset(mount_points()),
        namespaces=frozenset(names_in(NETNS)),
        cgroups=frozenset(cgroup_paths()),
    )


def left_behind(before: Remains, mark: bytes) -> list[str]:
    """Return what is there now, was not before, and is ours; waits for what is still on its way out."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := difference(before, look(mark), mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def difference(before: Remains, now: Remains, mark: bytes) -> list[str]:
    """Return one line for each thing that is new and not a stranger's."""
    lines = [f"processes: {name}" for name in sorted(now.processes - before.processes)]
    if stranger_is_at_work(before, mark):
        return lines
    for field in Remains._fields[1:]:
        new = sorted(getattr(now, field) - getattr(before, field))
        lines.extend(f"{field}: {name}" for name in new)
    return lines


def stranger_is_at_work(before: Remains, mark: bytes) -> bool:
    """Return whether a process that is not ours could have made what is new."""
    known = {name.partition(" ")[0] for name in before.programs}
    others = [pid for pid in pids() if pid != os.getpid() and not carries(pid, mark)]
    return any(has_session(pid) or set(held_programs(pid)) - known for pid in others)


def pids() -> Iterator[int]:
    """Yield every process id."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def carries(pid: int, mark: bytes) -> bool:
    """Return whether a live process has the mark in its environment."""
    with contextlib.suppress(OSError):
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def has_session(pid: int) -> bool:
    """Return whether a live process was started by any session of these tests."""
    with contextlib.suppress(OSError):
        return f"\0{MARK}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    return False


def comm(pid: int) -> str:
    """Return the name of a process, a dash when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "-"


def held_programs(pid: int) -> Iterator[str]:
    """Yield the ids of the BPF programs behind the descriptors of a process."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                yield from re.findall(r"^prog_id:\s*(\d+)", entry.read_text(encoding="ascii"), re.MULTILINE)


def program_names() -> Iterator[str]:
    """Yield `ID TYPE NAME` of every loaded BPF program."""
    for program in bpftool("prog", "show"):
        yield f"{program['id']} {program['type']} {program.get('name', '-')}"


def attachment_names() -> Iterator[str]:
    """Yield `ID ATTACH-TYPE CGROUP` of every program attached to a cgroup."""
    for group in bpftool("cgroup", "tree"):
        for program in group["programs"]:
            yield f"{program['id']} {program['attach_type']} {group['cgroup']}"


def bpftool(*arguments: str) -> list[dict[str, object]]:
    """Return the answer of bpftool; nothing where no cgroup2 is mounted."""
    done = subprocess.run(["bpftool", "--json", *arguments], capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout or "[]")
    return answer if isinstance(answer, list) else []


def mount_points() -> Iterator[str]:
    """Yield the mount points that this process sees."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return (point for line in lines if (point := line.split(" ")[4]) != str(NETNS))


def names_in(directory: Path) -> list[str]:
    """Return what is in a directory that need not exist."""
    return [entry.name for entry in directory.iterdir()] if directory.is_dir() else []


def cgroup_paths() -> Iterator[str]:
    """Yield every cgroup of every hierarchy."""
    for root, directories, _ in os.walk("/sys/fs/cgroup"):
        yield from (os.path.join(root, name) for name in directories)
