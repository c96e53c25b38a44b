"""What is found of attempts to get out of a container, or deeper into the kernel, that are really made."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import simulate
from agent.pipeline import HASH_WAIT_S
from agent.simulate import defense_evasion_kernel_module_loaded as kernel_module_loaded
from agent.simulate.privilege_escalation_cgroups_release_agent_modified import hierarchy
from tests.containers import RunningContainer
from tests.containers import running_container
from tests.kernel.int80 import INT80
from tests.system import deeds
from tests.system.deeds import Done
from tests.system.running import Run
from tests.system.running import wait_for
from tests.system.test_findings import Deed
from tests.system.test_findings import Fired
from tests.system.test_findings import _done_and_found
from tests.system.test_findings import guardduty
from tests.system.test_findings import test_a_deed_is_found
from tests.system.test_findings import test_a_finding_is_as_guardduty_has_it
from tests.system.test_findings import test_the_arguments_are_in_the_events
from tests.system.test_findings import test_the_arguments_stay_out_of_the_finding
from tests.system.test_findings import test_the_evidence_says_why
from tests.system.test_findings import test_the_hash_is_that_of_what_ran
from tests.system.test_findings import test_the_lineage_begins_with_the_parent
from tests.system.test_findings import test_the_process_started_with_the_deed
from tests.system.test_findings import words

__all__ = (
    "guardduty",
    "test_a_deed_is_found",
    "test_a_finding_is_as_guardduty_has_it",
    "test_the_arguments_are_in_the_events",
    "test_the_arguments_stay_out_of_the_finding",
    "test_the_evidence_says_why",
    "test_the_hash_is_that_of_what_ran",
    "test_the_lineage_begins_with_the_parent",
    "test_the_process_started_with_the_deed",
    "words",
)

USERFAULTFD = "PrivilegeEscalation:Runtime/UserfaultfdUsage"
DOCKER_SOCKET = "PrivilegeEscalation:Runtime/DockerSocketAccessed"
RELEASE_AGENT = "PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified"
MOUNTED = "PrivilegeEscalation:Runtime/ContainerMountsHostDirectory"
MODULE = "DefenseEvasion:Runtime/KernelModuleLoaded"
ESCAPE = "PrivilegeEscalation:Runtime/RuncContainerEscape"

RUNC = os.path.realpath(shutil.which("runc") or "runc")
SAY_PID = "import os, sys; print(os.getpid(), flush=True)\n"
LINGER = f"\nimport time; time.sleep({deeds.HASHED_S})"


def by_python_in_container(
    code: str,
    word: str,
    *arguments: str,
    context: Mapping[str, Any],
    binds: Mapping[str, Path] | None = None,
    capabilities: Sequence[str] = (),
) -> Done:
    """Have a python in a container run `code`, with `arguments` and the word behind."""
    with running_container(binds=binds, capabilities=capabilities) as container:
        done = container.exec([deeds.PYTHON, "-I", "-S", "-c", SAY_PID + code + LINGER, *arguments, word])
        deeds.succeeded(done)
    ns_pid = int(done.stdout.split()[0])
    sha256 = deeds.sha256_of(deeds.PYTHON)
    return Done(done.pid, deeds.PYTHON, sha256, ns_pid, RUNC, container_id=container.id, context=dict(context))


# --- userfaultfd ---------------------------------------------------------------------------------------------------

ASK = """
import ctypes, platform
number = {"x86_64": 323, "aarch64": 282}[platform.machine()]
ctypes.CDLL(None).syscall(number, int(sys.argv[1]))
"""


def handled_faults_on_host(_: Path, word: str) -> Done:
    pid = deeds.start(sys.executable, "-c", "import sys\n" + ASK + LINGER, "0", word)
    return deeds.on_host(pid, deeds.OUR_PYTHON, deeds.OUR_PYTHON)


# --- Sockets of engines --------------------------------------------------------------------------------------------

CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
CONNECT_BY_LINK = "os.symlink('/run/there/docker.sock', '/tmp/harmless'); sys.argv[1] = '/tmp/harmless'\n" + CONNECT
CONNECT_BY_PROC = "sys.argv[1] = f'/proc/1/root{sys.argv[1]}'\n" + CONNECT
CONNECT_IN_VAIN = "import contextlib\nwith contextlib.suppress(PermissionError):\n " + CONNECT


@contextlib.contextmanager
def engine(directory: Path, name: str) -> Iterator[Path]:
    """Listen at a socket of this name, below a directory of our own, as an engine would; nobody is served."""
    path = directory / name
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


def spoke_to_engine(code: str, inside: str, *, name: str = "docker.sock") -> Deed:
    """Return the deed of connecting, by `code` and the path `inside`, to an engine's socket that is mounted there."""

    def deed(directory: Path, word: str) -> Done:
        with engine(directory, name) as path:
            context = {"socketPath": str(path)}
            return by_python_in_container(code, word, inside, binds={inside: path}, context=context)

    return deed


