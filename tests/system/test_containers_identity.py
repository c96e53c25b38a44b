"""Real runc containers on overlayfs, as the process table finds them in /proc when the agent starts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.counters import Counters
from agent.enrich.executables import Executables
from agent.enrich.executables import Job
from agent.enrich.host import this_host
from agent.enrich.limits import Limits
from agent.enrich.processes import ProcessTable
from agent.enrich.procfs import ProcFs
from agent.model import Executable
from agent.model import FileId
from agent.model import Process
from agent.model import ProcessKey

SLEEP_S = 300  # longer than any test; the fixture kills it
TICK_NS = 10_000_000


class Running(NamedTuple):
    """A container that sleeps."""

    name: str
    pid: int
    before_ns: int
    """Unix time before it was made, and after it ran."""
    after_ns: int


def sh(*command: str | Path) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def rootfs(tmp_path: Path) -> Iterator[Path]:
    """An overlay over this machine's own root, whose upper layer is in memory."""
    layers, root = tmp_path / "layers", tmp_path / "rootfs"
    for directory in (layers, root):
        directory.mkdir()
    with contextlib.ExitStack() as undo:
        sh("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", layers)
        undo.callback(sh, "umount", layers)
        (layers / "upper").mkdir()
        (layers / "work").mkdir()
        options = f"lowerdir=/,upperdir={layers}/upper,workdir={layers}/work"
        sh("mount", "-t", "overlay", "-o", options, "overlay", root)
        undo.callback(sh, "umount", root)
        yield root