def spoke_to_engine_in_a_directory(directory: Path, word: str) -> Done:
    """The directory of the socket is mounted, and a link leads to it."""
    with engine(directory, "docker.sock") as path:
        binds, context = {"/run/there": directory}, {"socketPath": str(path)}
        return by_python_in_container(CONNECT_BY_LINK, word, "", binds=binds, context=context)


def was_refused_by_engine(directory: Path, word: str) -> Done:
    """Nobody may connect who has not the right to go by permissions, as a container has not."""
    inside = "/run/docker.sock"
    with engine(directory, "docker.sock") as path:
        path.chmod(0)
        binds, context = {inside: path}, {"socketPath": inside}
        return by_python_in_container(CONNECT_IN_VAIN, word, inside, binds=binds, context=context)


# --- Release agents ------------------------------------------------------------------------------------------------

OPEN = "os.close(os.open(sys.argv[1], os.O_WRONLY))"
LINK = "os.symlink(sys.argv[1], '/tmp/harmless'); sys.argv[1] = '/tmp/harmless'\n"
BIND = """
import ctypes
open("/tmp/harmless", "w").close()
assert 0 == ctypes.CDLL(None).mount(sys.argv[1].encode(), b"/tmp/harmless", b"", 4096, None)
sys.argv[1] = "/tmp/harmless"
"""
MAKE_HIERARCHY = """
import ctypes
assert 0 == ctypes.CDLL(None).mount(b"none", b"/mnt", b"cgroup", 0, f"none,name={sys.argv[2]}".encode())
"""


def modified_release_agent(code: str, shown: str = "/mnt/release_agent") -> Deed:
    """Return the deed of opening, by `code`, the release agent of a hierarchy that is mounted at /mnt."""

    def deed(_: Path, word: str) -> Done:
        with hierarchy() as root:
            return by_python_in_container(
                code,
                word,
                "/mnt/release_agent",
                binds={"/mnt": root},
                capabilities=["CAP_SYS_ADMIN"],
                context={"releaseAgentPath": shown},
            )

    return deed


def made_hierarchy_of_its_own(_: Path, word: str) -> Done:
    return by_python_in_container(
        MAKE_HIERARCHY + OPEN,
        word,
        "/mnt/release_agent",
        capabilities=["CAP_SYS_ADMIN"],
        context={"releaseAgentPath": "/mnt/release_agent"},
    )


# --- Runtimes ------------------------------------------------------------------------------------------------------

LEAK = 'exec "$0" exec --preserve-fds=1 "$@" 3</sys/fs/cgroup'
GO_OUTSIDE = "os.chdir('/proc/self/fd/3')"
WHEN_IT_ENDED = """
import time
while True:
    try:
        os.close(os.open(sys.argv[1], os.O_WRONLY))
        break
    except OSError as error:
        if error.strerror != "Text file busy": raise
        time.sleep(0.01)
"""
"""As an intruder must wait until nobody runs the program any more."""
REPLACE = "import shutil; shutil.copy(sys.argv[1], '/mnt/x'); os.rename('/mnt/x', sys.argv[1])"
"""Which nobody who runs it hinders."""


def overwrote_runtime(name: str, code: str = WHEN_IT_ENDED) -> Deed:
    """Return the deed of opening a runtime of this name in the container that it has just put the process into."""

    def deed(directory: Path, word: str) -> Done:
        runtime = directory / name
        shutil.copy(RUNC, runtime)
        with running_container(binds={"/mnt": directory}) as container:
            context = {"filePath": f"/mnt/{name}"}
            started = put_in(container, [str(runtime), "exec", "--detach"], code, f"/mnt/{name}", word)
        return started._replace(parent=str(runtime), context=context)

    return deed


def was_left_outside(_: Path, word: str) -> Done:
    """Go where a descriptor leads that runc was made to leave to the container."""
    with running_container() as container:
        started = put_in(container, ["/bin/sh", "-c", LEAK, RUNC], GO_OUTSIDE, word)
    return started._replace(context={"filePath": "/sys/fs/cgroup", "runcBinaryPath": RUNC})


def put_in(container: RunningContainer, command: Sequence[str], code: str, *arguments: str) -> Done:
    """Have a runtime start a python in a container."""
    pid_file = container.directory / f"pid-{uuid.uuid4().hex}"
    python = [deeds.PYTHON, "-I", "-S", "-c", SAY_PID + code + LINGER, *arguments]
    line = [*command, f"--pid-file={pid_file}", container.id, *python]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=deeds.WAIT_S)
    assert (0, "") == (done.returncode, done.stderr)
    pid, ns_pid = int(pid_file.read_text()), int(done.stdout.split()[0])
    return Done(pid, deeds.PYTHON, deeds.sha256_of(deeds.PYTHON), ns_pid, RUNC, container_id=container.id)


# --- Mounts --------------------------------------------------------------------------------------------------------

MOUNT = """
import ctypes
libc = ctypes.CDLL(None)
def mount(source, target, kind, flags=0, options=None): return libc.mount(source, target, kind, flags, options)
def new(kind): return libc.syscall(430, kind, 0)  # fsopen, and so on: the numbers of every architecture
def set(fd, command, key=None, value=None): return libc.syscall(431, fd, command, key, value, 0)
def made(fd): return libc.syscall(432, fd, 0, 0)
def put(fd, target): return libc.syscall(429, fd, b"", -100, target, 4)
def cloned(path): return libc.syscall(428, -100, path, 1)
"""
A_DISK = "/dev/vedette-no-such-disk"
DISK = {"mountSource": A_DISK, "mountTarget": "/mnt", "fileSystemType": "ext4"}
MINE = "none,name=vedette-" + uuid.uuid4().hex
"""A hierarchy of cgroups that nobody else has, and that is gone with its last mount."""


def mounted(code: str, *, capable: bool = True, binds: Mapping[str, Path] | None = None, **context: Any) -> Deed:
    """Return the deed of mounting by `code`, which may fail and must say so in the finding."""
    capabilities = ["CAP_SYS_ADMIN"] if capable else []

    def deed(_: Path, word: str) -> Done:
        return by_python_in_container(MOUNT + code, word, binds=binds, capabilities=capabilities, context=context)

    return deed


OWN_MOUNTS = """
import os
os.mkdir("/tmp/a"); os.mkdir("/tmp/b")
assert 0 == mount(b"tmpfs", b"/tmp/a", b"tmpfs", 6)
assert 0 == mount(b"/dev/shm", b"/tmp/b", b"tmpfs")
assert 0 == mount(b"proc", b"/tmp/b", b"proc")
assert 0 == mount(b"/usr", b"/mnt", None, 4096)
assert 0 == mount(None, b"/mnt", None, 4096 | 32 | 1)
assert 0 == mount(None, b"/", None, 0x40000 | 0x4000)
assert 0 == mount(b"/tmp/a", b"/mnt", None, 8192)
mount(b"/proc/self/root/etc", b"/tmp/b", None, 4096)
mount(b"/proc/1/root/etc", b"/tmp/b", None, 4096)
mount(b"cgroup2", b"/tmp/b", b"cgroup2")
assert 0 == put(cloned(b"/usr/lib"), b"/mnt")
fd = new(b"tmpfs")
set(fd, 1, b"source", b"/dev/shm"); set(fd, 6)
assert 0 == put(made(fd), b"/mnt")
"""
"""As systemd, or a runtime in a container, mounts for itself."""