@contextlib.contextmanager
def running(rootfs: Path, cgroups_path: str | None = None) -> Iterator[Running]:
    """Run `sleep` in a container; `cgroups_path` None leaves it to runc, which takes the name."""
    name = f"vedette-test-{uuid.uuid4().hex[:12]}"
    bundle = rootfs.parent / name
    bundle.mkdir()
    sh("runc", "spec", "--bundle", bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(rootfs), "readonly": False}
    config["process"] |= {"terminal": False, "args": ["/bin/sleep", str(SLEEP_S)]}
    if cgroups_path is not None:
        config["linux"]["cgroupsPath"] = cgroups_path
    (bundle / "config.json").write_text(json.dumps(config))
    before_ns = time.time_ns()
    try:
        # A pipe would be held open by the container, and waited for.
        subprocess.run(
            ["runc", "run", "--detach", "--bundle", str(bundle), name],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
        pid = json.loads(sh("runc", "state", name))["pid"]
        yield Running(name, pid, before_ns, time.time_ns())
    finally:
        subprocess.run(["runc", "delete", "--force", name], check=False, capture_output=True, timeout=60)


def seeded() -> ProcessTable:
    """The table of an agent that starts now."""
    processes = ProcessTable(host=this_host(), counters=Counters(), procfs=ProcFs(), limits=Limits())
    assert processes.seed() > 1
    return processes


def known(processes: ProcessTable, pid: int) -> Process:
    stat = ProcFs().stat(pid)
    assert stat is not None
    process = processes.find(ProcessKey(pid, stat.started_ticks))
    assert process is not None
    return process


def test_processes_of_the_host_are_in_no_container(rootfs: Path) -> None:
    """While a container runs beside them, neither the first process, nor kernel threads, nor we are in one."""
    with running(rootfs):
        processes = seeded()
        pids = (1, 2, os.getppid(), os.getpid())

        assert [None] * 4 == [known(processes, pid).container_id for pid in pids]


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of its own in the unified hierarchy, as a supervisor of any kind makes it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    unified = next(Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
    path = unified / f"vedette-test-{uuid.uuid4().hex[:12]}"
    path.mkdir()
    yield path
    for _ in range(500):
        with contextlib.suppress(OSError):  # busy until the last process is reaped
            path.rmdir()
            return
        time.sleep(0.01)


def test_own_namespaces_in_the_starters_cgroup_are_no_container(cgroup: Path) -> None:
    """A sandbox that `unshare` makes is not a container, though its cgroup has a name like that of bare runc's."""
    script = f"echo $$ > {cgroup}/cgroup.procs && exec unshare --mount --pid --fork --kill-child sleep {SLEEP_S}"
    with subprocess.Popen(["sh", "-c", script]) as sandbox:
        try:
            inner = child_of(sandbox.pid)
            process = known(seeded(), inner)
        finally:
            sandbox.kill()

    assert process.pid_ns != this_host().pid_ns
    assert process.mnt_ns != this_host().mnt_ns
    assert (f"/{cgroup.name}", None) == (process.cgroup_path, process.container_id)


def child_of(pid: int) -> int:
    """Return the first child of a process, once it is there and runs `sleep`."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(500):
        for child in children.read_text().split():
            stat = ProcFs().stat(int(child))
            if stat is not None and stat.comm == "sleep":
                return int(child)
        time.sleep(0.01)
    raise AssertionError(f"{pid} has no child that sleeps")


def test_a_bare_runc_container_is_found_by_its_name(rootfs: Path) -> None:
    """A container without any engine, older than the agent, is known with its start and its pid inside."""
    with running(rootfs) as made:
        processes = seeded()
        process = known(processes, made.pid)
        container = processes.container(process)

    assert container is not None
    assert (made.name, made.name, None) == (process.container_id, container.id, container.runtime)
    assert container.started_at_ns is not None
    # /proc tells the start in ticks, cut off; the two clocks are read one after the other.
    assert made.before_ns - 2 * TICK_NS <= container.started_at_ns <= made.after_ns
    assert (1, "sleep", ("/bin/sleep", str(SLEEP_S))) == (process.ns_tgid, process.name, process.args)
    assert process.user is None, "a container's users are not the host's"


def test_an_engines_container_is_found_by_its_id(rootfs: Path) -> None:
    """The cgroup that docker makes gives the id and the engine, whatever the container is called."""
    container_id = uuid.uuid4().hex * 2
    with running(rootfs, f"/docker-{container_id}.scope") as made:
        processes = seeded()
        container = processes.container(known(processes, made.pid))

    assert container is not None
    assert (container_id, "docker") == (container.id, container.runtime)


def test_programs_of_a_container_are_hashed_while_they_run_and_after(rootfs: Path) -> None:
    """A program written into the upper layer that ran and ended is read through the container's first process."""
    executables = Executables(procfs=ProcFs(), limit_bytes=100_000_000)
    with running(rootfs) as made:
        processes = seeded()
        first = known(processes, made.pid)
        assert first.exe is not None
        neighbours = processes.neighbours(first)
        while_running = executables.read(Job(process=first, exe=first.exe, neighbours=()), lambda: None).sha256

        (rootfs / "new").write_bytes(b"written at runtime")
        ended = gone(first, rootfs / "new")
        assert ended.exe is not None
        afterwards = executables.read(Job(process=ended, exe=ended.exe, neighbours=neighbours), lambda: None).sha256

    assert (made.pid,) == neighbours
    assert hashlib.sha256(Path("/bin/sleep").read_bytes()).hexdigest() == while_running
    assert hashlib.sha256(b"written at runtime").hexdigest() == afterwards


def gone(first: Process, program: Path) -> Process:
    """Return a process that ran `/new` in the container of `first` and ended: its start is another than any now."""
    seen = program.stat()
    exe = Executable(
        path="/new", file=FileId(0, seen.st_ino), size_bytes=seen.st_size, changed_at_ns=seen.st_ctime_ns
    )  # fmt: skip
    return Process(
        key=ProcessKey(first.key.tgid, first.key.started_ticks - 1),
        uuid="gone",
        parent=None,
        exe=exe,
        started_at_ns=first.started_at_ns,
        mnt_ns=first.mnt_ns,
    )