# --- Modules -------------------------------------------------------------------------------------------------------

LOAD = (
    INT80
    + """
assert int80(350, os.open(sys.argv[1], os.O_RDONLY), text(b""), 2, 0) < 0  # finit_module of i386
"""
)
"""By `int 0x80`, which the kernel has a hook for whether it takes modules or not."""


def tried_to_load_module(directory: Path, word: str) -> Done:
    path = directory / "vedette-nothing.ko"
    path.write_bytes(b"not a module")
    pid = deeds.start(sys.executable, "-c", LOAD + LINGER, path, word)
    context = {
        "moduleName": "vedette_nothing",
        "moduleFilePath": str(path),
        "moduleSha256": deeds.sha256_of(path),
        "flags": ["MODULE_INIT_IGNORE_VERMAGIC"],
    }
    return deeds.on_host(pid, deeds.OUR_PYTHON, deeds.OUR_PYTHON, context=context)


FIRING: dict[str, tuple[str, Deed]] = {
    "userfaultfd on the host": (USERFAULTFD, handled_faults_on_host),
    "userfaultfd in a container": (
        USERFAULTFD,
        lambda _, word: by_python_in_container(ASK, word, "1", context={"flags": ["UFFD_USER_MODE_ONLY"]}),
    ),
    "docker.sock": (DOCKER_SOCKET, spoke_to_engine(CONNECT, "/run/docker.sock")),
    "docker.sock by another name": (DOCKER_SOCKET, spoke_to_engine(CONNECT, "/tmp/harmless")),
    "docker.sock by a link": (DOCKER_SOCKET, spoke_to_engine_in_a_directory),
    "docker.sock by another process's root": (DOCKER_SOCKET, spoke_to_engine(CONNECT_BY_PROC, "/run/docker.sock")),
    "docker.sock without permission": (DOCKER_SOCKET, was_refused_by_engine),
    "containerd.sock": (DOCKER_SOCKET, spoke_to_engine(CONNECT, "/run/x", name="containerd.sock")),
    "release_agent": (RELEASE_AGENT, modified_release_agent(OPEN)),
    "release_agent by a link": (RELEASE_AGENT, modified_release_agent(LINK + OPEN)),
    "release_agent by another name": (RELEASE_AGENT, modified_release_agent(BIND + OPEN, "/tmp/harmless")),
    "release_agent of its own hierarchy": (RELEASE_AGENT, made_hierarchy_of_its_own),
    "runc": (ESCAPE, overwrote_runtime("runc")),
    "a runtime of another name": (ESCAPE, overwrote_runtime("harmless")),
    "runc replaced": (ESCAPE, overwrote_runtime("runc", REPLACE)),
    "runc by a link": (ESCAPE, overwrote_runtime("runc", LINK + WHEN_IT_ENDED)),
    "a directory of the host": (ESCAPE, was_left_outside),
    "a disk": (
        MOUNTED,
        mounted(f"mount({A_DISK.encode()}, b'/mnt', b'ext4', 3)", **DISK, flags=["MS_RDONLY", "MS_NOSUID"]),
    ),
    "a disk without the right": (
        MOUNTED,
        mounted(f"mount({A_DISK.encode()}, b'/mnt', b'ext4')", capable=False, **DISK),
    ),
    "a disk by the name of a file": (
        MOUNTED,
        mounted("mount(b'/tmp/x', b'/mnt', b'xfs')", mountSource="/tmp/x", fileSystemType="xfs"),
    ),
    "a disk of an unknown type": (MOUNTED, mounted(f"mount({A_DISK.encode()}, b'/mnt', b'x')", mountSource=A_DISK)),
    "a disk the new way": (
        MOUNTED,
        mounted(
            f"fd = new(b'ext4'); set(fd, 1, b'source', {A_DISK.encode()}); set(fd, 6)",
            mountSource=A_DISK,
            fileSystemType="ext4",
        ),
    ),
    "a disk the new way, without the right": (
        MOUNTED,
        mounted("new(b'ext4')", capable=False, fileSystemType="ext4"),
    ),
    "cgroup v1": (
        MOUNTED,
        mounted(f"assert 0 == mount(b'none', b'/mnt', b'cgroup', 0, {MINE.encode()})", fileSystemType="cgroup"),
    ),
    "cgroup v1 the new way": (
        MOUNTED,
        mounted(
            f"fd = new(b'cgroup'); set(fd, 1, b'name', {MINE[10:].encode()}); set(fd, 0, b'none'); set(fd, 6)\n"
            "assert 0 == put(made(fd), b'/mnt')",
            mountTarget="/mnt",
            fileSystemType="cgroup",
        ),
    ),
    "through a process of the host": (
        MOUNTED,
        mounted(
            "mount(b'/host/1/root/etc', b'/mnt', None, 4096 | 16384)",
            binds={"/host": Path("/proc")},
            mountSource="/host/1/root/etc",
            mountTarget="/mnt",
            flags=["MS_BIND", "MS_REC"],
        ),
    ),
    "through a process of the host, cloned": (
        MOUNTED,
        mounted("cloned(b'/host/1/cwd')", binds={"/host": Path("/proc")}, mountSource="/host/1/cwd"),
    ),
}


if platform.machine() == "x86_64":
    FIRING["a module"] = (MODULE, tried_to_load_module)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`vedette run --json`, ready, and a program of i386 beside it, so that calls of i386 are seen; it ends cleanly."""
    running = Run(tmp_path_factory.mktemp("escape") / "state")
    running.ready()
    waiting = tmp_path_factory.mktemp("i386") / "waiting"
    waiting.write_bytes(waiting_program())
    waiting.chmod(0o755)
    with contextlib.ExitStack() as beside:
        if platform.machine() == "x86_64":
            child = beside.enter_context(subprocess.Popen([waiting]))
            beside.callback(child.kill)
            wait_for(partial(is_tried_and_told, running), running.said)
        yield running
    assert 0 == running.stop(), running.said


def is_tried_and_told(running: Run) -> bool:
    """Try what comes by the calls of i386 alone, and tell whether it was seen: they are, some time after a program."""
    kernel_module_loaded.run()
    return any(one.type == MODULE for one in list(running.findings))


def waiting_program() -> bytes:
    """Return an ELF executable of i386 that waits for a signal."""
    code = bytes.fromhex("b81d000000cd80ebf7")  # again: mov eax, 29; int 0x80; jmp again
    base, head = 0x8048000, 52 + 32
    size = head + len(code)
    identity = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + head, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return identity + header + struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000) + code


@pytest.fixture(scope="module", params=FIRING)
def fired(
    run: Run, words: dict[int, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    one = _done_and_found(run, type_, deed, tmp_path_factory)
    words[one.done.pid] = one.word
    return one


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(mounted(OWN_MOUNTS), id="mounts of its own"),
        pytest.param(spoke_to_engine(CONNECT, "/run/docker.sock", name="docker.sock.d"), id="another socket"),
    ],
)
def test_nothing_is_said_of_what_only_looks_like_it(run: Run, tmp_path: Path, deed: Deed) -> None:
    """When what was done afterwards is found, nothing was said of what is no escape."""
    pid = deed(tmp_path, "word").pid
    time.sleep(2 * HASH_WAIT_S)  # a finding that waits for a hash can be overtaken, but not for longer
    run.finding(USERFAULTFD, handled_faults_on_host(tmp_path, "sentinel").pid)

    assert [] == [one.type for one in run.findings if one.process["pid"] == pid]


TRIGGERS = [trigger for trigger in simulate.load() if trigger.finding in {type_ for type_, _ in FIRING.values()}]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.finding)
def test_what_simulate_does_is_found(run: Run, trigger: simulate.Trigger) -> None:
    """The deed that an operator can try brings its finding, about the process that it names."""
    deed = trigger.run()

    found = run.finding(trigger.finding, deed.pid)
    assert deed.container_id == found.document["resource"].get("containerDetails", {}).get("id")


def test_every_type_can_be_tried() -> None:
    """There is a trigger for each."""
    assert {type_ for type_, _ in FIRING.values()} == {trigger.finding for trigger in TRIGGERS}
